"""Which runs a study consists of: variants of what is learned, seeds, and how long they train."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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


EQUAL_EPOCHS = "equal-epochs"
EQUAL_STEPS = "equal-steps"
EQUAL_COMPUTE = "equal-compute"

Unit = Literal["epochs", "steps"]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: the method and its own settings.
        seed: of the run and, unless the configuration fixes it, of its splits.
        length: how long it trains.
        unit: of the length.
    """

    variant: Variant
    seed: int
    length: int
    unit: Unit = "epochs"

    @property
    def method(self) -> str:
        """What the run is called in tables."""
        return self.variant.name

    @property
    def name(self) -> str:
        """The run's folder below the study's."""
        return f"{self.variant.folder}-{self.unit}{self.length}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Variants x seeds at one or two budgets; runs that both budgets share are made once.

    Attributes:
        variants: in table order.
        seeds: 0 … n-1 above the configuration's.
        lengths: for each budget and variant, how long it trains; the first budget is equal lengths.
        unit: of the lengths.
    """

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    lengths: dict[str, dict[Variant, int]]
    unit: Unit = "epochs"

    @property
    def reference(self) -> Variant:
        """What others are compared with: the plain baseline where it takes part, else the first."""
        return next((v for v in self.variants if v.name == "baseline"), self.variants[0])

    @property
    def equal_length(self) -> str:
        """The budget at which all train for the same length."""
        return next(iter(self.lengths))

    def cell(self, budget: str, variant: Variant, seed: int) -> Cell:
        """Return the run of a variant at a budget from a seed."""
        return Cell(variant, seed, self.lengths[budget][variant], self.unit)

    def cells(self) -> list[Cell]:
        """Return every run once, seed by seed, so that a stopped study has whole seeds."""
        wanted = [self.cell(b, v, s) for s in self.seeds for b in self.lengths for v in self.variants]
        return list(dict.fromkeys(wanted))

    def budgets(self, cell: Cell) -> list[str]:
        """Return the budgets to which a run belongs."""
        return [budget for budget, lengths in self.lengths.items() if lengths[cell.variant] == cell.length]


def check_seeds(seeds: int) -> None:
    """Refuse a study without seeds, before any data is read.

    Raises:
        PretaskError: no seed.
    """
    if seeds < 1:
        raise PretaskError(f"a study needs at least 1 seed, not {seeds}: type --seeds 3")


def unit_of(config: AnyConfig) -> Unit:
    """Return in what a configuration says how long to train."""
    return "epochs" if config.optim.steps is None else "steps"


def make_plan(
    config: AnyConfig, variants: Sequence[Variant], seeds: int, work: Mapping[Variant, float] | None = None
) -> Plan:
    """Lay out a study.

    At equal length every method trains as long as the configuration says. At equal compute, a method that does work w
    per epoch (or step) trains max(w) / w times as long, so that all make the same number of forward-backward passes.

    Args:
        config: what all share.
        variants: in table order.
        seeds: runs of each; see `check_seeds`.
        work: of each variant per epoch or step, in any unit; without it there is no budget of equal compute.
    """
    check_seeds(seeds)
    unit = unit_of(config)
    length = config.optim.steps if config.optim.steps is not None else config.optim.epochs
    equal = EQUAL_EPOCHS if unit == "epochs" else EQUAL_STEPS
    lengths = {equal: dict.fromkeys(variants, length)}
    if work is not None:
        most = max(work.values())
        lengths[EQUAL_COMPUTE] = {v: round(length * most / work[v]) for v in variants}
    first = config.session.seed
    return Plan(tuple(variants), tuple(range(first, first + seeds)), lengths, unit)


def cell_config(config: C, cell: Cell, folder: str) -> C:
    """Return the configuration of one run of a study."""
    length = {cell.unit: cell.length}
    return override(cell.variant.config(config), seed=cell.seed, name=cell.name, runs=folder, **length)
