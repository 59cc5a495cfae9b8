"""Every fault that a user can mend is told in one line, with exit code 2, and nothing on disk is lost."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from command_line import CommandLine, picture, picture_folder, results_of, snapshot, tiny
from pretask.cli.main import main
from pretask.io import files
from pretask.methods import load_classifier
from pretask.training import checkpoint, loop

RUN = Path("runs/done")
"""A finished run that is there before each test."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("finished")
    with pytest.raises(SystemExit) as leaving:
        main(["train", *tiny(epochs=2, checkpoint_steps=1, runs=place, name="done")])
    assert leaving.value.code == 0
    return place / "done"


@pytest.fixture
def pretask(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, RUN)
    return CommandLine(capsys)


@contextmanager
def nothing_changes():
    """Check that `runs` is left as it was: no file of an earlier run lost, no new folder that blocks a name."""
    before = snapshot(Path("runs"))
    yield
    assert snapshot(Path("runs")) == before


@contextmanager
def nothing_is_lost():
    """Check that every earlier file is left as it was; new ones may appear."""
    before = snapshot(Path("runs"))
    yield
    after = snapshot(Path("runs"))
    assert {name: after.get(name) for name in before} == before


def train(pretask, data, **changes):
    return pretask("train", *tiny(data=data, per_class=None, batch_size=8, **changes))


# data that is not there, or not enough


def test_a_missing_folder(pretask):
    with nothing_changes():
        train(pretask, "nowhere/at/all").fault("nowhere/at/all", "folder of class folders", ".npz")


def test_a_misspelt_data_set(pretask):
    with nothing_changes():
        train(pretask, "cifar01").fault("'cifar01'", "did you mean 'cifar10'?")


def test_an_empty_folder(pretask):
    Path("empty").mkdir()
    with nothing_changes():
        train(pretask, "empty").fault("empty holds no images", ".png", "folder of the class's name")


def test_an_empty_class_folder(pretask):
    picture_folder(Path("photos"))
    Path("photos/owl").mkdir()
    with nothing_changes():
        train(pretask, "photos").fault("photos/owl", "holds no images", "remove")


def test_one_class_only(pretask):
    picture_folder(Path("photos"), classes=("cat",))
    with nothing_changes():
        train(pretask, "photos").fault("one class only ('cat')", "at least two")


def test_more_images_per_class_than_there_are(pretask):
    with nothing_changes():
        pretask("train", *tiny(per_class=5000)).fault("fewer than 5000", "--per-class 1")


# images that cannot be read, or do not agree


@pytest.fixture
def damaged(pretask):
    """Photos of which one is a text and one is cut short."""
    picture_folder(Path("photos"), count=10)
    Path("photos/cat/03.png").write_text("no picture")
    cut = Path("photos/dog/05.png")
    cut.write_bytes(cut.read_bytes()[:300])
    return pretask


@pytest.mark.parametrize("fault", ["text", "cut"])
def test_an_unreadable_image_is_named(pretask, fault):
    picture_folder(Path("photos"))
    path = Path("photos/dog/02.png")
    content = path.read_bytes()
    path.write_bytes(b"no picture" if fault == "text" else content[: len(content) // 2])
    with nothing_changes():
        train(pretask, "photos").fault("dog/02.png", "--skip-bad")


def test_unreadable_images_are_counted(damaged):
    with nothing_changes():
        train(damaged, "photos").fault("2 images", "cat/03.png", "--skip-bad")


def test_unreadable_images_are_left_out_and_counted(damaged):
    answer = train(damaged, "photos", skip_bad=True, name="run")
    assert answer.code == 0, answer.err
    assert "2 unreadable images left out" in answer.out
    facts = results_of("runs/run")["data"]
    assert facts["skipped_images"] == 2
    assert facts["train_images"] + facts["validation_images"] + facts["test_images"] == 18


def test_mixed_sizes_and_channels_are_no_fault(pretask):
    picture_folder(Path("photos"), count=10)
    picture(Path("photos/cat/00.png"), (20, 24))
    picture(Path("photos/cat/01.png"), mode="L")
    with nothing_changes():
        train(pretask, "photos", channels=2).fault("1 or 3", "2")
    assert train(pretask, "photos", name="open").code == 0
    facts = results_of("runs/open")["data"]
    assert (facts["image_size"], facts["channels"]) == ([16, 16], 3)
    assert train(pretask, "photos", image_size=24, channels=1, name="asked").code == 0
    facts = results_of("runs/asked")["data"]
    assert (facts["image_size"], facts["channels"]) == ([24, 24], 1)


def test_two_images_are_trained_on(pretask):
    picture_folder(Path("photos"), count=1)
    assert train(pretask, "photos", name="run").code == 0
    facts = results_of("runs/run")["data"]
    assert (facts["train_images"], facts["validation_images"], facts["test_images"]) == (2, 0, 0)
    assert [note.split(",")[0] for note in facts["notes"]] == ["test: none", "validation: none"]


# labels


def npz(name: str, labels: np.ndarray, size: tuple[int, int] = (8, 8), **more: np.ndarray) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *size), dtype=np.uint8)
    np.savez(name, train_images=images, train_labels=labels, **more)
    return Path(name)


