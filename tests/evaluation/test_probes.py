"""Each protocol on features against a literal reference and an independent library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from feature_samples import Flat, blobs, features
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from pretask.evaluation import EVALUATORS, logistic
from pretask.evaluation.knn import votes
from pretask.evaluation.probes import principal_axes

# knn


def literal_votes(train, labels, query, k, classes=3):
    """Wu et al. 2018, section 3.4, for one image."""
    cosines = [float(query @ row / (query.norm() * row.norm())) for row in train]
    nearest = sorted(range(len(train)), key=lambda i: -cosines[i])[:k]
    total = [0.0] * classes
    for i in nearest:
        total[int(labels[i])] += math.exp(cosines[i] / 0.1)
    return total


@pytest.mark.parametrize("block", [16_000_000, 150])
def test_votes_are_those_of_the_paper(monkeypatch, block):
    monkeypatch.setattr("pretask.evaluation.knn._BLOCK_ELEMENTS", block)
    (train, labels), (queries, _) = features(60, 0), features(11, 1)
    for found, k in zip(votes(train, labels, queries, 3, (30, 7)), (30, 7), strict=True):
        expected = torch.tensor(
            [literal_votes(train.double(), labels, q.double(), k) for q in queries]
        ).double()
        assert torch.allclose(found.double() * math.exp(10), expected, rtol=1e-4)


def test_knn_answers_as_scikit_learn():
    data = blobs(train=300)
    found = EVALUATORS.get("knn")()(Flat(), data)
    train, test = (s.images.storage.flatten(1).double() / 255 for s in (data.train, data.test))
    for k, figures in ((200, found), (20, found["fewer"])):
        model = KNeighborsClassifier(k, metric="cosine", weights=lambda far: np.exp((1 - far) / 0.1))
        assert figures["k"] == k
        model.fit(train, data.train.labels)
        assert figures["top1"] == pytest.approx(model.score(test, data.test.labels))


def test_k_is_clamped_to_the_train_images():
    found = EVALUATORS.get("knn")()(Flat(), blobs(train=12))
    assert (found["k"], found["fewer"]["k"]) == (12, 12)


# principal axes


def test_axes_are_uncorrelated_and_keep_distances():
    values, _ = features(80, 0)
    axes = principal_axes(values)
    x, standard = axes(values).double(), torch.from_numpy(StandardScaler().fit_transform(values.double()))
    assert torch.allclose(x.t() @ x / 80, axes.variances.diag(), atol=1e-5)
    assert torch.allclose(torch.cdist(x, x), torch.cdist(standard, standard), atol=1e-4)


def test_axes_without_variance_are_left_out():
    values, _ = features(10, 0)
    values[:, 3] = 0.3
    axes = principal_axes(values)
    assert axes.axes.shape == (16, 9)
    assert (axes.axes[3] == 0).all()
    assert principal_axes(torch.full((5, 4), 0.1)).axes.shape == (4, 0)


# linear


@pytest.mark.parametrize(("n", "classes"), [(150, 3), (12, 3), (90, 2)])
def test_every_member_is_the_solution_of_scikit_learn(n, classes):
    values, labels = features(n, 0, classes=classes)
    queries, _ = features(40, 1, classes=classes)
    axes, penalties = principal_axes(values), (1e-4, 1e-2, 1.0)
    found = logistic.solve(axes(values), labels, classes, axes.variances, penalties)
    assert found.converged.all()
    scaler = StandardScaler().fit(values.double())
    x, q = (scaler.transform(v.double()) for v in (values, queries))
    for g, penalty in enumerate(penalties):
        # With two classes scikit-learn has one row of weights: half the difference has half the penalty.
        share = 1 / (penalty * n) * (2 if classes == 2 else 1)
        model = LogisticRegression(C=share, tol=1e-9, max_iter=10_000).fit(x, labels)
        chances = (axes(queries) @ found.weights[:, g] + found.intercept[g]).double().softmax(1)
        assert np.allclose(chances, model.predict_proba(q), atol=5e-3 if penalty < 1e-3 else 2e-4)
        if classes > 2:
            ours = _objective(axes(values), labels, found.weights[:, g], found.intercept[g], penalty)
            theirs = _objective(torch.from_numpy(x), labels, model.coef_.T, model.intercept_, penalty)
            assert ours == pytest.approx(theirs, rel=1e-4)


def _objective(x, labels, weights, intercept, penalty):
    weights, intercept = torch.as_tensor(weights).double(), torch.as_tensor(intercept).double()
    loss = F.cross_entropy(x.double() @ weights + intercept, labels)
    return float(loss + penalty / 2 * weights.square().sum())


def test_members_do_not_depend_on_each_other():
    values, labels = features(60, 0)
    axes = principal_axes(values)
    x = axes(values)
    together = logistic.solve(x, labels, 3, axes.variances, (1e-3, 1e-1))
    for g, penalty in enumerate((1e-3, 1e-1)):
        alone = logistic.solve(x, labels, 3, axes.variances, (penalty,))
        assert torch.allclose(together.weights[:, g], alone.weights[:, 0], atol=1e-4)
        assert together.steps[g] == pytest.approx(int(alone.steps[0]), abs=2)


def test_regressions_that_do_not_fit_together_wait_for_each_other(monkeypatch):
    values, labels = features(60, 0)
    axes, penalties = principal_axes(values), (1e-2, 1e-1, 1.0)
    together = logistic.solve(axes(values), labels, 3, axes.variances, penalties)
    monkeypatch.setattr(logistic, "_LOGITS_AT_ONCE", 60 * 3)
    found = logistic.solve(axes(values), labels, 3, axes.variances, penalties)
    assert torch.allclose(found.weights, together.weights, atol=1e-4)
    assert torch.allclose(found.intercept, together.intercept, atol=1e-4)
    assert found.converged.all()
    assert found.steps.tolist() == pytest.approx(together.steps.tolist(), abs=2)


def test_what_has_not_converged_says_so(monkeypatch):
    monkeypatch.setattr(logistic, "MOST_STEPS", 3)
    values, labels = features(60, 0)
    axes = principal_axes(values)
    found = logistic.solve(axes(values), labels, 3, axes.variances, (1e-6, 1.0))
    assert not found.converged.any()
    assert found.steps.tolist() == [3, 3]


def test_linear_is_the_best_member_on_validation():
    data = blobs()
    found = EVALUATORS.get("linear")()(Flat(), data)
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    pixels = {name: s.images.storage.flatten(1).double() / 255 for name, s in splits.items()}
    scaler = StandardScaler().fit(pixels["train"])
    scores = {}
    for penalty, share in found["grid"][2:]:  # smaller penalties are not solved to the last digit by either
        model = LogisticRegression(C=1 / (penalty * len(data.train)), tol=1e-8, max_iter=10_000)
        model.fit(scaler.transform(pixels["train"]), data.train.labels)
        assert model.score(scaler.transform(pixels["validation"]), data.validation.labels) == pytest.approx(
            share
        )
        scores[penalty] = model.score(scaler.transform(pixels["test"]), data.test.labels)
    assert found["l2"] in scores
    assert found["top1"] == pytest.approx(scores[found["l2"]])
    assert found["l2"] == max(found["grid"], key=lambda pair: (pair[1], pair[0]))[0]
    assert found["converged"] is True


# ridge


@pytest.mark.parametrize("n", [150, 12])
def test_ridge_solves_the_normal_equations(n):
    values, labels = features(n, 0)
    queries, _ = features(20, 1)
    axes, ridge = principal_axes(values), EVALUATORS.get("ridge")()
    grid = ridge.solve(axes(values), labels, 3, axes.variances)
    x, q = values.double().numpy(), queries.double().numpy()
    q, x = (q - x.mean(0)) / x.std(0), (x - x.mean(0)) / x.std(0)
    targets = np.eye(3)[labels]
    for g, penalty in enumerate(ridge.penalties):
        if penalty < 1e-3:
            continue
        system = x.T @ x / n + penalty * np.eye(16)
        weights = np.linalg.solve(system, x.T @ (targets - targets.mean(0)) / n)
        expected = q @ weights + targets.mean(0)
        assert np.allclose(grid.scores(axes(queries))[:, g], expected, atol=2e-4), penalty
        assert np.allclose(grid.member_scores(axes(queries), g), expected, atol=2e-4)


def test_ridge_is_the_best_member_on_validation(monkeypatch):
    data = blobs()
    found = EVALUATORS.get("ridge")()(Flat(), data)
    assert found["l2"] == max(found["grid"], key=lambda pair: (pair[1], pair[0]))[0]
    monkeypatch.setattr("pretask.evaluation.probes._SCORES_AT_A_TIME", 200)
    assert EVALUATORS.get("ridge")()(Flat(), data) == found
