"""One run from configuration to results: every method learns, real images need no flags, little memory is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from pretask import load_data, predict, tasks
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.methods import METHODS

FILES = {
    "config.yaml", "environment.json", "metrics.jsonl", "last",
    "model.safetensors", "split.safetensors", "model.json", "results.json", "report.html",
}  # fmt: skip


def run(folder: Path, **settings):
    small = {
        "backbone": "resnet8",
        "lr": 0.1,
        "threads": 1,
        "device": "cpu",
        "runs": str(folder),
        "name": "run",
    }
    return tasks.train(from_flat({**small, **settings}))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_learns_digits(tmp_path: Path, method: str) -> None:
    """From a fixed seed, 30 images per class: far above the 10 % of guessing, the default inference above 85 %."""
    results = run(
        tmp_path, data="digits", per_class=30, batch_size=50, method=method, eval_every=5,
        epochs=40 if method in ("sla+ssfe", "fixmatch") else 15,  # 160 joint labels, 3 steps an epoch take longer
        channels=3 if method.startswith("gssl") else None,
    )  # fmt: skip
    accuracies = {name: f["selected"]["test"]["top1"] for name, f in results["inferences"].items()}
    floor = {"da": 0.6, "mt": 0.6, "da-patch": 0.75}.get(method, 0.85)
    assert accuracies[results["default_inference"]] > floor, accuracies
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_the_run_header_and_results_tell_the_whole_setting(tmp_path: Path) -> None:
    results = run(
        tmp_path, data="digits", per_class=5, epochs=1, batch_size=25, method="sla-sd", cutmix=1.0, mixup=0.3
    )
    assert results["work_images"] == 4 * results["images"] == 4 * 50
    assert results["selection"] == "validation"
    assert not results["optimistic"]
    assert list(results["inferences"]) == ["distilled", "aggregated", "single"]
    record = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert record["train"]["pretext_accuracy"] >= 0
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert {"command", "versions", "hardware", "commit"} <= set(environment)


def test_selection_on_the_test_set_is_stamped(tmp_path: Path) -> None:
    results = run(tmp_path, data="digits", per_class=5, epochs=1, batch_size=25, selection="test")
    assert results["optimistic"]
    assert "optimistic" in (tmp_path / "run/report.html").read_text()


def test_arrays_in_memory(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 3, 8, 8), generator=generator, dtype=torch.uint8)
    data = load_data((images, torch.arange(60) % 3))
    config = from_flat(
        {"backbone": "resnet8", "epochs": 1, "runs": str(tmp_path), "device": "cpu", "threads": 1}
    )
    assert tasks.train(config, data)["data"]["classes"] == 3


@pytest.mark.slow
def test_streaming_and_resident_both_train(tmp_path: Path) -> None:
    for loader in ("resident", "streaming"):
        results = run(
            tmp_path, data="digits", per_class=10, epochs=4, batch_size=25, method="baseline", loader=loader, workers=0,
            name=loader,
        )  # fmt: skip
        assert results["inferences"]["single"]["last"]["test"]["top1"] > 0.25


@pytest.mark.slow
def test_a_folder_of_cifar_pictures_trains_and_labels_a_new_one(real_data: Path, tmp_path: Path) -> None:
    data = load_data(str(real_data / "cifar10" / "test.parquet"))
    source = data.train if data.test is None else data.test
    from PIL import Image

    for label in (0, 1, 8):
        folder = tmp_path / "pictures" / f"kind{label}"
        folder.mkdir(parents=True)
        for i in (source.labels == label).nonzero()[:12, 0].tolist():
            Image.fromarray(source.images.read(i).permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    new = next((tmp_path / "pictures/kind8").iterdir()).rename(tmp_path / "new.png")
    results = tasks.train(from_flat({"data": str(tmp_path / "pictures"), "runs": str(tmp_path), "epochs": 2}))
    assert results["method"] == "sla-fast"
    program = "import sys, pretask; print(pretask.predict(sys.argv[1], [sys.argv[2]])[0]['label'])"
    done = subprocess.run(
        [sys.executable, "-c", program, results["folder"], new],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() in {"kind0", "kind1", "kind8"}
    assert predict(results["folder"], [new])[0]["label"] == done.stdout.strip()


@pytest.mark.slow
def test_grey_x_rays_train_without_flags(real_data: Path, tmp_path: Path) -> None:
    source = str(real_data / "pneumonia.npz")
    results = run(tmp_path, data=source, per_class=20, epochs=1)
    test = next(iter(results["inferences"].values()))["selected"]["test"]
    assert (results["data"]["channels"], results["data"]["classes"], test["n"], test["top5_k"]) == (
        1,
        2,
        624,
        2,
    )
    with pytest.raises(PretaskError, match="colour order needs 3 channels, not 1"):
        run(tmp_path, data=source, per_class=20, epochs=1, pretexts=["color"], name="colour")
    assert not (tmp_path / "colour" / "config.yaml").exists()


@pytest.mark.slow
def test_omniglot_drawings_train_without_flags(real_data: Path, tmp_path: Path) -> None:
    with ZipFile(real_data / "omniglot/images_background_small1.zip") as archive:
        chosen = [n for n in archive.namelist() if "/Balinese/character0" in n and "MACOSX" not in n]
        archive.extractall(tmp_path, chosen)
    results = run(tmp_path, data=str(tmp_path / "images_background_small1"), epochs=1, batch_size=32)
    assert results["data"]["image_size"] == [64, 64]
    assert results["data"]["classes"] == 9


@pytest.mark.slow
def test_two_processes_by_torchrun(tmp_path: Path) -> None:
    arguments = [
        "--data",
        "digits",
        "--per-class",
        "8",
        "--epochs",
        "2",
        "--backbone",
        "resnet8",
        "--batch-size",
        "8",
    ]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "--master-port", str(29600 + os.getpid() % 300), "-m", "pretask", "train", *arguments,
        "--method", "sla", "--threads", "1", "--runs", str(tmp_path), "--name", "two", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "two/results.json").read_text())
    assert results["images"] == 2 * 5 * 16
    assert done.stdout.count("finished:") == 1