def parquet(name: str, labels: list[int]) -> Path:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(stream, "png")
    images = [{"bytes": stream.getvalue(), "path": None}] * len(labels)
    names = [f"kind {i}" for i in range(2)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    table = pa.table({"image": images, "label": labels})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), name
    )
    return Path(name)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_labels_out_of_range_in_parquet(pretask, wrong):
    with nothing_changes():
        train(pretask, parquet("a.parquet", [0, 1, 0, 1, wrong])).fault(f"label {wrong}", "row 4", "0..1")


def test_a_negative_label_in_npz(pretask):
    with nothing_changes():
        train(pretask, npz("a.npz", np.array([0, 1, -1, 1]))).fault("label -1", "a.npz", "row 2", "0..1")


def test_a_gap_in_the_labels_of_npz(pretask):
    with nothing_changes():
        train(pretask, npz("a.npz", np.array([0, 1, 3, 3]))).fault("class 2", "a.npz", "0..N-1")


def test_fractional_labels(pretask):
    with nothing_changes():
        train(pretask, npz("a.npz", np.array([0.5, 1, 0]))).fault("float64", "whole numbers")


def test_a_broken_npz(pretask):
    content = npz("a.npz", np.arange(40) % 2).read_bytes()
    Path("a.npz").write_bytes(content[: len(content) // 2])
    with nothing_changes():
        train(pretask, "a.npz").fault("a.npz", "numpy.savez")


# parts that do not suit each other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "slaa"}, ("unknown method 'slaa'", "did you mean 'sla'?")),
        ({"backbone": "resnet21"}, ("unknown backbone 'resnet21'", "did you mean 'resnet20'?")),
        ({"pretexts": ("rotaton",)}, ("unknown pretext 'rotaton'", "did you mean 'rotation'?")),
        ({"loss": "crossentropy"}, ("unknown loss 'crossentropy'", "did you mean 'cross_entropy'?")),
        ({"augment": "crop-flop"}, ("unknown augmentation 'crop-flop'", "did you mean 'crop-flip'?")),
        ({"selection": "valdation"}, ('"valdation" for --selection', '"validation", "last", "test"')),
        ({"optimizer": "adam"}, ("--optimizer adam is not allowed", "adamw")),
        ({"device": "gpu"}, ("unknown device 'gpu'", "auto, cpu, cuda or mps")),
        ({"pretexts": ("color",)}, ("3 channels, not 1", "--channels 3", "rotation")),
        ({"method": "sla-sd", "views": 1}, ("at least two views", "--views with 2 to 4", "--method sla")),
        ({"views": 9}, ("9 views", "--views with 1 to 4")),
        ({"label_fraction": 0.5}, ("--per-class", "--label-fraction", "one of them")),
        ({"per_class": None, "label_fraction": 2}, ("label_fraction = 2.0", "--label-fraction", "at most 1")),
        ({"validation": 1.5}, ("--validation 1.5", "whole number")),
        ({"pretrained": True}, ("no pretrained weights for resnet8", "drop --pretrained")),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_choices_that_are_not_there(pretask, changes, words):
    with nothing_changes():
        pretask("train", *tiny(**changes)).fault(*words)


def test_a_misspelt_recipe(pretask):
    with nothing_changes():
        pretask("train", "--recipe", "sla-cifr10").fault("'sla-cifr10'", "did you mean 'sla-cifar10'?")


def test_a_misspelt_method_of_a_study(pretask):
    with nothing_changes():
        pretask("compare", "--methods", "baseline", "slaa", *tiny()).fault("did you mean 'sla'?")


def test_quarter_turns_of_oblong_images(pretask):
    data = npz("a.npz", np.arange(40) % 2, size=(8, 12))
    with nothing_changes():
        train(pretask, data, pretexts=("rotation",)).fault("not 8x12", "rotation2", "--image-size 8")
    answer = train(pretask, data, name="run")
    assert answer.code == 0, answer.err
    assert "rotation2" in answer.out


# the command line itself


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--epoch", "3"], ("--epoch.", "Did you mean --epochs?")),
        (["train", "--no-nestrov"], ("--no-nestrov", "Did you mean --no-nesterov?")),
        (["trian"], ('"trian"', 'Did you mean "train"?')),
        (["list", "method"], ('"method"', 'Did you mean "methods"?')),
        (["evaluate"], ("RUN",)),
        (["train", "--epochs", "many"], ("--epochs many", "a whole number 1 or more")),
        (["train", "--epochs", "1.5"], ("--epochs 1.5", "whole number")),
        (["train", "--image-size", "8.5"], ("--image-size 8.5", "whole number")),
        (["train", "--lr", "fast"], ("--lr fast", "a number above 0")),
        (["train", "--skip-bad=perhaps"], ("--skip-bad", '"perhaps"', "bool")),
        (["train", "--epochs"], ("--epochs", "requires an argument")),
        (["train", "more"], ("more",)),
        (["predict", "runs/done", "a.png", "--format", "jsn"], ('"jsn"', 'Did you mean "json"?')),
        (["train", "--resume", "nowhere"], ("nowhere", "not a run folder")),
        (["evaluate", "nowhere"], ("no trained model in nowhere",)),
        (["evaluate", "runs/done", "--protocol", "acuracy"], ("did you mean 'accuracy'?",)),
        (["evaluate", "runs/done", "--inference", "agregated"], ("did you mean 'aggregated'?",)),
        (["evaluate", "runs/done", "--data", "digts"], ("did you mean 'digits'?",)),
        (["export", "runs/done", "runs/done"], ("runs/done holds other files", "new or empty folder")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_understood(pretask, arguments, words):
    with nothing_changes():
        pretask(*arguments).fault(*words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3\n", ("'epoch'", "did you mean 'epochs'?")),
        ("epochs: many\n", ("epochs = 'many'", "a whole number")),
        ("epochs: 1.5\n", ("epochs = 1.5", "a whole number")),
        ("lr: fast\n", ("lr = 'fast'", "a number")),
        ("skip_bad: 3\n", ("skip_bad = 3", "in mine.yaml", "yes or no")),
        ("selection: valdation\n", ("selection = 'valdation'", "validation, last, test")),
        ("pretexts: {rotation: 4}\n", ("pretexts =", "a list of text")),
        ("- epochs\n", ("key: value",)),
        ("epochs: [\n", ("not valid YAML",)),
        ("", ("key: value",)),
        (b"\xff\xfe\x00\x80", ("mine.yaml",)),
        (None, ("no configuration file mine.yaml",)),
    ],
    ids=str,
)
def test_configurations_that_cannot_be_used(pretask, text, words):
    if text is not None:
        Path("mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with nothing_changes():
        pretask("train", *tiny(), "--config", "mine.yaml").fault("mine.yaml", *words)


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 0},
        {"batch_size": 0},
        {"epochs": 0},
        {"steps": 0},
        {"lr": -1},
        {"lr": "nan"},
        {"weight_decay": -1},
        {"optimizer": "adamw", "momentum": 2},
        {"eval_every": 0},
        {"log_every": 0},
        {"checkpoint_steps": 0},
        {"mixup": -1},
        {"ema": 2},
        {"clip_grad_norm": -1},
        {"label_smoothing": 3},
        {"method": "sla-sd", "distill_temperature": 0},
        {"workers": -1},
        {"image_size": 0},
        {"seed": 2**70},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()),
)
def test_numbers_out_of_range(pretask, changes):
    with nothing_changes():
        pretask("train", *tiny(**changes)).fault()


