"""LDAM against margins and losses written out."""

from __future__ import annotations

import literal_losses as literal
import pytest
import torch

from pretask.errors import PretaskError
from pretask.losses import LDAM

COUNTS = torch.tensor([10_000, 625, 16, 1])  # n^(-1/4) = 1/10, 1/5, 1/2, 1
MARGINS = [0.05, 0.1, 0.25, 0.5]


def test_margins_by_hand():
    assert LDAM(COUNTS).margins.tolist() == pytest.approx(MARGINS)
    # 256, 81, 16: n^(-1/4) = 1/4, 1/3, 1/2; the largest becomes 0.3, so C = 0.6.
    some = LDAM(torch.tensor([256, 81, 16]), ldam_margin=0.3)
    assert some.margins.tolist() == pytest.approx([0.15, 0.2, 0.3])


def test_joint_labels_have_the_margin_of_their_class():
    assert LDAM(COUNTS.repeat_interleave(3)).margins.tolist() == pytest.approx(
        [margin for margin in MARGINS for _ in range(3)]
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_loss(scale, smoothing):
    loss = LDAM(COUNTS, ldam_scale=scale, label_smoothing=smoothing)
    cosines = torch.tensor([[0.9, -0.5, 0.3, 0.1], [0.0, 0.2, -0.1, 0.3]], dtype=torch.float64)
    logits = scale * cosines
    hard = loss(logits, torch.tensor([0, 3]))
    one_hot = [[1, 0, 0, 0], [0, 0, 0, 1]]
    soft_targets = [[0.1, 0.2, 0.3, 0.4], [0.0, 0.75, 0.0, 0.25]]
    soft = loss(logits, torch.tensor(soft_targets, dtype=torch.float64))
    for got, targets in ((hard, one_hot), (soft, soft_targets)):
        expected = [
            literal.ldam(row, target, MARGINS, scale, smoothing)
            for row, target in zip(logits.tolist(), targets, strict=True)
        ]
        assert got.tolist() == pytest.approx(expected, rel=1e-5)


def test_one_sample_by_hand():
    # Two classes with cosines 0.5 and 0; the target's margin 0.5 leaves two equal logits: ln 2.
    loss = LDAM(torch.tensor([1, 16]))
    assert loss(torch.tensor([[15.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(0.693147, rel=1e-5)


def test_it_asks_for_a_normalised_head():
    assert LDAM(COUNTS, ldam_scale=20.0).logit_scale == 20.0


def test_margins_are_not_lost_in_half_precision():
    logits = torch.tensor([[30.0, 29.0, 0.0, -30.0]]).bfloat16()
    got = LDAM(COUNTS)(logits, torch.tensor([0]))
    assert got.item() == pytest.approx(
        literal.ldam([30.0, 29.0, 0.0, -30.0], [1, 0, 0, 0], MARGINS, 30.0, 0.0)
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 0, 3, 0], r"^LDAM needs the number of training images of each class, and 2 of 4 .*--loss cross"),
        ([], r"^LDAM needs the number of training images of each class, and none were given"),
    ],
)
def test_a_class_without_images_is_refused(counts, message):
    with pytest.raises(PretaskError, match=message):
        LDAM(torch.tensor(counts, dtype=torch.int64))
