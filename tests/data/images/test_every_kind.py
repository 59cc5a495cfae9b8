"""The rows of docs/images.md: what is seen of every kind of picture, in training and in prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from odd_pictures import KINDS, REFUSED, write
from pretask import prediction
from pretask.data import FileImages, load_data
from pretask.data.fitting import fit
from pretask.data.images.decode import UnreadableImageError, read_header
from pretask.methods import ModelCard

PAGE = Path(__file__).parents[3] / "docs" / "images.md"


def rows() -> list[str]:
    cells = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [cell for cell in cells if cell not in ("kind", "file")]


def test_every_row_of_the_page_is_tested():
    assert rows() == [*KINDS, "no known range"]


def seen_in_training(path: Path, channels: int, limit: int) -> torch.Tensor:
    """Return a picture as a data set of it and another like it delivers it, kept in memory or left in files."""
    for name in ("a", "b"):
        (path.parent / "set" / name).mkdir(parents=True)
        (path.parent / "set" / name / path.name).write_bytes(path.read_bytes())
    data = load_data(path.parent / "set", image_size=16, channels=channels, memory_limit=limit)
    return data.train.images.fitted(1, (16, 16))


def seen_in_prediction(path: Path, channels: int) -> torch.Tensor:
    card = ModelCard(
        "resnet8", (16, 16), channels, ("a", "b"), (0.5,) * channels, (0.5,) * channels, "sla", ""
    )
    ((_, pixels),) = prediction._read([path], card)
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_seen_of_it(tmp_path, kind):
    if not KINDS[kind]:
        pytest.skip(f"this installation reads no {kind}")
    for path in write(tmp_path, {kind: KINDS[kind]}):
        odd = KINDS[kind][path.name]
        read = FileImages(tmp_path, [path.name]).read(0)
        header = read_header(path, path.name)
        assert (header.channels, header.height, header.width) == tuple(read.shape), path.name
        assert (header.height, header.width) == odd.shown.shape[:2], path.name
        shown = read[0] if odd.shown.ndim == 2 and read.shape[0] == 1 else read.permute(1, 2, 0)
        off = np.abs(shown.numpy().astype(int) - odd.shown.reshape(shown.shape))
        assert off.mean() <= odd.within, path.name
        assert off.max() <= (255 if odd.within else 0), path.name


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_prediction_see_the_same(tmp_path, kind):
    if not KINDS[kind]:
        pytest.skip(f"this installation reads no {kind}")
    name, odd = list(KINDS[kind].items())[-1]
    for channels in (1, 3):
        places = []
        for limit in (2**20, 0):
            path = tmp_path / f"{channels}-{limit}" / name
            path.parent.mkdir()
            path.write_bytes(odd.content)
            places += [seen_in_training(path, channels, limit), seen_in_prediction(path, channels)]
        places.append(fit(FileImages(path.parent, [name], channels).read(0), (16, 16)))
        assert all(torch.equal(places[0], place) for place in places[1:])


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_known_range_is_refused_in_both(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(REFUSED[name])
    with pytest.raises(UnreadableImageError, match=name):
        seen_in_training(path, 3, 2**20)
    assert isinstance(seen_in_prediction(path, 3), UnreadableImageError)
