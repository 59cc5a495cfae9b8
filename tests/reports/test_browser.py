"""What pages do in a browser: tables are sorted by their headings, nothing is asked of the network, nothing fails."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import sample_study

from pretask.reports import html
from pretask.reports.study_report import study_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium to open pages with")


def opened(path: Path) -> tuple[str, str]:
    """Return a page's document as it stands after its scripts, and what the browser logged."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
            f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def pressed(tmp_path: Path, column: int, times: int = 1) -> list[str]:
    """Return the first cells of a table after a heading was pressed."""
    rows = [
        ["b", "+1.50", "2,000"],
        ["a", "\N{MINUS SIGN}0.25", "–"],
        ["c", "< 0.001", "10"],
        ["d", "–", "300"],
    ]
    document = html.page("t", html.table(["name", "points", "images"], rows))
    press = f"for (let i = 0; i < {times}; i++) document.querySelectorAll('thead button')[{column}].click();"
    document = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", document)
    path = tmp_path / "page.html"
    path.write_text(document.replace("</body>", f"<script>{press}</script></body>"), encoding="utf-8")
    shown, log = opened(path)
    assert not log
    return re.findall(r'<th scope="row">(\w)</th>', shown)


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
def test_a_press_on_a_heading_sorts(tmp_path: Path, column: int, times: int, expected: str) -> None:
    assert "".join(pressed(tmp_path, column, times)) == expected


def test_the_report_opens_under_its_own_policy(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(study_page(sample_study()), encoding="utf-8")
    shown, log = opened(path)
    assert not log
    assert '<th scope="col"><button>method</button></th>' in shown, "the policy lets the page's script in"
    assert shown.count("<title>") > 20, "points of the charts say what they are"
