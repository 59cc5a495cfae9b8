"""Auxiliary tasks against the equation, and what each gate may and may not do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.backbones import create_backbone
from pretask.errors import PretaskError
from pretask.losses import CosineLinear, create_loss
from pretask.methods import GATES, Method, MethodParts, create_method
from pretask.methods.gate import create_gate, gradient_cosines
from pretask.pretexts import create_pretexts

PRESETS = {
    "lorot": ["lorot-e"],
    "lorot-i": ["lorot-i"],
    "gssl": ["lorot-e", "patch-flip", "patch-color"],
    "gssl-flip": ["lorot-e", "patch-flip"],
    "gssl-perm": ["lorot-e", "patch-color"],
    "gssl-ungated": ["lorot-e", "patch-flip", "patch-color"],
}


def make(name: str = "gssl", pretexts=(), loss: str = "cross_entropy", **options) -> Method:
    torch.manual_seed(0)
    network = create_backbone("resnet8", image_size=(8, 8))
    mean, std = (0.5,) * 3, (0.2,) * 3
    parts = MethodParts(network, torch.tensor([5, 3, 2]), mean, std, pretexts, create_loss(loss))
    return create_method(name, parts, **options).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(8, 3, 8, 8, generator=generator, dtype=torch.float64), torch.arange(8) % 3


@pytest.mark.parametrize(("name", "tasks"), PRESETS.items())
def test_presets_have_their_tasks_and_cost_one_pass(name: str, tasks: list[str]) -> None:
    method = make(name)
    assert [task.name for task in method.pretexts] == tasks
    assert [head.out_features for head in method.task_heads] == [task.num_labels for task in method.pretexts]
    assert (method.views_per_image, method.passes_per_image, method.inferences) == (1, 1.0, ("single",))


@pytest.mark.parametrize("gate", GATES.names())
@pytest.mark.parametrize("weight", [0.1, 0.7])
def test_loss_is_the_equation(batch, gate: str, weight: float) -> None:
    """L + λ·Σ g_t·CE_t with Σ g_t = 1, whatever the gate."""
    images, labels = batch
    method = make(gate="fixed:gate_weights=1,2,5" if gate == "fixed" else gate, pretext_weight=weight)
    torch.manual_seed(5)
    parts = method(images, labels)
    torch.manual_seed(5)
    features, task_labels = method.embed_changed(images)
    gates = torch.stack([parts[f"gate_{name}"] for name in method.names])
    assert gates.sum().item() == pytest.approx(1, abs=1e-6)
    assert (gates >= 0).all()
    expected = F.cross_entropy(method.head(features), labels)
    for g, head, wanted, task in zip(gates, method.task_heads, task_labels, method.pretexts, strict=True):
        scale = math.log(task.num_labels) if gate == "normalised" else 1
        expected = expected + weight * g * F.cross_entropy(head(features), wanted) / scale
    assert parts["loss"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_without_a_gate_every_task_weighs_the_same_and_all_weigh_three_times_as_much(batch) -> None:
    torch.manual_seed(5)
    parts = make("gssl-ungated")(*batch)
    losses = [parts[f"{name}_loss"] for name in PRESETS["gssl"]]
    expected = parts["classification_loss"] + 0.1 * sum(losses)
    assert parts["loss"].item() == pytest.approx(float(expected))
    assert not any(key.startswith("gate") for key in parts)


def test_frozen_gate_gets_no_gradient_and_learned_gates_do(batch) -> None:
    for gate in ("frozen", "learned", "normalised"):
        method = make(gate=gate)
        before = method.gate.linear.weight.clone()
        method(*batch)["loss"].backward()
        trained = method.gate.linear.weight.grad is not None and bool(method.gate.linear.weight.grad.any())
        assert trained == (gate != "frozen")
        assert method.gate.linear.weight.requires_grad == (gate != "frozen")
        assert torch.equal(before, method.gate.linear.weight)


def test_frozen_gate_leaves_the_features_gradient_alone(batch) -> None:
    """With the gate's weights as plain numbers the features get what fixed weights of those values give."""
    frozen = make(gate="frozen")
    torch.manual_seed(5)
    parts = frozen(*batch)
    parts["loss"].backward()
    fixed = make(gate="frozen")
    weights = tuple(float(parts[f"gate_{name}"]) for name in frozen.names)
    fixed.gate = create_gate("fixed", 64, 3, gate_weights=weights)
    torch.manual_seed(5)
    fixed(*batch)["loss"].backward()
    for a, b in zip(frozen.backbone.parameters(), fixed.backbone.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-9)


