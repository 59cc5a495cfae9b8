"""Names with options: what is read, what is written, what is refused."""

from __future__ import annotations

from typing import Annotated

import pytest
import torch

from pretask.cli.catalogue import entries
from pretask.errors import PretaskError
from pretask.pretexts import PRETEXTS, ChannelDiscard, PatchFlip, Pretext, create_pretext, create_pretexts

SPECS = [
    "discard:groups=8:grouping=strided",
    "discard:grouping=random:seed=7:keep=yes:fill=mean:identity=yes",
    "discard-region:grid=3:fill=rescale",
    "lorot-e:grid=4",
    "patch-rotation:grid=3:position=yes",
    "patch-flip:axis=vertical",
    "patch-color:position=yes",
    "rotation2+patch-color:grid=4+color3",
    "discard:groups=8+discard-region",
]


@pytest.mark.parametrize("spec", [*PRETEXTS.names(), *SPECS])
def test_a_name_makes_the_pretext_again(spec: str) -> None:
    pretext = create_pretext(spec)
    again = create_pretext(pretext.name)
    assert again.name == pretext.name
    assert again.num_labels == pretext.num_labels
    assert again.label_names() == pretext.label_names()
    assert [type(module) for module in again.modules()] == [type(module) for module in pretext.modules()]
    if spec in SPECS:
        assert pretext.name == spec, "these are canonical already"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("discard:grouping=strided:groups=8", "discard:groups=8:grouping=strided"),
        ("discard:groups=4:keep=no", "discard"),
        ("discard:keep=TRUE", "discard:keep=yes"),
        ("patch-rotation:position=true", "patch-rotation:position=yes"),
        ("lorot-e:grid=2", "lorot-e"),
        ("rotation4+lorot-e:grid=3", "rotation+lorot-e:grid=3"),
    ],
)
def test_a_name_is_canonical(written: str, canonical: str) -> None:
    assert create_pretext(written).name == canonical


def test_a_constructor_names_itself() -> None:
    assert ChannelDiscard(8, "strided").name == "discard:groups=8:grouping=strided"
    assert PatchFlip(position=True, axis="vertical").name == "patch-flip:position=yes:axis=vertical"


def test_options_reach_the_pretext() -> None:
    pretext = create_pretext("discard:groups=6:grouping=random:seed=5:keep=yes:fill=rescale:identity=no")
    assert (pretext.groups, pretext.grouping, pretext.seed) == (6, "random", 5)
    assert (pretext.keep, pretext.fill, pretext.has_identity) == (True, "rescale", False)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("discrad:groups=8", r"unknown pretext 'discrad'; did you mean 'discard'"),
        ("discard:group=8", r"unknown option of pretext discard 'group'; did you mean 'groups'"),
        ("patch-flip:axes=vertical", r"'axes'; did you mean 'axis'\? \(known: axis, grid, position\)"),
        ("discard:", r"unknown option of pretext discard ''"),
        ("rotation:grid=2", r"pretext 'rotation' has no options: type rotation without ':grid=2'"),
        ("lorot-i:grid=2", r"pretext 'lorot-i' has no options"),
        ("discard:groups", r"no value: type discard:groups=4"),
        ("discard:keep", r"no value: type discard:keep=no"),
        ("discard:groups=4:groups=8", r"'groups' of pretext discard is given twice"),
        (
            "discard:groups=four",
            r"groups=four of pretext discard is not allowed: give a whole number$",
        ),
        ("discard:groups=4.5", r"give a whole number$"),
        ("discard:groups=", r"give a whole number$"),
        ("discard:keep=perhaps", r"keep=perhaps of pretext discard is not allowed: give yes or no$"),
        ("discard:grouping=rows", r"give contiguous, strided or random$"),
        ("patch-flip:axis=diagonal", r"give horizontal or vertical$"),
        ("rotation+discard", r"images with one on features: .* --pretexts rotation discard$"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(spec: str, message: str) -> None:
    with pytest.raises(PretaskError, match=message) as caught:
        create_pretext(spec)
    assert "\n" not in str(caught.value)


def test_a_class_of_others_need_not_name_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shift(Pretext):
        name = "shift"
        num_labels = 2

        def __init__(self, step: Annotated[int, "in pixels"] = 1) -> None:
            super().__init__()
            self.step = step

        def transform(self, x, labels):
            return torch.where(labels.bool()[:, None, None, None], x.roll(self.step, 3), x)

        def label_names(self) -> list[str]:
            return ["as is", f"by {self.step}"]

    monkeypatch.setitem(PRETEXTS._parts, "shift", Shift)
    assert create_pretext("shift").name == "shift"
    assert create_pretext("shift:step=1").name == "shift"
    assert create_pretext("shift:step=3").name == "shift:step=3"
    assert create_pretext("shift:step=3").step == 3


def test_each_entry_is_a_pretext_of_its_own() -> None:
    assert [p.name for p in create_pretexts(["lorot-e", "rotation2+color3"])] == [
        "lorot-e",
        "rotation2+color3",
    ]
    assert [p.name for p in create_pretexts("rotation2+color3")] == ["rotation2+color3"]
    assert [p.domain for p in create_pretexts(("rotation", "discard"))] == ["image", "features"]
    with pytest.raises(PretaskError, match="a pretext is needed"):
        create_pretexts([])


def test_the_list_tells_labels_and_options() -> None:
    lines = {line.split()[0]: line for line in entries("pretexts")}
    assert lines["rotation2"].endswith("2 labels: 0°, 180°")
    assert lines["lorot-e"].endswith("…, 270° at 1,1; options lorot-e:grid=2")
    assert "16 labels: 0° at 0,0, 90° at 0,0" in lines["lorot-e"]
    assert lines["patch-flip"].endswith("options patch-flip:grid=2:position=no:axis=horizontal")