# a loss that is not finite


def diverge_after(monkeypatch, step):
    monkeypatch.setattr(loop, "lr_schedule", lambda *given: lambda now: 0.05 if now < step else 1e30)


def test_a_loss_of_nan_stops_the_run(pretask):
    with nothing_is_lost():
        answer = pretask("train", *tiny(lr=1e30, warmup_epochs=0, name="new"))
        answer.fault("nan", "--lr", "--clip-grad-norm 1")
    assert not Path("runs/new/results.json").exists()
    assert not Path("runs/new/model.safetensors").exists()


@pytest.mark.parametrize(
    ("step", "words"),
    [(4, ("nan", "last good checkpoint")), (5, ("inf", "last good checkpoint"))],
    ids=["loss", "weights"],
)
def test_the_last_good_checkpoint_stays_and_the_run_goes_on_from_it(pretask, monkeypatch, step, words):
    call = ("train", *tiny(epochs=5, checkpoint_steps=4, method="sla", name="new"))
    with monkeypatch.context() as patch, nothing_is_lost():
        diverge_after(patch, step)
        pretask(*call).fault(*words)
    tree = checkpoint.load_tree(Path("runs/new/last/state.safetensors"))
    assert tree["position"]["step"] == 4
    assert all(value.isfinite().all() for value in tree["method"].values())
    assert load_classifier("runs/new").head.weight.isfinite().all()

    assert "epoch 5/5" in pretask.well(*call)
    assert [record["epoch"] for record in _metrics("runs/new")] == [1, 2, 3, 4, 5]


