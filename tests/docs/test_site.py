"""The site is built from the pages without a warning, and its search finds them."""

from __future__ import annotations

import sys
import warnings

import pytest
from doc_pages import DOCS, PAGES

from forked import Forked


def build(asked: list[str]) -> None:
    from sphinx.cmd.build import main

    warnings.resetwarnings()  # Python's, which are errors in tests; those of Sphinx are counted
    sys.exit(main(asked))


@pytest.mark.slow
def test_the_site_is_built_and_searched(tmp_path):
    pytest.importorskip("sphinx", reason="the optional packages of the extra docs are not installed")
    site = tmp_path / "site"
    asked = ["--fail-on-warning", "--keep-going", "--quiet", str(DOCS), str(site)]
    process = Forked(tmp_path / "streams", build, asked)
    told = process.communicate(timeout=280)
    assert process.returncode == 0, told
    for page in PAGES:
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file()
    words = (site / "searchindex.js").read_text()
    assert "self-distil" in words or "distil" in words
    assert "create_method" in (site / "api.html").read_text()
