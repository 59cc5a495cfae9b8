"""What studies of each kind of training vary: the key that names a variant, and the keys it may have of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from pretask.config.episodes import EpisodesConfig, FewShotConfig
from pretask.config.files import AnyConfig
from pretask.config.pretraining import PretrainConfig, PretrainingConfig
from pretask.config.sections import BackboneConfig, MethodConfig, OptimConfig, RunConfig
from pretask.errors import unknown_name
from pretask.methods import METHODS
from pretask.pretraining import objective_names


@dataclass(frozen=True)
class Kind:
    """How configurations of one kind take part in a study.

    Attributes:
        key: of the configuration, which the first word of a variant sets.
        check: raises where that word names nothing.
        own: keys in which variants may differ: how they learn, not what from, how long, or whence.
    """

    key: str
    check: Callable[[str], object]
    own: frozenset[str]


def kind_of(config: AnyConfig) -> Kind:
    """Return how a configuration takes part in studies."""
    return _KINDS[type(config)]


def _keys(*sections: type[Any]) -> frozenset[str]:
    return frozenset(field.name for section in sections for field in fields(section))


def _objective(name: str) -> None:
    if name not in objective_names():
        raise unknown_name("pre-training method", name, objective_names())


def _head(name: str) -> None:
    from pretask.methods.episodic import HEADS

    if name not in HEADS:
        raise unknown_name("few-shot head", name, HEADS)


_LEARNING = _keys(BackboneConfig, OptimConfig) - {"epochs", "steps"}
_TASK = {"ways", "shots", "queries", "test_episodes"}
_KINDS = {
    RunConfig: Kind("method", METHODS.get, (_LEARNING | _keys(MethodConfig) | {"augment"}) - {"method"}),
    PretrainConfig: Kind("method", _objective, (_LEARNING | _keys(PretrainingConfig)) - {"method"}),
    FewShotConfig: Kind("head", _head, (_LEARNING | _keys(EpisodesConfig)) - {"head"} - _TASK),
}
