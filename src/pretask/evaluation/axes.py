"""Features standardised and turned to their principal axes, in which penalised regressions are cheap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
