"""Each method's loss against a transcription of its equation, one image and one view at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.methods import Method

PRETEXTS = ["rotation", "color3", "rotation2+color3"]


def ce(logits: Tensor, target: int) -> Tensor:
    return -(logits - logits.exp().sum().log())[target]


def view_features(method: Method, image: Tensor) -> list[Tensor]:
    """z_1 … z_M of one image, each view on its own."""
    mean = torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)[:, None, None]
    std = torch.tensor([0.2, 0.3, 0.25], dtype=torch.float64)[:, None, None]
    pretext = method.encoder.image_pretext
    views = [pretext.transform(image[None], torch.tensor([j]))[0] for j in range(pretext.num_labels)]
    return [method.backbone(((view - mean) / std)[None])[0] for view in views]


def sla_loss(method: Method, images: Tensor, labels: Tensor) -> Tensor:
    M = method.encoder.num_labels
    losses = []
    for image, label in zip(images, labels.tolist(), strict=True):
        for j, z in enumerate(view_features(method, image)):
            losses.append(ce(method.joint_head(z[None])[0], label * M + j))
    return torch.stack(losses).mean()


def aggregated_logits(method: Method, image: Tensor) -> Tensor:
    M = method.encoder.num_labels
    per_view = [method.joint_head(z[None])[0][j::M] for j, z in enumerate(view_features(method, image))]
    return torch.stack(per_view).mean(0)


def test_baseline(build, batch) -> None:
    method = build("baseline")
    images, labels = batch
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
    z = method.backbone((images - mean.double()) / std.double())
    expected = torch.stack([ce(method.head(z)[i], y) for i, y in enumerate(labels.tolist())]).mean()
    assert method(images, labels)["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("pretext", PRETEXTS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_da_and_mt(build, batch, pretext: str, reduction: str) -> None:
    images, labels = batch
    for name in ("da", "mt"):
        weight = {"pretext_weight": 0.7} if name == "mt" else {}
        method = build(name, pretext, view_reduction=reduction, **weight)
        losses = []
        for image, label in zip(images, labels.tolist(), strict=True):
            for j, z in enumerate(view_features(method, image)):
                loss = ce(method.head(z[None])[0], label)
                if name == "mt":
                    loss = loss + 0.7 * ce(method.pretext_head(z[None])[0], j)
                losses.append(loss)
        factor = method.encoder.num_labels if reduction == "sum" else 1
        expected = torch.stack(losses).mean() * factor
        assert method(images, labels)["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("pretext", PRETEXTS)
def test_sla(build, batch, pretext: str) -> None:
    method = build("sla", pretext)
    expected = sla_loss(method, *batch)
    assert method(*batch)["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("pretext", PRETEXTS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sla_sd(build, batch, pretext: str, reduction: str) -> None:
    T, beta = 2.0, 0.5
    method = build("sla-sd", pretext, view_reduction=reduction, distill_temperature=T, distill_weight=beta)
    images, labels = batch
    joint = sla_loss(method, images, labels) * (method.encoder.num_labels if reduction == "sum" else 1)
    divergences, head_losses = [], []
    for image, label in zip(images, labels.tolist(), strict=True):
        p = (aggregated_logits(method, image) / T).softmax(0)
        u = method.head(view_features(method, image)[0][None])[0]
        q = (u / T).softmax(0)
        divergences.append((p * (p / q).log()).sum())
        head_losses.append(ce(u, label))
    expected = joint + T**2 * torch.stack(divergences).mean() + beta * torch.stack(head_losses).mean()
    assert method(images, labels)["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_no_gradient_reaches_the_teacher_through_distillation(build, batch) -> None:
    """The joint head's gradient is that of the joint loss alone."""
    plain, distilled = build("sla"), build("sla-sd")
    distilled.backbone.load_state_dict(plain.backbone.state_dict())
    distilled.joint_head.load_state_dict(plain.joint_head.state_dict())
    plain(*batch)["loss"].backward()
    distilled(*batch)["loss"].backward()
    torch.testing.assert_close(distilled.joint_head.weight.grad, plain.joint_head.weight.grad)


def test_soft_targets_are_joint_labels_per_view(build, batch) -> None:
    """CutMix on joint labels: loss = Σ_c p_c · loss of class c, view by view."""
    images, labels = batch
    other = labels.roll(1)
    p = 0.3
    soft = p * F.one_hot(labels, 3).double() + (1 - p) * F.one_hot(other, 3).double()
    for name in ("baseline", "da", "mt", "sla"):
        method = build(name)
        got = method(images, soft)["loss"].item()
        expected = p * method(images, labels)["loss"].item() + (1 - p) * method(images, other)["loss"].item()
        assert got == pytest.approx(expected, abs=1e-6), name
    assert torch.isfinite(build("sla-sd")(images, soft)["loss"])


