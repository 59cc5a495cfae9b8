"""Evaluates a trained run by named protocols, on its own data or others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from pretask.config.files import AnyConfig, load_any_config, override
from pretask.data import SOURCES, ImageData, LabelledImages, apply_splits, load_data
from pretask.data.identity import Found, Identity
from pretask.data.images.containers import SPLITS
from pretask.data.images.contents import copies_of
from pretask.data.load import fixed_source, has_place
from pretask.data.splits.classes import in_order
from pretask.errors import PretaskError
from pretask.evaluation.adversarial import Robustness
from pretask.evaluation.base import EVALUATORS, Evaluator, create_evaluator, headline_parts, uses_features
from pretask.evaluation.features import Budget, FeatureBank, FeatureEvaluator
from pretask.methods import ModelCard, load_classifier, load_encoder, no_head, read_card
from pretask.training.data import build_data, split_seed, unsplit_data
from pretask.training.device import resolve_device
from pretask.training.guest import as_guest
from pretask.training.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run is judged on.

    Attributes:
        images: at the model's size and channels.
        own: whether they are those of the run, in the splits that it was trained with.
        notes: what a user should know of them, in lines.
    """

    images: ImageData
    own: bool
    notes: tuple[str, ...] = ()


def read_data(
    folder: Path, source: Any, card: ModelCard, needed: Sequence[str] = ("test",), skip_bad: bool = False
) -> RunData:
    """Return the run's own data, or what `source` names as it is, at the model's image size and channels.

    The run's own images are found again where some were added, renamed or moved; `source` may name their new place.

    Args:
        folder: of the run, or an export.
        source: what `load_data` takes; None for the run's own data.
        card: of its model.
        needed: splits whose images must all be there, as they were.
        skip_bad: leave out images that cannot be read.

    Raises:
        PretaskError: the folder is an export, which has no data of its own; data that cannot be read; images of the run
            that are missing, have changed or have other labels.
    """
    config, known = _known(folder)
    if source is not None:
        found = load_data(source, image_size=card.image_size, channels=card.channels, skip_bad=skip_bad)
        return RunData(found, own=False) if known is None else _other_data(found, folder, known, needed)
    if config is None:
        raise PretaskError(
            f"{folder} is an export, which does not know its data: type --data, or give the run folder"
        )
    if skip_bad:
        config = override(config, skip_bad=True)
    if known is None:
        drawn = config.kind != "episodes" and fixed_source(config.data.data) not in SOURCES.names()
        note = f"{folder} does not know its images (an older version made it): they are split anew"
        return RunData(build_data(config), own=True, notes=(note,) if drawn else ())
    if known.place is None:
        raise PretaskError(
            f"{folder} was trained on objects given in Python: give them again, as evaluate_run(…, data=…), or type "
            "--data with a file or folder that holds the same images, such as an .npz of the arrays"
        )
    config = override(config, data=known.place)
    if not has_place(known.place):
        raise PretaskError(
            f"the images of {folder} were in {known.place}, which is not there: type --data with their new place"
        )
    images = unsplit_data(config, size=card.image_size, channels=card.channels)
    found_again = known.look_for(images)
    if fault := found_again.complaint(needed, images.skipped):
        raise PretaskError(
            f"{folder} was trained with other images than {known.place} holds: {fault}; put them back, or type --data "
            "with their place"
        )
    return RunData(
        found_again.recalled(images), own=True, notes=_differences(found_again, known.place, folder)
    )


def _known(folder: Path) -> tuple[AnyConfig | None, Identity | None]:
    """Return the configuration of a run, and what it knows of its images; None for what is not there."""
    run = RunFolder(folder)
    if not run.begun:
        return None, None
    config = load_any_config(run.config)
    return config, None if config.kind == "episodes" else run.known_images()


def _other_data(data: ImageData, folder: Path, known: Identity, needed: Sequence[str]) -> RunData:
    """Return other data, or the run's own images where they are among it."""
    found = known.look_for(data)
    own = all(name in known.parts for name in needed) and not found.complaint(needed)
    if own and (data.test is None or not found.complaint()):
        note = f"{data.name} holds the images of {folder}: its own splits are used"
        return RunData(found.recalled(data), True, (note, *_differences(found, data.name, folder)))
    trained = known.parts["train"].contents
    notes = []
    for name in SPLITS:
        part: LabelledImages | None = getattr(data, name)
        if part is not None and (copies := copies_of(part.known_contents(), trained)):
            notes.append(
                f"{copies:,} of {len(part):,} {name} images of {data.name} are train images of {folder}"
            )
    return RunData(data, False, tuple(notes))


