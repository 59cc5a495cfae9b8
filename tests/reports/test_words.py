"""How figures are written."""

from __future__ import annotations

import math

import pytest

from pretask.reports import words


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.number(-1.239), "−1.24"),
        (words.number(-0.001), "0.00"),
        (words.number(math.nan), "–"),
        (words.number(None), "–"),
        (words.number(True), "–"),
        (words.metric("top1", 0.91236), "91.24"),
        (words.metric("loss", 0.12345), "0.123"),
        (words.metric("n", 12000), "12,000"),
        (words.metric("few", None), "–"),
        (words.spread("top1", {"mean": 0.9, "std": 0.0123}), "90.00 ± 1.23"),
        (words.spread("top1", {"mean": 0.9, "std": None}), "90.00"),
        (words.spread("top1", None), "–"),
        (words.points(0.0123), "+1.23"),
        (words.points(-0.0123), "−1.23"),
        (words.points(-0.000001), "+0.00"),
        (words.interval({"low": -0.01, "high": 0.02}), "[−1.00, +2.00]"),
        (words.interval({"low": None, "high": None}), ""),
        (words.duration(59.94), "59.9 s"),
        (words.duration(59.96), "1 min 00 s"),
        (words.duration(125), "2 min 05 s"),
        (words.duration(3599.9), "1 h 00 min"),
        (words.duration(7380), "2 h 03 min"),
        (words.duration(None), "–"),
        (words.whole(1234567.4), "1,234,567"),
        (words.moment("2026-11-25T10:05:36+01:00"), "2026-11-25 09:05 UTC"),
        (words.moment("yesterday"), "yesterday"),
        (words.moment(None), None),
    ],
)
def test_figures_are_written_as_a_person_would(written, expected):
    assert written == expected
