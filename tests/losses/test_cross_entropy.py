"""Cross-entropy and distillation against formulas written out."""

from __future__ import annotations

import math

import literal_losses as literal
import pytest
import torch

from pretask.losses import CrossEntropy, Distillation

COUNTS = torch.tensor([3, 2, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing):
    logits = torch.tensor([[1.0, -0.5, 0.3], [0.0, 2.0, -1.0]], dtype=torch.float64)
    loss = CrossEntropy(COUNTS, label_smoothing=smoothing)
    hard = loss(logits, torch.tensor([2, 0]))
    expected = [
        literal.cross_entropy(logits[0].tolist(), [0, 0, 1], smoothing),
        literal.cross_entropy(logits[1].tolist(), [1, 0, 0], smoothing),
    ]
    assert hard.tolist() == pytest.approx(expected)
    soft = loss(logits, torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64))
    expected = [
        literal.cross_entropy(logits[0].tolist(), [0.2, 0.3, 0.5], smoothing),
        literal.cross_entropy(logits[1].tolist(), [0, 1, 0], smoothing),
    ]
    assert soft.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation(temperature):
    student = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.5, 0.0, -0.5]], dtype=torch.float64, requires_grad=True)
    p, q = (literal.softmax([v / temperature for v in logits[0].tolist()]) for logits in (teacher, student))
    expected = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    loss = Distillation(temperature)(student, teacher)
    assert loss.tolist() == pytest.approx([expected])
    loss.sum().backward()
    assert teacher.grad is None
    expected_gradient = [temperature * (b - a) for a, b in zip(p, q, strict=True)]
    assert student.grad[0].tolist() == pytest.approx(expected_gradient)
