"""Few-shot episodes: how they are drawn, both heads against slow references, the same tasks for every network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from feature_samples import Flat, features
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from command_line import CommandLine, tiny
from pretask.data import ArrayImages, ImageData, LabelledImages
from pretask.data.loaders.schedule import EpisodeSize
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.evaluation.few_shot import draw_episodes, ridge
from pretask.methods.episodic import nearest_mean


def data(classes: int = 8, count: int = 160) -> ImageData:
    def split(seed: int) -> LabelledImages:
        values, labels = features(count, seed, classes=classes)
        pixels = (255 * values).round().to(torch.uint8).reshape(count, 1, 4, 4)
        return LabelledImages(ArrayImages(pixels), labels)

    names = tuple(f"c{k}" for k in range(classes))
    return ImageData("clouds", split(0), split(1), split(2), names, 1, (4, 4), (0.5,), (0.25,), "none")


def test_an_episode_has_its_classes_and_images_once() -> None:
    labels = torch.arange(100) % 7
    size = EpisodeSize(ways=5, shots=2, queries=4)
    episodes = draw_episodes(labels, size, episodes=50, seed=3)
    assert episodes.shape == (50, 5, 6)
    for rows in episodes:
        assert len(rows.unique()) == 30
        assert all(len(labels[row].unique()) == 1 for row in rows)
        assert len(labels[rows[:, 0]].unique()) == 5
    assert len(labels[episodes[:, :, 0]].unique()) == 7
    again = draw_episodes(labels, size, 50, seed=3)
    assert torch.equal(again, episodes)
    assert not torch.equal(draw_episodes(labels, size, 50, seed=4), episodes)


def test_heads_are_those_of_scikit_learn_episode_by_episode() -> None:
    torch.manual_seed(0)
    support, queries = torch.randn(6, 4, 3, 5), torch.randn(6, 10, 5)
    means, scores = nearest_mean(support, queries), ridge(support, queries)
    labels = np.repeat(np.arange(4), 3)
    for e in range(6):
        rows = support[e].reshape(12, 5).numpy()
        centroid = NearestCentroid().fit(rows, labels)
        assert means[e].argmax(1).tolist() == centroid.predict(queries[e].numpy()).tolist()
        model = Ridge(alpha=1.0, fit_intercept=False).fit(rows, np.eye(4)[labels] - 0.25)
        np.testing.assert_allclose(scores[e], model.predict(queries[e].numpy()), atol=1e-4)


def test_figures_are_means_over_episodes_with_their_interval() -> None:
    evaluator = EVALUATORS.get("few-shot")()
    found = evaluator(Flat(), data())
    assert [(task["shots"], task["head"]) for task in found["tasks"]] == [
        (1, "prototypes"), (1, "ridge"), (5, "prototypes"), (5, "ridge"),
    ]  # fmt: skip
    one, _, five, _ = found["tasks"]
    assert 0.3 < one["accuracy"] < five["accuracy"] <= 1
    # 600 episodes of 5·15 questions: the interval is at least that of independent questions.
    independent = 1.96 * math.sqrt(one["accuracy"] * (1 - one["accuracy"]) / (600 * 75))
    assert independent < one["half_interval"] < 10 * independent
    assert "few-shot/1: " in evaluator.protocol and "600 episodes" in evaluator.protocol
    assert EVALUATORS.get("few-shot")("train")(Flat(), data())["episodes"] == 600


def test_two_networks_are_asked_the_same() -> None:
    """A gain changes no cosine, so the same episodes give the same figures; another seed does not."""
    asked = ((1.0, 0), (3.0, 0), (1.0, 1))
    figures = [EVALUATORS.get("few-shot")(seed=seed)(Flat(gain), data())["tasks"] for gain, seed in asked]
    assert figures[0] == figures[1] != figures[2]


def test_small_classes_leave_fewer_questions() -> None:
    found = EVALUATORS.get("few-shot")()(Flat(), data(count=80))
    assert [task["queries"] for task in found["tasks"]] == [9, 9, 5, 5]


def test_more_ways_than_classes_are_told() -> None:
    with pytest.raises(
        PretaskError, match="5-way episodes need 5 classes with 16 images or more, here are 3"
    ):
        EVALUATORS.get("few-shot")()(Flat(), data(classes=3))


@pytest.mark.slow
def test_the_command_line_tells_them(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pretask = CommandLine(capsys)
    pretask.well("train", *tiny(method="baseline", name="run"))
    out = pretask.well("evaluate", "runs/run", "--protocol", "few-shot", "--device", "cpu")
    assert "ways 5  1-shot prototypes " in out and "±" in out and "episodes 600" in out
