"""Objectives by name: those that mix, and each base alone."""

from __future__ import annotations

from dataclasses import replace

from pretask.errors import unknown_name
from pretask.pretraining.base import BASES
from pretask.pretraining.objective import OBJECTIVES, Objective, ObjectiveParts
from pretask.pretraining.plain import Plain

_PLAIN = "plain"


def objective_names() -> list[str]:
    """Return the names that `create_objective` knows: bases alone first."""
    return [*BASES.names(), *(name for name in OBJECTIVES.names() if name != _PLAIN)]


def default_base(name: str) -> str:
    """Return the base that an objective has where none is given; of a base alone, that base.

    Raises:
        PretaskError: an unknown name.
    """
    return name if name in BASES.names() else _mixing(name).default_base


def create_objective(name: str, parts: ObjectiveParts) -> Objective:
    """Return an objective; the name of a base is that base alone.

    Raises:
        PretaskError: an unknown name, or parts that do not suit the objective.
        MissingExtra: `lightly` or `kornia` is not installed.
    """
    if name in BASES.names():
        return Plain(replace(parts, base=name))
    return _mixing(name)(parts)


def _mixing(name: str) -> type[Objective]:
    if name not in objective_names():
        raise unknown_name("pre-training method", name, objective_names())
    return OBJECTIVES.get(name)
