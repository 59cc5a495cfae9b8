"""Features of splits, and what every protocol on them shares."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from feature_samples import Flat, blobs
from sklearn.metrics import f1_score

from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.evaluation.features import FeatureBank, accuracies
from pretask.evaluation.predictions import embed
from pretask.evaluation.probes import Probe

PROTOCOLS = ("knn", "linear", "ridge")


def test_fillers_are_left_out_and_the_split_order_is_kept(listed_loader):
    images, labels = torch.rand(5, 1, 3, 3), torch.tensor([2, -1, 0, 1, -1])
    loader = listed_loader(images, labels, batch_size=2, index=torch.tensor([2, 0, 0, 1, 0]))
    values, found = embed(Flat(), loader)
    assert torch.equal(values, images[[2, 3, 0]].flatten(1))
    assert found.tolist() == [0, 1, 2]


def test_features_that_are_not_finite_are_counted(listed_loader):
    images = torch.rand(4, 1, 2, 2)
    images[2] = torch.nan
    with pytest.raises(PretaskError, match="the backbone gave NaN or infinite features for 1 of 4 images"):
        embed(Flat(), listed_loader(images, torch.zeros(4, dtype=torch.int64)))


def test_a_bank_extracts_each_split_once_without_gradients_in_evaluation_mode():
    data, network = blobs(), Flat().train()
    bank = FeatureBank(network, data, EVALUATORS.get("knn")())
    assert bank["train"] is bank["train"]
    assert torch.equal(bank["train"].values * 255, data.train.images.storage.flatten(1).float())
    assert torch.equal(bank["train"].labels, data.train.labels)
    assert network.seen == [False] and network.training
    assert not bank["train"].values.requires_grad


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_all_protocols_tell(name):
    data = blobs()
    found = EVALUATORS.get(name)(batch_size=7)(Flat(), data)
    assert found == EVALUATORS.get(name)(batch_size=100)(Flat(), data)
    assert found["n"] == len(data.test)
    assert (found["train_images"], found["num_features"]) == (len(data.train), 16)
    assert 0.5 < found["top1"] <= 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_collapsed_network_is_as_good_as_guessing(name):
    found = EVALUATORS.get(name)()(Flat(gain=0.0), blobs())
    assert found["balanced"] == pytest.approx(1 / 3)


def test_figures_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (50,), generator=generator)
    scores = torch.randn(
        50, 4, generator=generator
    )  # the last class has no image, and is predicted all the same
    predicted, found = scores.argmax(1), accuracies(scores, labels)
    assert found["top1"] == pytest.approx((predicted == labels).double().mean().item())
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    recalls = [(predicted[labels == c] == c).double().mean().item() for c in range(3)]
    assert found["balanced"] == pytest.approx(sum(recalls) / 3)


def test_faults_say_what_to_do():
    data = blobs()
    with pytest.raises(PretaskError, match="knn is fitted on the train images and cannot be judged on them"):
        EVALUATORS.get("knn")("train")
    with pytest.raises(PretaskError, match="unknown split 'tests'"):
        EVALUATORS.get("linear")("tests")
    with pytest.raises(PretaskError, match="no test split"):
        EVALUATORS.get("knn")()(Flat(), replace(data, test=None))
    two = data.train.subset((data.train.labels != 1).nonzero().flatten())
    with pytest.raises(PretaskError, match="class 'b' of blobs has no train image to learn from"):
        EVALUATORS.get("ridge")()(Flat(), replace(data, train=two))
    one_each = replace(data, train=data.train.subset([0, 1, 2]), validation=None)
    with pytest.raises(
        PretaskError, match=r"3 images of 3 classes leave none: give data with a validation set"
    ):
        EVALUATORS.get("linear")()(Flat(), one_each)


# what the penalty is chosen on


class Recording(Probe):
    """Answers class g with member g, and records what it is fitted on."""

    name = "recording"
    penalties = (0.1, 1.0, 10.0)

    def constants(self):
        return f"recording/1, {self.choosing()}"

    def solve(self, x, labels, num_classes, variances):
        from pretask.evaluation.probes import Grid

        self.fitted = len(labels)
        return Grid(x.new_zeros(x.shape[1], 3, num_classes), torch.eye(3), {"member": [0, 1, 2]})


def with_classes(data, split, counts):
    """Return the data with so many images of each class in a split."""
    images = getattr(data, split)
    rows = torch.cat([(images.labels == c).nonzero().flatten()[:n] for c, n in enumerate(counts)])
    return replace(data, **{split: images.subset(rows)})


def test_the_penalty_is_chosen_on_validation_never_on_test():
    data = with_classes(with_classes(blobs(), "validation", (1, 3, 2)), "test", (1, 1, 8))
    probe = Recording()
    found = probe(Flat(), data)
    assert found["grid"] == [[0.1, pytest.approx(1 / 6)], [1.0, 0.5], [10.0, pytest.approx(1 / 3)]]
    assert (found["l2"], found["member"], found["top1"]) == (1.0, 1, pytest.approx(0.1))
    assert (found["chosen_on"], found["choosing_images"]) == ("validation images", 6)
    assert probe.fitted == found["train_images"] == len(data.train)


def test_of_equally_good_penalties_the_largest_is_taken():
    data = with_classes(blobs(), "validation", (2, 1, 2))
    assert Recording()(Flat(), data)["l2"] == 10.0


@pytest.mark.parametrize("split", ["test", "validation"])
def test_train_images_are_held_out_where_validation_is_missing_or_judged(split):
    data = blobs()
    if split == "test":
        data = replace(data, validation=None)
    probe = Recording(split, seed=3)
    found = probe(Flat(), data)
    assert (found["chosen_on"], found["choosing_images"]) == ("train images held out", 6)
    assert probe.fitted == found["train_images"] == len(data.train) - 6
    fitting = probe.fitting(FeatureBank(Flat(), data, probe))
    assert fitting.choose.labels.bincount().tolist() == [2, 2, 2]
    both = torch.cat([fitting.fit.values, fitting.choose.values])
    assert torch.equal(both.sort(0).values, FeatureBank(Flat(), data, probe)["train"].values.sort(0).values)
    other = Recording(split, seed=4).fitting(FeatureBank(Flat(), data, probe))
    assert not torch.equal(other.choose.values, fitting.choose.values)


def test_protocols_hold_every_constant():
    for name, constants in {
        "knn": ("knn/1", "cosine", "exp(s/0.1)", "k=200", "k=20", "unaugmented", "split=validation"),
        "linear": (
            "linear/1",
            "standardised",
            "1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1,",
            "history 10",
            "below 1e-06",
            "200 steps",
            "10% of the train images",
            "seed 5",
            "top-1 on the validation",
            "ties to the largest",
            "split=validation",
        ),
        "ridge": ("ridge/1", "10^-6, 10^-5.5, ..., 10^2", "one-hot", "free intercept", "seed 5", "ties"),
    }.items():
        protocol = EVALUATORS.get(name)("validation", seed=5).protocol
        for constant in constants:
            assert constant in protocol, (name, constant)
    ridge = EVALUATORS.get("ridge").penalties
    assert [ridge[0], ridge[1], ridge[-1]] == pytest.approx([1e-6, 10**-5.5, 1e2])
