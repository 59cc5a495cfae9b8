"""The evaluator "accuracy" over real loaders."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from pretask.data.images.containers import ArrayImages, ImageData, LabelledImages
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Accuracy, evaluate_split

LABELS = [0, 0, 0, 1, 1, 2]


def labelled(logits, labels):
    """Images whose first row holds the logits, as bytes."""
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, : logits.shape[1]] = logits
    return LabelledImages(ArrayImages(images), torch.tensor(labels))


def image_data(test, classes=4):
    train = labelled(torch.zeros(125, classes, dtype=torch.uint8), [0] * 101 + [1] * 20 + [2] * 4)
    return ImageData(
        name="made-up",
        train=train,
        validation=None,
        test=test,
        class_names=tuple("abcd"[:classes]),
        channels=1,
        image_size=(4, 4),
        mean=(0.5,),
        std=(0.25,),
        augment="none",
    )


@pytest.fixture
def test_split():
    """Six images of three of four classes: predicted 0 0 1 | 1 1 | 3."""
    logits = torch.zeros(6, 4, dtype=torch.uint8)
    logits[torch.arange(6), torch.tensor([0, 0, 1, 1, 1, 3])] = 255
    return labelled(logits, LABELS)


def test_every_figure_by_hand(test_split, corner):
    found = EVALUATORS.get("accuracy")(batch_size=4)(corner(4), image_data(test_split))
    sure = torch.tensor([1.0, 0, 0, 0]).log_softmax(0)
    assert found["top1"] == pytest.approx(4 / 6)
    assert (found["top5"], found["top5_k"]) == (1.0, 4)
    assert found["balanced"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert (found["many"], found["medium"], found["few"]) == (pytest.approx(2 / 3), 1.0, 0.0)
    assert found["per_class"] == [pytest.approx(2 / 3), 1.0, 0.0, None]
    assert found["images_per_class"] == [3, 2, 1, 0]
    assert found["confusion"] == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert found["confused_pairs"] == [[0, 1, 1], [2, 3, 1]]
    assert found["n"] == 6
    assert found["loss"] == pytest.approx(-(4 * sure[0] + 2 * sure[1]).item() / 6)
    assert found["ece"] == pytest.approx(4 / 6 - sure[0].exp().item(), abs=1e-6)
    assert len(found["reliability"]["share"]) == 15


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 100}, {"channels_last": True}])
def test_options_change_no_figure(test_split, corner, options):
    data = image_data(test_split)
    assert Accuracy(**options)(corner(4), data) == Accuracy()(corner(4), data)


def test_figures_survive_strict_json(test_split, corner):
    found = Accuracy()(corner(4), image_data(test_split))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_protocol_holds_every_constant_and_the_split():
    protocol = Accuracy("validation").protocol
    for constant in ("accuracy/1", "many>100", "few<20", "15 equal-width bins", "split=validation"):
        assert constant in protocol


def test_the_cheap_figures_are_those_of_the_evaluator(test_split, corner):
    cheap = evaluate_split(corner(4), test_split, image_size=(4, 4))
    full = Accuracy()(corner(4), image_data(test_split))
    assert cheap == {key: full[key] for key in ("top1", "balanced", "loss", "n")}


def test_loaders_that_were_made_here_are_closed(test_split, corner, monkeypatch):
    from pretask.evaluation import predictions as module

    closed = []

    def create_loader(*arguments, **options):
        loader = make(*arguments, **options)
        loader.close = lambda: closed.append(loader)
        return loader

    make = module.create_loader
    monkeypatch.setattr(module, "create_loader", create_loader)
    evaluate_split(corner(4), test_split, image_size=(4, 4))
    with pytest.raises(PretaskError, match="3 classes"):
        Accuracy()(corner(3), image_data(test_split))
    assert len(closed) == 2


def test_more_than_256_classes_leave_out_the_matrix_and_keep_the_pairs():
    from pretask.evaluation.accuracy import all_metrics
    from pretask.evaluation.predictions import Predictions

    logits = torch.zeros(3, 257)
    logits[:, 256] = 1
    found = all_metrics(Predictions(logits, torch.tensor([5, 5, 256])), torch.ones(257, dtype=torch.long))
    assert found["confusion"] is None
    assert found["confused_pairs"] == [[5, 256, 2]]


def test_one_class_is_no_fault():
    data = image_data(labelled(torch.zeros(2, 1, dtype=torch.uint8), [0, 0]))
    one = ImageData(**{**vars(data), "class_names": ("a",), "train": data.test})

    class One(nn.Module):
        def forward(self, images):
            return images[:, 0, 0, :1]

    found = Accuracy()(One(), one)
    assert (found["top1"], found["balanced"], found["ece"], found["loss"]) == (1.0, 1.0, 0.0, 0.0)


def test_faults_say_what_to_type(test_split, corner):
    with pytest.raises(PretaskError, match=r"unknown split 'tests'.*split='test'"):
        Accuracy("tests")
    with pytest.raises(PretaskError, match=r"no validation split .it has: train, test.*split='test'"):
        Accuracy("validation")(corner(4), image_data(test_split))
    with pytest.raises(PretaskError, match="distinguishes 3 classes and the data set 'made-up' has 4"):
        Accuracy()(corner(3), image_data(test_split))
