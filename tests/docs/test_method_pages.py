"""What the pages of the methods tell of options, layers, tasks, gates and ceilings, against the code."""

from __future__ import annotations

import re
from math import prod

import pytest
from doc_pages import DOCS, quoted, rows, small_method

from pretask.backbones import create_backbone
from pretask.backbones.layers import share_after
from pretask.config.files import from_flat
from pretask.methods import METHODS
from pretask.methods.auxiliary import AuxiliaryTasks
from pretask.methods.gate import GATES
from pretask.options import options_of
from pretask.pretexts import PRETEXTS, create_pretext
from pretask.pretraining import OBJECTIVES
from pretask.studies.plan import parse_variants

SSFE, GSSL = DOCS / "methods/ssfe.md", DOCS / "methods/gssl.md"


def test_pages_say_what_is_reconstructed():
    reconstructed = {
        "ssfe": PRETEXTS.get("discard")().reconstruction,
        "trimix": OBJECTIVES.get("trimix").reconstruction,
    }
    others = {
        "sla": "agree with the paper's equations",
        "gssl": "follows their public code",
        "fixmatch": "is the paper's equation",
    }
    assert {*reconstructed, *others, "controls"} == {page.stem for page in (DOCS / "methods").glob("*.md")}
    for name, words in reconstructed.items():
        page = (DOCS / f"methods/{name}.md").read_text()
        assert "is a reconstruction" in page.partition("\n## ")[0]
        assert re.findall(r"arXiv (\d{4}\.\d{5})", words)[0] in page
        assert rows(DOCS / f"methods/{name}.md", "certain, from the abstract")
    for name, words in others.items():
        assert words in " ".join((DOCS / f"methods/{name}.md").read_text().partition("\n## ")[0].split())


@pytest.mark.parametrize("name", ["discard", "discard-region"])
def test_options_of_masks_are_listed_with_their_defaults(name):
    written = "".join(
        f":{option.strip('`')}={default}" for option, default, _ in rows(SSFE, f"option of `{name}`")
    )
    options = options_of(PRETEXTS.get(name))
    assert re.findall(r":(\w+)=", written) == list(options)
    assert create_pretext(name + written).name == name


@pytest.mark.parametrize(
    ("name", "size"), [("resnet20", 32), ("resnet32", 32), ("resnet56", 32), ("resnet18", 224)]
)
def test_layers_are_there_and_cost_what_is_told(name, size):
    backbone = create_backbone(name, image_size=(size, size))
    ((layers, last),) = [
        quoted_cells[1:] for quoted_cells in _quoted_rows("network") if name in quoted_cells[0]
    ]
    assert {*layers, *last} <= set(dict(backbone.layer_root.named_modules()))
    for network, _, cost, _ in rows(SSFE, "network and task"):
        if quoted(network) == [name]:
            assert cost == f"+{300 * share_after(backbone, last[0]):.0f} %"


def _quoted_rows(heading: str) -> list[list[list[str]]]:
    return [[quoted(cell) for cell in cells] for cells in rows(SSFE, heading)]


def test_an_identity_leaves_nothing_unmasked():
    assert "unmasked" not in small_method("ssfe", "discard:identity=yes").inferences


def test_presets_are_listed_with_their_tasks():
    listed = {quoted(name)[0]: tuple(quoted(tasks)) for name, tasks, _ in rows(GSSL, "method")}
    kinds = {name: METHODS.get(name) for name in METHODS.names()}
    tasks = {n: kind.default_pretexts for n, kind in kinds.items() if issubclass(kind, AuxiliaryTasks)}
    assert listed == tasks
    gated = {quoted(name)[0] for name, _, gate in rows(GSSL, "method") if gate == "yes"}
    assert gated == {name for name in listed if small_method(name).has_gate}


def test_tasks_are_listed_with_labels_and_options():
    for name, count, says, options in rows(GSSL, "task"):
        task = PRETEXTS.get(quoted(name)[0])
        assert task().num_labels == int(count)
        assert quoted(options) == list(options_of(task))
        if "RGB" in says:
            assert ", ".join(task().label_names()) in says


def test_gates_are_listed():
    listed = {quoted(name)[0]: weights for name, weights, _ in rows(GSSL, "gate")}
    assert set(listed) == set(GATES.names())
    default = METHODS.options("gssl")["gate"].default
    assert [gate for gate, weights in listed.items() if "(default)" in weights] == [default]


def test_ceilings_are_those_of_look_alike_labels():
    ceilings = dict(re.findall(r"([\d.]+) % in\s`([\w-]+)`", GSSL.read_text()))
    assert set(ceilings.values()) == {"lorot", "gssl-flip", "gssl-perm", "gssl"}
    for told, method in ceilings.items():
        tasks = METHODS.get(method).default_pretexts
        unchanged = prod(1 / create_pretext(task).num_actions for task in tasks)
        assert float(told) == pytest.approx(100 * (1 - unchanged * 3 / 4), abs=0.05)


@pytest.mark.parametrize("page", [GSSL, SSFE, DOCS / "studies.md"], ids=lambda page: page.stem)
def test_variants_of_the_pages_are_possible(page):
    told = set(re.findall(r"(?<![\w:=,])((?:[\w+-]+):[\w-]+=[\w.,:=+-]+)", page.read_text()))
    names = {text for text in told if text.partition(":")[0] in METHODS.names()}
    assert len(names) >= 1
    variants = parse_variants(sorted(names), from_flat({}))
    assert {variant.name for variant in variants} == names


def test_options_of_gates_are_told():
    table = {quoted(name)[0]: weights for name, weights, _ in rows(GSSL, "gate")}
    told = {name: set(re.findall(r"--(gate-\w+)", weights)) for name, weights in table.items()}
    declared = {name: {key.replace("_", "-") for key in GATES.options(name)} for name in GATES.names()}
    assert {name: flags for name, flags in told.items() if flags != declared[name]} == {}
