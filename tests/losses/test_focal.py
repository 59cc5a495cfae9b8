"""The focal loss against its formula written out."""

from __future__ import annotations

import literal_losses as literal
import pytest
import torch

from pretask.losses import CrossEntropy, Focal

COUNTS = torch.tensor([3, 2, 1])
LOGITS = torch.tensor([[1.0, -0.5, 0.3], [0.0, 2.0, -1.0]], dtype=torch.float64)
ONE_HOT = [[0, 0, 1], [1, 0, 0]]
SOFT = [[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_loss(gamma, smoothing):
    loss = Focal(COUNTS, focal_gamma=gamma, label_smoothing=smoothing)
    hard = loss(LOGITS, torch.tensor([2, 0]))
    soft = loss(LOGITS, torch.tensor(SOFT, dtype=torch.float64))
    for got, targets in ((hard, ONE_HOT), (soft, SOFT)):
        expected = [
            literal.focal(row, target, gamma, smoothing)
            for row, target in zip(LOGITS.tolist(), targets, strict=True)
        ]
        assert got.tolist() == pytest.approx(expected)


def test_one_sample_by_hand():
    # Equal logits of two classes, γ = 2: (1 - 1/2)² ln 2.
    got = Focal(COUNTS[:2])(torch.zeros(1, 2), torch.tensor([1]))
    assert got.item() == pytest.approx(0.173287, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gamma_zero_is_cross_entropy(smoothing):
    focal = Focal(COUNTS, focal_gamma=0.0, label_smoothing=smoothing)
    plain = CrossEntropy(COUNTS, label_smoothing=smoothing)
    for targets in (torch.tensor([2, 0]), torch.tensor(SOFT, dtype=torch.float64)):
        torch.testing.assert_close(focal(LOGITS, targets), plain(LOGITS, targets))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("label", [0, 1])
def test_sure_predictions_have_finite_gradients(gamma, label):
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    Focal(COUNTS, focal_gamma=gamma)(logits, torch.tensor([label])).sum().backward()
    assert logits.grad.isfinite().all()
    if label == 1:  # wrong and sure: as cross-entropy
        assert logits.grad[0].tolist() == pytest.approx([1.0, -1.0, 0.0])