def _metrics(run):
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_never_got_anywhere_does_not_keep_its_name(pretask):
    pretask("train", *tiny(lr=1e30, warmup_epochs=0, name="new")).fault("--lr")
    assert pretask("train", *tiny(lr=0.1, name="new")).code == 0


# checkpoints


def unfinished() -> Path:
    """Make the finished run one that was stopped after its last checkpoint; return that."""
    (RUN / "results.json").unlink()
    return RUN / "last/state.safetensors"


GO_ON = ("train", *tiny(epochs=2, checkpoint_steps=1, name="done"))


def test_a_checkpoint_of_another_architecture(pretask):
    state = unfinished()
    pretask.well("train", *tiny(backbone="resnet14", name="other"))
    shutil.copy("runs/other/last/state.safetensors", state)
    with nothing_changes():
        pretask(*GO_ON).fault("runs/done/last", "another architecture", "--name")


@pytest.mark.parametrize("keep", [0, 7, 200, -1], ids=["empty", "start", "header", "almost-all"])
def test_a_half_written_checkpoint(pretask, keep):
    state = unfinished()
    whole = state.read_bytes()
    state.write_bytes(whole[:keep])
    with nothing_changes():
        pretask(*GO_ON).fault("runs/done/last/state.safetensors", "damaged", "delete runs/done/last")
    state.write_bytes(whole)
    assert pretask(*GO_ON).code == 0


def test_the_remedy_for_a_damaged_checkpoint_works(pretask):
    results = results_of(RUN)
    unfinished().write_bytes(b"damaged")
    shutil.rmtree(RUN / "last")
    assert pretask(*GO_ON).code == 0
    assert results_of(RUN)["inferences"] == results["inferences"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.2}, ("lr = 0.1", "lr = 0.2")),
        ({"epochs": 3}, ("epochs = 2", "epochs = 3")),
        ({"backbone": "resnet14"}, ("backbone = resnet8", "backbone = resnet14")),
        ({"method": "mt"}, ("method = sla", "method = mt")),
        ({"seed": 1}, ("seed = 0", "seed = 1")),
        ({"per_class": 6}, ("per_class = 5", "per_class = 6")),
        ({"selection": "last"}, ("selection = validation", "selection = last")),
    ],
    ids=lambda value: str(next(iter(value))) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_a_resume_with_other_settings(pretask, state, changes, words):
    if state == "stopped":
        unfinished()
    given = {"epochs": 2, "checkpoint_steps": 1, "name": "done", **changes}
    with nothing_changes():
        pretask("train", *tiny(**given)).fault("runs/done", *words, "--name")


def test_settings_that_change_no_result_may_differ(pretask):
    unfinished()
    given = {"epochs": 2, "name": "done", "checkpoint_steps": 7, "log_every": 3, "workers": 0}
    assert pretask("train", *tiny(**given)).code == 0


