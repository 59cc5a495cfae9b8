"""Multinomial logistic regressions with several penalties, solved together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

HISTORY = 10
MOST_STEPS = 200
SMALLEST_GRADIENT = 1e-6
_MOST_HALVINGS = 20
_LOGITS_AT_ONCE = 200_000_000  # of all regressions together; beyond this some wait for others
_SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
_ROUNDING = 1e-7  # of the loss: float32 logits resolve no smaller change

Pairs = deque[tuple[Tensor, Tensor]]
"""The latest changes of the weights and of the gradient, `[R + 1, G, N]` each."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights of G regressions.

    Attributes:
        weights: float32 `[R, G, N]`.
        intercept: float32 `[G, N]`.
        steps: int64 `[G]`, that each took.
        converged: bool `[G]`, whether the largest entry of the gradient fell below `SMALLEST_GRADIENT`.
    """

    weights: Tensor
    intercept: Tensor
    steps: Tensor
    converged: Tensor


def solve(
    x: Tensor, labels: Tensor, num_classes: int, variances: Tensor, penalties: tuple[float, ...]
) -> Solution:
    """Minimise mean cross-entropy + l2/2·|W|² over W and a free intercept, for each l2, in one pass.

    L-BFGS, whose inner products and step lengths belong to each regression, while the products with the features
    are shared. Its first guess of the Hessian is the diagonal of Böhning's bound ½·X'X/n + l2 ("Multinomial
    logistic regression algorithm", 1992), which the principal axes make a good one. The logits are linear in the
    step, so trying another length costs no product. A regression that has converged leaves the batch.

    Args:
        x: centred features `[n, R]` along their principal axes.
        labels: int64 `[n]`.
        num_classes: N.
        variances: float64 `[R]`, of the columns of x.
        penalties: G values of l2 above 0.
    """
    at_once = max(1, _LOGITS_AT_ONCE // (len(x) * num_classes))
    if len(penalties) > at_once:
        first, rest = (
            solve(x, labels, num_classes, variances, part)
            for part in (penalties[:at_once], penalties[at_once:])
        )
        return Solution(
            torch.cat([first.weights, rest.weights], dim=1),
            torch.cat([first.intercept, rest.intercept]),
            torch.cat([first.steps, rest.steps]),
            torch.cat([first.converged, rest.converged]),
        )
    state = _State(x, labels, num_classes, variances, penalties)
    members = torch.arange(len(penalties), device=x.device)
    weights = state.weights.clone()
    steps, converged = torch.zeros_like(members), torch.zeros_like(members, dtype=torch.bool)
    for step in range(MOST_STEPS + 1):
        done = state.gradient.abs().amax((0, 2)) < SMALLEST_GRADIENT
        converged[members], steps[members] = done, step
        weights[:, members] = state.weights
        leaving = done | state.stuck
        if leaving.any():
            members = members[~leaving]
            state.keep(~leaving)
        if not len(members) or step == MOST_STEPS:
            break
        state.step()
    return Solution(weights[:-1].float(), weights[-1].float(), steps, converged)


class _State:
    """Where the regressions stand: all tensors have the members along dimension 1; weights end with the intercept."""

    def __init__(
        self, x: Tensor, labels: Tensor, num_classes: int, variances: Tensor, penalties: tuple[float, ...]
    ) -> None:
        shape = (x.shape[1] + 1, len(penalties), num_classes)
        self.x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        self.labels = labels
        self.weights = variances.new_zeros(shape)
        self.penalty = variances.new_tensor(penalties).expand(shape[:2]).clone()[:, :, None]
        self.penalty[-1] = 0
        self.curvature = torch.cat([variances, variances.new_ones(1)])[:, None, None] / 2 + self.penalty
        self.pairs: Pairs = deque(maxlen=HISTORY)
        self.logits = x.new_zeros(len(x), *shape[1:])
        log_chances = self.logits.log_softmax(2)
        self.loss = self._loss(log_chances, self.weights)
        self.gradient = self._gradient(log_chances, self.weights)
        self.stuck = torch.zeros(len(penalties), dtype=torch.bool, device=x.device)

    def keep(self, kept: Tensor) -> None:
        """Keep only the members of a mask `[G]`."""
        for name in ("weights", "penalty", "curvature", "logits", "gradient"):
            setattr(self, name, getattr(self, name)[:, kept])
        self.loss, self.stuck = self.loss[kept], self.stuck[kept]
        self.pairs = deque(((s[:, kept], y[:, kept]) for s, y in self.pairs), maxlen=HISTORY)

    def step(self) -> None:
        """Go along the quasi-Newton direction, half as far as often as the loss of a member needs it."""
        direction = -_inverse_hessian(self.gradient, self.pairs, self.curvature)
        slope = _dot(direction, self.gradient)
        along = (self.x @ direction.float().flatten(1)).reshape(self.logits.shape)
        length = torch.ones_like(slope)
        for _ in range(_MOST_HALVINGS):
            weights = self.weights + length[:, None] * direction
            logits = self.logits + length[:, None].float() * along
            log_chances = logits.log_softmax(2)
            loss = self._loss(log_chances, weights)
            self.stuck = ~(loss <= self.loss + _SUFFICIENT * length * slope + _ROUNDING * self.loss)
            if not self.stuck.any():
                break
            length = torch.where(self.stuck, length / 2, length)
        weights = torch.where(self.stuck[:, None], self.weights, weights)
        gradient = self._gradient(log_chances, weights)
        self.pairs.append((weights - self.weights, gradient - self.gradient))
        self.weights, self.logits, self.loss, self.gradient = weights, logits, loss, gradient

    def _loss(self, log_chances: Tensor, weights: Tensor) -> Tensor:
        true = log_chances.gather(2, self._places(log_chances.shape[1]))[:, :, 0]
        return _dot(self.penalty * weights, weights) / 2 - true.mean(0, dtype=torch.float64)

    def _gradient(self, log_chances: Tensor, weights: Tensor) -> Tensor:
        places = self._places(log_chances.shape[1])
        error = log_chances.exp().scatter_add_(2, places, log_chances.new_full(places.shape, -1.0))
        slope = (self.x.t() @ error.flatten(1)).reshape(weights.shape).double() / len(self.x)
        return slope + self.penalty * weights

    def _places(self, members: int) -> Tensor:
        return self.labels[:, None, None].expand(-1, members, 1)


def _inverse_hessian(gradient: Tensor, pairs: Pairs, curvature: Tensor) -> Tensor:
    """Return H⁻¹ times the gradient by the two-loop recursion (Nocedal and Wright, algorithm 7.4), per member."""
    result, shares = gradient, []
    for s, y in reversed(pairs):
        share = _ratio(_dot(s, result), _dot(s, y))
        result = result - share[:, None] * y
        shares.append(share)
    result = result / curvature
    if pairs:
        s, y = pairs[-1]
        result = result * _ratio(_dot(s, y), _dot(y, y / curvature), otherwise=1.0)[:, None]
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        result = result + (share - _ratio(_dot(y, result), _dot(s, y)))[:, None] * s
    return result


def _dot(a: Tensor, b: Tensor) -> Tensor:
    products: Tensor = (a * b).sum((0, 2))
    return products


def _ratio(a: Tensor, b: Tensor, otherwise: float = 0.0) -> Tensor:
    return torch.where(b > 0, a / b, otherwise)
