"""FixMatch over any method: its loss by hand, its batches, and what it may not read."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pretask.backbones import create_backbone
from pretask.data import ArrayImages, LabelledImages, create_loader
from pretask.data.loaders.loader import pair
from pretask.data.loaders.schedule import Schedule
from pretask.errors import PretaskError
from pretask.methods import METHODS, MethodParts, create_method
from pretask.methods.fixmatch import DistributionAlignment, FixMatch

OWN = {"unlabelled_ratio": 3, "pseudo_threshold": 0.4}
OVER = ("fixmatch", "fixmatch+gssl", "fixmatch+sla", "fixmatch+sla-sd", "fixmatch+ssfe")


def make(name: str = "fixmatch", **more):
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8)),
        class_counts=torch.tensor([4, 4, 4]),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
    )
    return create_method(name, parts, **({**OWN, **more} if name.startswith("fixmatch") else more))


def batch(labelled: int = 4, ratio: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(labelled * (1 + ratio), 3, 8, 8, generator=generator)
    labels = torch.cat((torch.arange(labelled) % 3, torch.full((labelled * ratio,), -1)))
    return images, labels


def test_the_loss_is_the_formula() -> None:
    method = make(unlabelled_weight=0.7)
    method.strong = torch.nn.Identity()
    images, labels = batch()
    method.eval()  # batch statistics would tie the two passes below to each other
    parts = method(images, labels)
    logits = method.classifier("single")(images)
    total, sure = 0.0, 0
    for row in logits[4:]:
        p = row.detach().softmax(0)
        if p.max() >= 0.4:
            sure += 1
            total -= float(p.max().log())
    assert 0 < sure < 12
    supervised = F.cross_entropy(logits[:4], labels[:4]).detach()
    assert parts["loss"].item() == pytest.approx(float(supervised) + 0.7 * total / 12, rel=1e-5)
    assert parts["confident"].item() == pytest.approx(sure / 12)


@pytest.mark.parametrize("name", OVER)
def test_it_goes_over_any_method(name: str) -> None:
    method, inner = make(name), make(name.partition("+")[2] or "baseline")
    assert isinstance(method, FixMatch) and isinstance(method, type(inner))
    assert method.inferences == inner.inferences and list(method.state_dict()) == list(inner.state_dict())
    assert method.passes_per_image == pytest.approx((inner.passes_per_image + 2 * 3) / 4)
    parts = method(*batch())
    parts["loss"].backward()
    assert {"unlabelled_loss", "confident", "accuracy"} <= set(parts)
    assert "unlabelled images per labelled one" in method.summary()


@pytest.mark.parametrize("name", OVER)
def test_all_images_go_through_the_network_together(name: str) -> None:
    """One pass, whose batch statistics are of labelled, weak and strong views, as in the authors' code."""
    method, inner = make(name), make(name.partition("+")[2] or "baseline")
    (images, labels), second = batch(), torch.rand(12, 3, 8, 8)
    method.strong = torch.nn.Identity()
    passes = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0]))
    inner.backbone.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0]))
    for one, rows in ((inner, images[:4]), (method, torch.cat((images, second)))):
        torch.manual_seed(7)
        one(rows, labels[: 4 if one is inner else 16])
    own, together = passes
    beside = torch.cat((images[4:], second))
    torch.testing.assert_close(together, torch.cat((own, method.encoder.normalize(beside))))


def test_guesses_train_the_joint_head() -> None:
    """The classifier of "single" has a copy of the head's columns; the loss must reach the head itself."""
    method = make("fixmatch+sla", pseudo_threshold=0.0, unlabelled_weight=3.0)
    images, labels = batch()
    method.strong = torch.nn.Identity()
    method.eval()
    method(images, labels)["loss"].backward()
    mine = method.joint_head.weight.grad.clone()
    method.zero_grad()
    logits = method.joint_head(method.encoder(images[4:])).view(12, 3, 4)[..., 0]
    torch.testing.assert_close(logits, method.classifier("single")(images[4:]))
    views = method.joint_head(method.encoder.views(images[:4]))
    joint = (4 * labels[:4, None] + torch.arange(4)).flatten()
    loss = F.cross_entropy(views, joint) + 3 * F.cross_entropy(logits, logits.detach().argmax(1))
    loss.backward()
    torch.testing.assert_close(mine, method.joint_head.weight.grad, rtol=1e-4, atol=1e-6)


def test_labels_of_unlabelled_images_are_not_read() -> None:
    losses = []
    for value in (-1, 2):
        images, labels = batch()
        labels[4:] = value
        torch.manual_seed(4)
        losses.append(make()(images, labels)["loss"].item())
    assert losses[0] == losses[1]


def test_guesses_carry_no_gradient() -> None:
    """With weak and strong views alike the unlabelled gradient is that of fixed labels."""
    method = make(pseudo_threshold=0.0, unlabelled_weight=1e6)
    images, labels = batch()
    method.strong = torch.nn.Identity()
    method.eval()
    method(images, labels)["loss"].backward()
    head = method.head.weight.grad.clone()
    method.zero_grad()
    logits = method.classifier("single")(images[4:])
    (1e6 * F.cross_entropy(logits, logits.argmax(1).detach())).backward()
    torch.testing.assert_close(head, method.head.weight.grad, rtol=1e-3, atol=20.0)


