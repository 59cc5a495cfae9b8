"""Each figure against a slow literal reference, and against scikit-learn where it has the same one."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, top_k_accuracy_score
from torch.profiler import ProfilerActivity, profile
from torchmetrics.functional import classification as reference

from pretask.evaluation import metrics
from pretask.evaluation.accuracy import all_metrics
from pretask.evaluation.predictions import Predictions


@pytest.fixture(params=[(2, 1.0), (3, 0.1), (7, 30.0)], ids=["two", "three-unsure", "seven-overconfident"])
def sample(request):
    """Logits and labels; class 1 of the larger cases has no image, yet it is predicted."""
    classes, scale = request.param
    draw = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (200,), generator=draw)
    if classes > 2:
        labels[labels == 1] = 0
    logits = torch.randn(200, classes, generator=draw) * scale
    logits[torch.arange(200), labels] += scale * 0.7
    return logits, labels


def slow_top_k(logits, labels, k):
    hits = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        best = sorted(range(len(row)), key=lambda c: -row[c])[:k]
        hits += label in best
    return hits / len(labels)


def slow_bins(logits, labels, bins=15):
    held = [[] for _ in range(bins)]
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        exp = [math.exp(v - max(row.tolist())) for v in row.tolist()]
        confidence = max(exp) / sum(exp)
        held[min(int(confidence * bins), bins - 1)].append((confidence, int(row.argmax()) == label))
    return held


def slow_ece(logits, labels):
    error = 0.0
    for members in slow_bins(logits, labels):
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(hit for _, hit in members) / len(members)
            error += len(members) / len(labels) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_counts_labels_among_the_k_best(sample, k):
    logits, labels = sample
    assert metrics.top_k(logits, labels, k) == pytest.approx(slow_top_k(logits, labels, k))
    if k < logits.shape[1] and logits.shape[1] > 2:
        classes = range(logits.shape[1])
        assert metrics.top_k(logits, labels, k) == pytest.approx(
            top_k_accuracy_score(labels, logits, k=k, labels=list(classes))
        )


@pytest.mark.parametrize("seed", range(30))
def test_every_metric_is_that_of_torchmetrics_bit_for_bit(seed):
    draw = torch.Generator().manual_seed(seed)
    n, classes = (int(torch.randint(low, high, (), generator=draw)) for low, high in ((1, 700), (2, 15)))
    labels = torch.randint(classes if seed % 3 else max(1, classes // 2), (n,), generator=draw)
    logits = torch.randn(n, classes, generator=draw) * 10 ** (seed % 5 - 2)
    logits[torch.arange(n), labels] += logits.std()
    k, predicted = min(5, classes - 1), logits.argmax(1)
    chances = logits.double().softmax(1).float().clamp(max=1 - 1e-7)
    for of_the_best in {1, k}:
        share = reference.multiclass_accuracy(logits, labels, classes, average="micro", top_k=of_the_best)
        assert metrics.top_k(logits, labels, of_the_best) == float(share)
    counts = reference.multiclass_confusion_matrix(predicted, labels, classes)
    assert torch.equal(metrics.confusion(logits, labels), counts)
    assert metrics.macro_f1(logits, labels) == float(
        reference.multiclass_f1_score(predicted, labels, classes)
    )
    error = reference.multiclass_calibration_error(chances, labels, classes, n_bins=15)
    assert metrics.expected_calibration_error(logits, labels) == float(error)


def test_top_five_of_two_classes_is_everything():
    assert metrics.top_k(torch.randn(9, 2), torch.ones(9, dtype=torch.long), 5) == 1.0


def test_confusion_has_true_classes_in_rows(sample):
    logits, labels = sample
    expected = confusion_matrix(labels, logits.argmax(1), labels=list(range(logits.shape[1])))
    assert metrics.confusion(logits, labels).tolist() == expected.tolist()


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_leaves_out_classes_without_images(sample):
    logits, labels = sample
    accuracies = metrics.class_accuracies(logits, labels)
    if logits.shape[1] > 2:
        assert accuracies[1] is None
    assert metrics.balanced_accuracy(accuracies) == pytest.approx(
        balanced_accuracy_score(labels, logits.argmax(1))
    )


def test_groups_follow_the_train_images_at_both_borders():
    accuracies = [1.0, 0.5, 0.25, 0.75, 0.0, None]
    found = metrics.group_accuracy(accuracies, torch.tensor([101, 100, 20, 19, 1, 500]))
    assert found == {"many": 1.0, "medium": 0.375, "few": 0.375}


def test_a_group_without_classes_is_none():
    found = metrics.group_accuracy([0.5, None], torch.tensor([50, 3]))
    assert found == {"many": None, "medium": 0.5, "few": None}


def test_groups_need_a_count_for_each_class():
    with pytest.raises(ValueError, match="shorter"):
        metrics.group_accuracy([0.5, 0.5], torch.tensor([50]))


def test_calibration_error_equals_the_literal_sum(sample):
    logits, labels = sample
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(
        slow_ece(logits, labels), abs=1e-5
    )


def test_calibration_error_takes_logits_between_zero_and_one_for_logits():
    logits, labels = torch.tensor([[0.9, 0.1]] * 4), torch.tensor([0, 0, 0, 1])
    confidence = math.exp(0.9) / (math.exp(0.9) + math.exp(0.1))
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(
        abs(0.75 - confidence), abs=1e-6
    )


def test_certain_images_share_the_last_bin_with_nearly_certain_ones():
    # Right at confidence 1, wrong at 0.95: one bin of accuracy 0.5, not two bins with gaps 0 and 0.95.
    logits = torch.tensor([[90.0, 0.0], [math.log(0.95 / 0.05), 0.0]])
    labels = torch.tensor([0, 1])
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(0.475, abs=1e-5)


def test_reliability_holds_the_bins_and_adds_up_to_the_calibration_error(sample):
    logits, labels = sample
    found = metrics.reliability(logits, labels)
    held = slow_bins(logits, labels)
    assert [round(share * len(labels)) for share in found["share"]] == [len(members) for members in held]
    assert sum(found["share"]) == pytest.approx(1)
    total = 0.0
    for confidence, accuracy, share in zip(*found.values(), strict=True):
        assert (confidence is None) == (accuracy is None) == (share == 0)
        total += share * abs(accuracy - confidence) if share else 0
    assert total == pytest.approx(metrics.expected_calibration_error(logits, labels), abs=1e-6)


def test_confused_pairs_come_most_frequent_first_and_without_the_diagonal():
    counts = {(0, 0): 9, (0, 2): 2, (1, 0): 5, (1, 1): 1, (2, 1): 2}
    places = [place for place, n in counts.items() for _ in range(n)]
    labels = torch.tensor([true for true, _ in places])
    logits = torch.eye(3)[[named for _, named in places]]
    assert metrics.confused_pairs(logits, labels) == [(1, 0, 5), (0, 2, 2), (2, 1, 2)]
    assert metrics.confused_pairs(logits, labels, limit=1) == [(1, 0, 5)]


def test_counts_of_classes_are_sums_of_the_confusion_matrix(sample):
    logits, labels = sample
    matrix = metrics.confusion(logits, labels)
    images, answers, right = metrics.class_counts(logits, labels)
    assert images.tolist() == matrix.sum(1).tolist()
    assert answers.tolist() == matrix.sum(0).tolist()
    assert right.tolist() == matrix.diagonal().tolist()


def test_pieces_of_the_logits_give_the_same_numbers(sample, monkeypatch):
    logits, labels = sample
    whole = [
        metrics.mean_loss(logits, labels),
        metrics.expected_calibration_error(logits, labels),
        metrics.reliability(logits, labels),
    ]
    assert whole[0] == float(F.cross_entropy(logits.double(), labels))
    monkeypatch.setattr(metrics, "_NUMBERS_AT_ONCE", 3 * logits.shape[1])
    assert metrics.mean_loss(logits, labels) == pytest.approx(whole[0], rel=1e-12)
    assert metrics.expected_calibration_error(logits, labels) == whole[1]
    assert metrics.reliability(logits, labels) == whole[2]


def test_twenty_thousand_classes_take_no_memory_of_their_square():
    labels = torch.arange(0, 20_000, 100)
    logits = torch.zeros(len(labels), 20_000)
    logits[torch.arange(len(labels)), labels.roll(1)] = 1
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as taken:
        found = all_metrics(Predictions(logits, labels), torch.ones(20_000, dtype=torch.int64))
    assert found["top1"] == 0 and found["confusion"] is None and len(found["confused_pairs"]) == 20
    most = max(event.cpu_memory_usage for event in taken.key_averages())
    assert most < 20 * logits.nbytes < 20_000**2


def test_a_single_class_is_always_right():
    logits, labels = torch.randn(4, 1), torch.zeros(4, dtype=torch.long)
    assert metrics.confusion(logits, labels).tolist() == [[4]]
    assert metrics.top_k(logits, labels) == 1.0
    assert metrics.expected_calibration_error(logits, labels) == 0.0
    assert metrics.reliability(logits, labels)["share"][-1] == 1.0
    assert metrics.confused_pairs(logits, labels) == []
