"""What a study compares: methods, each with settings of its own where it is given some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretask.config.files import AnyConfig, C, override, read_variant, to_flat
from pretask.errors import PretaskError


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
        return override(config, **{config.named_by: self.method, **dict(self.settings)})


def parse_variants(names: Sequence[str], config: AnyConfig) -> tuple[Variant, ...]:
    """Read methods, each "NAME" or "NAME:key=value:key=value"; see `read_variant`.

    Raises:
        PretaskError: no method, one twice, an unknown one, or settings that do not exist.
    """
    variants = tuple(_parse(name, config) for name in names)
    if not variants or len({variant.name for variant in variants}) != len(variants):
        raise PretaskError("a study needs different methods: type --methods and names, each once")
    for variant in variants:
        variant.config(config)
    return variants


def _parse(text: str, config: AnyConfig) -> Variant:
    settings = read_variant(type(config), text, to_flat(config))
    method = settings.pop(config.named_by)
    return Variant(text, method, tuple(settings.items()))
