"""Which runs a study consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.studies.variants import Variant
from pretask.training.build import build_method, pretext_names
from pretask.training.config import RunConfig
from pretask.training.config_files import override

EQUAL_EPOCHS = "equal-epochs"
EQUAL_COMPUTE = "equal-compute"


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        variant: the method and its own settings.
        seed: of the run and, unless the configuration fixes it, of its splits.
        epochs: how long it trains.
    """

    variant: Variant
    seed: int
    epochs: int

    @property
    def method(self) -> str:
        """What the run is called in tables."""
        return self.variant.name

    @property
    def name(self) -> str:
        """The run's folder below the study's."""
        return f"{self.variant.folder}-epochs{self.epochs}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Variants x seeds at one or two budgets; runs that both budgets share are made once.

    Attributes:
        variants: in table order.
        seeds: 0 … n-1 above the configuration's.
        epochs: for each budget and variant.
    """

    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    epochs: dict[str, dict[Variant, int]]

    @property
    def reference(self) -> Variant:
        """What others are compared with: the plain baseline where it takes part, else the first."""
        return next((v for v in self.variants if v.name == "baseline"), self.variants[0])

    def cell(self, budget: str, variant: Variant, seed: int) -> Cell:
        """Return the run of a variant at a budget from a seed."""
        return Cell(variant, seed, self.epochs[budget][variant])

    def cells(self) -> list[Cell]:
        """Return every run once, seed by seed, so that a stopped study has whole seeds."""
        wanted = [self.cell(b, v, s) for s in self.seeds for b in self.epochs for v in self.variants]
        return list(dict.fromkeys(wanted))


def check_plan(config: RunConfig, seeds: int) -> None:
    """Refuse what no study can have, before any data is read.

    Raises:
        PretaskError: no seed, or steps instead of epochs.
    """
    if seeds < 1:
        raise PretaskError(f"a study needs at least one seed, not {seeds}: type --seeds 3")
    if config.optim.steps is not None:
        raise PretaskError("a study counts in epochs: type --epochs instead of --steps")


def make_plan(
    config: RunConfig, variants: Sequence[Variant], seeds: int, equal_compute: bool, data: ImageData
) -> Plan:
    """Lay out a study.

    At equal epochs every method trains `config.optim.epochs`. At equal compute, a method whose step costs p passes
    per image trains max(p) / p times as long, so that all make the same number of forward-backward passes.

    Raises:
        PretaskError: parts of a method that do not suit the data or each other.
    """
    passes = {variant: passes_per_image(variant.config(config), data) for variant in variants}
    epochs = {EQUAL_EPOCHS: dict.fromkeys(variants, config.optim.epochs)}
    if equal_compute:
        most = max(passes.values())
        epochs[EQUAL_COMPUTE] = {v: round(config.optim.epochs * most / passes[v]) for v in variants}
    first = config.session.seed
    return Plan(tuple(variants), tuple(range(first, first + seeds)), epochs)


def cell_config(config: RunConfig, cell: Cell, folder: str) -> RunConfig:
    """Return the configuration of one run of a study."""
    return override(
        cell.variant.config(config), seed=cell.seed, epochs=cell.epochs, name=cell.name, runs=folder
    )


def passes_per_image(config: RunConfig, data: ImageData) -> float:
    """Return what a method's step costs per image, in forward-backward passes.

    Raises:
        PretaskError: parts of the method that do not suit the data or each other.
    """
    pretexts = pretext_names(config, data.image_size)
    return build_method(
        override(config, pretexts=pretexts, pretrained=False, init=None), data
    ).passes_per_image
