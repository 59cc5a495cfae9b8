"""One step of each published method, written out from its equations, in float64: loss, gradients and statistics.

What is random is drawn by the method; a transcription repeats the draws by seed, or reads them where the method calls
for them. Networks are small, with batch statistics, which tie the images of a pass to each other.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.losses import create_loss
from pretask.methods import Method, MethodParts, create_method
from pretask.methods.auxiliary import transform_shared
from pretask.pretexts import create_pretexts

N, SIDE, WIDTH = 3, 6, 5
COUNTS = torch.tensor([50, 20, 5])
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
LABELS = torch.tensor([0, 1, 2, 0, 1, 0, 2, 2])


class Network(nn.Module):
    """A convolution with batch statistics, and the mean over pixels: [B, 3, H, W] → [B, 5]."""

    num_features = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))


def images(count: int = len(LABELS)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)


def make(name: str, pretexts: tuple[str, ...] = (), loss: str = "cross_entropy", **options) -> Method:
    torch.manual_seed(0)
    parts = MethodParts(
        Network(), COUNTS, MEAN, STD, create_pretexts(pretexts) if pretexts else (), create_loss(loss)
    )
    return create_method(name, parts, **options).double().train()


def normal(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, dtype=torch.float32).double() for values in (MEAN, STD))
    return (x - mean[:, None, None]) / std[:, None, None]


def same(method: Method, x: Tensor, y: Tensor, step: Callable[[Method], Tensor]) -> None:
    """Check loss, every gradient and the running statistics against those of a transcription on a copy."""
    theirs = copy.deepcopy(method)
    torch.manual_seed(9)
    loss = method(x, y)["loss"]
    torch.manual_seed(9)
    expected = step(theirs)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    expected.backward()
    for (name, mine), other in zip(method.named_parameters(), theirs.parameters(), strict=True):
        if mine.grad is None or other.grad is None:
            assert mine.grad is None and other.grad is None, name
        else:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-12, msg=name)
    for mine, other in zip(method.backbone.buffers(), theirs.backbone.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


# SLA: Lee, Hwang, Shin, ICML 2020, equations 3 and 4, and the aggregation of section 2.3


def rotations(x: Tensor) -> list[Tensor]:
    return [torch.rot90(x, k, (2, 3)) for k in range(4)]


def orders(x: Tensor) -> list[Tensor]:
    return [x[:, list(order)] for order in itertools.permutations(range(3))]


TRANSFORMATIONS: dict[str, Callable[[Tensor], list[Tensor]]] = {
    "rotation": rotations,
    "color": orders,
    "rotation+color": lambda x: [view for turned in rotations(x) for view in orders(turned)],
}


def joint(method: Method, views: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the joint loss, the aggregate, and the features of the views [M, B, D], all of one pass."""
    M = len(views)
    z = method.backbone(normal(torch.stack(views, 1).flatten(0, 1)))
    logits = method.joint_head(z).view(len(LABELS), M, N, M)
    loss = torch.stack([F.cross_entropy(logits[:, j].flatten(1), LABELS * M + j) for j in range(M)]).mean()
    aggregate = sum(logits[:, j, :, j] for j in range(M)) / M
    return loss, aggregate, z.view(len(LABELS), M, WIDTH).transpose(0, 1)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_sla(name: str) -> None:
    x = images()
    method = make("sla", (name,))
    same(method, x, LABELS, lambda it: joint(it, TRANSFORMATIONS[name](x))[0])
    method.eval()
    torch.testing.assert_close(method.classifier("aggregated")(x), joint(method, TRANSFORMATIONS[name](x))[1])


def test_sla_with_self_distillation() -> None:
    x, T, beta = images(), 2.0, 0.7
    method = make("sla-sd", ("rotation",), distill_temperature=T, distill_weight=beta)

    def step(it: Method) -> Tensor:
        loss, aggregate, z = joint(it, rotations(x))
        student = it.head(z[0])
        teacher = (aggregate.detach() / T).softmax(1)
        divergence = (teacher * (teacher.log() - (student / T).log_softmax(1))).sum(1).mean()
        return loss + T**2 * divergence + beta * F.cross_entropy(student, LABELS)

    same(method, x, LABELS, step)


