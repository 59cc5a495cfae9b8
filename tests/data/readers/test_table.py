"""Parquet files, as the Hugging Face Hub lays them out."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pretask.data import ArrayImages, EncodedImages, load_data
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)


def png(size=(4, 5), mode="RGB"):
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def pixels(encoded):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))).permute(2, 0, 1)


IMAGES = [png() for _ in range(6)]
STRUCTS = [{"bytes": image, "path": None} for image in IMAGES]
LABELS = [0, 1, 2, 0, 1, 2]


def write(path, metadata=None, row_group_size=2, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def test_struct_column_and_class_names_from_metadata(tmp_path):
    metadata = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog", "emu"]}}
    file = write(tmp_path / "pets.parquet", metadata, img=STRUCTS, label=LABELS, id=range(6))
    data = load_data(file)
    assert (data.name, data.class_names) == ("pets", ("cat", "dog", "emu"))
    assert data.train.labels.tolist() == LABELS
    assert isinstance(data.train.images, ArrayImages)
    for i, image in enumerate(IMAGES):
        assert (data.train.images.read(i) == pixels(image)).all()


def test_binary_column_and_string_labels(tmp_path):
    file = write(tmp_path / "a.parquet", picture=IMAGES, label=["b", "a"] * 3, caption=["text"] * 6)
    data = load_data(file)
    assert data.class_names == ("a", "b")
    assert data.train.labels.tolist() == [1, 0] * 3


def test_large_sets_stay_encoded(tmp_path):
    data = load_data(write(tmp_path / "a.parquet", image=STRUCTS, label=LABELS), memory_limit=100)
    images = data.train.images
    assert isinstance(images, EncodedImages)
    assert images.encoded(3) == IMAGES[3]  # in the second of three row groups
    part = images.subset([5, 1]).subset(torch.tensor([1, 0]))
    assert (part.read(1) == pixels(IMAGES[5])).all()
    assert part.describe(1) == "image 5 of a.parquet"
    assert data.train.subset([4]).labels.tolist() == [1]


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "validation.parquet", "test.parquet"),
        ("train-00000-of-00001.parquet", "valid-0.parquet", "test-0.parquet"),
        ("data/train-0.parquet", "data/val-0.parquet", "data/test-0.parquet"),
        ("train/0000.parquet", "validation/0000.parquet", "test/0000.parquet"),
    ],
)
def test_split_files(tmp_path, names):
    for name, count in zip(names, (6, 3, 3), strict=True):
        write(tmp_path / name, image=STRUCTS[:count], label=LABELS[:count])
    data = load_data(tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 3, 3]


def test_a_pattern_names_some_files_of_several_folders(tmp_path):
    for name in ("a/train-0.parquet", "b/train-0.parquet", "b/train-1.parquet", "b/test-0.parquet"):
        write(tmp_path / name, image=STRUCTS, label=LABELS)
    assert len(load_data(tmp_path / "*/train-0.parquet").train) == 12
    data = load_data(str(tmp_path / "b/t*.parquet"))
    assert (data.name, len(data.train), len(data.test)) == ("b", 12, 6)
    for name in ("c/train/0.parquet", "c/test/0.parquet"):
        write(tmp_path / name, image=STRUCTS, label=LABELS)
    assert len(load_data(tmp_path / "c/*/*.parquet").test) == 6
    assert len(load_data(tmp_path / "c/test/*.parquet").train) == 6, "alone they are all there is"


def test_a_missing_shard_is_told_unless_a_pattern_asks_for_the_others(tmp_path):
    files = [f"train-0000{i}-of-00004.parquet" for i in range(4)]
    for name in files:
        write(tmp_path / name, image=STRUCTS, label=LABELS)
    assert len(load_data(tmp_path).train) == 24
    (tmp_path / files[1]).unlink()
    (tmp_path / files[3]).unlink()
    with pytest.raises(
        PretaskError, match=r"2 of 4 files are missing, the first .*train-00001-of-00004\.parquet"
    ):
        load_data(tmp_path)
    assert len(load_data(tmp_path / "train-*.parquet").train) == 12


def test_patterns_that_name_nothing_or_something_else(tmp_path):
    with pytest.raises(PretaskError, match=r"no file is named by .*x\*\.parquet"):
        load_data(tmp_path / "x*.parquet")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(PretaskError, match=r"notes\.txt, which is no \.parquet file"):
        load_data(tmp_path / "n*")


def test_shards_are_joined_in_order(tmp_path):
    write(tmp_path / "train-0.parquet", image=STRUCTS[:2], label=LABELS[:2])
    write(tmp_path / "train-1.parquet", image=STRUCTS[2:], label=LABELS[2:])
    data = load_data(tmp_path)
    assert data.train.labels.tolist() == LABELS
    assert (data.train.images.read(4) == pixels(IMAGES[4])).all()


def test_files_without_a_split_are_all_train(tmp_path):
    write(tmp_path / "0000.parquet", image=STRUCTS, label=LABELS)
    assert len(load_data(tmp_path).train) == 6


def test_path_cells_are_read_from_beside_the_file(tmp_path):
    (tmp_path / "photo.png").write_bytes(IMAGES[0])
    cells = [{"bytes": None, "path": "photo.png"}, *STRUCTS[1:]]
    assert (
        load_data(write(tmp_path / "a.parquet", image=cells, label=LABELS)).train.images.read(0)
    ).shape == (
        3,
        4,
        5,
    )


@pytest.mark.parametrize("way", ["above", "absolute", "roundabout", "link"])
def test_path_cells_that_lead_out_of_the_folder_are_refused(tmp_path, way):
    outside, folder = tmp_path / "private.png", tmp_path / "data"
    outside.write_bytes(IMAGES[0])
    file = folder / "a.parquet"
    file.parent.mkdir()
    (folder / "link.png").symlink_to(outside)
    paths = {
        "above": "../private.png", "absolute": str(outside), "roundabout": "x/../../private.png", "link": "link.png",
    }  # fmt: skip
    write(file, image=[{"bytes": None, "path": paths[way]}, *STRUCTS[1:]], label=LABELS)
    with pytest.raises(PretaskError, match=r"which row 0 of a.parquet points to .*it is not below"):
        load_data(file)
    assert load_data(file, skip_bad=True).skipped == (f"{paths[way]}, which row 0 of a.parquet points to",)


def test_a_test_split_without_labels_is_left_out(tmp_path):
    write(tmp_path / "train.parquet", image=STRUCTS, label=LABELS)
    write(tmp_path / "test.parquet", image=STRUCTS, label=[-1] * 6)
    data = load_data(tmp_path)
    assert data.test is None
    assert data.notes == ("test: left out, it has no labels",)


NAMES = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        ({"image": STRUCTS}, None, "no column is the label column"),
        ({"label": LABELS}, None, "no column is the image column"),
        ({"a": IMAGES, "b": IMAGES, "label": LABELS}, None, "several columns could be the image column"),
        ({"image": IMAGES, "u": LABELS, "v": LABELS}, None, "several columns could be the label column"),
        ({"image": IMAGES, "label": LABELS}, NAMES, r"label 2 .*row 2.* out of range: labels must be 0..1"),
        ({"image": IMAGES, "label": [0, 1, None] * 2}, None, "empty entries"),
        ({"image": IMAGES, "label": [0, 1, -3] * 2}, None, "label -3"),
        ({"image": [*IMAGES[:5], None], "label": LABELS}, None, r"row 5 of a.parquet \(the cell is empty\)"),
        ({"image": [{"bytes": None, "path": "no.png"}, *STRUCTS[1:]], "label": LABELS}, None, "no.png"),
        ({"image": [*IMAGES[:5], IMAGES[5][:40]], "label": LABELS}, None, "cannot read image 5 of a.parquet"),
    ],
)
def test_faults(tmp_path, columns, metadata, message):
    with pytest.raises(PretaskError, match=message) as caught:
        load_data(write(tmp_path / "a.parquet", metadata, **columns))
    assert "\n" not in str(caught.value)


def test_images_of_several_sizes(tmp_path):
    data = load_data(write(tmp_path / "a.parquet", image=[*IMAGES[:5], png((90, 99), "L")], label=LABELS))
    assert isinstance(data.train.images, EncodedImages)
    assert (data.image_size, data.channels, data.mixed_sizes) == ((16, 16), 3, True)
    assert [decision.key for decision in data.decisions] == ["image_size", "channels"]
    assert data.train.images.read(5).shape == (3, 90, 99)


def test_empty_cells_can_be_skipped(tmp_path):
    file = write(tmp_path / "a.parquet", image=[*IMAGES[:5], None], label=LABELS)
    data = load_data(file, skip_bad=True)
    assert len(data.train) == 5
    assert data.skipped == ("row 5 of a.parquet",)


def test_faults_of_files(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(PretaskError, match=r"cannot read .*a.parquet"):
        load_data(tmp_path / "a.parquet")
    good = {"image": IMAGES, "label": LABELS}
    write(tmp_path / "b" / "train.parquet", **good)
    write(tmp_path / "b" / "more.parquet", **good)
    with pytest.raises(PretaskError, match=r"the name of .*more.parquet does not say its split"):
        load_data(tmp_path / "b")
    write(tmp_path / "c" / "test.parquet", **good)
    with pytest.raises(PretaskError, match="no train images"):
        load_data(tmp_path / "c")
    write(tmp_path / "d" / "train.parquet", **good)
    write(tmp_path / "d" / "test.parquet", image=IMAGES, labels=LABELS)
    with pytest.raises(PretaskError, match="has no column 'label'"):
        load_data(tmp_path / "d")


def test_cifar10(real_data):
    data = load_data(real_data / "cifar10" / "test.parquet")
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert data.class_counts.tolist() == [1000] * 10
    assert (data.channels, data.image_size, data.augment) == (3, (32, 32), "crop-flip")
    assert data.train.images.array.shape == (10_000, 3, 32, 32)
    # The mean of CIFAR-10, as published for its train images.
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.01)
    assert data.std == pytest.approx((0.247, 0.243, 0.261), abs=0.01)
    assert load_data(real_data / "cifar10" / "test.parquet") is data
