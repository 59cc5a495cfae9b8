"""`model.json`: everything needed to use the weights beside it, checked when it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from pretask.backbones.stem import StemChoice
from pretask.errors import PretaskError
from pretask.io.documents import read_json_object
from pretask.methods.classifier import Reading

FORMAT = 1
CARD = "model.json"
_LARGEST_SIDE = 8192
_LONGEST_TEXT = 1000
_LARGEST_VALUE = 1e6


@dataclass(frozen=True)
class ModelCard:
    """Everything needed to use the weights, as `model.json` holds it.

    Attributes:
        backbone: name for `create_backbone`.
        image_size: (H, W) of the images the model was trained on.
        channels: of the images, values in [0, 1].
        class_names: N names, in the order of the logits; none where there is no class head.
        mean, std: normalisation, per channel.
        method: which objective trained it.
        inference: the default way to answer; empty where there is no class head.
        inferences: for each way, the pretexts whose views are seen, the layer where features are changed
            (or null for the end), how the head is read, the temperature that calibrates the logits, and the doubts of
            the validation images, see `pretask.evaluation.calibration`.
        facts: data set, seed, accuracy and the like; free, for people.
        pretrained: whether the network started from published weights: then mean and std are those of these weights,
            and a ResNet has their stem.
        preparation: what is done to a picture before or inside the model, where an export states it.
        stem: of a ResNet, where it is not that for the size of the images; see `create_backbone`.
        format: of the file; a larger number than this version's is refused.
    """

    backbone: str
    image_size: tuple[int, int]
    channels: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    method: str
    inference: str
    inferences: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    preparation: dict[str, Any] = field(default_factory=dict)
    stem: StemChoice = "auto"
    format: int = FORMAT


def read_card(folder: Path) -> ModelCard:
    """Read `model.json`.

    Args:
        folder: a run folder or an export.

    Raises:
        PretaskError: no such file, one that cannot be read or does not describe a model, or one of a newer format.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise _no_model(Path(folder))
    content = read_json_object(path, "train or export the model again")
    if _is_count(content.get("format")) and content["format"] > FORMAT:
        raise PretaskError(
            f"{path} has format {content['format']}, this version reads up to {FORMAT}: upgrade pretask, "
            "or train or export the model again"
        )
    wrong = _wrong_key(content)
    if wrong is not None:
        raise PretaskError(
            f"{path} is not a model card of pretask ({wrong} is missing or not possible): "
            "train or export the model again"
        )
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    return ModelCard(**values)


def _no_model(folder: Path) -> PretaskError:
    """Return the error for a folder without `model.json`: of a run that lost it, or has not come to it, or of none."""
    if (folder / "results.json").is_file():
        return PretaskError(
            f"{folder / 'model.json'} is missing: restore it, or train again with another --name"
        )
    if (folder / "config.yaml").is_file():
        return PretaskError(
            f"{folder} has no model yet, its training was stopped early: type `pretask train --resume {folder}`"
        )
    return PretaskError(
        f"no trained model in {folder}: give a run folder that holds model.json, or train one first"
    )


def _wrong_key(content: dict[str, Any]) -> str | None:
    """Return the first key that is unknown, missing or cannot be as it is."""
    known = {known.name for known in fields(ModelCard)}
    for key in sorted(content.keys() - known):
        return key[:80]
    for key, possible in _POSSIBLE.items():
        if key not in content or not possible(content[key]):
            return key
    for key, kind in (
        ("pretrained", bool),
        ("preparation", dict),
    ):  # cards of earlier versions do not have them
        if not isinstance(content.get(key, kind()), kind):
            return key
    if content.get("stem", "auto") not in get_args(StemChoice):  # likewise
        return "stem"
    if len(content["mean"]) != content["channels"] or len(content["std"]) != content["channels"]:
        return "channels"
    if content["inferences"] and content["inference"] not in content["inferences"]:
        return "inference"
    counts, names = content["facts"].get("class_counts"), content["class_names"]
    if counts is not None and not (_all(counts, _is_count) and len(counts) == (len(names) or len(counts))):
        return "facts"
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _is_number(value: Any) -> bool:
    # Whole numbers of any length are in JSON; what is larger than this is no brightness.
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < _LARGEST_VALUE


def _is_side(value: Any) -> bool:
    return _is_count(value) and 1 <= value <= _LARGEST_SIDE


def _all(values: Any, possible: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(possible, values))


def _is_inference(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _all(value.get("pretexts"), _is_text)
        and (value.get("layer") is None or _is_text(value["layer"]))
        and value.get("reading") in get_args(Reading)
        and _is_number(value.get("temperature", 1))
        and value.get("temperature", 1) > 0
        and _all(value.get("doubts", []), _is_number)
    )


_POSSIBLE: dict[str, Callable[[Any], bool]] = {
    "backbone": _is_text,
    "image_size": lambda value: _all(value, _is_side) and len(value) == 2,
    "channels": lambda value: value in (1, 3),
    "class_names": lambda value: _all(value, _is_text),
    "mean": lambda value: _all(value, _is_number),
    "std": lambda value: _all(value, _is_number),
    "method": _is_text,
    "inference": _is_text,
    "inferences": lambda value: isinstance(value, dict) and all(map(_is_inference, value.values())),
    "facts": lambda value: isinstance(value, dict) and _all(value.get("reconstructions", []), _is_text),
}