def test_sla_where_channels_differ_as_the_public_code_has_it() -> None:
    """Colours are permuted after normalisation."""
    x = images()

    def step(it: Method) -> Tensor:
        z = it.backbone(torch.stack(orders(normal(x)), 1).flatten(0, 1))
        return F.cross_entropy(it.joint_head(z), (6 * LABELS[:, None] + torch.arange(6)).flatten())

    method = make("sla", ("color:normalised=yes",))
    theirs = copy.deepcopy(method)
    loss, expected = method(x, LABELS)["loss"], step(theirs)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)  # the statistics are float32
    assert abs(make("sla", ("color",))(x, LABELS)["loss"] - expected) > 1e-3


# LoRot and G-SSL: the public code's loops, image by image


def patched(
    x: Tensor, flip: list[int], axis: str, place: list[int], turn: list[int], order: list[int]
) -> Tensor:
    """Flip rows or columns of a quadrant, turn it, permute its channels."""
    out, half = x.clone(), SIDE // 2
    for i in range(len(x)):
        top, left = (place[i] // 2) * half, (place[i] % 2) * half
        patch = out[i, :, top : top + half, left : left + half].clone()
        if flip[i]:
            patch = patch.flip(1 if axis == "vertical" else 2)
        patch = torch.rot90(patch, turn[i], (1, 2))
        patch = patch[list(list(itertools.permutations(range(3)))[order[i]])]
        out[i, :, top : top + half, left : left + half] = patch
    return out


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The labels that tasks on a patch were last given."""
    seen: list[list[Tensor]] = []

    def watch(tasks, x):
        changed, labels = transform_shared(tasks, x)
        seen.append(labels)
        return changed, labels

    monkeypatch.setattr("pretask.methods.auxiliary.transform_shared", watch)
    return seen


def drawn_weights(labels: Tensor, counts: Tensor) -> Tensor:
    effective = (1 - 0.9999 ** counts.double()) / (1 - 0.9999)
    weights = 1 / effective
    return (weights * counts.sum() / (counts * weights).sum())[labels]


def ldam(cosines: Tensor, labels: Tensor, counts: Tensor, scale: float = 30.0, most: float = 0.5) -> Tensor:
    """Cao et al., NeurIPS 2019, equation 13, with the authors' scale; a value for each image."""
    margins = counts.double() ** -0.25
    margins = most * margins / margins.max()
    lowered = cosines.clone()
    for i, label in enumerate(labels.tolist()):
        lowered[i, label] = cosines[i, label] - margins[label]
    return F.cross_entropy(scale * lowered, labels, reduction="none")


def cosines(head: nn.Module, z: Tensor) -> Tensor:
    """A normalised linear layer."""
    return (z / z.norm(dim=1, keepdim=True)) @ (head.weight / head.weight.norm(dim=1, keepdim=True)).T


def test_lorot(drawn: list[list[Tensor]]) -> None:
    x = images()

    def step(it: Method) -> Tensor:
        (label,) = drawn[0]
        still = [0] * len(x)
        changed = patched(x, still, "horizontal", (label // 4).tolist(), (label % 4).tolist(), still)
        z = it.backbone(normal(changed))
        return F.cross_entropy(it.head(z), LABELS) + 0.1 * F.cross_entropy(it.task_heads[0](z), label)

    same(make("lorot", pretext_weight=0.1), x, LABELS, step)


AS_RELEASED = ("lorot-e", "patch-flip:axis=vertical", "patch-color")


def gssl_step(it: Method, x: Tensor, labels: list[Tensor], axis: str, uneven: bool) -> Tensor:
    """The public code for Tiny-ImageNet, or for uneven classes: LDAM with deferred weights, and bare cosines."""
    rotation, flip, order = labels
    changed = patched(
        x, flip.tolist(), axis, (rotation // 4).tolist(), (rotation % 4).tolist(), order.tolist()
    )
    z = it.backbone(normal(changed))
    outputs = F.linear(z, it.gate.linear.weight, it.gate.linear.bias)
    if uneven:
        gate = outputs.mean(0).softmax(0)
        found = ldam(cosines(it.head, z), LABELS, COUNTS)
        class_loss = (drawn_weights(LABELS, COUNTS) * found).mean()
        tasks = [F.cross_entropy(cosines(h, z), y) for h, y in zip(it.task_heads, labels, strict=True)]
    else:
        gate = outputs.softmax(1).mean(0)
        class_loss = F.cross_entropy(it.head(z), LABELS)
        tasks = [F.cross_entropy(h(z), y) for h, y in zip(it.task_heads, labels, strict=True)]
    return class_loss + 0.1 * sum(weight.item() * loss for weight, loss in zip(gate, tasks, strict=True))


def test_gssl_with_the_gate_of_the_public_code(drawn: list[list[Tensor]]) -> None:
    x = images()
    method = make("gssl", gate="frozen")
    same(method, x, LABELS, lambda it: gssl_step(it, x, drawn[0], "horizontal", uneven=False))


def test_gssl_with_the_gate_of_the_public_code_for_uneven_classes(drawn: list[list[Tensor]]) -> None:
    x = images()
    gate = "frozen:gate_init=kaiming:gate_softmax=mean"
    method = make("gssl", AS_RELEASED, "ldam-drw", gate=gate, pretext_scale=1.0)
    method.set_progress(0.8)
    method.loss.weights = method.loss.weights.double()  # made in float32
    method.loss.weights.copy_(drawn_weights(torch.arange(N), COUNTS))
    method.loss.loss.margins.copy_(0.5 * COUNTS.double() ** -0.25 / (COUNTS.double() ** -0.25).max())
    same(method, x, LABELS, lambda it: gssl_step(it, x, drawn[0], "vertical", uneven=True))


def test_the_released_gates_differ_in_how_one_sided_they_are() -> None:
    """Kaiming's start is √6 times as wide as that of a linear layer; these are the numbers of docs/methods/gssl.md."""
    features = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) * 2
    largest = {}
    for gate in ("frozen", "frozen:gate_init=kaiming:gate_softmax=mean"):
        found = []
        for seed in range(101):
            torch.manual_seed(seed)
            made = make_gate(gate)
            found.append(made(features, lambda at: []).max().item())
        largest[gate] = sorted(found)[50]
    plain, uneven = largest.values()
    assert plain == pytest.approx(0.48, abs=0.02) and uneven == pytest.approx(0.65, abs=0.02)
    assert 0.9 < make_gate("learned:gate_init=kaiming", 2000).linear.weight.std() / math.sqrt(2 / 2000) < 1.1


def make_gate(spec: str, features: int = 64):
    from pretask.methods import create_gate

    return create_gate(spec, features, 3)


# LDAM-DRW: Cao et al., NeurIPS 2019


@pytest.mark.parametrize("progress", [0.79, 0.8])
def test_ldam_with_deferred_weights(progress: float) -> None:
    x = images()
    method = make("baseline", loss="ldam-drw")
    method.set_progress(progress)
    method.loss.weights.copy_(drawn_weights(torch.arange(N), COUNTS))
    method.loss.loss.margins.copy_(0.5 * COUNTS.double() ** -0.25 / (COUNTS.double() ** -0.25).max())

    def step(it: Method) -> Tensor:
        losses = ldam(cosines(it.head, it.backbone(normal(x))), LABELS, COUNTS)
        weights = drawn_weights(LABELS, COUNTS) if progress >= 0.8 else 1.0
        return (weights * losses).mean()

    same(method, x, LABELS, step)


def test_the_authors_divide_by_the_weights_of_each_batch() -> None:
    """Theirs is ours over the batch's mean weight, which over the training images is 1."""
    method = make("baseline", loss="ldam-drw")
    method.set_progress(1.0)
    ours = method(images(), LABELS)["loss"]
    weights = drawn_weights(LABELS, COUNTS)
    logits = method.head(method.backbone(normal(images())))
    losses = ldam(logits / 30, LABELS, COUNTS)
    torch.testing.assert_close((weights * losses).sum() / weights.sum(), ours / weights.mean())


# FixMatch: Sohn et al., NeurIPS 2020, equations 3 and 4, and the authors' one pass


def test_fixmatch() -> None:
    ratio, count = 2, len(LABELS)
    x = images(count * (1 + 2 * ratio))
    labels = torch.cat((LABELS, torch.full((count * ratio,), -1)))
    method = make("fixmatch", unlabelled_ratio=ratio, pseudo_threshold=0.428, unlabelled_weight=0.7)

    def step(it: Method) -> Tensor:
        weak, second = x[count : count * (1 + ratio)], x[count * (1 + ratio) :]
        strong = it.strong(second)
        logits = it.head(it.backbone(normal(torch.cat((x[:count], weak, strong)))))
        supervised = F.cross_entropy(logits[:count], LABELS)
        guessed, answers = logits[count:].detach().softmax(1).chunk(2)[0], logits[count:].chunk(2)[1]
        total = sum(
            -answers[i].log_softmax(0)[guessed[i].argmax()]
            for i in range(count * ratio)
            if guessed[i].max() >= 0.428
        )
        assert 0 < sum(g.max().item() >= 0.428 for g in guessed) < len(guessed)
        return supervised + 0.7 * total / (count * ratio)

    same(method, x, labels, step)
