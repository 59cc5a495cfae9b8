"""Projections and the figures beside them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from pretask.errors import MissingExtra
from pretask.explain.projections import NEIGHBOURS, pca, separation, tsne


def clusters(
    apart: float, each: int = 40, classes: int = 3, width: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    return torch.randn(len(labels), width, generator=draws) + apart * torch.eye(width)[labels], labels


def test_components_are_those_of_scikit_learn_up_to_sign() -> None:
    features, _ = clusters(2)
    found, expected = pca(features, 0).numpy(), PCA(2).fit_transform(features.double().numpy())
    for own, theirs in zip(found.T, expected.T, strict=True):
        assert own[np.abs(own).argmax()] > 0
        np.testing.assert_allclose(np.abs(own), np.abs(theirs), atol=1e-4)


def test_figures_tell_apart_what_is_apart() -> None:
    near, far = (separation(*clusters(apart)) for apart in (0.0, 8.0))
    assert far.silhouette > 0.5 > 0.1 > near.silhouette
    assert far.neighbours == 1.0 and near.neighbours < 0.6


def test_neighbours_are_counted_as_written_down() -> None:
    """Each image by the votes of the five nearest others; at equal votes the nearer ones decide."""
    features, labels = clusters(1.0, each=15)
    unit = features / features.norm(dim=1, keepdim=True)
    right = 0
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        others.sort(key=lambda j: -float(unit[i] @ unit[j]))
        near = [int(labels[j]) for j in others[:NEIGHBOURS]]
        score = {c: near.count(c) + sum(0.01 / 2**k for k, n in enumerate(near) if n == c) for c in near}
        right += max(score, key=score.get) == int(labels[i])
    assert separation(features, labels).neighbours == pytest.approx(right / len(labels))


def test_one_class_has_no_silhouette() -> None:
    features, labels = clusters(1.0, classes=1)
    assert separation(features, labels).silhouette is None


def test_tsne_keeps_neighbours_and_repeats() -> None:
    features, labels = clusters(8.0, each=20)
    points = tsne(features, seed=3)
    assert points.shape == (60, 2)
    assert torch.equal(points, tsne(features, seed=3))
    distances = torch.cdist(points, points).fill_diagonal_(float("inf"))
    assert (labels[distances.argmin(1)] == labels).float().mean() > 0.95


def test_few_points_are_enough() -> None:
    assert tsne(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), seed=0).shape == (4, 2)


def test_a_missing_package_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingExtra, match=r"pretask\[explain\]"):
        tsne(torch.randn(8, 4), seed=0)
