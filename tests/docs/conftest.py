"""A folder with the photos, faulty data sets and trained runs that the pages speak of."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pretask.cli import main as cli

SMALL = "--backbone resnet8 --batch-size 8 --epochs 1 --device cpu --threads 1"


def draw(path: Path, *shape: int) -> None:
    """Save noise of shape (height, width) or (height, width, 3); every path has its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = crc32(f"{path.parent.name}/{path.name}".encode())  # copies would stay on one side of a split
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise).save(path)


def draw_folder(folder: Path, classes: str, *shape: int, count: int = 12) -> None:
    """Make a folder of class folders."""
    for kind in classes.split():
        for number in range(count):
            draw(folder / kind / f"{number:03}.png", *shape)


def cut(path: Path) -> None:
    """Leave the first bytes of a file only, as a copy that was broken off does."""
    path.write_bytes(path.read_bytes()[:200])


def run(command: str) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(command.split()[1:])
    assert left.value.code == 0, command


def make_data(top: Path) -> None:
    for name in ("photos", "new", "broken"):
        draw_folder(top / name, "cat dog fox", 32, 32, 3)
    draw_folder(top / "one", "cat", 32, 32, 3)
    draw_folder(top / "oblong", "cat dog", 24, 32, 3)
    draw_folder(top / "grey", "cat dog", 32, 32)
    draw_folder(top / "other", "cat dog wolf", 32, 32, 3)
    draw_folder(top / "formats", "cat dog", 32, 32, 3)
    (top / "formats/fox").mkdir()
    (top / "formats/fox/000.jxl").write_bytes(b"")
    (top / "nameless.csv").write_text("file,kind\nphotos/cat/000.png,cat\n")
    (top / "list.csv").write_text("file,label\nphotos/cat/000.png,cat\nphotos/cat/999.png,cat\n")
    (top / "parts.csv").write_text(
        "file,label,split\nphotos/cat/000.png,cat,train\nphotos/dog/000.png,dog,holdout\n"
    )
    cut(top / "broken/cat/003.png")
    (top / "empty").mkdir()
    (top / "photos.zip").write_bytes(b"")
    (top / "notes.txt").write_text("no picture")
    (top / "shards").mkdir()
    (top / "shards/train-00000-of-00002.parquet").write_bytes(b"")
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 2, -1])
    np.savez(top / "labels.npz", train_images=images, train_labels=labels)
    make_hostile(top)
    (top / "typo.yaml").write_text("epohcs: 3\n")
    (top / "wrong.yaml").write_text("epochs: many\n")
    (top / "mine.yaml").write_text("data: photos\n")
    torch.save({"fc.weight": torch.ones(3, 3)}, top / "other.pth")
    torch.save({"conv.weight": Path("code")}, top / "code.pth")


def make_hostile(top: Path) -> None:
    """Make data that is larger than it looks, leads elsewhere, never ends or is no data."""
    for name in ("huge", "drawn"):
        draw_folder(top / name, "cat dog", 32, 32, 3)
    poster = Image.new("L", (32, 32))
    poster.save(top / "huge/cat/poster.bmp")
    content = bytearray((top / "huge/cat/poster.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 20_000, 20_000)  # the width and the height that its header tells
    (top / "huge/cat/poster.bmp").write_bytes(content)
    poster.save(top / "drawn/cat/logo.png", "EPS")
    images = [{"bytes": None, "path": path} for path in ("../private.png", "photos/dog/000.png")]
    pq.write_table(pa.table({"image": images, "label": ["cat", "dog"]}), top / "cells.parquet")
    np.savez(top / "objects.npz", train_images=np.array([{}, {}]), train_labels=np.arange(2))
    os.mkfifo(top / "pipe.parquet")
    (top / "anchors.yaml").write_text("lr: &a 0.1\n")


def make_runs(top: Path) -> None:
    run(f"pretask train --data photos {SMALL} --method sla --name photos")
    run(f"pretask train --data photos {SMALL} --method sla-sd")
    shutil.copytree(top / "runs/photos", top / "runs/fit-photos")
    for name, damaged in (("damaged", "model.safetensors"), ("cut", "last/state.safetensors")):
        shutil.copytree(top / "runs/photos", top / "runs" / name)
        cut(top / "runs" / name / damaged)
    (top / "runs/cut/results.json").unlink()
    shutil.copytree(top / "runs/photos", top / "runs/lost")
    (top / "runs/lost/model.safetensors").unlink()
    (top / "program").mkdir()
    shutil.copy(top / "runs/photos/model.json", top / "program")
    with zipfile.ZipFile(top / "program/model.pt2", "w") as archive:
        archive.writestr("archive/data/constants/opaque_obj_0", b"a pickle")
    (top / "runs/begun").mkdir()
    shutil.copy(top / "runs/photos/config.yaml", top / "runs/begun")


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        make_data(top)
        make_runs(top)
    return top


@pytest.fixture
def workshop(_made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, as the working directory of one test."""
    monkeypatch.chdir(_made)
    return _made
