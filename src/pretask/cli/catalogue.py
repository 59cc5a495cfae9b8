"""What `pretask list` shows: every part by name, with a line of its own documentation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pretask.config.recipes import recipe_names, recipe_result, recipe_text
from pretask.options import Option
from pretask.specs import default_options

if TYPE_CHECKING:
    from pretask.registry import Registry

_SHOWN_LABELS = 6


def entries(kind: str) -> list[str]:
    """Return a line per part of a kind, which is one of the keys of `KINDS`."""
    return KINDS[kind]()


def _methods() -> list[str]:
    from pretask.methods import METHODS

    return _parts(METHODS)


def _pretraining() -> list[str]:
    from pretask.pretraining import BASES, OBJECTIVES

    described = {name: BASES.get(name) for name in BASES.names()}
    return _parts(OBJECTIVES, described)


def _losses() -> list[str]:
    from pretask.losses import LOSSES

    return _parts(LOSSES)


def _gates() -> list[str]:
    from pretask.methods import GATES

    return _parts(GATES)


def _pretexts() -> list[str]:
    from pretask.pretexts import PRETEXTS

    def line(name: str) -> str:
        pretext, options = PRETEXTS.get(name)(), default_options(PRETEXTS.options(name))
        labels = pretext.label_names()
        shown = labels if len(labels) <= _SHOWN_LABELS else [*labels[: _SHOWN_LABELS - 1], "…", labels[-1]]
        text = f"{name:<16} {len(labels)} labels: {', '.join(shown)}"
        return f"{text}; options {name}{options}" if options else text

    return [line(name) for name in PRETEXTS.names()]


def _backbones() -> list[str]:
    from pretask.backbones import backbone_names

    return backbone_names()


def _data() -> list[str]:
    from pretask.data.sources import SOURCES

    named = [_line(name, SOURCES.get(name)) for name in SOURCES.names()]
    return [
        *named,
        "or: a folder of class folders, a .csv of files and labels, a parquet file or folder, an .npz as "
        "MedMNIST's, hf:owner/name, hf://datasets/owner/name",
    ]


def _augmentations() -> list[str]:
    from pretask.data.loaders.augmentation import augment_descriptions

    return [f"{name:<30} {text}" for name, text in augment_descriptions().items()]


def _evaluators() -> list[str]:
    from pretask.evaluation import EVALUATORS

    return _parts(EVALUATORS)


def _explanations() -> list[str]:
    from pretask.explain import PARTS

    return [_line(name, PARTS.get(name)) for name in PARTS.names()]


def _executors() -> list[str]:
    from pretask.studies.executors import EXECUTORS

    return [_line(name, EXECUTORS.get(name)) for name in EXECUTORS.names()]


def _recipes() -> list[str]:
    """Return a line per recipe: name, title, and what came of it where it was run here."""
    return [
        f"{name:<34} {recipe_text(name).splitlines()[0].lstrip('# ')}; run here: {recipe_result(name) or 'no'}"
        for name in recipe_names()
    ]


def _options() -> list[str]:
    """Return a line per option: flag, values, default, help, and the parts that have it."""
    from pretask.attacks import ATTACKS
    from pretask.evaluation import EVALUATORS
    from pretask.losses import LOSSES
    from pretask.methods import GATES, METHODS
    from pretask.methods.episodic import HEADS
    from pretask.pretexts import PRETEXTS
    from pretask.pretraining import BASES, OBJECTIVES

    holders: dict[Option, list[str]] = {}
    registries: tuple[Registry[Any], ...] = (
        METHODS, LOSSES, GATES, ATTACKS, OBJECTIVES, BASES, HEADS, PRETEXTS, EVALUATORS,
    )  # fmt: skip
    for registry in registries:
        for name in registry.names():
            for option in registry.options(name).values():
                holders.setdefault(option, []).append(name)
    return [
        f"{option.name:<20} {option.words()} [{option.written(option.default)}] {option.help}; "
        f"of {', '.join(dict.fromkeys(names))}"
        for option, names in sorted(holders.items(), key=lambda item: item[0].name)
    ]


def _parts(registry: Registry[Any], described: Mapping[str, Any] | None = None) -> list[str]:
    """Return a line per part, and one with its options at their defaults where it has some."""
    lines = []
    for name in registry.names():
        lines.append(_line(name, (described or {}).get(name, registry.get(name))))
        if options := default_options(registry.options(name)):
            lines.append(f"{'':<17}{name}{options}")
    return lines


def _line(name: str, part: Any) -> str:
    return f"{name:<16} {(inspect.getdoc(part) or '').partition(chr(10))[0]}"


KINDS = {
    "methods": _methods,
    "pretraining": _pretraining,
    "losses": _losses,
    "gates": _gates,
    "pretexts": _pretexts,
    "backbones": _backbones,
    "data": _data,
    "augmentations": _augmentations,
    "evaluators": _evaluators,
    "explanations": _explanations,
    "executors": _executors,
    "options": _options,
    "recipes": _recipes,
}
