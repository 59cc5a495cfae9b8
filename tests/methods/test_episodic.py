"""Episodes answered by prototypes and ridge regression, plain and joint with a pretext, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional as F

from pretask.backbones import create_backbone
from pretask.errors import PretaskError
from pretask.methods.episodic import EpisodicMethod, Prototypes, RidgeRegression
from pretask.pretexts import create_pretexts

WAYS, SHOTS, QUERIES = 3, 2, 4


def make(head: str = "prototypes", pretexts: tuple[str, ...] = ()) -> EpisodicMethod:
    torch.manual_seed(0)
    backbone = create_backbone("resnet8", image_size=(8, 8))
    made = create_pretexts(pretexts) if pretexts else ()
    return EpisodicMethod(backbone, (0.4,) * 3, (0.2,) * 3, head, WAYS, SHOTS, made).eval()


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(WAYS * (SHOTS + QUERIES), 3, 8, 8, generator=generator)


def test_the_loss_of_prototypes_is_the_formula() -> None:
    method, x = make(), images()
    with torch.no_grad():
        z = method.encoder(x).view(WAYS, SHOTS + QUERIES, -1)
    means = [z[c, :SHOTS].mean(0) for c in range(WAYS)]
    total = 0.0
    for c in range(WAYS):
        for q in range(SHOTS, SHOTS + QUERIES):
            scores = torch.stack([-(z[c, q] - mean).square().sum() / z.shape[2] for mean in means])
            total += F.cross_entropy(scores, torch.tensor(c)).item() / (WAYS * QUERIES)
    assert method(x)["loss"].item() == pytest.approx(total, rel=1e-4)


def test_with_rotations_class_and_turn_are_one_class() -> None:
    """Twelve ways: the support of (class, turn) are that class's images so turned, each query counts four times."""
    method, x = make(pretexts=("rotation",)), images()
    turned = [x if k == 0 else torch.rot90(x, k, (2, 3)) for k in range(4)]
    with torch.no_grad():
        z = torch.stack([method.encoder(views) for views in turned], 1).view(WAYS, SHOTS + QUERIES, 4, -1)
    means = {(c, k): z[c, :SHOTS, k].mean(0) for c in range(WAYS) for k in range(4)}
    total, right = 0.0, 0
    for c in range(WAYS):
        for q in range(SHOTS, SHOTS + QUERIES):
            for k in range(4):
                scores = torch.stack(
                    [-(z[c, q, k] - mean).square().sum() / z.shape[3] for mean in means.values()]
                )
                total += F.cross_entropy(scores, torch.tensor(4 * c + k)).item()
                right += int(scores.argmax() == 4 * c + k)
    parts = method(x)
    assert parts["loss"].item() == pytest.approx(total / (WAYS * QUERIES * 4), rel=1e-4)
    assert parts["accuracy"].item() == pytest.approx(right / (WAYS * QUERIES * 4))
    assert method.passes_per_image == 4


def test_answers_average_each_view_in_its_own_columns() -> None:
    method, x = make(pretexts=("rotation2",)), images()
    with torch.no_grad():
        features = method.encoder.views(x).view(1, WAYS, SHOTS + QUERIES, 2, -1)
        scores = method.scores(features)[0].view(WAYS * QUERIES, 2, WAYS * 2)
        aggregated, single = (method.answers(features, name)[0] for name in ("aggregated", "single"))
    for q in range(WAYS * QUERIES):
        for c in range(WAYS):
            mean = (scores[q, 0, 2 * c] + scores[q, 1, 2 * c + 1]) / 2
            assert aggregated[q, c].item() == pytest.approx(mean.item(), rel=1e-5)
            assert single[q, c].item() == pytest.approx(scores[q, 0, 2 * c].item(), rel=1e-5)


def test_ridge_regression_is_scikit_learns_and_learns_its_penalty() -> None:
    torch.manual_seed(1)
    head = RidgeRegression(6)
    support, queries = torch.randn(2, 4, 3, 6, requires_grad=True), torch.randn(2, 5, 6)
    with torch.no_grad():
        head.log_penalty.fill_(0.7)
    scores = head(support, queries)
    for e in range(2):
        model = Ridge(alpha=float(np.exp(0.7)), fit_intercept=False)
        model.fit(support[e].detach().reshape(12, 6).numpy(), np.eye(4)[np.repeat(np.arange(4), 3)])
        np.testing.assert_allclose(scores[e].detach(), 10 * model.predict(queries[e].numpy()), atol=1e-4)
    scores.square().sum().backward()
    assert support.grad is not None and all(p.grad is not None for p in head.parameters())


def test_prototypes_scale_with_the_width_of_features() -> None:
    assert Prototypes(50).scale.item() == pytest.approx(0.02)


@pytest.mark.parametrize("head", ["prototypes", "ridge"])
def test_every_weight_learns(head: str) -> None:
    method = make(head, ("rotation",)).train()
    method(images())["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(PretaskError, match="did you mean 'ridge'"):
        make("rigde")
    with pytest.raises(PretaskError, match="--pretexts rotation"):
        make(pretexts=("discard",))


@pytest.mark.parametrize("head", ["prototypes", "ridge"])
def test_heads_compute_in_float32_in_a_step_of_bf16(head: str) -> None:
    """On a GPU the features of such a step are bf16, which no solver takes."""
    method, features = make(head), torch.randn(1, WAYS, SHOTS + QUERIES, 1, 32).bfloat16()
    if head == "prototypes":
        method.head.scale.data.fill_(0.1)
    inside = []
    method.head.register_forward_pre_hook(
        lambda _, given: inside.append((*(x.dtype for x in given), torch.is_autocast_enabled("cpu")))
    )
    with torch.autocast("cpu", torch.bfloat16):
        scores = method.scores(features)
    assert inside == [(torch.float32, torch.float32, False)]
    torch.testing.assert_close(scores, method.scores(features.float()), rtol=0, atol=0)
