"""The site is built from the pages without a warning, and its search finds them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from doc_pages import DOCS, PAGES


@pytest.mark.slow
def test_the_site_is_built_and_searched(tmp_path):
    pytest.importorskip("sphinx", reason="the optional packages of the extra docs are not installed")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", str(DOCS), str(tmp_path)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        assert (tmp_path / page.relative_to(DOCS).with_suffix(".html")).is_file()
    words = (tmp_path / "searchindex.js").read_text()
    assert "self-distil" in words or "distil" in words
    assert "create_method" in (tmp_path / "api.html").read_text()