# models


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
@pytest.mark.parametrize("keep", [0, 200, -1], ids=["empty", "header", "almost-all"])
def test_a_half_written_model(pretask, command, keep):
    weights = RUN / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    more = [picture(Path("a.png"))] if command == "predict" else []
    with nothing_changes():
        pretask(command, RUN, *more).fault("runs/done/model.safetensors", "damaged")


def test_a_missing_model(pretask):
    (RUN / "model.safetensors").unlink()
    pretask("predict", RUN, picture(Path("a.png"))).fault("runs/done/model.safetensors", "missing")


def test_a_model_of_another_architecture(pretask):
    card = json.loads((RUN / "model.json").read_text())
    (RUN / "model.json").write_text(json.dumps({**card, "backbone": "resnet14"}))
    pretask("predict", RUN, picture(Path("a.png"))).fault("do not fit the resnet14", "same run")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 99}'])
def test_a_damaged_model_card(pretask, text):
    (RUN / "model.json").write_text(text)
    pretask("predict", RUN, picture(Path("a.png"))).fault("runs/done/model.json", "export the model again")


def test_a_model_of_a_newer_version(pretask):
    card = json.loads((RUN / "model.json").read_text())
    (RUN / "model.json").write_text(json.dumps({**card, "format": 99}))
    pretask("predict", RUN, picture(Path("a.png"))).fault("format 99", "upgrade pretask")


# a full disk


@contextmanager
def no_file_larger_than(size: int):
    """Let the system refuse to write more than `size` bytes into one file, as a full disk refuses it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [100, 20_000])
def test_no_room_for_files(pretask, size):
    call = ("train", *tiny(name="new"))
    with nothing_is_lost():
        with no_file_larger_than(size):
            answer = pretask(*call)
        answer.fault("cannot write runs/new", "free space", "--runs")
    assert not list(Path("runs").rglob("*.tmp"))
    assert pretask(*call).code == 0


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(pretask, monkeypatch):
    call = ("train", *tiny(epochs=3, checkpoint_steps=1, name="new"))
    written = []

    def fill_up(descriptor):
        written.append(descriptor)
        if len(written) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, nothing_is_lost():
        patch.setattr(files.os, "fsync", fill_up)
        pretask(*call).fault("No space left on device", "free space")
    step = checkpoint.load_tree(Path("runs/new/last/state.safetensors"))["position"]["step"]
    assert step > 0
    assert not list(Path("runs").rglob("*.tmp"))

    assert "epoch 3/3" in pretask.well(*call)
    assert [record["epoch"] for record in _metrics("runs/new")] == [1, 2, 3]


def test_no_room_for_an_export(pretask):
    with nothing_changes():
        with no_file_larger_than(1000):
            answer = pretask("export", RUN, "deploy")
        answer.fault("cannot write deploy/model.safetensors", "free space")
    assert pretask("export", RUN, "deploy").code == 0


def test_runs_that_cannot_be_made(pretask):
    Path("file").write_text("in the way")
    pretask("train", *tiny(runs="file", name="new")).fault("file", "--runs")
    assert Path("file").read_text() == "in the way"


# no network


@pytest.fixture
def offline(pretask, monkeypatch):
    """Send every connection to a port of this machine where nobody listens."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return pretask


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist", "stl10"])
def test_a_data_set_that_cannot_be_fetched(offline, name):
    with nothing_changes():
        train(offline, name).fault(f"cannot get {name}", "network", f"data/{name}")


def test_a_data_set_that_has_to_be_unpacked_by_hand(offline):
    with nothing_changes():
        train(offline, "imagenet").fault("imagenet is not in data/imagenet", "unpack")


def test_pretrained_weights_that_cannot_be_fetched(offline):
    given = {"backbone": "resnet10t.c3_in1k", "pretrained": True, "image_size": 32}
    with nothing_changes():
        offline("train", *tiny(**given)).fault("resnet10t.c3_in1k", "connection", "drop --pretrained")


def test_every_line_of_help_for_a_fault_is_plain_text(pretask):
    """Markup of the terminal library must not eat brackets in names that a user gave."""
    Path("[bold]").mkdir()
    train(pretask, "[bold]/[red]x").fault("[bold]/[red]x")
    Path("mine.yaml").write_text(yaml.safe_dump({"name": "[red]"}))
    out = pretask.well("train", *tiny(method="baseline"), "--config", "mine.yaml")
    assert "runs/[red]" in out