def test_aligned_guesses_are_as_frequent_as_labels() -> None:
    """A network that answers the first class too often: p·p(y)/p̄ by hand, and in the long run all classes alike."""
    align = DistributionAlignment(torch.tensor([5, 5, 10]))
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    aligned = align(probabilities)
    average = torch.tensor([0.25, 0.25, 0.5]).lerp(torch.tensor([0.7, 0.2, 0.1]), 1 / 128)
    torch.testing.assert_close(align.average, average)
    expected = probabilities * torch.tensor([0.25, 0.25, 0.5]) / average
    torch.testing.assert_close(aligned, expected / expected.sum(1, keepdim=True))
    for _ in range(2000):
        aligned = align(probabilities)
    assert aligned[1].tolist() == pytest.approx(
        [0.197, 0.344, 0.459], abs=1e-3
    )  # 0.6·0.25/0.7, 0.3·0.25/0.2, 0.1·0.5/0.1
    assert align(torch.full((2, 3), 1 / 3)).isfinite().all()


def test_alignment_changes_the_guesses_and_is_resumed() -> None:
    images, labels = batch()
    plain, aligned = make(), make(align_guesses=True)
    assert "align.average" in aligned.state_dict() and "aligned" in aligned.summary()
    aligned.align.average.copy_(torch.tensor([0.9, 0.05, 0.05]))
    parts = []
    for method in (plain, aligned):
        torch.manual_seed(3)
        parts.append(method(images, labels)["unlabelled_loss"].item())
    assert parts[0] != parts[1]


def test_names_and_faults() -> None:
    assert METHODS.get("fixmatch+sla") is METHODS.get("fixmatch+sla") and "fixmatch" in METHODS.names()
    with pytest.raises(PretaskError, match="did you mean 'sla'"):
        METHODS.get("fixmatch+slaa")
    parts = MethodParts(
        create_backbone("resnet8", image_size=(8, 8)), torch.tensor([4, 4]), (0.3,) * 3, (0.2,) * 3
    )
    for options in ({"pseudo_threshold": 1.2}, {"unlabelled_ratio": 0}, {"unlabelled_weight": -1.0}):
        (name, value), *_ = options.items()
        for build in (partial(create_method, "fixmatch"), partial(create_method, "fixmatch+sla-sd")):
            with pytest.raises(PretaskError, match=f"^{name} = {value} is not possible: type --{name[:6]}"):
                build(parts, **options)
        with pytest.raises(PretaskError, match=f"^{name} = {value} is not possible: give a number"):
            METHODS.get("fixmatch")(parts, **options)


def images_of(count: int, labels: torch.Tensor | None = None) -> LabelledImages:
    """Return pictures of one value each, which no two share, its lines brighter to the right."""
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    pixels = 2 * pixels + torch.arange(4, dtype=torch.uint8)
    return LabelledImages(ArrayImages(pixels), torch.arange(count) % 3 if labels is None else labels)


def paired(
    labelled: int = 6, unlabelled: int = 40, batch_size: int = 3, ratio: int = 4, views: int = 1, **options
):
    def make_loader(images: LabelledImages, size: int, schedule: Schedule | None = None):
        return create_loader(
            images, image_size=(4, 4), batch_size=size, device="cpu", train=True, seed=1, schedule=schedule,
            **options,
        )  # fmt: skip

    first = make_loader(images_of(labelled), batch_size)
    return pair(first, make_loader, images_of(unlabelled, torch.full((unlabelled,), -1)), ratio, views)


def test_an_epoch_passes_once_over_unlabelled_images_and_round_the_labelled_ones() -> None:
    loader = paired()
    assert len(loader) == 3 and loader.batch_size == 15
    seen, labelled = [], []
    for epoch in range(2):
        for part in loader.epoch(epoch):
            assert (part.labels[:3] >= 0).all() and (part.labels[3:] == -1).all()
            labelled += part.index[:3].tolist()
            if epoch == 0:
                seen += part.index[3:].tolist()
    assert len(set(seen)) == len(seen) == 36
    # Six steps of three are three rounds over the six labelled images.
    assert all(sorted(labelled[i : i + 6]) == list(range(6)) for i in (0, 6, 12))


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_second_views_are_of_the_same_images_with_crops_of_their_own(kind: str) -> None:
    given = {"kind": kind, "workers": 0, "views": 2}
    for part in paired(**given).epoch(0):
        weak, second = part.images[3:].chunk(2)
        assert len(part.labels) == len(part.index) == 15 and torch.equal(weak, second)
    once = [
        part for epoch in (0, 1) for part in paired(kind=kind, workers=0, augment="resized-crop").epoch(epoch)
    ]
    twice = [part for epoch in (0, 1) for part in paired(augment="resized-crop", **given).epoch(epoch)]
    assert all(torch.equal(a.images, b.images[:15]) for a, b in zip(once, twice, strict=True))
    mirrored = [part.images[3:].chunk(2) for part in paired(augment="flip", **given).epoch(0)]
    apart = [(weak != second).flatten(1).any(1) for weak, second in mirrored]
    assert 10 < int(torch.cat(apart).sum()) < 26  # half of 36
    assert all(torch.allclose(weak.sum((2, 3)), second.sum((2, 3)), atol=1e-4) for weak, second in mirrored)


def test_it_goes_on_in_mid_epoch_with_the_same_batches() -> None:
    whole = [part for epoch in (0, 1) for part in paired(views=2, augment="crop").epoch(epoch)]
    rest = list(paired(views=2, augment="crop").epoch(1, start=1))
    assert len(rest) == 2
    for mine, theirs in zip(rest, whole[4:], strict=True):
        assert torch.equal(mine.index, theirs.index) and torch.equal(mine.images, theirs.images)


def test_too_few_unlabelled_images_are_told() -> None:
    with pytest.raises(PretaskError, match="--unlabelled-ratio"):
        paired(unlabelled=10)
