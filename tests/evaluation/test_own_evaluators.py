"""Evaluators that somebody brings, with nothing but the contract; and options of evaluators in their specs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest

from command_line import CommandLine, picture_folder, untrained_run
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Evaluator, Headline
from pretask.evaluation.base import create_evaluator, headline_parts, uses_features
from pretask.evaluation.run import evaluate_run
from pretask.options import at_least

FOUND = {
    "tasks": [{"shots": 1}],
    "robust_top1": "of a kind",
    "num_features": 12345,
    "share": 0.25,
    "deep": {"er": {"value": 2}, "no": None, "yes": True},
}


class Plain:
    """Keys that others have, of other kinds; nothing but name, protocol and a call."""

    name = "plain"

    def __init__(self, split: str, batch_size: int, device: object) -> None:
        self.protocol = f"plain/1, split={split}"

    def __call__(self, classifier: object, data: object) -> dict[str, Any]:
        return FOUND


class Own(Plain):
    """Says its headline, and has an option."""

    name = "own"

    def __init__(
        self, split: str, batch_size: int, device: object, times: Annotated[int, at_least(1), "how often"] = 1
    ) -> None:
        super().__init__(split, batch_size, device)
        self.times = times

    def headline(self, found: dict[str, Any]) -> Headline:
        return [
            ("share", found["share"], "%"),
            ("took", 1.25, "s"),
            ("not there", None),
            ("times", self.times),
        ]


class Derived(Plain, Evaluator):
    """Has the default of the class."""

    name = "derived"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    EVALUATORS.names()  # those of the package, before others are registered for a while
    monkeypatch.setattr(EVALUATORS, "_parts", {**EVALUATORS._parts})
    for part in (Plain, Own, Derived):
        EVALUATORS.register(part.name)(part)


@pytest.fixture
def pretask(capsys, tmp_path: Path, monkeypatch, own) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    picture_folder(Path("photos"), ("cat", "dog", "owl"), count=4)
    untrained_run(Path("run"), method="baseline")
    return CommandLine(capsys)


ON_PHOTOS = ("run", "--data", "photos", "--split", "train", "--device", "cpu")


def test_an_evaluator_says_what_is_printed(pretask: CommandLine) -> None:
    told = pretask.well("evaluate", *ON_PHOTOS, "--protocol", "plain", "own:times=3", "derived")
    assert told.splitlines() == [
        "run on photos",
        "plain/1, split=train",
        "single      num_features 12,345  share 0.25  deep er value 2",
        "plain/1, split=train",
        "single      share 25.00 %  took 1.25 s  times 3",
        "plain/1, split=train",
        "single      num_features 12,345  share 0.25  deep er value 2",
    ]
    answer = json.loads(
        pretask.well("evaluate", *ON_PHOTOS, "--protocol", "plain", "own:times=1", "--format", "json")
    )
    assert answer["protocols"]["plain"]["inferences"]["single"] == FOUND
    assert list(answer["protocols"]) == ["plain", "own:times=1"]


def test_a_terminal_of_80_columns_breaks_between_entries(own, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretask.cli.results_text import evaluation_lines

    found = {"clean_top1": 0.5, "robust_top1": 0.25, "epsilon": 8 / 255, "n": 7}
    entry = {"protocol": " ".join(["word"] * 30), "inferences": {"single": found, "aggregated": FOUND}}
    knn = {f"key{k}": k for k in range(12)}
    answer = {"run": "r", "data": "d", "protocols": {"fgsm": {**entry, "inferences": {"single": found}}}}
    answer["protocols"]["plain"] = {"protocol": "short", "inferences": {"single": knn}}
    lines = evaluation_lines(answer, "table", width=80)
    assert max(map(len, lines)) <= 80
    assert lines[3] == "single      clean 50.00 %  robust 25.00 %  eps 8/255  n 7"
    assert lines[5].startswith("single      key0 0  key1 1") and lines[6].startswith(" " * 12 + "key")
    assert len(evaluation_lines(answer, "table")) == 5


SETTINGS = {"split": "test", "batch_size": 7, "device": "cpu"}


def test_specs_set_options_and_flags_are_their_defaults() -> None:
    knn = create_evaluator("knn:fewer=20:k=5:temperature=0.07", SETTINGS, {"seed": 3, "epsilon": 9})
    assert knn.protocol.startswith("knn/1: ") and "exp(s/0.07) of the k=5 nearest" in knn.protocol
    assert (knn.seed, knn.batch_size) == (3, 7)
    assert create_evaluator("pgd20:epsilon=4", SETTINGS, {"epsilon": 16, "seed": 3}).epsilon == 4 / 255
    assert create_evaluator("pgd20", SETTINGS, {"epsilon": 16}).epsilon == 16 / 255
    episodes = create_evaluator("few-shot:shots=1,2:ways=3:heads=ridge:penalty=2", SETTINGS)
    assert "episodes of 3 classes, 1 and 2 images to learn from" in episodes.protocol
    assert "ridge regression of one-hot labels with penalty 2;" in episodes.protocol
    assert "nearest class mean" not in episodes.protocol
    assert uses_features("linear:per_class=5") and not uses_features("pgd20:epsilon=4")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("knn:kk=5", "unknown option of evaluator knn 'kk'; did you mean 'k'"),
        ("knn:k=0", "k=0 of evaluator knn is not allowed: give a number 1 or more"),
        ("pgd20:epsilon=256", "epsilon=256 of evaluator pgd20 is not allowed: give a number from 0 to 255"),
        ("linear:label_fraction=2", "label_fraction=2 of evaluator linear is not allowed"),
        ("few-shot:heads=rigde", "heads=rigde of evaluator few-shot is not allowed"),
        ("accuracy:k=5", "evaluator 'accuracy' has no options"),
        ("nn:k=5", "unknown evaluator 'nn'"),
    ],
)
def test_faults_in_specs_are_told(spec: str, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        create_evaluator(spec, SETTINGS)


def test_options_out_of_range_are_refused_in_python_too(own) -> None:
    for name, options in (
        ("knn", {"k": 0}),
        ("linear", {"per_class": 0}),
        ("few-shot", {"ways": 1}),
        ("own", {"times": 0}),
    ):
        with pytest.raises(PretaskError, match="is not possible: give a number"):
            EVALUATORS.get(name)(**SETTINGS, **options)


def test_evaluators_with_other_budgets_of_labels_share_what_they_judge(tmp_path, monkeypatch, own) -> None:
    from pretask.config.files import from_flat
    from pretask.evaluation import features
    from pretask.tasks import train

    settings = {"data": "digits", "method": "baseline", "per_class": 8, "epochs": 1, "backbone": "resnet8"}
    own_run = {
        "batch_size": 25,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "runs": str(tmp_path),
        "name": "run",
    }
    train(from_flat({**settings, **own_run}))
    seen, embed = [], features.embed

    def counting(network: object, loader: Any, **options: Any) -> Any:
        seen.append(loader.num_images)
        return embed(network, loader, **options)

    monkeypatch.setattr(features, "embed", counting)
    specs = ["knn", "knn:per_class=2", "ridge:per_class=2", "knn:label_fraction=0.5:seed=4"]
    answer = evaluate_run(tmp_path / "run", specs, device="cpu")
    sizes = {
        spec: entry["inferences"]["features"]["train_images"] for spec, entry in answer["protocols"].items()
    }
    assert list(sizes.values()) == [80, 20, 20, 40]
    tested = answer["protocols"]["knn"]["inferences"]["features"]["n"]
    assert sorted(seen) == sorted([80, tested, 20, 120, 40])
    assert "notes" not in answer["protocols"]["knn"]
    assert answer["protocols"]["ridge:per_class=2"]["notes"] == ["train: 2 images per class, seed 0"]
    flagged = evaluate_run(tmp_path / "run", ["knn", "ridge"], device="cpu", per_class=2)["protocols"]
    for name in ("knn", "ridge"):
        assert flagged[name]["inferences"] == answer["protocols"][f"{name}:per_class=2"]["inferences"]


def test_parts_of_a_headline() -> None:
    class Telling:
        def headline(self, found: dict[str, Any]) -> Headline:
            return [("a", 1234), ("b", 1234.5678), ("c", "as it is"), ("d", 0.5, "%"), ("e", None, "%")]

    assert headline_parts(Telling(), {}) == ["a 1,234", "b 1235", "c as it is", "d 50.00 %"]
