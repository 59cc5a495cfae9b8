"""Charts: what is drawn, and how it sits in a page."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest

from pretask.reports import figures
from pretask.reports.curves import (
    MOST_TIPS,
    Line,
    calibration_chart,
    interval_chart,
    line_chart,
    mean_line,
    work_chart,
)

LINES = [Line("a", [1, 2], [0.1, 0.9], 0, [0.0, 0.8], [0.2, 1.0]), Line("b", [2], [0.5], 3)]


def charts():
    bins = {"confidence": [None, 0.7], "accuracy": [None, 1.0], "share": [0, 1.0]}
    return [
        line_chart("one", LINES, y_label="top-1", percent=True),
        interval_chart("two", [("sla <x>", 1.0, 0.5, 1.5), ("single seed", -1.0, None, None)]),
        calibration_chart("three", bins),
    ]


def test_charts_are_xml_that_scales_and_speaks():
    for chart in charts():
        root = ElementTree.fromstring(chart)
        assert root.get("viewBox")
        assert root.get("width") is None
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "metadata" not in chart


def test_text_stays_text_and_colours_follow_the_page():
    lines, intervals, _ = charts()
    assert "sla &lt;x&gt;</text>" in intervals
    assert "50 %" in lines
    assert "var(--s0)" in lines
    assert "var(--s3)" in lines
    assert "#01" not in lines
    assert "#02" not in lines


def test_ids_of_several_charts_do_not_meet_and_every_reference_is_met():
    found = [ElementTree.fromstring(chart) for chart in charts()]
    ids = [{node.get("id") for node in root.iter() if node.get("id")} for root in found]
    assert sum(map(len, ids)) == len(set.union(*ids))
    for root, own in zip(found, ids, strict=True):
        for node in root.iter():
            for value in node.attrib.values():
                if value.startswith("url(#"):
                    assert value[5:-1] in own
            target = node.get("{http://www.w3.org/1999/xlink}href", "#")
            assert target == "#" or target[1:] in own


def test_the_same_chart_is_the_same_text():
    assert charts() == charts()


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    charts()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_packages_are_loaded_as_late_as_can_be_and_pyplot_never():
    code = (
        "import pretask.reports, sys; assert not {'matplotlib', 'jinja2'} & set(sys.modules); "
        "from pretask.reports.curves import interval_chart; interval_chart('a', [('b', 1, 0, 2)]); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_epoch_alone_has_one_whole_number_below_it():
    drawn = line_chart("a", [Line("a", [6], [0.5], 1)], y_label="y", percent=True)
    below = re.findall(r">([\d.]+)</text>", drawn)
    assert below == ["6"]


def test_mean_line_takes_each_epoch_over_the_runs_that_have_it():
    runs = [([1, 2, 3], [1.0, 3.0, None]), ([1, 2], [2.0, 5.0]), ([2], [float("nan")]), ([2], ["none"])]
    line = mean_line("a", runs, 1)
    assert (line.at, line.values) == ([1, 2], [1.5, 4.0])
    assert (line.low, line.high) == ([1.0, 3.0], [2.0, 5.0])


def test_series_beyond_the_palette_differ_in_dash():
    assert figures.series_color(1) == figures.series_color(9)
    assert (figures.series_dash(1), figures.series_dash(9)) == ("solid", "dashed")
    assert (figures.series_swatch(1), figures.series_swatch(9)) == ("c1", "c1 dashed")
    assert (figures.series_dash(0), figures.series_swatch(0)) == ("solid", "c0")


def test_settings_of_a_variant_stand_below_its_name():
    drawn = interval_chart("one", [("gssl:gate=frozen (single)", 1.0, 0.5, 1.5), ("sla", 1.0, None, None)])
    assert ">gssl</text>" in drawn
    assert ">gate=frozen (single)</text>" in drawn


def test_a_screen_reader_hears_the_figures():
    lines, intervals, calibration = charts()
    assert 'aria-label="top-1 over epochs: a, at the end 90.00 %; b, at the end 50.00 %"' in lines
    assert (
        'aria-label="Difference in top-1 to the baseline with its interval, in percentage points: '
        'sla &lt;x&gt;: +1.00 [+0.50, +1.50]; single seed: -1.00"' in intervals
    )
    assert 'against its mean confidence: 70 % sure, 100 % right"' in calibration
    nats = interval_chart("four", [("sla", -0.1234, -0.2, -0.05)], what="loss", unit="nats per image")
    assert "in nats per image: sla: -0.123 [-0.200, -0.050]" in nats
    work = work_chart("five", [Line("ece", [1, 4], [0.03, 0.02], 1)], "the baseline", "test ECE")
    assert 'aria-label="test ECE over training work: ece, 1 x: 3.00 %; ece, 4 x: 2.00 %"' in work


def test_an_axis_can_be_given_its_ends():
    free, given = (line_chart("a", LINES, y_label="y", percent=True, limits=ends) for ends in (None, (0, 2)))
    assert "200 %" not in free
    assert "200 %" in given


def test_points_say_what_they_are_some_of_many_and_none_of_none():
    long = Line("long", list(range(1, 201)), [0.5] * 200, 1)
    drawn = line_chart("tips", [long, Line("empty", [], [], 2)], y_label="accuracy", percent=True)
    told = re.findall(r"<title>([^<]*)</title>", drawn)
    assert len(told) == MOST_TIPS
    assert told[0] == "long, epoch 200: 50.00 %"
