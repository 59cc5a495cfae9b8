"""Linear heads, plain and normalised."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineLinear(nn.Module):
    """Logits s·cos(x, w_k): a linear layer without bias on unit features and unit weights, times s.

    The normalised head of LDAM (Cao et al. 2019, section 3.1). Rows start with uniform entries, at length one.
    The scale is part of the state, so a saved head has it.

    Args:
        in_features: D.
        out_features: K.
        scale: s > 0.
    """

    scale: Tensor

    def __init__(self, in_features: int, out_features: int, scale: float) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        directions = torch.empty(out_features, in_features).uniform_(-1, 1)
        self.weight = nn.Parameter(F.normalize(directions, dim=1))
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [n, K] in [-s, s] of features [n, D]."""
        return self.scale * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def create_head(in_features: int, out_features: int, scale: float | None = None) -> nn.Linear | CosineLinear:
    """Return the head that a loss asks for: features [n, D] → logits [n, K].

    Args:
        in_features: D.
        out_features: K.
        scale: the loss's `logit_scale`: None makes a linear layer with a bias, a number a `CosineLinear`.
    """
    if scale is None:
        return nn.Linear(in_features, out_features)
    return CosineLinear(in_features, out_features, scale)
