"""Pretexts by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pretask.errors import PretaskError
from pretask.options import Option
from pretask.pretexts.base import Pretext
from pretask.pretexts.products import product
from pretask.registry import Registry
from pretask.specs import write_spec


class PretextRegistry(Registry[Callable[..., Pretext]]):
    """Pretexts by name; "A+B" is their product, whose options are those of its last factor."""

    def __init__(self) -> None:
        super().__init__("pretext", "pretask.pretexts")

    def options(self, name: str) -> dict[str, Option]:
        """Return the options of a pretext, or of the last factor of a product; see `Registry.options`."""
        return super().options(name.rpartition("+")[2])


PRETEXTS = PretextRegistry()
"""What makes a pretext, by name; its parameters are the pretext's options, all with defaults."""


def create_pretexts(names: str | Sequence[str]) -> tuple[Pretext, ...]:
    """Return a pretext for each entry.

    Args:
        names: one entry or several. An entry is a name, which may have options ("discard:groups=8"), or the
            product of several, joined by "+" ("rotation2+color3").

    Raises:
        PretaskError: an unknown name or option, a value that is not allowed, pretexts on images and on features
            in one entry, or no entries at all.
    """
    entries = [names] if isinstance(names, str) else names
    if not entries:
        raise PretaskError(
            f"a pretext is needed: type --pretexts with one or more of {', '.join(PRETEXTS.names())}"
        )
    return tuple(_create_entry(entry) for entry in entries)


def create_pretext(names: str | Sequence[str]) -> Pretext:
    """Return the pretext called `names`, or the product of several.

    Args:
        names: as in `create_pretexts`.

    Raises:
        PretaskError: as in `create_pretexts`.
        ValueError: entries on images and entries on features, which cannot be applied at once; see `split_domains`.
    """
    return product(create_pretexts(names))


def _create_entry(entry: str) -> Pretext:
    factors = [_create_one(spec) for spec in entry.split("+")]
    if len({factor.domain for factor in factors}) > 1:
        raise PretaskError(
            f"{entry} joins a pretext on images with one on features: "
            f"name them apart, as in --pretexts {entry.replace('+', ' ')}"
        )
    return product(factors)


def _create_one(spec: str) -> Pretext:
    name, values = PRETEXTS.read(spec)
    pretext = PRETEXTS.get(name)(**values)
    if values and ":" not in pretext.name:  # a pretext that leaves its full name to us
        pretext.name = write_spec(pretext.name, PRETEXTS.options(name), values)
    return pretext
