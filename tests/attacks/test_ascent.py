"""The attacks against closed forms, a slow literal transcription and captum, and what they must leave alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pretask.attacks import Attack, create_attack, fgsm, pgd
from pretask.errors import PretaskError

EPSILON = {"linf": 8 / 255, "l2": 0.5}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def change(adversarial, images, norm):
    order = torch.inf if norm == "linf" else 2
    return (adversarial - images).flatten(1).norm(order, dim=1)


def losses(model, images, labels):
    return F.cross_entropy(model(images), labels, reduction="none").detach()


# where the result lies


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("steps", [1, 7])
def test_nothing_leaves_the_ball_or_the_box(network, images, labels, norm, restarts, steps):
    options = {"epsilon": EPSILON[norm], "step_size": EPSILON[norm], "norm": norm}
    found = pgd(network, images, labels, steps=steps, restarts=restarts, generator=seeded(), **options)
    assert change(found, images, norm).max() <= EPSILON[norm] + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert (change(found, images, norm) > 0.5 * EPSILON[norm]).all()
    assert (losses(network, found, labels) > losses(network, images, labels)).all()


@pytest.mark.parametrize("norm", EPSILON)
def test_the_ball_is_around_the_clean_image_whatever_the_start(network, images, labels, norm):
    far = images + 3 * torch.randn(images.shape, generator=seeded())
    options = {"epsilon": EPSILON[norm], "step_size": 1e-4, "steps": 1, "norm": norm}
    found = pgd(network, images, labels, start=far, **options)
    assert change(found, images, norm).max() <= EPSILON[norm] + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    kept = far.clone()
    pgd(network, images, labels, start=far, **options)
    assert torch.equal(far, kept)


@pytest.mark.parametrize("norm", EPSILON)
@pytest.mark.parametrize("given", [False, True])
def test_the_model_sees_nothing_from_outside(network, images, labels, norm, given):
    seen = []

    def watched(points):
        seen.append(points.detach())
        return network(points)

    start = images + 3 * torch.randn(images.shape, generator=seeded()) if given else None
    pgd(watched, images, labels, epsilon=EPSILON[norm], step_size=9, steps=3, norm=norm, start=start)
    assert len(seen) == 3
    for points in seen:
        assert change(points, images, norm).max() <= EPSILON[norm] + 1e-6
        assert points.min() >= 0
        assert points.max() <= 1


@pytest.mark.parametrize("norm", EPSILON)
def test_a_ball_of_radius_zero_is_the_clean_image(network, images, labels, norm):
    for step in (0, 0.1):
        found = pgd(network, images, labels, epsilon=0, step_size=step, steps=3, norm=norm, restarts=2)
        assert torch.equal(found, images)
    assert torch.equal(fgsm(network, images, labels, 0), images)
    assert torch.equal(create_attack("pgd7", 0)(network, images, labels), images)


# what the result is


def linear(weights):
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 2, bias=False))
    model[1].weight.data = torch.stack([weights, torch.zeros(108)])
    return model


@pytest.mark.parametrize("label", [0, 1])
def test_on_a_linear_model_fgsm_and_pgd_reach_the_corner(images, label):
    weights = torch.randn(108, generator=seeded())
    # The loss of class 0 grows against its weights, that of class 1 along them.
    sign = weights.sign().view(3, 6, 6) * (1 if label else -1)
    expected = (images + 0.1 * sign).clamp(0, 1)
    labels = torch.full((5,), label)
    torch.testing.assert_close(fgsm(linear(weights), images, labels, 0.1), expected)
    climbed = pgd(linear(weights), images, labels, epsilon=0.1, step_size=0.03, steps=8, generator=seeded())
    torch.testing.assert_close(climbed, expected)


def test_on_a_linear_model_l2_goes_straight_along_the_weights():
    weights = torch.randn(108, generator=seeded())
    images, labels = torch.full((2, 3, 6, 6), 0.5), torch.tensor([1, 1])
    options = {"epsilon": 0.3, "step_size": 0.1, "norm": "l2", "random_start": False}
    for steps, length in ((1, 0.1), (2, 0.2), (9, 0.3)):
        found = pgd(linear(weights), images, labels, steps=steps, **options)
        torch.testing.assert_close(found[0], 0.5 + length * (weights / weights.norm()).view(3, 6, 6))


def test_gradients_whose_squares_vanish_still_lead_somewhere():
    weights = torch.randn(108, generator=seeded()) * 1e-30
    images, labels = torch.full((1, 3, 6, 6), 0.5), torch.tensor([1])
    found = pgd(
        linear(weights), images, labels, epsilon=0.3, step_size=0.3, steps=1, norm="l2", random_start=False
    )
    assert change(found, images, "l2").item() == pytest.approx(0.3, rel=1e-4)


def slow_pgd(model, images, labels, epsilon, step_size, steps, norm, start):
    """Image by image, value by value."""
    results = []
    for image, label, point in zip(images, labels, start, strict=True):
        for _ in range(steps):
            leaf = point.clone().requires_grad_()
            F.cross_entropy(model(leaf[None]), label[None]).backward()
            if norm == "linf":
                moved = point + step_size * leaf.grad.sign()
                moved = torch.maximum(torch.minimum(moved, image + epsilon), image - epsilon)
            else:
                moved = point + step_size * leaf.grad / leaf.grad.square().sum().sqrt()
                length = (moved - image).square().sum().sqrt()
                moved = image + (moved - image) * min(1.0, epsilon / length.item())
            point = moved.clamp(0, 1)
        results.append(point)
    return torch.stack(results)


@pytest.mark.parametrize("norm", EPSILON)
def test_equals_the_literal_transcription(network, images, labels, norm):
    epsilon = EPSILON[norm]
    start = (images + epsilon / 20 * torch.randn(images.shape, generator=seeded())).clamp(0, 1)
    found = pgd(
        network, images, labels, epsilon=epsilon, step_size=epsilon / 3, steps=5, norm=norm, start=start
    )
    expected = slow_pgd(copy.deepcopy(network), images, labels, epsilon, epsilon / 3, 5, norm, start)
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_agrees_with_captum(network, images, labels):
    robust = pytest.importorskip("captum.robust", reason="captum is not installed")
    theirs = robust.PGD(network, nn.CrossEntropyLoss(reduction="none"), lower_bound=0, upper_bound=1)
    options = {"step_size": 2 / 255, "random_start": False}
    found = pgd(network, images, labels, epsilon=8 / 255, steps=10, **options)
    expected = theirs.perturb(images, radius=8 / 255, step_num=10, target=labels, **options)
    torch.testing.assert_close(found, expected)
    one_step = robust.FGSM(network, nn.CrossEntropyLoss(reduction="none"), lower_bound=0, upper_bound=1)
    expected = one_step.perturb(images, epsilon=8 / 255, target=labels)
    torch.testing.assert_close(fgsm(network, images, labels, 8 / 255), expected)


def test_a_loss_of_ones_own_is_raised(network, images, labels):
    def margin(logits, truth):
        return -logits.gather(1, truth[:, None])[:, 0]

    found = pgd(
        network, images, labels, epsilon=0.1, step_size=0.02, steps=9, generator=seeded(), loss=margin
    )
    assert (margin(network(found), labels) > margin(network(images), labels)).all()


# restarts


class Island(nn.Module):
    """Class 1 wins only where the first value exceeds 0.55; the slope leads away from there, and says nothing."""

    def forward(self, images):
        first = images[:, 0, 0, 0]
        return torch.stack([first * 0, torch.where(first > 0.55, 1 + first, -1 - first)], dim=1)


def test_the_first_attempt_that_fools_is_kept():
    images, labels = torch.full((40, 1, 1, 1), 0.5), torch.zeros(40, dtype=torch.long)
    options = {"epsilon": 0.1, "step_size": 1e-3, "steps": 1}
    found = [
        pgd(Island(), images, labels, restarts=restarts, generator=seeded(), **options)
        for restarts in (1, 2, 4, 16)
    ]
    fooled = [points[:, 0, 0, 0] > 0.55 for points in found]
    for k in (1, 2, 3):
        # What fooled already is not exchanged for something else that fools.
        assert torch.equal(found[k][fooled[k - 1]], found[k - 1][fooled[k - 1]])
    assert 0 < fooled[0].sum() < fooled[3].sum() == 40


@pytest.mark.parametrize("norm", EPSILON)
def test_restarts_never_lower_the_loss_of_what_holds(network, images, labels, norm):
    labels = network(images).argmax(1)
    options = {"epsilon": 0.01, "step_size": 1e-3, "steps": 1, "norm": norm}
    one = losses(network, pgd(network, images, labels, generator=seeded(), **options), labels)
    many = losses(network, pgd(network, images, labels, restarts=8, generator=seeded(), **options), labels)
    assert (many >= one).all()
    assert (many > one).any()


@pytest.mark.parametrize("norm", EPSILON)
def test_restarts_help_a_loss_of_ones_own(network, images, labels, norm):
    """A targeted attack succeeds where the model answers the label, which is no reason to stop at what it does not."""

    def towards(logits, wanted):
        return -F.cross_entropy(logits, wanted, reduction="none")

    options = {"epsilon": 0.2, "step_size": 0.01, "steps": 1, "norm": norm, "loss": towards}
    found = [
        towards(network(pgd(network, images, labels, restarts=n, generator=seeded(), **options)), labels)
        for n in (1, 4, 16)
    ]
    assert (found[1] >= found[0]).all()
    assert (found[2] >= found[1]).all()
    assert (found[2] > found[0]).sum() >= 3


# random starts


class Flat(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :2] * 0


@pytest.mark.parametrize("norm", EPSILON)
def test_starts_are_uniform_in_the_ball(norm):
    images, labels = torch.full((2000, 1, 1, 3), 0.5), torch.zeros(2000, dtype=torch.long)
    found = pgd(Flat(), images, labels, epsilon=0.4, step_size=1e-9, steps=1, norm=norm, generator=seeded())
    offsets = (found - images).flatten(1)
    # A uniform ball has a share of r^d of its volume within the share r of its radius.
    for share in (0.5, 0.8):
        inside = (change(found, images, norm) < share * 0.4).float().mean().item()
        assert inside == pytest.approx(share**3, abs=0.04)
    assert offsets.mean(0).abs().max() < 0.02


@pytest.mark.parametrize("norm", EPSILON)
def test_with_a_generator_per_image_an_image_does_not_depend_on_its_batch(network, images, labels, norm):
    attack = create_attack("pgd3" if norm == "linf" else "pgd3-l2")
    whole = attack(network, images, labels, [seeded(i) for i in range(5)])
    part = attack(network, images[2:4], labels[2:4], [seeded(2), seeded(3)])
    torch.testing.assert_close(whole[2:4], part)
    with pytest.raises(ValueError, match="zip"):
        attack(network, images, labels, [seeded()])


def test_the_same_generator_gives_the_same_attack_and_none_takes_torchs_own(network, images, labels):
    attack = Attack("short", 0.1, 1e-3, 2)  # too short to reach the same corner from everywhere
    assert torch.equal(attack(network, images, labels, seeded()), attack(network, images, labels, seeded()))
    before = torch.get_rng_state()
    attack(network, images, labels, seeded())
    assert torch.equal(torch.get_rng_state(), before)
    first, second = attack(network, images, labels), attack(network, images, labels)
    assert not torch.equal(first, second)


# what is left alone


@pytest.mark.parametrize("name", ["fgsm", "pgd3", "pgd3-l2"])
def test_images_gradients_and_modes_are_as_before(network, images, labels, name):
    network.train()
    network.norm.eval()
    network.conv.weight.requires_grad_(False)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    kept, state = images.clone(), copy.deepcopy(network.state_dict())
    images.requires_grad_()
    found = create_attack(name)(network, images, labels)
    assert torch.equal(images, kept)
    assert images.grad is None
    assert not found.requires_grad
    assert [m.training for m in network.children()] == [True, False, True, True]
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(network.head.weight.grad, torch.ones_like(network.head.weight))
    assert all(p.grad is None for p in network.parameters() if p is not network.head.weight)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("norm", EPSILON)
def test_a_training_model_is_attacked_as_in_evaluation(network, images, labels, norm):
    options = {"epsilon": 0.1, "step_size": 0.02, "steps": 4, "norm": norm, "restarts": 2}
    expected = pgd(network.eval(), images, labels, generator=seeded(), **options)
    found = pgd(network.train(), images, labels, generator=seeded(), **options)
    assert torch.equal(found, expected)
    assert network.training


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(network, images, labels, context):
    expected = pgd(network, images, labels, epsilon=0.1, step_size=0.1, steps=2, generator=seeded())
    with context():
        own, truth = images.clone(), labels.clone()
        found = pgd(network, own, truth, epsilon=0.1, step_size=0.1, steps=2, generator=seeded())
        assert not torch.is_grad_enabled()
    assert torch.equal(found, expected)


def test_memory_format_and_dtype_are_kept_and_change_no_start(images, labels):
    last = images.contiguous(memory_format=torch.channels_last)
    options = {"epsilon": 0.1, "step_size": 1e-9, "steps": 1}
    found = pgd(Flat(), last, labels * 0, generator=seeded(), **options)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, pgd(Flat(), images, labels * 0, generator=seeded(), **options))
    assert pgd(Flat(), images.double(), labels * 0, **options).dtype == torch.float64


def test_a_plain_function_and_no_images_are_fine(network, images, labels):
    found = fgsm(lambda batch: network(batch), images, labels, 0.1)
    assert torch.equal(found, fgsm(network, images, labels, 0.1))
    for name in ("pgd2", "pgd2-l2"):
        assert create_attack(name)(network, images[:0], labels[:0]).shape == (0, 3, 6, 6)


def test_bytes_are_refused(network, labels):
    with pytest.raises(PretaskError, match=r"torch\.uint8: divide by 255"):
        fgsm(network, torch.zeros(5, 3, 6, 6, dtype=torch.uint8), labels, 0.1)
