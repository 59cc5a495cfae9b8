"""Gate weights: from the log of a run to the charts of its report and of its study's."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from report_samples import sample_study, write_sample_run

from pretask.reports import write_run_report
from pretask.reports.curves import GATE, TASKS, Line
from pretask.reports.study_report import study_page
from pretask.studies.plan import Cell, Variant
from pretask.studies.study import curve

FLIP = "patch-flip:axis=vertical"
LOGS = [
    {"loss": 1.5, "accuracy": 0.5, "lorot-e_accuracy": 0.1, "gate_lorot-e": 0.4, f"gate_{FLIP}": 0.6},
    {"loss": 1.4, "accuracy": 0.6, "lorot-e_accuracy": 0.2, "gate_lorot-e": 0.3, f"gate_{FLIP}": 0.7},
]
RECORDS = [{"epoch": epoch, "train": log} for epoch, log in enumerate(LOGS, 1)]


def strip_gate(log):
    return {key: value for key, value in log.items() if not key.startswith("gate_")}


def alternatives(page: str) -> list[str]:
    return re.findall(r'aria-label="(Gate weights over training[^"]*)"', page)


def test_weights_are_read_by_task():
    assert GATE.read(RECORDS) == {"lorot-e": [0.4, 0.3], FLIP: [0.6, 0.7]}
    assert GATE.read([{"epoch": 1}, *RECORDS[1:]])["lorot-e"] == [None, 0.3]
    assert GATE.read([{"epoch": 1, "train": strip_gate(LOGS[0])}]) == {}
    assert TASKS.read(RECORDS) == {"lorot-e": [0.1, 0.2]}, "the class accuracy is no task's"


@pytest.mark.parametrize("gated", [True, False])
def test_a_study_keeps_the_weights_of_methods_with_a_gate_alone(gated):
    records = [{**r, "train": r["train"] if gated else strip_gate(r["train"])} for r in RECORDS]
    found = curve(Cell(Variant("gssl", "gssl"), 0, 2), records, ["equal-epochs"])
    assert found["train_loss"] == [1.5, 1.4]
    assert found.get("gate") == ({"lorot-e": [0.4, 0.3], FLIP: [0.6, 0.7]} if gated else None)


def test_the_chart_runs_from_0_to_100_per_cent_and_speaks():
    drawn = GATE.chart("gate", [Line("a", [1, 2], [0.4, 0.25], 1), Line("b", [2], [0.75], 2)])
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == "Gate weights over training: a 40 % to 25 %, b 75 %"
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0 %", "100 %", "gate weight"} <= set(texts)


def test_a_run_shows_gate_and_accuracy_of_every_task(tmp_path, read_page):
    folder = write_sample_run(tmp_path / "run", epochs=2)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    page = write_run_report(folder).read_text()
    assert alternatives(page) == [f"Gate weights over training: lorot-e 40 % to 30 %, {FLIP} 60 % to 70 %"]
    text = read_page(page)
    assert "train lorot-e accuracy" in text
    assert "Gate weights over training. Each task's share of the total weight" in text


def test_a_task_has_one_colour_in_all_charts_of_a_run(tmp_path):
    folder = write_sample_run(tmp_path / "run", epochs=2)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    page = write_run_report(folder).read_text()
    swatches = {
        name: color for color, name in re.findall(r'swatch (c\d)"></span>([^<]*lorot-e[^<]*)</li>', page)
    }
    assert swatches == {"train lorot-e accuracy": "c2", "lorot-e": "c2"}


def test_a_run_without_a_gate_has_no_chart_of_one(tmp_path):
    page = write_run_report(write_sample_run(tmp_path / "run", epochs=2)).read_text()
    assert "Gate weights" not in page


def test_a_study_shows_the_mean_of_each_gated_variant_at_each_budget(read_page):
    page = study_page(sample_study(gate=True))
    # Three seeds, two points apart: their mean is that of the second. 40 epochs, and 160 at equal compute.
    first, second = alternatives(page)
    assert first == "Gate weights over training: lorot-e 76 % to 27 %, patch-flip 24 % to 73 %"
    assert second == "Gate weights over training: lorot-e 77 % to 27 %, patch-flip 23 % to 73 %"
    section = page[page.index("<h2>Gate weights over training</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count("<figcaption>gssl</figcaption>") == 2
    assert "Equal compute" in section
    read_page(page)


def test_variants_share_a_legend_and_their_tasks_colours():
    gates = {"gssl": {"a": [0.5], "b": [0.5]}, "gssl-flip": {"b": [0.3], "c": [0.7]}}
    runs = [{"method": method, "at": [1], "gate": gate} for method, gate in gates.items()]
    drawn = GATE.charts("gate", [*runs, {"method": "sla", "at": [1]}])
    assert re.findall(r'swatch (c\d)"></span>(\w)', drawn) == [("c1", "a"), ("c2", "b"), ("c3", "c")]
    assert alternatives(drawn) == [
        "Gate weights over training: a 50 %, b 50 %",
        "Gate weights over training: b 30 %, c 70 %",
    ]
    second = drawn[drawn.index("gate-1-") :]
    assert "var(--s1)" not in second
    assert "var(--s3)" in second


def test_a_study_without_gates_has_no_section_of_them():
    assert "Gate weights" not in study_page(sample_study())
