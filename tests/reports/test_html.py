"""Pages escape what they are given and are written whole."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from jinja2 import UndefinedError

from pretask.errors import PretaskError
from pretask.reports import html
from pretask.reports.html import Html, join, tag
from pretask.reports.table import Column, Table

NASTY = "<script>alert('1')</script>&\""


def test_text_is_escaped_and_markup_is_not():
    assert join(["a<b", Html("<i>c</i>")]) == "a&lt;b<i>c</i>"
    assert tag("p", "<", tag("b", "&"), title='"', class_="x", aria_label="y") == (
        '<p title="&#34;" class="x" aria-label="y">&lt;<b>&amp;</b></p>'
    )


def test_no_part_of_a_page_lets_markup_through(read_page):
    document = html.page(
        NASTY,
        html.section(NASTY, NASTY),
        html.notice(NASTY),
        Table("", [Column(NASTY)], [[NASTY]], NASTY).html(),
        html.command(NASTY),
        html.facts({NASTY: NASTY, "list": [NASTY]}),
        html.legend([(NASTY, "c1")]),
        html.figure(Html("<svg></svg>"), NASTY),
    )
    assert "<script>alert" not in document
    assert read_page(document).count(NASTY) == 13  # the title is part of the text


def test_a_page_allows_no_request_and_follows_the_readers_colours():
    document = html.page("t")
    assert "default-src 'none'" in document
    assert "prefers-color-scheme: dark" in document
    assert 'name="viewport"' in document


def test_facts_flatten_mappings_shorten_long_lists_and_leave_out_what_is_empty():
    drawn = html.facts({"a_b": {"c": 1}, "none": None, "empty": "", "zero": 0, "long": range(3)})
    assert "<dt>a b · c</dt><dd>1</dd>" in drawn
    assert "<dt>zero</dt><dd>0</dd>" in drawn
    assert "none" not in drawn
    assert "empty" not in drawn
    assert "18, 19, … (100 in all)</dd>" in html.facts({"long": list(range(100))})


def test_a_name_that_a_template_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        html.render("page.html", body="")


def test_the_policy_names_the_script_that_the_page_has():
    document = html.page("t")
    script = document.split("<script>")[1].split("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in document


def test_a_failed_write_leaves_the_old_page_and_nothing_else(tmp_path):
    path = html.write_page(tmp_path / "new" / "report.html", "old")
    with pytest.raises(TypeError):
        html.write_page(path, b"no text")
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PretaskError, match=r"cannot write .*file"):
        html.write_page(tmp_path / "file" / "report.html", "")
