"""Class weights against numbers written out, and when they apply."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from pretask import tasks
from pretask.errors import PretaskError
from pretask.losses import CrossEntropy, Reweighted, create_loss
from pretask.losses.reweighting import class_weights

COUNTS = torch.tensor([3, 2, 1])
LONG_TAIL = torch.tensor([5000, 500, 50])
LOGITS = torch.tensor([[1.0, -0.5, 0.3], [0.0, 2.0, -1.0], [0.5, 0.5, 0.1], [2.0, 0.0, 0.3]])
LABELS = torch.tensor([2, 0, 1, 0])
EFFECTIVE = [72 / 85, 84 / 85, 126 / 85]  # β 1/2: 4/7, 2/3 and 1, over their mean over the images, 85/126
INVERSE = [2 / 3, 1.0, 2.0]  # 6 / (3 n)


def reweighted(kind="effective", start=0.0, beta=0.5) -> Reweighted:
    return Reweighted(CrossEntropy(COUNTS), COUNTS, kind, start, beta)


@pytest.mark.parametrize(
    ("counts", "kind", "beta", "expected"),
    [
        (COUNTS, "none", 0.9999, [1.0, 1.0, 1.0]),
        (COUNTS, "inverse", 0.9999, INVERSE),
        (COUNTS, "effective", 0.5, EFFECTIVE),
        (COUNTS, "effective", 0.0, [1.0, 1.0, 1.0]),
        # raw: 0.000254139613855, 0.002050316668472, 0.020049041652065
        (LONG_TAIL, "effective", 0.9999, [0.427635820856, 3.450028266889, 33.736135245491]),
    ],
)
def test_weights_by_hand(counts, kind, beta, expected):
    assert class_weights(counts, kind, beta).tolist() == pytest.approx(expected, rel=1e-9)
    joint = class_weights(counts.repeat_interleave(4), kind, beta)
    assert joint.tolist() == pytest.approx([w for w in expected for _ in range(4)], rel=1e-9)


@pytest.mark.parametrize("kind", ["none", "inverse", "effective"])
def test_the_mean_weight_over_the_training_images_is_one(kind):
    counts = (5000 * 0.01 ** (torch.arange(1000) / 999)).long()
    weights = Reweighted(CrossEntropy(counts), counts, kind).weights
    labels = torch.arange(1000).repeat_interleave(counts)
    assert weights[labels].double().mean().item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(("kind", "weights"), [("effective", EFFECTIVE), ("inverse", INVERSE)])
def test_each_sample_is_weighed_by_its_target(kind, weights):
    plain, loss = CrossEntropy(COUNTS), reweighted(kind)
    expected = [
        weights[label] * value
        for label, value in zip([2, 0, 1, 0], plain(LOGITS, LABELS).tolist(), strict=True)
    ]
    assert loss(LOGITS, LABELS).tolist() == pytest.approx(expected)
    soft = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    expected = [
        sum(q * w for q, w in zip(target, weights, strict=True)) * value
        for target, value in zip(soft.tolist(), plain(LOGITS, soft).tolist(), strict=True)
    ]
    assert loss(LOGITS, soft).tolist() == pytest.approx(expected)


def test_the_mean_over_a_batch_is_that_over_its_halves():
    loss = reweighted("inverse")
    halves = [loss(LOGITS[part], LABELS[part]).mean() for part in (slice(0, 2), slice(2, 4))]
    assert (halves[0] + halves[1]).item() / 2 == pytest.approx(loss(LOGITS, LABELS).mean().item())


def test_deferred_weights_start_exactly_at_their_epoch():
    loss, plain, always = reweighted(start=0.8), CrossEntropy(COUNTS), reweighted()
    torch.testing.assert_close(loss(LOGITS, LABELS), plain(LOGITS, LABELS), rtol=0, atol=0)
    weighted_epochs = []
    for epoch in range(200):
        loss.set_progress(epoch / 200)
        if torch.equal(loss(LOGITS, LABELS), always(LOGITS, LABELS)):
            weighted_epochs.append(epoch)
        else:
            assert torch.equal(loss(LOGITS, LABELS), plain(LOGITS, LABELS))
    assert weighted_epochs == list(range(160, 200))
    loss.set_progress(0.0)
    assert torch.equal(loss(LOGITS, LABELS), plain(LOGITS, LABELS))


@pytest.mark.parametrize("epochs", [5, 10, 15, 90, 195, 300, 1000])
def test_four_fifths_of_any_length(epochs):
    loss = reweighted(start=0.8)
    loss.set_progress((epochs * 4 // 5 - 1) / epochs)
    assert not loss.active
    loss.set_progress((epochs * 4 // 5) / epochs)
    assert loss.active


def test_a_short_training_is_weighted_too(configure, monkeypatch: pytest.MonkeyPatch):
    """Progress counts steps: the last fifth of two epochs, in which no epoch begins."""
    weighted: list[bool] = []
    real = Reweighted.forward
    monkeypatch.setattr(
        Reweighted, "forward", lambda self, *given: weighted.append(bool(self.active)) or real(self, *given)
    )
    monkeypatch.setattr("pretask.tasks.run.foresee", lambda *_, **__: None)
    tasks.train(
        configure(method="baseline", loss="ldam-drw", per_class=None, imbalance=5, steps=15, epochs=100)
    )
    assert weighted == [False] * 12 + [True] * 3


def test_the_loss_inside_is_told_the_progress_and_asks_for_its_head():
    inside = reweighted(start=0.5)
    outside = Reweighted(inside, COUNTS, "inverse", 0.9)
    outside.set_progress(0.6)
    assert inside.active and not outside.active
    assert outside.logit_scale is None
    weighted = create_loss("ldam", ldam_scale=12.0, class_weights="inverse")(COUNTS)
    assert isinstance(weighted, Reweighted)
    assert weighted.logit_scale == 12.0


def test_a_compiled_step_follows_the_switch_without_another_compilation():
    loss, counter = reweighted(start=0.8), CompileCounter()
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    before = compiled(LOGITS, LABELS)
    loss.set_progress(0.9)
    after = compiled(LOGITS, LABELS)
    torch.testing.assert_close(before, CrossEntropy(COUNTS)(LOGITS, LABELS))
    torch.testing.assert_close(after, reweighted()(LOGITS, LABELS))
    assert counter.frame_count == 1


def test_it_adds_nothing_to_a_checkpoint():
    loss = reweighted()
    assert not loss.state_dict() and not list(loss.parameters())


def test_a_class_without_images_is_refused():
    counts = torch.tensor([3, 0, 1])
    with pytest.raises(
        PretaskError, match=r"class weights 'inverse' needs .* 1 of 3 .* --class-weights none"
    ):
        Reweighted(CrossEntropy(counts), counts, "inverse")
    assert Reweighted(CrossEntropy(counts), counts, "none").weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"kind": "inverted"}, "unknown kind of class weights 'inverted'; did you mean 'inverse'"),
        ({"start": 1.1}, "start = 1.1 is not possible: give a number from 0 to 1"),
        ({"beta": 1.0}, "beta = 1.0 is not possible: give a number 0 or more and below 1"),
    ],
)
def test_settings_out_of_range_are_refused(bad, message):
    with pytest.raises(PretaskError, match=message):
        reweighted(**bad)
