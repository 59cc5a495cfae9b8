"""The normalised head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretask.losses import CosineLinear, create_head


def test_logits_are_scaled_cosines():
    head = CosineLinear(5, 3, scale=20.0).double()
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = head(features)
    for x, row in zip(features.tolist(), logits.tolist(), strict=True):
        for w, value in zip(head.weight.tolist(), row, strict=True):
            dot = sum(a * b for a, b in zip(x, w, strict=True))
            assert value == pytest.approx(20 * dot / (math.hypot(*x) * math.hypot(*w)))
    with torch.no_grad():
        head.weight *= torch.tensor([[1.0], [5.0], [0.1]])
    torch.testing.assert_close(head(7 * features), logits)


def test_rows_start_at_length_one_in_all_directions():
    torch.manual_seed(0)
    weight = CosineLinear(64, 200, scale=30.0).weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(200))
    assert abs(weight.mean().item()) < 0.01
    assert weight.std().item() == pytest.approx(1 / 8, rel=0.05)


def test_state_tells_the_scale():
    head, other = CosineLinear(4, 3, scale=30.0), CosineLinear(4, 3, scale=1.0)
    assert set(head.state_dict()) == {"weight", "scale"}
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    other.load_state_dict(head.state_dict())
    features = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(other(features), head(features))


def test_features_of_zeros_have_finite_logits_and_gradients():
    head, features = CosineLinear(4, 3, scale=30.0), torch.zeros(2, 4, requires_grad=True)
    logits = head(features)
    assert torch.equal(logits, torch.zeros(2, 3))
    logits.sum().backward()
    assert features.grad.isfinite().all() and head.weight.grad.isfinite().all()


def test_create_head():
    plain, cosine = create_head(6, 4), create_head(6, 4, scale=15.0)
    assert isinstance(plain, nn.Linear) and plain.bias is not None
    assert isinstance(cosine, CosineLinear) and cosine.scale.item() == 15.0
    for head in (plain, cosine):
        assert (head.in_features, head.out_features) == (6, 4)
        assert head(torch.ones(2, 6)).shape == (2, 4)