def _differences(found: Found, place: str, folder: Path) -> tuple[str, ...]:
    differ = found.differences
    return (
        (f"{place} has changed since {folder} was trained: {differ}; its own images are used",)
        if differ
        else ()
    )


def for_heads(data: ImageData, card: ModelCard, own: bool) -> ImageData:
    """Return data of which a class head can be asked, with the images of each class that it was trained on.

    Classes are matched by name.

    Raises:
        PretaskError: other class names than the model's.
    """
    if set(data.class_names) != set(card.class_names):
        raise PretaskError(
            f"{data.name} has the classes {_some(data.class_names)}, the model knows {_some(card.class_names)}: "
            "give data with the same class names"
        )
    data = in_order(data, card.class_names)
    if own:
        return data
    # What counts as many or few is what the model was trained on, not what it is judged on.
    counts = card.facts.get("class_counts")
    return replace(data, train_counts=None if counts is None else tuple(counts))


def split_for_probes(data: ImageData, own: bool, seed: int) -> ImageData:
    """Return data to fit probes on: others than the run's own are split.

    Args:
        data: see `read_data`.
        own: whether it is the run's, and split.
        seed: of the splits of other data.

    Raises:
        PretaskError: data without classes, or with too few images to be split.
    """
    if data.num_classes < 2:
        raise PretaskError(
            f"{data.name} has no classes to judge features by: type --data with images that have"
        )
    if own:
        return data
    split = apply_splits(data, seed=seed)
    if split.test is None or split.validation is None:
        raise PretaskError(
            f"{data.name} has {len(data.train)} train images of {data.num_classes} classes, too few to hold out "
            "test and validation images: give more of each class, or data with test and validation images"
        )
    return split


def seed_of(folder: Path, card: ModelCard) -> int:
    """Return the seed of a run's splits; that of its card where the folder is an export."""
    path = folder / "config.yaml"
    if not path.is_file():
        return int(card.facts.get("seed", 0))
    return split_seed(load_any_config(path))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


FEATURES = "features"
"""Stands for the inference where a protocol uses the features alone."""


