"""Image stores, and what `ImageData` tells about itself."""

from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image

from pretask.data import ArrayImages, EncodedImages, FileImages, ImageData, LabelledImages
from pretask.data.images.decode import Header, UnreadableImageError

PIXELS = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def png(i):
    stream = io.BytesIO()
    Image.fromarray(PIXELS[i].permute(1, 2, 0).numpy()).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(params=["array", "files", "encoded"])
def store(request, tmp_path):
    if request.param == "array":
        return ArrayImages(PIXELS)
    if request.param == "encoded":
        return EncodedImages([png(i) for i in range(5)])
    (tmp_path / "cat").mkdir()
    for i in range(5):
        (tmp_path / "cat" / f"{i}.png").write_bytes(png(i))
    return FileImages(tmp_path, [f"cat/{i}.png" for i in range(5)])


def test_every_store_reads_the_same(store):
    assert len(store) == 5
    for i in range(5):
        assert torch.equal(store.read(i), PIXELS[i])
        assert store.header(i) == Header(4, 6, 3)


def test_subsets_of_subsets(store):
    part = store.subset([4, 0, 2]).subset(torch.tensor([2, 0]))
    assert type(part) is type(store)
    assert [part.describe(i) for i in range(2)] == [store.describe(2), store.describe(4)]
    assert torch.equal(part.read(0), PIXELS[2])
    assert torch.equal(part.read(1), PIXELS[4])
    assert len(store.subset([])) == 0


def test_conversion(store):
    grey = store.converted(1)
    expected = [torch.from_numpy(_luma(image)) for image in PIXELS]
    assert grey.channels == 1
    for i in range(5):
        assert torch.equal(grey.read(i)[0], expected[i])
    assert grey.subset([3]).read(0).shape == (1, 4, 6)
    assert torch.equal(grey.converted(3).read(2), store.converted(3).converted(1).converted(3).read(2))
    assert store.converted(None) is store


def _luma(image):
    import numpy as np

    return np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L"))


def test_descriptions(tmp_path):
    assert ArrayImages(PIXELS).subset([3]).describe(0) == "image 3"
    assert ArrayImages(PIXELS, names=list("abcde")).subset([3]).describe(0) == "d"
    assert EncodedImages([b""], origin="train.parquet").describe(0) == "image 0 of train.parquet"


def test_array_shares_its_pixels():
    part = ArrayImages(PIXELS).subset([1, 3])
    assert part.storage is PIXELS
    assert torch.equal(part.array, PIXELS[[1, 3]])
    assert ArrayImages(PIXELS).array is PIXELS


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"cat/9.png"):
        FileImages(tmp_path, ["cat/9.png"]).read(0)


def test_wrong_arrays_and_labels():
    with pytest.raises(ValueError, match="need uint8"):
        ArrayImages(PIXELS.float())
    with pytest.raises(ValueError, match="need int64 labels"):
        LabelledImages(ArrayImages(PIXELS), torch.zeros(4, dtype=torch.int64))


def test_facts_and_summary():
    train = LabelledImages(ArrayImages(PIXELS), torch.tensor([0, 1, 1, 1, 2]))
    data = ImageData(
        name="pets",
        train=train,
        validation=None,
        test=train.subset([0, 1]),
        class_names=("cat", "dog", "emu"),
        channels=3,
        image_size=(4, 6),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        augment="crop",
        skipped=("bad.png",),
    )
    assert data.summary() == (
        "pets: 7 images (5 train, 0 validation, 2 test), 3 classes (1 to 3 train images each), 4x6x3; "
        "1 unreadable image left out"
    )
    facts = json.loads(json.dumps(data.facts()))
    assert facts["class_counts"] == [1, 3, 1]
    assert (facts["train_images"], facts["validation_images"], facts["test_images"]) == (5, 0, 2)
    assert facts["skipped_images"] == 1
