"""What a study compares: methods, each with settings of its own where it is given some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from pretask.config.files import AnyConfig, C, config_types, override
from pretask.config.sections import RunConfig
from pretask.errors import PretaskError
from pretask.io.documents import parse_yaml
from pretask.methods import METHODS
from pretask.methods.auxiliary import AuxiliaryTasks
from pretask.studies.kinds import kind_of


@dataclass(frozen=True)
class Variant:
    """A method and the settings in which it differs from the rest of the study.

    Attributes:
        name: as it stands in tables: "gssl" or "gssl:gate=frozen".
        method: its name.
        settings: pairs of key and value.
    """

    name: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def folder(self) -> str:
        """The name without signs that a file system may refuse."""
        return re.sub(r"[^\w.+-]+", "-", self.name)

    def config(self, config: C) -> C:
        """Return the study's configuration with this variant's method and settings.

        Raises:
            PretaskError: a setting that does not exist, or a value that it cannot have.
        """
        gate = {"gate": config.method.gate[:1]} if isinstance(config, RunConfig) else {}
        return override(config, **{**gate, kind_of(config).key: self.method, **dict(self.settings)})


def parse_variants(names: Sequence[str], config: AnyConfig) -> tuple[Variant, ...]:
    """Read methods, each "name" or "name:key=value:key=value"; list values are parted by commas.

    Where the configuration names several gates, each method with a gate becomes one variant per gate.

    Raises:
        PretaskError: no method, one twice, an unknown one, or settings that do not exist.
    """
    variants = [variant for name in names for variant in _with_gates(_parse(name, config), config)]
    if not variants or len({variant.name for variant in variants}) != len(variants):
        raise PretaskError("a study needs different methods: type --methods and names, each once")
    for variant in variants:
        variant.config(config)
    return tuple(variants)


def _parse(text: str, config: AnyConfig) -> Variant:
    method, *settings = text.split(":")
    kind_of(config).check(method)
    return Variant(text, method, tuple(_setting(text, setting, config) for setting in settings))


def _setting(text: str, setting: str, config: AnyConfig) -> tuple[str, Any]:
    key, sign, value = setting.partition("=")
    if not sign:
        raise PretaskError(
            f"method '{text}' has a setting without a value, '{setting}': type it as in gssl:gate=frozen"
        )
    key = key.replace("-", "_")
    types = config_types(type(config))
    if key in types and key not in kind_of(config).own:
        raise PretaskError(
            f"method '{text}' has {key} of its own, which a study gives to all alike: "
            f"type --{key.replace('_', '-')} for the whole study"
        )
    if get_origin(types.get(key)) is tuple:
        return key, tuple(parse_yaml(part, f"{setting} of method {text}") for part in value.split(","))
    return key, parse_yaml(value, f"{setting} of method {text}")


def _with_gates(variant: Variant, config: AnyConfig) -> list[Variant]:
    """Return the variant once for each gate asked for, where it has one and does not name its own."""
    if not isinstance(config, RunConfig):
        return [variant]
    gates, kind = config.method.gate, METHODS.get(variant.method)
    own = any(key == "gate" for key, _ in variant.settings)
    if len(gates) == 1 or own or not _has_gate(kind):
        return [variant]
    return [
        Variant(f"{variant.name}:gate={gate}", variant.method, (*variant.settings, ("gate", (gate,))))
        for gate in gates
    ]


def _has_gate(kind: type) -> bool:
    return issubclass(kind, AuxiliaryTasks) and kind.gated and len(kind.default_pretexts) > 1
