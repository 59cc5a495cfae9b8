"""The linear probe: multinomial logistic regression on frozen features."""

from __future__ import annotations

from torch import Tensor

from pretask.evaluation import logistic
from pretask.evaluation.base import EVALUATORS
from pretask.evaluation.probe import Grid, Probe


@EVALUATORS.register("linear")
class Linear(Probe):
    """Logistic regression on frozen features, its penalty chosen on validation images.

    Options are those of `Probe`.
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
