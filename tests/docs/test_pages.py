"""Every snippet is run, every link leads somewhere, and the tables agree with the code."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import yaml
from doc_pages import DOCS, PAGES, ROOT, blocks, name_of, quoted, rows, shell_lines, small_method
from scipy import stats

from pretask.backbones import FAMILIES
from pretask.config import sections as config
from pretask.config.files import from_flat, section_keys, sections
from pretask.evaluation.run import evaluate_run
from pretask.options import FREE
from pretask.pretexts import PRETEXTS
from pretask.specs import default_options

README = ROOT / "README.md"
WITH_README = [*PAGES, README, ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", WITH_README, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_make_targets_exist():
    made = {
        line.split("make ")[1].split()[0]
        for page in PAGES
        for line in shell_lines(page)
        if line.startswith("make ")
    }
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert made <= targets
    assert made


@pytest.mark.parametrize("page", WITH_README, ids=name_of)
def test_python_is_valid(page):
    for code in blocks(page, "python"):
        ast.parse(code)


@pytest.mark.parametrize("page", [p for p in (README, *PAGES) if blocks(p, "python")], ids=name_of)
def test_python_runs(page, workshop, capsys, monkeypatch):
    assert FAMILIES.names()
    monkeypatch.setattr(FAMILIES, "_parts", dict(FAMILIES._parts))  # a page adds one
    names: dict[str, object] = {}
    for code in blocks(page, "python"):
        exec(compile(code, name_of(page), "exec"), names)


def test_yaml_is_a_configuration():
    (text,) = blocks(DOCS / "training.md", "yaml")
    assert from_flat(yaml.safe_load(text)).optim.milestones == (0.5, 0.75)


def test_index_names_every_page():
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", (DOCS / "index.md").read_text()))
    assert linked == {page.relative_to(DOCS).as_posix() for page in PAGES if page.name != "index.md"}


def test_training_lists_every_key():
    groups = rows(DOCS / "training.md", "group")
    parts = sections(config.RunConfig).values()
    assert [quoted(cells[1]) for cells in groups] == [[f.name for f in fields(part)] for part in parts]


def test_training_lists_every_schedule():
    schedules = get_args(get_type_hints(config.OptimConfig)["schedule"])
    assert {quoted(cells[0])[0] for cells in rows(DOCS / "training.md", "schedule")} == set(schedules)


def test_training_tells_what_may_differ_on_resume():
    (sentence,) = re.findall(r"only (`[^.]*?) may differ", (DOCS / "training.md").read_text(), re.S)
    keys = section_keys(config.RunConfig)
    assert set(quoted(sentence)) == {key for key, option in keys.items() if FREE in option.marks}


def test_training_lists_every_file_of_a_run(workshop):
    listed = {name for cells in rows(DOCS / "training.md", "file") for name in quoted(cells[0])}
    folder = workshop / "runs/photos"
    assert listed == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pretexts_are_listed_with_their_labels():
    listed = {}
    for name, count, labels, *_ in rows(DOCS / "pretexts.md", "name"):
        listed |= dict.fromkeys(quoted(name), (int(count), labels))
    assert set(listed) == set(PRETEXTS.names())
    for name, (count, labels) in listed.items():
        pretext = PRETEXTS.get(name)()
        told = pretext.label_names()
        assert len(told) == pretext.num_labels == count
        assert labels.startswith(told[0])
        if "…" in labels:
            assert count > 8
            assert labels.endswith(told[-1])
        else:
            assert all(label in labels for label in told)


def test_options_of_pretexts_are_listed():
    listed = {
        (name, quoted(option)[0]): quoted(default)[0]
        for option, names, default, _ in rows(DOCS / "pretexts.md", "option")
        for name in quoted(names)
    }
    written = {name: default_options(PRETEXTS.options(name)).split(":")[1:] for name in PRETEXTS.names()}
    offered = [(name, *text.split("=")) for name, texts in written.items() for text in texts]
    assert listed == {(name, option): default for name, option, default in offered}


@pytest.mark.parametrize("page", ["sla", "ssfe", "gssl"])
def test_inferences_are_listed(page):
    offered: dict[str, list[str]] = {}
    defaults: dict[str, str] = {}
    for inference, *_, methods in rows(DOCS / f"methods/{page}.md", "inference"):
        for told in methods.split(", "):
            method = told.removesuffix(" (default)")
            offered.setdefault(method, []).append(inference.strip("`"))
            if method != told:
                defaults[method] = inference.strip("`")
    assert page in offered
    for method, names in offered.items():
        inferences = small_method(method).inferences
        assert sorted(names) == sorted(inferences)
        assert defaults[method] == inferences[0]


def test_metrics_are_listed(workshop):
    found = evaluate_run("runs/photos")["protocols"]["accuracy"]["inferences"]["single"]
    listed = {
        name for cells in rows(DOCS / "evaluation.md", "metric") for text in cells for name in quoted(text)
    }
    assert listed == set(found)


def test_half_widths_are_those_of_student():
    text = (DOCS / "studies.md").read_text()
    seeds = [int(n) for n in re.findall(r"\d+", re.findall(r"^\| seeds (.*)$", text, re.M)[0])]
    widths = [float(w) for w in re.findall(r"([\d.]+) s", re.findall(r"^\| half-width (.*)$", text, re.M)[0])]
    assert widths == [round(float(stats.t.ppf(0.975, n - 1)) / math.sqrt(n), 2) for n in seeds]