def test_a_learned_gate_moves_to_the_task_with_the_smallest_loss(batch) -> None:
    """The incentive that the docs warn of: two labels before sixteen."""
    method = make(gate="learned")
    features = torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.SGD(method.gate.parameters(), lr=0.5)
    losses = torch.tensor([math.log(16), math.log(2), math.log(6)], dtype=torch.float64)
    for _ in range(200):
        optimizer.zero_grad()
        (method.gate(features, lambda at: []) * losses).sum().backward()
        optimizer.step()
    assert method.gate(features, lambda at: []).argmax().item() == 1


def test_normalised_gate_keeps_a_floor(batch) -> None:
    gate = create_gate("normalised", 4, 3, gate_floor=0.3)
    with torch.no_grad():
        gate.linear.bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    weights = gate(torch.zeros(2, 4), lambda at: [])
    torch.testing.assert_close(weights, torch.tensor([0.8, 0.1, 0.1]))


def test_aligned_gate_follows_the_cosines(batch) -> None:
    direction = torch.tensor([1.0, 0.0])

    def losses(at: Tensor) -> list[Tensor]:
        return [
            (at @ direction).mean(),
            (at @ direction).mean() * 3,
            -(at @ direction).mean(),
            at[:, 1].mean(),
        ]

    features = torch.randn(5, 2, requires_grad=True)
    torch.testing.assert_close(gradient_cosines(features, losses), torch.tensor([1.0, -1.0, 0.0]))
    gate = create_gate("aligned", 2, 3, gate_temperature=0.5, gate_momentum=0.5)
    first = gate(features, losses)
    torch.testing.assert_close(first, (torch.tensor([0.5, -0.5, 0.0]) / 0.5).softmax(0))
    assert features.grad is None
    gate.eval()
    torch.testing.assert_close(gate(features, losses), first, msg="evaluation must not move the running mean")


def test_patch_tasks_share_one_patch(batch) -> None:
    images, _ = batch
    method = make("gssl")
    seen: list[Tensor] = []
    method.backbone.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for _ in range(20):
        method.embed_changed(images)
    for x in seen:
        changed = (x * 0.2 + 0.5 - images).abs().amax(1) > 1e-5
        for image in changed:
            quadrants = image.reshape(2, 4, 2, 4).permute(0, 2, 1, 3).flatten(2).any(2)
            assert quadrants.sum() <= 1


def test_feature_and_whole_image_tasks_take_part(batch) -> None:
    tasks = create_pretexts(["rotation", "discard", "patch-flip"])
    method = make("gssl", pretexts=tasks)
    torch.manual_seed(5)
    features, labels = method.embed_changed(batch[0])
    assert [len(part) for part in labels] == [8, 8, 8]
    for row, group in zip(features, labels[1].tolist(), strict=True):
        assert row[16 * group : 16 * (group + 1)].abs().sum() == 0
        assert row.abs().sum() > 0
    with pytest.raises(PretaskError, match="holds one twice"):
        make("gssl", pretexts=create_pretexts(["lorot-e", "lorot-e"]))


@pytest.mark.parametrize(("scale", "expected"), [(None, 30.0), (1.0, 1.0)])
def test_pretext_heads_are_cosine_under_ldam(batch, scale: float | None, expected: float) -> None:
    method = make("gssl", loss="ldam", pretext_scale=scale)
    assert isinstance(method.head, CosineLinear)
    assert all(isinstance(head, CosineLinear) for head in method.task_heads)
    assert [float(head.scale) for head in method.task_heads] == [expected] * 3
    assert method(*batch)["loss"].isfinite()


def test_clean_images_and_the_class_head_answer(batch) -> None:
    images, _ = batch
    method = make("gssl").eval()
    expected = method.head(method.backbone((images - 0.5) / 0.2))
    torch.testing.assert_close(method.classifier()(images), expected, rtol=1e-5, atol=1e-6)


def test_faults_tell_the_remedy() -> None:
    with pytest.raises(PretaskError, match=r"needs 3 weights .*type --gate-weights 1 1 1"):
        create_gate("fixed", 4, 3, gate_weights=(1.0, 2.0))
    with pytest.raises(PretaskError, match="did you mean 'learned'"):
        create_gate("lerned", 4, 3)
