"""Evaluators under attack: figures by hand, what they must not depend on, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from command_line import CommandLine, picture_folder, untrained_run
from pretask.attacks import Attack
from pretask.data.images.containers import ArrayImages, ImageData, LabelledImages
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS, Accuracy
from pretask.evaluation.adversarial import PGD20, GradientAttack
from pretask.evaluation.run import evaluate_run

GRADIENT_ATTACKS = ["fgsm", "pgd20", "pgd20-l2", "pgd100"]


def image_data(pixels, labels, classes=2):
    split = LabelledImages(ArrayImages(pixels), torch.tensor(labels))
    return ImageData(
        name="made-up",
        train=split,
        validation=None,
        test=split,
        class_names=tuple("abcdefghijkl"[:classes]),
        channels=pixels.shape[1],
        image_size=tuple(pixels.shape[2:]),
        mean=(0.5,) * pixels.shape[1],
        std=(0.25,) * pixels.shape[1],
        augment="none",
    )


class Brightness(nn.Module):
    """Class 1 where the mean pixel is above a half; dropout would make that a lottery."""

    def __init__(self):
        super().__init__()
        self.gain, self.drop = nn.Parameter(torch.tensor(20.0)), nn.Dropout(0.9)

    def forward(self, images):
        mean = self.drop(images).flatten(1).mean(1) - 0.5
        return self.gain * torch.stack([-mean, mean], dim=1)


@pytest.fixture
def greys():
    """Even greys: five of class 1 at 2, 6, 10, 20 and -3 bytes above the middle, three of class 0."""
    above = torch.tensor([2, 6, 10, 20, -3, -5, -9, 30])
    pixels = (127.5 + above).round().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return image_data(pixels.contiguous(), [1, 1, 1, 1, 1, 0, 0, 0])


# figures


@pytest.mark.parametrize("name", ["fgsm", "pgd20", "pgd100"])
def test_figures_by_hand(greys, name):
    # Right are 2, 6, 10, 20 above and 5, 9 below. The mean can move by epsilon.
    for epsilon, robust in ((None, 3), (3, 5), (0, 6), (15, 1), (255, 0)):
        found = EVALUATORS.get(name)(epsilon=epsilon)(Brightness(), greys)
        assert found == {
            "clean_top1": 6 / 8,
            "robust_top1": robust / 8,
            "epsilon": pytest.approx((8 if epsilon is None else epsilon) / 255),
            "n": 8,
        }
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_l2_moves_all_pixels_together(greys):
    # The mean of 16 pixels moves by a quarter of the Euclidean length: 32 bytes of 128.
    assert EVALUATORS.get("pgd20-l2")()(Brightness(), greys)["robust_top1"] == 0
    found = EVALUATORS.get("pgd20-l2")(epsilon=32)(Brightness(), greys)
    assert (found["clean_top1"], found["robust_top1"]) == (6 / 8, 3 / 8)


def test_clean_is_the_accuracy_and_nothing_right_is_no_fault(greys):
    assert PGD20()(Brightness(), greys)["clean_top1"] == Accuracy()(Brightness(), greys)["top1"]
    backwards = Brightness()
    backwards.gain.data.neg_()
    even = image_data(greys.test.images.array[[0, 1, 5]], [1, 1, 0])
    found = PGD20()(backwards, even)
    assert (found["clean_top1"], found["robust_top1"], found["n"]) == (0, 0, 3)


class Noisy(nn.Module):
    """A network with a rugged loss, whose fate under a short attack depends on the start."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten())
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, images):
        return self.head((self.body(images) * 9).sin())


@pytest.fixture
def rugged():
    draw = torch.Generator().manual_seed(2)
    pixels = torch.randint(256, (60, 3, 6, 6), generator=draw, dtype=torch.uint8)
    with torch.no_grad():
        right = Noisy().eval()(pixels / 255).argmax(1)
    right[::3] = (right[::3] + 1) % 4
    return image_data(pixels, right.tolist(), classes=4)


class Short(GradientAttack):
    """One small step from a random start."""

    name = "pgd1"

    def _set_up(self, epsilon):
        self._attack, self.epsilon = Attack("pgd1", 3 / 255, 0.1 / 255, 1), 3 / 255


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"batch_size": 1}, {"channels_last": True}])
def test_starts_depend_on_the_place_in_the_split_alone(rugged, options):
    expected = Short()(Noisy(), rugged)
    assert 0 < expected["robust_top1"] < expected["clean_top1"] == 40 / 60
    torch.manual_seed(1)
    assert Short(**options)(Noisy(), rugged) == expected


def test_only_what_is_right_is_attacked_and_known_by_its_place_in_the_split(rugged):
    seen = []

    class Recording(Short):
        def _perturbation(self, classifier, data):
            def perturb(model, images, labels, places):
                seen.extend(places.tolist())
                torch.testing.assert_close(images, rugged.test.images.array[places] / 255)
                assert torch.equal(labels, rugged.test.labels[places])
                return images

            return perturb

    found = Recording(batch_size=7)(Noisy(), rugged)
    assert seen == [place for place in range(60) if place % 3]
    assert found["robust_top1"] == found["clean_top1"]


