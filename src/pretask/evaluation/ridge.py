"""Ridge regression to one-hot labels: a linear probe in closed form."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.probe import Grid, Probe


@EVALUATORS.register("ridge")
class Ridge(Probe):
    """Ridge regression of one-hot labels on frozen features, one decomposition for all penalties.

    As the few-shot evaluator of google-research/big_vision, but the intercept is free of penalty and the penalty
    is chosen. Options are those of `Probe`.
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
