"""Linear classifiers on frozen features, of which one setting is chosen."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pretask.data.splits import hold_out
from pretask.errors import PretaskError
from pretask.evaluation.axes import principal_axes
from pretask.evaluation.features import FeatureBank, FeatureEvaluator, Features, probe_figures

HELD_OUT = 0.1
_SCORES_AT_A_TIME = 16_000_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Linear classifiers, one for each of G penalties.

    Attributes:
        weights: float32 `[R, G, N]`.
        intercept: float32 `[G, N]`.
        notes: what else to tell of each, G values for each name.
    """

    weights: Tensor
    intercept: Tensor
    notes: dict[str, list[Any]] = field(default_factory=dict)

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores `[n, G, N]` of features `[n, R]`."""
        return (x @ self.weights.flatten(1)).reshape(len(x), *self.intercept.shape) + self.intercept

    def member_scores(self, x: Tensor, g: int) -> Tensor:
        """Return the scores `[n, N]` of one of them."""
        return x @ self.weights[:, g] + self.intercept[g]


@dataclass(frozen=True, eq=False)
class Fitting:
    """What is fitted and what the penalty is chosen on: different images, neither of them judged."""

    fit: Features
    choose: Features
    chosen_on: str


class Probe(FeatureEvaluator):
    """A linear classifier on standardised features, its penalty chosen on images that are neither fitted nor judged.

    Options are those of `FeatureEvaluator`; `seed` chooses the images that are held out where there are no others.
    """

    penalties: tuple[float, ...]

    @abstractmethod
    def solve(self, x: Tensor, labels: Tensor, num_classes: int, variances: Tensor) -> Grid:
        """Fit one classifier for each penalty.

        Args:
            x: features `[n, R]` along their principal axes, see `PrincipalAxes`.
            labels: int64 `[n]`.
            num_classes: N.
            variances: float64 `[R]`, of the columns of x.
        """

    def judge(self, bank: FeatureBank) -> dict[str, Any]:
        """Return the figures of `probe_figures`, the penalty "l2" and how it was chosen.

        That is "chosen_on", "choosing_images" and "grid", pairs of penalty and top-1 there; and what `solve` notes.

        Raises:
            PretaskError: there are too few train images to hold any out.
        """
        fitting, judged, where = self.fitting(bank), bank[self.split], self.where
        to_axes = principal_axes(fitting.fit.values.to(where))
        x, labels = to_axes(fitting.fit.values.to(where)), fitting.fit.labels.to(where)
        grid = self.solve(x, labels, bank.num_classes, to_axes.variances)
        shares = _shares_right(
            grid, to_axes(fitting.choose.values.to(where)), fitting.choose.labels.to(where)
        )
        best = max(range(len(shares)), key=lambda g: (shares[g], g))
        answers = grid.member_scores(to_axes(judged.values.to(where)), best).cpu()
        return {
            **probe_figures(answers, judged, fitting.fit),
            "l2": self.penalties[best],
            "chosen_on": fitting.chosen_on,
            "choosing_images": len(fitting.choose),
            "grid": [list(pair) for pair in zip(self.penalties, shares, strict=True)],
            **{name: values[best] for name, values in grid.notes.items()},
        }

    def fitting(self, bank: FeatureBank) -> Fitting:
        """Return the images to fit and to choose on: train and validation.

        Without validation images, or where they are judged, a stratified share of the train images is held out.

        Raises:
            PretaskError: there are too few train images to hold any out.
        """
        train = bank["train"]
        if self.split != "validation" and bank.data.validation is not None:
            return Fitting(train, bank["validation"], "validation images")
        try:
            kept, held = hold_out(train.labels, HELD_OUT, self.seed)
        except PretaskError:
            raise PretaskError(
                f"{self.name} chooses its penalty on train images held out, and {len(train)} images of "
                f"{bank.num_classes} classes leave none: give data with a validation set, or use more labels"
            ) from None
        return Fitting(train.subset(kept), train.subset(held), "train images held out")

    def choosing(self) -> str:
        """Return how the penalty is chosen, for the protocol."""
        return (
            "chosen by top-1 on the validation images or, without any or where they are judged, on a stratified "
            f"{HELD_OUT:.0%} of the train images that is not fitted (seed {self.seed}), ties to the largest"
        )


def _shares_right(grid: Grid, x: Tensor, labels: Tensor) -> list[float]:
    """Return the top-1 of each member, ascending penalties."""
    right = torch.zeros(grid.weights.shape[1], dtype=torch.int64, device=x.device)
    rows = max(1, _SCORES_AT_A_TIME // grid.intercept.numel())
    for some, true in zip(torch.split(x, rows), torch.split(labels, rows), strict=True):
        right += (grid.scores(some).argmax(2) == true[:, None]).sum(0)
    shares: list[float] = (right.double() / len(x)).tolist()
    return shares