class Threshold(nn.Module):
    """Class 1 where the first value is above the middle grey of bytes; flat on both sides."""

    def forward(self, images):
        above = images[:, 0, 0, 0] > 128 / 255
        return torch.stack([images[:, 0, 0, 0] * 0, torch.where(above, 1.0, -1.0)], dim=1)


def test_equal_images_start_from_different_points():
    data = image_data(torch.full((40, 1, 2, 2), 128, dtype=torch.uint8), [0] * 40)
    assert 0.2 < Short()(Threshold(), data)["robust_top1"] < 0.8


@pytest.mark.parametrize("name", GRADIENT_ATTACKS)
def test_robust_is_at_most_clean_and_falls_with_epsilon(rugged, name):
    found = [EVALUATORS.get(name)(epsilon=e)(Noisy(), rugged) for e in (0, 0.5, 2, 32)]
    robust = [figures["robust_top1"] for figures in found]
    assert robust[0] == found[0]["clean_top1"]
    assert all(figures["robust_top1"] <= figures["clean_top1"] for figures in found)
    assert robust == sorted(robust, reverse=True)
    assert robust[-1] < robust[0]


def test_the_attack_is_in_float32_and_the_answers_in_the_precision_given(rugged):
    seen = []

    class Watched(Noisy):
        def forward(self, images):
            logits = super().forward(images)
            seen.append((torch.is_grad_enabled(), logits.dtype))
            return logits

    with torch.autocast("cpu", torch.bfloat16):
        EVALUATORS.get("fgsm")(precision=lambda: torch.autocast("cpu", torch.bfloat16))(Watched(), rugged)
    assert seen == [(False, torch.bfloat16), (True, torch.float32), (False, torch.bfloat16)]


def test_a_model_in_training_is_left_in_training(rugged):
    model = Noisy().train()
    model.body[1].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    EVALUATORS.get("fgsm")()(model, rugged)
    assert (model.training, model.body[1].training) == (True, False)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def _on_a_rank(rank, address, data, out):
    dist.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    torch.save(Short(batch_size=4)(Noisy(), data), out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 2], ids=["many", "one-to-attack"])
def test_ranks_share_the_work_and_agree(rugged, tmp_path, count):
    split = rugged.test.subset(range(count))
    data = image_data(split.images.array, split.labels.tolist(), classes=4)
    expected = Short()(Noisy(), data)
    mp.start_processes(_on_a_rank, (tmp_path / "address", data, tmp_path), nprocs=2, start_method="spawn")
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == expected


# protocols


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("fgsm", "fgsm/1: FGSM Linf eps 8/255,"),
        ("pgd20", "pgd20/1: PGD-20 Linf eps 8/255 step 2/255, 1 restart,"),
        ("pgd100", "pgd100/1: PGD-100 Linf eps 8/255 step 0.3/255, 1 restart,"),
        ("pgd20-l2", "pgd20-l2/1: PGD-20 L2 eps 128/255 step 15/255, 1 restart,"),
    ],
)
def test_the_protocol_holds_every_constant(name, constants):
    protocol = EVALUATORS.get(name)("validation").protocol
    assert protocol.startswith(constants)
    assert protocol.endswith("robust where right clean and attacked, split=validation")
    assert ("seed 0 + place" in protocol) == (name != "fgsm")


def test_another_epsilon_is_in_the_protocol():
    assert "eps 4/255 step 1/255" in EVALUATORS.get("pgd20")(epsilon=4).protocol


def test_faults_say_what_to_type(greys):
    with pytest.raises(PretaskError, match=r"epsilon = 510 is not possible: give a number from 0 to 255"):
        PGD20(epsilon=510)
    with pytest.raises(PretaskError, match="unknown split 'tests'"):
        PGD20("tests")
    with pytest.raises(PretaskError, match="no validation split"):
        PGD20("validation")(Brightness(), greys)
    with pytest.raises(PretaskError, match="distinguishes 4 classes"):
        PGD20()(Noisy(), image_data(torch.zeros(2, 3, 6, 6, dtype=torch.uint8), [0, 1]))


# autoattack


class FakeAutoAttack:
    """Darkens by epsilon, draws from torch's own generator as the real one does, and notes how it was called."""

    made: list[FakeAutoAttack] = []  # noqa: RUF012

    def __init__(self, model, **options):
        self.model, self.options = model, options
        self.apgd_targeted, self.fab = nn.Module(), nn.Module()
        self.made.append(self)

    def run_standard_evaluation(self, images, labels, bs):
        torch.manual_seed(9)
        self.called = (len(images), labels.tolist(), bs, self.model.training)
        return (images - self.options["eps"]).clamp(0, 1)


