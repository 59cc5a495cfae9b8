"""One, two and four ranks on gloo give the gradient of one process over their union, for every objective and base.

Ranks draw shares and partners as in a training, each from a random state of its own; one process is given their draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
import torch.distributed as dist
from small_objectives import images, make
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pretask.distributed.gathering import gather_over_ranks
from pretask.distributed.processes import share_batch_statistics
from pretask.errors import PretaskError
from pretask.options import options_of
from pretask.pretraining import BASES, OBJECTIVES, Objective
from pretask.pretraining.mixing import Shares, draw_shares
from ranks import check_equal_on_all, one_thread, run_ranks

Options = dict[str, Any]

TARGETS = {"average": {"target": "average"}, "with-gradient": {"target": "online", "stop_gradient": False}}


def choices(name: str) -> dict[str, Options]:
    """Every value of the options of mixing that name one or say yes or no, save those they have by themselves."""
    found = {}
    of_all = options_of(Objective)
    for key, option in OBJECTIVES.options(name).items():
        named = get_args(option.hint) if get_origin(option.hint) is Literal else ()
        for value in (False, True) if option.hint is bool else named:
            if key not in of_all and value != option.default:
                found[f"{key}={value}"] = {key: value}
    return found


def read_by(name: str, base: str) -> dict[str, Options]:
    """What to vary: each consistency over every base, all else that may change a formula over the default base."""
    options = {} if name in BASES.names() else choices(name)
    if name != "trimix":
        return options
    if base != OBJECTIVES.options(name)["base"].default:
        return {key: value for key, value in options.items() if key.startswith("consistency")}
    return {**TARGETS, **options}


def cases() -> dict[str, tuple[str, Options]]:
    """Every objective with every base that it takes, as it is and varied."""
    found = {}
    for name in OBJECTIVES.names():
        for base in [name] if name in BASES.names() else BASES.names():
            for words, options in {"": {}, **read_by(name, base)}.items():
                with suppress(PretaskError):
                    make(name, base=base, tiny=True, **options)
                    found[f"{name}:{base}:{words}"] = name, {"base": base, **options}
    return found


CASES = cases()


@contextmanager
def shares_by(draw: Callable[..., Shares]) -> Iterator[None]:
    """Have all objectives draw by `draw`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in OBJECTIVES.names():
            module = sys.modules[OBJECTIVES.get(name).__module__]
            if hasattr(module, "draw_shares"):
                patch.setattr(module, "draw_shares", draw)
        yield


class Kept:
    """Shares as they are drawn, kept."""

    def __init__(self) -> None:
        self.drawn: list[Shares] = []

    def __call__(self, images: torch.Tensor, alpha: float, per_sample: bool) -> Shares:
        self.drawn.append(draw_shares(images, alpha, per_sample))
        return self.drawn[-1]

    def of_all_ranks(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return λ and π of each draw, for the union of all ranks' images."""
        return [
            (
                gather_over_ranks(shares.share),
                gather_over_ranks(shares.order + dist.get_rank() * len(shares.order)),
            )
            for shares in self.drawn
        ]


def build(case: str) -> Objective:
    name, options = CASES[case]
    objective = make(name, tiny=True, **options)
    objective.augment = TwoViews()
    return objective


class TwoViews(nn.Module):
    """The image as it is, then mirrored: views that differ without any draw."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x if self.calls % 2 else x.flip(3)


def on_rank(rank: int, world: int, folder: Path) -> None:
    saved = {}
    for case in CASES:
        objective = share_batch_statistics(build(case), torch.device("cpu"))
        model = DistributedDataParallel(objective)
        kept = Kept()
        torch.manual_seed(100 + rank)
        with shares_by(kept):
            parts = model(images()[rank * 8 // world : (rank + 1) * 8 // world])
        parts["loss"].backward()
        gradients = {k: p.grad for k, p in objective.named_parameters() if p.grad is not None}
        check_equal_on_all([*gradients.values(), *objective.buffers(), parts["spread"]])
        saved[case] = {"gradients": gradients, "spread": parts["spread"], "drawn": kept.of_all_ranks()}
    if rank == 0:
        torch.save(saved, folder / "saved.pt")


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=[1, 2, 4])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = run_ranks(on_rank, request.param, tmp_path_factory.mktemp("ranks"))
    return torch.load(folder / "saved.pt", weights_only=True)


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_one_process_over_the_union(ranks: dict[str, Any], case: str) -> None:
    saved, objective = ranks[case], build(case)
    drawn = iter(saved["drawn"])
    with shares_by(lambda *_, **__: Shares(*next(drawn))):
        parts = objective(images())
    parts["loss"].backward()
    gradients = {k: p.grad for k, p in objective.named_parameters() if p.grad is not None}
    torch.testing.assert_close(saved["gradients"], gradients, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(saved["spread"], parts["spread"])
    assert next(drawn, None) is None


def test_every_objective_is_tried_over_all_bases_or_all_that_predict() -> None:
    """A refusal of anything else would leave cases out unseen."""
    every = {*BASES.names()}
    predicting = {base for base in every if BASES.get(base).predicts}
    for name in {*OBJECTIVES.names()} - every:
        bases = {options["base"] for of, options in CASES.values() if of == name}
        assert bases in (every, predicting), name
    assert every <= {name for name, _ in CASES.values()}