def test_hard_labels_and_their_one_hot_form_agree(build, batch) -> None:
    images, labels = batch
    for name in ("baseline", "da", "mt", "sla", "sla-sd"):
        method = build(name)
        hard, soft = method(images, labels), method(images, F.one_hot(labels, 3).double())
        for part in hard:
            assert hard[part].item() == pytest.approx(soft[part].item(), abs=1e-6), (name, part)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_random_views_are_distinct_and_labelled(build, batch, views: int) -> None:
    method = build("sla", views=views)
    images = torch.arange(6 * 48, dtype=torch.float64).reshape(6, 3, 4, 4) / 288
    torch.manual_seed(3)
    seen: set[int] = set()
    for _ in range(20):
        out, labels = method.embed_views(images)
        assert out.shape[0] == 6 * views
        for i, image in enumerate(images):
            own = labels[i * views : (i + 1) * views].tolist()
            assert len(set(own)) == views
            seen |= set(own)
            for k, j in enumerate(own):
                expected = method.encoder.image_pretext.transform(image[None], torch.tensor([j]))[0]
                features = method.backbone(method.encoder.normalize(expected[None]))[0]
                torch.testing.assert_close(out[i * views + k], features)
    assert seen == {0, 1, 2, 3}
    assert method.views_per_image == views


def test_distillation_from_some_views_is_the_formula_over_these(build, batch, monkeypatch) -> None:
    """The plain image comes first, the others are drawn; the teacher is the mean of the drawn views' own columns."""
    images, labels = batch
    method = build("sla-sd", views=2)
    assert (method.views_per_image, method.passes_per_image) == (2, 2)
    drawn = torch.tensor([2, 1, 3, 3, 1, 2])
    places = torch.ones(6, 4).scatter(1, drawn[:, None], 0)
    monkeypatch.setattr(torch, "rand", lambda *size, device: places.clone())
    parts = method(images, labels)

    loss, teacher = torch.zeros(()).double(), torch.zeros(6, 3).double()
    for i in range(6):
        for j in (0, int(drawn[i])):
            view = torch.rot90(images[i : i + 1], j, (2, 3))
            logits = method.joint_head(method.encoder(view))
            loss = loss + F.cross_entropy(logits, labels[i : i + 1] * 4 + j) / 12
            teacher[i] += logits[0, j::4].detach() / 2
    plain = method.head(method.encoder(images))
    divergence = (teacher.softmax(1) * (teacher.log_softmax(1) - plain.log_softmax(1))).sum(1).mean()
    expected = loss + divergence + F.cross_entropy(plain, labels)
    torch.testing.assert_close(parts["loss"], expected)


def test_sla_fast_is_distillation_from_two_views(build, batch) -> None:
    fast = build("sla-fast")
    assert (fast.views_per_image, fast.passes_per_image, fast.inferences[0]) == (2, 2, "distilled")
    losses = []
    for method in (fast, build("sla-sd", views=2)):
        torch.manual_seed(1)
        losses.append(method(*batch)["loss"])
    torch.testing.assert_close(*losses)


def test_distillation_from_all_views_drawn_is_plain_distillation(build, batch) -> None:
    torch.testing.assert_close(build("sla-sd", views=4)(*batch)["loss"], build("sla-sd")(*batch)["loss"])


def test_expected_loss_of_one_random_view_is_the_loss_of_all(build, batch) -> None:
    """Averaged over many draws, k random views estimate the mean over all M."""
    torch.manual_seed(0)
    full = build("sla")(*batch)["loss"].item()
    one = build("sla", views=1)
    draws = torch.stack([one(*batch)["loss"].detach() for _ in range(400)])
    error = draws.std().item() / len(draws) ** 0.5
    assert abs(draws.mean().item() - full) < 4 * error


def test_impossible_views_are_refused(build) -> None:
    with pytest.raises(PretaskError, match=r"^5 views.*rotation has 4.*--views with 1 to 4"):
        build("sla", views=5)
    for views in (0, -1):
        with pytest.raises(PretaskError, match=f"^views = {views} is not possible: type --views with a numb"):
            build("sla", views=views)
    with pytest.raises(PretaskError, match=r"at least two views, 1 was asked for.*--views with 2 to 4"):
        build("sla-sd", views=1)
    with pytest.raises(PretaskError, match="no view that is the plain image"):
        build("ssfe-sd", "discard:groups=4", views=2)
    with pytest.raises(PretaskError, match="did you mean 'sla'"):
        build("slaa")


def test_every_auxiliary_head_logs_its_accuracy(build, batch) -> None:
    for name, parts in {
        "mt": {"pretext_accuracy"},
        "sla": {"pretext_accuracy"},
        "sla-sd": {"pretext_accuracy", "distilled_accuracy"},
    }.items():
        logged = build(name)(*batch)
        assert parts | {"accuracy", "loss"} <= set(logged)
        assert not any(value.requires_grad for key, value in logged.items() if key != "loss")


def test_compiles_without_graph_breaks(build, batch) -> None:
    torch._dynamo.reset()
    method = build("sla-sd")
    images, labels = batch
    explanation = torch._dynamo.explain(method)(images, labels)
    assert explanation.graph_break_count == 0
