"""Linear probes of frozen features: logistic and ridge regression."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.data.splits.indices import hold_out
from pretask.errors import PretaskError
from pretask.evaluation import logistic
from pretask.evaluation.base import EVALUATORS, Headline
from pretask.evaluation.features import (
    FeatureBank,
    FeatureEvaluator,
    Features,
    accuracy_entries,
    probe_metrics,
    size_entries,
)

_SMALLEST_SHARE = 1e-10  # of the largest variance; float32 features hold nothing below
_ROWS = 8192


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Mean and standard deviation of features, and the eigenvectors of their correlations.

    The turn leaves distances and the squared norm of weights as they are, so a ridge or logistic regression has
    the same solution before and after. Axes without variance are left out: penalised weights are 0 there.

    Attributes:
        mean: float32 `[D]`.
        axes: float32 `[D, R]`: eigenvectors over the standard deviations, R ≤ D.
        variances: float64 `[R]`, of the train features along the axes, ascending.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Map features `[n, D]` to `[n, R]`."""
        return (values - self.mean) @ self.axes


def principal_axes(values: Tensor) -> PrincipalAxes:
    """Find the axes of features `[n, D]`; a feature that never changes gets no weight."""
    mean = values.mean(0, dtype=torch.float64)
    covariance = mean.new_zeros(len(mean), len(mean))
    for block in torch.split(values, _ROWS):
        centred = block.double() - mean
        covariance += centred.t() @ centred / len(values)
    deviation = covariance.diagonal().sqrt()
    # What rounding leaves of a constant feature must not be blown up to variance 1.
    inverse = torch.where(deviation > 1e-6 * mean.abs(), 1 / deviation, 0)
    variances, vectors = torch.linalg.eigh(covariance * inverse[:, None] * inverse)
    kept = variances > _SMALLEST_SHARE * variances.max().clamp_min(1)
    return PrincipalAxes(
        mean.float(), (inverse[:, None] * vectors[:, kept]).float().contiguous(), variances[kept]
    )


HELD_OUT = 0.1
_SCORES_AT_A_TIME = 16_000_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Linear classifiers, one for each of G penalties.

    Attributes:
        weights: float32 `[R, G, N]`.
        intercept: float32 `[G, N]`.
        notes: what else to report of each, G values for each name.
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

    Settings are those of `FeatureEvaluator`; `seed` chooses the images that are held out where there are no others.
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
        """Return `probe_metrics`, the penalty "l2" and how it was chosen.

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
            **probe_metrics(answers, judged, fitting.fit),
            "l2": self.penalties[best],
            "chosen_on": fitting.chosen_on,
            "choosing_images": len(fitting.choose),
            "grid": [list(pair) for pair in zip(self.penalties, shares, strict=True)],
            **{name: values[best] for name, values in grid.notes.items()},
        }

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return the shares of right answers, and the penalty."""
        penalty = f"{found['l2']:.3g}, chosen on {found['choosing_images']:,} {found['chosen_on']}"
        return [*accuracy_entries(found), ("l2", penalty), *size_entries(found)]

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


@EVALUATORS.register("linear")
class Linear(Probe):
    """Logistic regression on frozen features, its penalty chosen on validation images.

    Settings are those of `Probe`.
    """

    name = "linear"
    penalties = tuple(10.0**exponent for exponent in range(-6, 1))

    def constants(self) -> str:
        return (
            "linear/1: frozen features of unaugmented images, standardised over the fitted images, multinomial "
            "logistic regression, mean cross-entropy + l2/2 |W|^2, free intercept, "
            f"l2 in {', '.join(f'{penalty:g}' for penalty in self.penalties)}, full-batch L-BFGS of history "
            f"{logistic.HISTORY} from W=0 until the largest gradient is below {logistic.SMALLEST_GRADIENT:g} or "
            f"{logistic.MOST_STEPS} steps, {self.choosing()}"
        )

    def solve(self, x: Tensor, labels: Tensor, num_classes: int, variances: Tensor) -> Grid:
        """Solve all regressions in one pass, and note "steps" and "converged"; see `Probe.solve`."""
        found = logistic.solve(x, labels, num_classes, variances, self.penalties)
        notes = {"steps": found.steps.tolist(), "converged": found.converged.tolist()}
        return Grid(found.weights, found.intercept, notes)


@EVALUATORS.register("ridge")
class Ridge(Probe):
    """Ridge regression of one-hot labels on frozen features, one decomposition for all penalties.

    As the few-shot evaluator of google-research/big_vision, but the intercept is free of penalty and the penalty
    is chosen. Settings are those of `Probe`.
    """

    name = "ridge"
    penalties = tuple(10 ** (half / 2) for half in range(-12, 5))

    def constants(self) -> str:
        return (
            "ridge/1: frozen features of unaugmented images, standardised over the fitted images, regression to "
            "one-hot labels, mean squared error + l2 |W|^2, free intercept, closed form, "
            f"l2 in 10^-6, 10^-5.5, ..., 10^2, {self.choosing()}"
        )

    def solve(self, x: Tensor, labels: Tensor, num_classes: int, variances: Tensor) -> Grid:
        """Return W = (X'X/n + l2 I)^-1 X'Y/n for each l2; X'X/n is diag(variances). See `Probe.solve`."""
        targets = F.one_hot(labels, num_classes).float()
        moments = (x.t() @ targets).double() / len(x)
        penalties = variances.new_tensor(self.penalties)
        weights = moments[:, None] / (variances[:, None] + penalties)[:, :, None]
        return Grid(weights.float(), targets.mean(0).expand(len(penalties), -1))