@as_guest()
def evaluate_run(
    folder: Path | str,
    protocols: Sequence[str] = ("accuracy",),
    inference: str | None = None,
    split: str = "test",
    data: Any = None,
    batch_size: int = 256,
    device: str = "auto",
    epsilon: float | None = None,
    per_class: int | None = None,
    label_fraction: float | None = None,
    seed: int | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Evaluate a run on its own data, split as it was for training, or on other data.

    Protocols that ask the class head take other data as it is, with the same class names. Protocols on features
    need no head: they take any classes, and other data is split as for a training.

    Args:
        folder: a run folder; an export too, where `data` is given.
        protocols: names of evaluators, with options of their own where wanted: "knn:k=5".
        inference: one way to answer; None takes all that the run offers, and the default one under attack.
        split: "train", "validation" or "test".
        data: other data, as `load_data` takes it, of which `split` is used; brought to the model's image size and
            channels. Where the run's own images are found there, they are used in the run's own splits.
        batch_size: images in a forward pass.
        device: "auto", "cpu", "cuda" or "mps".
        epsilon: radius of attacks in pixel values of [0, 1]; None for what each protocol stands for.
        per_class: train images of each class that protocols on features may learn from.
        label_fraction: the same as a share of each class.
        seed: chooses these images; None is the seed of the run's splits.
        skip_bad: leave out images that cannot be read.

    Returns:
        {"run", "data", "notes": what a user should know of the images, "protocols": {name: {"protocol": …,
        "inferences": {inference: what the evaluator found}}}}; with protocols on features, whose only inference is
        "features", also "features": {"transfer": None or {"from", "to"}, "per_class", "label_fraction", "seed",
        "notes": what was done to the splits}.

    Raises:
        PretaskError: no such run, evaluator, option, inference or split; a head is asked for that is not there, or
            about other classes; an epsilon that is outside [0, 1] or for no attack; labels for no protocol on
            features, or more than there are.
    """
    path, where = Path(folder), resolve_device(device)
    card = read_card(path)
    split_seed = seed_of(path, card) if any(map(uses_features, protocols)) else 0
    labels = {"per_class": per_class, "label_fraction": label_fraction}
    label_seed = split_seed if seed is None else seed
    settings = {"split": split, "batch_size": batch_size, "device": where}
    defaults = {"epsilon": None if epsilon is None else 255 * epsilon, "seed": label_seed, **labels}
    evaluators = {spec: create_evaluator(spec, settings, defaults) for spec in protocols}
    on_features = [spec for spec in evaluators if uses_features(spec)]
    _check_options(evaluators, on_features, epsilon, inference, labels={**labels, "seed": seed})
    if len(on_features) < len(evaluators) and not card.inferences:
        raise no_head(path)

    needed = ("train", "validation", "test") if on_features else (split,)
    judged = read_data(path, data, card, needed, skip_bad)
    own, images = judged.own, judged.images
    answer: dict[str, Any] = {
        "run": str(path), "data": images.name, "notes": list(judged.notes), "protocols": {},
    }  # fmt: skip
    if len(on_features) < len(evaluators):
        asked = for_heads(images, card, own)
    if on_features:
        usual = Budget(per_class, label_fraction, label_seed)
        probes = _Probes(load_encoder(path, card).to(where), split_for_probes(images, own, split_seed), usual)
        answer["features"] = {
            "transfer": None if own else _transfer(card, images),
            **labels,
            "seed": label_seed,
            "notes": list(probes.allowed(usual).notes),
        }
    for spec, evaluator in evaluators.items():
        if spec in on_features:
            answer["protocols"][spec] = probes.ask(evaluator)
            continue
        found = {
            mode: evaluator(load_classifier(path, mode, card).to(where), asked)
            for mode in _modes(evaluator, card, inference)
        }
        answer["protocols"][spec] = {"protocol": evaluator.protocol, "inferences": found}
    return answer


class _Probes:
    """Asks evaluators on features, which share what they have in common.

    Args:
        encoder: whose features they are.
        data: split, with all its train images.
        usual: from how many of them is learned where an evaluator's spec says nothing else.
    """

    def __init__(self, encoder: nn.Module, data: ImageData, usual: Budget) -> None:
        self._encoder, self._usual = encoder, usual
        self._allowed = {Budget(): data}
        self._banks: dict[Budget, FeatureBank] = {}

    def allowed(self, budget: Budget) -> ImageData:
        """Return the data with the train images that may be learned from."""
        budget = Budget() if budget.unlimited else budget
        if budget not in self._allowed:
            self._allowed[budget] = budget.apply(self._allowed[Budget()])
        return self._allowed[budget]

    def ask(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return an evaluator's part of the answer."""
        budget = evaluator.budget if isinstance(evaluator, FeatureEvaluator) else self._usual
        data = self.allowed(budget)
        if isinstance(evaluator, FeatureEvaluator):
            key = Budget() if budget.unlimited else budget
            beside = next(iter(self._banks.values()), None)
            bank = self._banks.setdefault(key, FeatureBank(self._encoder, data, evaluator, beside))
            found = evaluator.judge(bank)
        else:
            found = evaluator(self._encoder, data)
        own = [note for note in data.notes if note not in self.allowed(self._usual).notes]
        notes = {"notes": own} if own else {}
        return {"protocol": evaluator.protocol, "inferences": {FEATURES: found}, **notes}


def headlines(answer: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return what is printed of the protocols of an answer of `evaluate_run`: entries, by protocol and inference."""
    shown = {}
    for spec, entry in answer["protocols"].items():
        evaluator = create_evaluator(spec, {"split": "test", "batch_size": 1, "device": "cpu"})
        shown[spec] = {name: headline_parts(evaluator, found) for name, found in entry["inferences"].items()}
    return shown


def _check_options(
    evaluators: Mapping[str, Evaluator],
    on_features: Sequence[str],
    epsilon: float | None,
    inference: str | None,
    labels: Mapping[str, float | None],
) -> None:
    """Refuse options that none of the evaluators has."""
    given = ", ".join(evaluators)
    if epsilon is not None and not any(
        "epsilon" in EVALUATORS.options(spec.partition(":")[0]) for spec in evaluators
    ):
        raise PretaskError(
            f"epsilon is the radius of an attack, and none is among {given}: type --protocol pgd20"
        )
    if inference is not None and len(on_features) == len(evaluators):
        raise PretaskError(f"--inference {inference} reads a class head, and {given} use features: drop it")
    flags = [f"--{name.replace('_', '-')}" for name, value in labels.items() if value is not None]
    if flags and not on_features:
        raise PretaskError(
            f"{' and '.join(flags)}: this is for protocols on features, and none is among {given}: "
            "type --protocol knn linear"
        )


def _modes(evaluator: Evaluator, card: ModelCard, inference: str | None) -> list[str]:
    if inference is not None:
        return [inference]
    # Under attack an image costs tens to hundreds of passes, for each view that an inference averages.
    return [card.inference] if isinstance(evaluator, Robustness) else list(card.inferences)


def _transfer(card: ModelCard, data: ImageData) -> dict[str, str] | None:
    """Return from where to where the features are carried, or None where the data is known to the model."""
    trained_on = str(card.facts.get("data", "unknown data"))
    known = not card.class_names or card.class_names == data.class_names
    return None if known and data.name == trained_on else {"from": trained_on, "to": data.name}