@pytest.fixture
def fake(monkeypatch):
    module = ModuleType("autoattack")
    module.AutoAttack = FakeAutoAttack
    monkeypatch.setitem(sys.modules, "autoattack", module)
    monkeypatch.setattr(FakeAutoAttack, "made", [])
    return FakeAutoAttack.made


def of_four_classes(greys):
    return image_data(greys.test.images.array, [1, 1, 1, 1, 1, 0, 0, 0], classes=4)


class OfFour(Brightness):
    def forward(self, images):
        return torch.cat([super().forward(images), torch.full((len(images), 2), -99.0)], dim=1)


def test_autoattack_is_the_authors_standard_version(greys, fake):
    evaluate = EVALUATORS.get("autoattack")(batch_size=4)
    state = torch.get_rng_state()
    found = evaluate(OfFour().train(), of_four_classes(greys))
    assert torch.equal(torch.get_rng_state(), state)
    # Darker by 8: of 2, 6, 10, 20 above the last two stay; 5 and 9 below go further down.
    assert found == {"clean_top1": 6 / 8, "robust_top1": 4 / 8, "epsilon": 8 / 255, "n": 8}
    assert [made.called for made in fake] == [(3, [1, 1, 1], 3, False), (3, [1, 0, 0], 3, False)]
    wanted = {"norm": "Linf", "eps": 8 / 255, "version": "standard", "seed": 0, "verbose": False}
    assert all(made.options == {**wanted, "device": torch.device("cpu")} for made in fake)
    assert {made.fab.n_target_classes for made in fake} == {3}
    assert {made.apgd_targeted.n_target_classes for made in fake} == {3}
    assert evaluate.protocol.startswith(
        "autoattack/1: standard version (APGD-CE, APGD-T, FAB-T, Square) Linf eps 8/"
    )
    assert "eps 4/255" in EVALUATORS.get("autoattack")(epsilon=4).protocol


def test_autoattack_needs_four_classes_and_an_epsilon_within_bounds(greys, fake):
    with pytest.raises(PretaskError, match="2 classes: type --protocol pgd100"):
        EVALUATORS.get("autoattack")()(Brightness(), greys)
    with pytest.raises(PretaskError, match="from 0 to 255"):
        EVALUATORS.get("autoattack")(epsilon=-1)


def test_autoattack_tells_where_its_package_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "autoattack", None)
    with pytest.raises(PretaskError, match=r"authors' repository.*github\.com/fra31/auto-attack"):
        EVALUATORS.get("autoattack")()


# the command


@pytest.fixture
def pretask(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture_folder(Path("photos"), ("cat", "dog", "owl"), count=4)
    untrained_run(Path("run"))
    return CommandLine(capsys)


ON_PHOTOS = ("run", "--data", "photos", "--split", "train", "--device", "cpu")


def test_a_line_for_each_protocol_and_inference(pretask):
    told = pretask.well(
        "evaluate", *ON_PHOTOS, "--protocol", "fgsm", "pgd20", "pgd100", "accuracy"
    ).splitlines()
    assert told[0] == "run on photos"
    assert [line.split("/")[0] for line in told[1::2][:3]] == ["fgsm", "pgd20", "pgd100"]
    for line in told[2:7:2]:
        assert line.startswith("aggregated  clean ")
        assert line.endswith("%  eps 8/255  n 12")
    assert [line.split()[0] for line in told[8:]] == ["aggregated", "single"]


def test_epsilon_is_in_255ths_and_an_inference_can_be_chosen(pretask):
    told = pretask.well(
        "evaluate", *ON_PHOTOS, "--protocol", "fgsm", "accuracy", "--epsilon", "0.5", "--inference", "single"
    )
    assert "FGSM Linf eps 0.5/255" in told
    assert "eps 0.5/255  n 12" in told
    assert "aggregated" not in told
    answer = json.loads(
        pretask.well("evaluate", *ON_PHOTOS, "--protocol", "fgsm", "--epsilon", 0, "--format", "json")
    )
    (figures,) = answer["protocols"]["fgsm"]["inferences"].values()
    assert figures["epsilon"] == 0
    assert figures["robust_top1"] == figures["clean_top1"]


def test_faults_of_the_command(pretask):
    for epsilon in (300, -1, "nan"):
        pretask("evaluate", *ON_PHOTOS, "--protocol", "pgd20", "--epsilon", epsilon).fault(
            "epsilon = ", "is not possible: give a number from 0 to 255"
        )
    pretask("evaluate", *ON_PHOTOS, "--epsilon", 8).fault("none is among accuracy", "--protocol pgd20")
    pretask("evaluate", *ON_PHOTOS, "--protocol", "pdg20").fault("did you mean 'pgd20'?")


def test_in_python_epsilon_is_in_pixel_values(pretask):
    answer = evaluate_run("run", ["fgsm"], data="photos", split="train", device="cpu", epsilon=2 / 255)[
        "protocols"
    ]["fgsm"]
    assert list(answer["inferences"]) == ["aggregated"]
    assert answer["inferences"]["aggregated"]["epsilon"] == pytest.approx(2 / 255)
