"""Arrays in memory and .npz files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pretask.data import ArrayImages, load_data
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)
NHWC = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def same_pixels(data, nhwc):
    return (data.train.images.array.permute(0, 2, 3, 1).numpy() == nhwc).all()


@pytest.mark.parametrize(
    "images",
    [
        NHWC,
        NHWC.transpose(0, 3, 1, 2),
        torch.from_numpy(NHWC),
        torch.from_numpy(NHWC).permute(0, 3, 1, 2),
        NHWC / 255,
        (NHWC / 255).astype(np.float32),
        torch.from_numpy(NHWC).permute(0, 3, 1, 2).float() / 255,
    ],
    ids=["nhwc", "nchw", "torch-nhwc", "torch-nchw", "float64", "float32", "torch-float"],
)
def test_layouts_and_dtypes(images):
    data = load_data((images, LABELS))
    assert same_pixels(data, NHWC)
    assert data.train.labels.tolist() == LABELS.tolist()
    assert (data.channels, data.image_size, data.class_names) == (3, (5, 4), ("0", "1", "2"))


def test_lists_and_tensors_with_gradients():
    images = [torch.from_numpy(image) for image in NHWC]
    assert same_pixels(load_data((images, LABELS.tolist())), NHWC)
    images = (torch.from_numpy(NHWC).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    assert same_pixels(load_data((images, torch.from_numpy(LABELS))), NHWC)


def test_uint8_tensor_is_shared_not_copied():
    images = torch.from_numpy(NHWC).permute(0, 3, 1, 2).contiguous()
    assert load_data((images, LABELS)).train.images.storage.data_ptr() == images.data_ptr()


def test_grey_and_splits_by_name():
    grey = NHWC[..., 0]
    data = load_data({"test": (grey[:3], LABELS[:3]), "train": (grey, LABELS), "val": (grey, LABELS)})
    assert (data.channels, len(data.train), len(data.validation), len(data.test)) == (1, 6, 6, 3)
    assert (data.test.images.read(2)[0].numpy() == grey[2]).all()


def test_string_labels():
    data = load_data((NHWC, np.array(["emu", "cat", "dog"] * 2)))
    assert data.class_names == ("cat", "dog", "emu")
    assert data.train.labels.tolist() == [2, 0, 1] * 2


def test_channels_are_converted():
    grey = load_data((NHWC, LABELS), channels=1)
    expected = NHWC @ np.array([0.299, 0.587, 0.114])
    assert grey.train.images.array.shape == (6, 1, 5, 4)
    assert np.abs(grey.train.images.array[:, 0].numpy() - expected).max() <= 0.51
    colour = load_data((NHWC[..., 0], LABELS), channels=3)
    assert (colour.train.images.array == torch.from_numpy(NHWC[:, None, :, :, 0])).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((NHWC, LABELS[:5]), "6 images but 5 labels"),
        ((NHWC, LABELS - 1), r"train label -1 .*row 0.* out of range"),
        ((NHWC, LABELS + 1), r"class 0 \('0'\) .* has no train image"),
        ((NHWC, LABELS * 2), "class 1 .* has no train image"),
        ((NHWC, LABELS * 1.0), "float64: whole numbers"),
        ((NHWC, np.where(LABELS == 1, np.nan, LABELS)), "NaN at row 1"),
        ((NHWC, np.eye(3)[LABELS]), r"shape \(6, 3\): one class per image"),
        ((NHWC, np.zeros(6, int)), "has 1 class"),
        ((NHWC * 1.0, LABELS), r"floats from 0 to 25\d: scale them"),
        ((np.where(NHWC > 9, np.nan, 0.5), LABELS), "NaN or infinite"),
        ((NHWC.astype(np.int64), LABELS), "must be uint8"),
        ((NHWC.astype(str), LABELS), "pixels must be uint8"),
        ((np.zeros((6, 3, 5, 3), np.uint8), LABELS), "could be NCHW or NHWC"),
        ((np.zeros((6, 5, 4, 2), np.uint8), LABELS), r"\(n, H, W, C\)"),
        ((np.zeros((6, 5), np.uint8), LABELS), r"\(n, H, W\)"),
        ({"test": (NHWC, LABELS)}, "no train split"),
        ({"train": (NHWC, LABELS), "other": (NHWC, LABELS)}, "unknown split 'other'"),
        ({"train": NHWC}, "must be a pair"),
        ((NHWC[:0], LABELS[:0]), "0 class"),
        ({"train": (NHWC, LABELS), "test": (NHWC, LABELS + 1)}, "class 3 .* has no train image"),
        ({"train": (NHWC, LABELS), "test": (NHWC, LABELS.astype(str))}, "strings in one split"),
        (42, "cannot load data from a int"),
        (
            ([NHWC[0], NHWC[1, :3]], LABELS[:2]),
            "train images of arrays do not make one array .*inhomogeneous",
        ),
        (([[[1, 2], [3]]], LABELS[:1]), "do not make one array"),
        ((NHWC, [[0], [1, 2], [0], [1], [2], [0]]), "train labels of arrays do not make one array"),
        ((NHWC, [object()] * 6), "object: whole numbers"),
        ((NHWC, [10**400] * 6), "object: whole numbers"),
        ((NHWC, torch.zeros(6, dtype=torch.bfloat16)), "do not make one array .*BFloat16"),
        (([NHWC[0], None], LABELS[:2]), "arrays"),
    ],
)
def test_faults(source, message):
    with pytest.raises(PretaskError, match=message) as caught:
        load_data(source)
    assert "\n" not in str(caught.value)


def test_splits_that_differ_in_size_and_channels():
    data = load_data({"train": (NHWC, LABELS), "test": (NHWC[:4, :4, :, 0], LABELS[:4])})
    assert (data.image_size, data.channels, data.test.images.array.shape) == ((16, 16), 3, (4, 3, 4, 4))
    assert [decision.line() for decision in data.decisions] == [
        "image size 16: the images differ in size, from 4x4 to 5x4; "
        "three quarters of them have a shorter side of 4 pixels or more",
        "channels 3: 6 images have colours, 4 are grey",
    ]


def medmnist(path, **changes):
    arrays = {}
    for part, count in (("train", 6), ("val", 3), ("test", 3)):
        arrays[f"{part}_images"] = NHWC[:count, ..., 0]
        arrays[f"{part}_labels"] = LABELS[:count, None].astype(np.uint8)
    arrays.update(changes)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_npz(tmp_path):
    data = load_data(medmnist(tmp_path / "cells.npz"))
    assert (data.name, data.channels, data.augment) == ("cells", 1, "crop")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 3, 3]
    assert (data.validation.images.array[:, 0].numpy() == NHWC[:3, ..., 0]).all()
    assert load_data(medmnist(tmp_path / "c.npz", train_images=NHWC), channels=3).channels == 3


def test_npz_is_read_anew_after_a_change(tmp_path):
    first = load_data(medmnist(tmp_path / "cells.npz"))
    assert load_data(str(tmp_path / "cells.npz")) is first
    assert load_data(tmp_path / "cells.npz", channels=3).channels == 3
    more = {"val_images": None, "val_labels": None}
    assert load_data(medmnist(tmp_path / "cells.npz", **more)).validation is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": None}, "lacks the array train_labels"),
        ({"train_labels": None, "train_images": None}, "train_images and train_labels are needed"),
        ({"train_labels": np.array([None] * 6, dtype=object)}, "no objects"),
        ({"test_labels": np.zeros((3, 14))}, r"shape \(3, 14\)"),
    ],
)
def test_npz_faults(tmp_path, changes, message):
    with pytest.raises(PretaskError, match=message):
        load_data(medmnist(tmp_path / "cells.npz", **changes))


def test_broken_npz(tmp_path):
    whole = medmnist(tmp_path / "cells.npz").read_bytes()
    (tmp_path / "cells.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PretaskError, match=r"cannot read .*cells.npz"):
        load_data(tmp_path / "cells.npz")


def test_pneumonia(real_data):
    data = load_data(real_data / "pneumonia.npz")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [3882, 524, 624]
    assert data.class_counts.tolist() == [388, 3494]
    assert isinstance(data.train.images, ArrayImages)
    with np.load(real_data / "pneumonia.npz") as arrays:
        train = arrays["train_images"]
    assert (data.train.images.read(7)[0].numpy() == train[7]).all()
    assert data.mean[0] == pytest.approx(train.mean() / 255)
    assert data.std[0] == pytest.approx(train.std() / 255)
