"""Protocols on features against slow references and independent libraries, and what they may not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.evaluation.features import Features, Scale
from pretask.evaluation.knn import vote
from pretask.evaluation.linear import train_grid
from pretask.evaluation.ridge import PENALTIES, solve_ridge

CLASSES = 3


def blobs(count: int = 90, size: int = 4, spread: float = 2.5, seed: int = 0) -> Features:
    values, labels = make_blobs(count, size, centers=CLASSES, cluster_std=spread, random_state=seed)
    return Features(torch.tensor(values, dtype=torch.float32), torch.tensor(labels))


class Pixels(nn.Module):
    """Its features are the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * self.weight


def image_data(validation: bool = True, seed: int = 0) -> ImageData:
    """Images of 2x2 whose brightest pixel says their class, with noise."""
    generator = torch.Generator().manual_seed(seed)

    def split(count: int) -> LabelledImages:
        labels = torch.arange(count) % CLASSES
        noise = torch.randint(0, 120, (count, 1, 2, 2), generator=generator)
        bright = 100 * nn.functional.one_hot(labels, 4).view(count, 1, 2, 2)
        pixels = (noise + bright).to(torch.uint8)
        return LabelledImages(ArrayImages(pixels), labels)

    return ImageData(
        "corners", split(90), split(30) if validation else None, split(60), ("a", "b", "c"), 1, (2, 2), (0.5,), (0.2,),
        "none",
    )  # fmt: skip


def test_votes_are_those_of_a_loop() -> None:
    train, queries = blobs(), blobs(20, seed=1).values
    scores = vote(train, queries, CLASSES, k=7, temperature=0.1)
    for query, row in zip(queries, scores, strict=True):
        cosines = torch.stack([torch.dot(query, v) / query.norm() / v.norm() for v in train.values])
        nearest = cosines.argsort(descending=True)[:7]
        expected = torch.zeros(CLASSES)
        for place in nearest:
            expected[train.labels[place]] += torch.exp((cosines[place] - cosines.max()) / 0.1)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_one_neighbour_is_scikit_learns() -> None:
    train, queries = blobs(), blobs(40, seed=1).values
    theirs = KNeighborsClassifier(1, metric="cosine").fit(train.values, train.labels).predict(queries)
    assert vote(train, queries, CLASSES, k=1).argmax(1).tolist() == theirs.tolist()
    assert vote(train, queries, CLASSES, k=10_000).shape == (40, CLASSES)


def test_a_member_of_the_grid_reaches_scikit_learns_optimum() -> None:
    """Both minimise mean cross-entropy + decay/2 ‖W‖²; the loss may be higher by a thousandth."""
    train = blobs()
    x = Scale.of(train.values)(train.values)
    decay = 1e-2
    weights, biases = train_grid(x, train.labels, CLASSES, [(0.3, decay), (0.01, 0.0)])
    model = LogisticRegression(C=1 / (decay * len(x)), tol=1e-8, max_iter=5000).fit(
        x.numpy(), train.labels.numpy()
    )

    def objective(weight: torch.Tensor, bias: torch.Tensor) -> float:
        entropy = nn.functional.cross_entropy(x @ weight + bias, train.labels)
        return float(entropy + decay / 2 * weight.square().sum())

    best = objective(torch.tensor(model.coef_.T).float(), torch.tensor(model.intercept_).float())
    assert best <= objective(weights[0], biases[0]) < best + 1e-3
    assert objective(torch.zeros(4, CLASSES), torch.zeros(CLASSES)) > best + 0.1


def test_members_of_the_grid_do_not_touch_each_other() -> None:
    train = blobs()
    both = train_grid(train.values, train.labels, CLASSES, [(0.03, 0.0), (0.01, 1e-3)])
    alone = train_grid(train.values, train.labels, CLASSES, [(0.01, 1e-3)])
    torch.testing.assert_close(both[0][1], alone[0][0])
    torch.testing.assert_close(both[1][1], alone[1][0])


@pytest.mark.parametrize(("count", "size"), [(90, 4), (12, 40)], ids=["many images", "few images"])
def test_ridge_is_scikit_learns_for_every_penalty(count: int, size: int) -> None:
    train = blobs(count, size)
    x = Scale.of(train.values)(train.values)
    weights, bias = solve_ridge(x, train.labels, CLASSES, PENALTIES)
    targets = np.eye(CLASSES)[train.labels]
    for penalty, weight in zip(PENALTIES, weights, strict=True):
        model = Ridge(alpha=penalty).fit(x.double().numpy(), targets)
        np.testing.assert_allclose(x.double() @ weight + bias, model.predict(x.double().numpy()), atol=1e-5)


@pytest.mark.parametrize("name", ["knn", "linear", "ridge"])
def test_figures_and_protocol(name: str) -> None:
    evaluator = EVALUATORS.get(name)(batch_size=16)
    figures = evaluator(Pixels(), image_data())
    assert figures["top1"] > 0.8 and figures["n"] == 60
    assert figures["train_images"] == 90 and figures["num_features"] == 4
    assert {"balanced", "macro_f1"} <= set(figures)
    assert evaluator.protocol.startswith(f"{name}/1: ") and evaluator.protocol.endswith("split=test")


@pytest.mark.parametrize("name", ["linear", "ridge"])
def test_the_judged_images_choose_nothing(name: str) -> None:
    """Wrong labels on the judged images change the figure and not the choice."""
    data = image_data()
    assert data.test is not None
    honest = EVALUATORS.get(name)()(Pixels(), data)
    turned = replace(data, test=LabelledImages(data.test.images, (data.test.labels + 1) % CLASSES))
    figures = EVALUATORS.get(name)()(Pixels(), turned)
    chosen = ("lr", "weight_decay") if name == "linear" else ("penalty",)
    assert [figures[k] for k in chosen] == [honest[k] for k in chosen]
    assert figures["top1"] < 0.2 and honest["chosen_on"] == "validation"


def test_the_penalty_is_the_best_on_validation() -> None:
    """With three noisy images per class to fit on, penalties differ; the first of the best is taken."""
    data = image_data()
    assert data.validation is not None
    few = replace(data, train=data.train.subset(torch.arange(9)))
    evaluator = EVALUATORS.get("ridge")()
    fitted, choosing = (evaluator.extract(Pixels(), images, few) for images in (few.train, data.validation))
    scale = Scale.of(fitted.values)
    weights, bias = solve_ridge(scale(fitted.values), fitted.labels, CLASSES, PENALTIES)
    right = [
        int(((scale(choosing.values).double() @ weight + bias).argmax(1) == choosing.labels).sum())
        for weight in weights
    ]
    assert len(set(right)) > 1
    assert evaluator(Pixels(), few)["penalty"] == PENALTIES[right.index(max(right))]


def test_without_validation_images_some_train_images_choose() -> None:
    figures = EVALUATORS.get("linear")()(Pixels(), image_data(validation=False))
    assert figures["chosen_on"] == "9 train images held out" and figures["train_images"] == 81
    figures = EVALUATORS.get("linear")("validation")(Pixels(), image_data())
    assert figures["chosen_on"] == "9 train images held out" and figures["n"] == 30


def test_what_cannot_be_judged() -> None:
    with pytest.raises(PretaskError, match="fitted on the train images: type --split test"):
        EVALUATORS.get("knn")("train")(Pixels(), image_data())
    broken = Pixels()
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(PretaskError, match="NaN or infinite values"):
        EVALUATORS.get("knn")()(broken, image_data())
