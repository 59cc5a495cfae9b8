"""What pages do in a browser: tables are sorted, figures switched, nothing is asked of the network, nothing fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import BINARY, Chromium
from report_samples import sample_study, write_sample_run

from pretask.reports import html, write_run_report
from pretask.reports.study_report import study_page
from pretask.reports.table import Column, Table

pytestmark = pytest.mark.skipif(BINARY is None, reason="no Chromium to open pages with")
SEEN = "[...document.querySelectorAll('.measure')].filter(e => e.offsetParent).map(e => e.classList[1])"
"""The figures that can be seen, one for each part of the page that switches."""
SWITCH = "document.activeElement.value"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
        assert opened.requests == []
        assert opened.complaints == []


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    made = sample_study()
    for row in made["rows"]:
        row["test"]["loss"] = row["test"]["ece"]
    return html.write_page(tmp_path_factory.mktemp("study") / "report.html", study_page(made))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run_report(write_sample_run(tmp_path_factory.mktemp("runs") / "sla-digits", classes=12))


@pytest.mark.parametrize(
    ("column", "times", "expected"),
    [
        (0, 1, "abcd"),
        (0, 2, "dcba"),
        (1, 1, "bcad"),  # the highest first; what is not measured last
        (1, 2, "acbd"),
        (2, 1, "bdca"),
    ],
)
def test_a_press_on_a_heading_sorts(browser, tmp_path, column, times, expected):
    rows = [
        ["b", "+1.50", "2,000"],
        ["a", "\N{MINUS SIGN}0.25", "–"],
        ["c", "< 0.001", "10"],
        ["d", "–", "300"],
    ]
    columns = [Column("name", words=True), Column("points"), Column("images")]
    document = html.page("t", Table("", columns, rows).html())
    browser.open(html.write_page(tmp_path / "page.html", document))
    for _ in range(times):
        browser.find(f"document.querySelectorAll('thead button')[{column}].click()")
    assert (
        browser.find("[...document.querySelectorAll('tbody th')].map(e => e.textContent).join('')")
        == expected
    )


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("page", ["study", "run"])
def test_a_report_fits_its_window(browser, request, page, width):
    browser.open(request.getfixturevalue(page), width=width)
    assert browser.find("document.documentElement.scrollWidth") <= width
    whole = "[...document.querySelectorAll('p, h1, h2, dd, figcaption, svg, svg text, fieldset, pre, label')]"
    outside = f"{whole}.filter(e => e.getBoundingClientRect().right > {width} + .5).map(e => e.outerHTML)"
    assert browser.find(outside) == []
    for key in browser.find("[...document.querySelectorAll('input')].map(e => e.value)"):
        browser.find(f"document.querySelector('[value={key}]').click()")
        assert browser.find(outside) == [], key


@pytest.mark.parametrize("width", [390, 1440])
def test_a_wide_table_scrolls_in_its_own_box_and_takes_what_there_is(browser, tmp_path, width):
    columns = [Column("method", words=True), *(Column(f"column {i:02d}") for i in range(14))]
    table = Table("", columns, [["a", *["50.00 ± 1.00"] * 14]])
    document = html.page("t", html.section("wide", table.html()))
    browser.open(html.write_page(tmp_path / "page.html", document), width=width)
    box = "document.querySelector('.scroll')"
    shown, whole = browser.find(f"[{box}.clientWidth, {box}.scrollWidth]")
    assert browser.find("document.documentElement.scrollWidth") <= width
    assert whole > shown > 0.88 * width
    assert "gradient" in browser.find(f"getComputedStyle({box}).backgroundImage"), "a shadow where more is"
    browser.find(f"{box}.scrollTo(10000, 0)")
    last = browser.find(f"(r => r.right)({box}.querySelector('td:last-child').getBoundingClientRect())")
    assert last <= width


@pytest.mark.parametrize("page", ["study", "run"])
def test_a_report_fits_its_paper(browser, request, page):
    browser.open(request.getfixturevalue(page), width=718)  # A4 at 96 dots per inch, without margins
    browser.show_as("print")
    assert browser.find("document.documentElement.scrollWidth") <= 718
    browser.show_as("")


def test_the_policy_lets_the_pages_own_script_in(browser, study):
    browser.open(study)
    assert browser.find("document.querySelector('thead th').innerHTML") == "<button>method</button>"


def test_points_of_charts_say_what_they_are(browser, study):
    browser.open(study)
    mark = "[...document.querySelectorAll('.tip')].find(e => e.checkVisibility())"
    browser.find(f"{mark}.scrollIntoView({{block: 'center'}})")
    place = browser.find(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({mark}.getBoundingClientRect())")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    under = browser.find(
        f"document.elementFromPoint({place[0]}, {place[1]}).querySelector('title').textContent"
    )
    assert "percentage points" in under
    assert browser.find("document.querySelectorAll('svg[role=img]:not([aria-label])').length") == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_keys_switch_the_figure(browser, study, scripts):
    browser.open(study, scripts=scripts)
    parts = browser.find(SEEN)
    assert parts == ["top1"] * 3, "two tables, and results against work"
    browser.press("Tab")
    assert browser.find(SWITCH) == "top1"
    browser.press("ArrowRight")
    assert browser.find(SEEN) == ["balanced"] * 3
    browser.press("ArrowRight")
    assert browser.find(SWITCH) == "ece"
    assert browser.find(SEEN) == ["ece"] * 3
    browser.show_as("print")
    assert browser.find(SEEN) == ["ece"] * 3, "what was chosen is what is printed"
    browser.show_as("")
    heading = "[...document.querySelectorAll('.measure.ece thead th')].slice(0, 5).map(e => e.textContent)"
    assert browser.find(heading) == ["method", "inference", "epochs", "ECE %", "difference [95 % CI]"]


def test_the_default_is_printed_where_nothing_was_chosen(browser, study):
    browser.open(study, scripts=False)
    browser.show_as("print")
    assert browser.find(SEEN) == ["top1"] * 3
    browser.show_as("")
