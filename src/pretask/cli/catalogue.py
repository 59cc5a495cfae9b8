"""What `pretask list` shows: every part by name, with a line of its own documentation."""

from __future__ import annotations

import inspect
from typing import Any

from pretask.config.recipes import recipe_names, recipe_text

_SHOWN_LABELS = 6


def entries(kind: str) -> list[str]:
    """Return a line per part of a kind, which is one of the keys of `KINDS`."""
    return KINDS[kind]()


def _methods() -> list[str]:
    from pretask.methods import METHODS

    return [_line(name, METHODS.get(name)) for name in METHODS.names()]


def _pretraining() -> list[str]:
    from pretask.pretraining import BASES, OBJECTIVES

    return [
        _line(name, BASES.get(name) if name in BASES.names() else OBJECTIVES.get(name))
        for name in OBJECTIVES.names()
    ]


def _losses() -> list[str]:
    from pretask.losses import LOSSES

    return [_line(name, LOSSES.get(name)) for name in LOSSES.names()]


def _gates() -> list[str]:
    from pretask.methods import GATES

    return [_line(name, GATES.get(name)) for name in GATES.names()]


def _pretexts() -> list[str]:
    from pretask.options import default_options
    from pretask.pretexts import PRETEXTS

    def line(name: str) -> str:
        pretext, options = PRETEXTS.get(name)(), default_options(PRETEXTS.options(name))
        labels = pretext.label_names()
        shown = labels if len(labels) <= _SHOWN_LABELS else [*labels[: _SHOWN_LABELS - 1], "…", labels[-1]]
        told = f"{name:<16} {len(labels)} labels: {', '.join(shown)}"
        return f"{told}; options {name}{options}" if options else told

    return [line(name) for name in PRETEXTS.names()]


def _backbones() -> list[str]:
    from pretask.backbones import backbone_names

    return backbone_names()


def _data() -> list[str]:
    from pretask.data.sources import SOURCES

    named = [_line(name, SOURCES.get(name)) for name in SOURCES.names()]
    return [
        *named,
        "or: a folder of class folders, a parquet file or folder, an .npz as MedMNIST's, hf:owner/name, "
        "hf://datasets/owner/name",
    ]


def _augmentations() -> list[str]:
    from pretask.data.loaders.augmentation import augment_names

    return augment_names()


def _evaluators() -> list[str]:
    from pretask.evaluation import EVALUATORS

    return [_line(name, EVALUATORS.get(name)) for name in EVALUATORS.names()]


def _explanations() -> list[str]:
    from pretask.explain import PARTS

    return [_line(name, PARTS.get(name)) for name in PARTS.names()]


def _executors() -> list[str]:
    from pretask.studies.executors.base import EXECUTORS

    return [_line(name, EXECUTORS.get(name)) for name in EXECUTORS.names()]


def _recipes() -> list[str]:
    return [f"{name:<28} {recipe_text(name).splitlines()[0].lstrip('# ')}" for name in recipe_names()]


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
    "recipes": _recipes,
}
