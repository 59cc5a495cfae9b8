"""Named data sets, each in the layout that its published archive unpacks to."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from pretask.data import load_data
from pretask.errors import PretaskError

RNG = np.random.default_rng(0)


def save(path, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def labels_by_name(split):
    return {split.images.describe(i): int(split.labels[i]) for i in range(len(split))}


def test_digits():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert (len(data.train), data.validation, len(data.test)) == (1198, None, 599)
    assert (data.channels, data.image_size, data.num_classes, data.augment) == (1, (8, 8), 10, "crop")
    assert data.train.images.array.max() == 255
    assert (torch.bincount(data.test.labels) - 59.9).abs().max() < 3  # stratified
    found = load_digits()
    row = int(data.train.images.rows[5])
    assert int(data.train.labels[5]) == found.target[row]
    assert (data.train.images.read(5)[0].numpy() == np.round(found.images[row] * 255 / 16)).all()
    assert load_data("digits").train.labels.tolist() == data.train.labels.tolist()


class FakeReader:
    """Stands for torchvision's readers: the attributes that they offer."""

    classes = ("cat", "dog")

    def __init__(self, root, download, train=None, split=None):
        if "absent" in root and not download:
            raise RuntimeError("Dataset not found or corrupted. You can use download=True\nto download it")
        if "absent" in root:
            raise URLError("Name or service not known")
        count = 6 if train or split == "train" else 4
        if split is not None:
            self.data = RNG.integers(0, 256, (count, 3, 9, 9), dtype=np.uint8)
            self.labels = np.arange(count, dtype=np.uint8) % 2
        else:
            self.data = RNG.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
            self.targets = [i % 2 for i in range(count)]


class FakeGrey(FakeReader):
    def __init__(self, root, download, train):
        super().__init__(root, download, train=train)
        self.data = torch.from_numpy(self.data[..., 0])
        self.targets = torch.tensor(self.targets)


@pytest.fixture
def readers(monkeypatch):
    fakes = SimpleNamespace(CIFAR10=FakeReader, CIFAR100=FakeReader, STL10=FakeReader, FashionMNIST=FakeGrey)
    monkeypatch.setattr("torchvision.datasets", fakes)


@pytest.mark.parametrize(
    ("name", "shape", "augment"),
    [
        ("cifar10", (3, 8, 8), "crop-flip"),
        ("cifar100", (3, 8, 8), "crop-flip"),
        ("stl10", (3, 9, 9), "crop-flip"),
        ("fashion-mnist", (1, 8, 8), "crop-flip"),
    ],
)
def test_torchvision_sets(readers, tmp_path, name, shape, augment):
    data = load_data(name, root=tmp_path)
    assert (len(data.train), data.validation, len(data.test)) == (6, None, 4)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1] * 3
    assert tuple(data.train.images.read(0).shape) == shape
    assert data.augment == augment


def test_torchvision_set_without_network(readers, tmp_path):
    with pytest.raises(
        PretaskError, match=r"cannot get cifar10 .*Name or service not known.*connect"
    ) as caught:
        load_data("cifar10", root=tmp_path / "absent")
    assert "\n" not in str(caught.value)
    with pytest.raises(PretaskError, match=r"cannot get stl10 .*not found"):
        load_data("stl10", root=tmp_path / "absent", download=False)


def make_tiny_imagenet(folder):
    top = folder / "tiny-imagenet-200"
    for kind in ("n02", "n01"):
        for i in range(3):
            save(top / "train" / kind / "images" / f"{kind}_{i}.JPEG", (64, 64))
        (top / "train" / kind / f"{kind}_boxes.txt").write_text("a\t0\t0\t9\t9\n")
    for i in range(2):
        save(top / "val" / "images" / f"val_{i}.JPEG", (64, 64))
    (top / "val" / "val_annotations.txt").write_text(
        "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    )
    (top / "wnids.txt").write_text("n02\nn01\n")
    (top / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane\n")


def make_cub200(folder):
    top = folder / "CUB_200_2011"
    paths = ["001.Albatross/a.jpg", "001.Albatross/b.jpg", "002.Auklet/c.jpg", "002.Auklet/d.jpg"]
    for path in paths:
        save(top / "images" / path)
    lines = {
        "images.txt": paths,
        "image_class_labels.txt": [1, 1, 2, 2],
        "train_test_split.txt": [1, 0, 0, 1],
        "classes.txt": ["001.Albatross", "002.Auklet"],
    }
    for name, values in lines.items():
        (top / name).write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, start=1)))


def make_mit67(folder):
    for path in ("bar/a.jpg", "bar/b.jpg", "zoo/c.jpg", "zoo/d.jpg"):
        save(folder / "Images" / path)
    (folder / "TrainImages.txt").write_text("zoo/c.jpg\nbar/a.jpg\n")
    (folder / "TestImages.txt").write_text("bar/b.jpg\r\nzoo/d.jpg")


def make_stanford_dogs(folder):
    kinds = ("n1-Chihuahua", "n2-Shih-Tzu")
    lists = {"train": [], "test": []}
    for kind in kinds:
        for i in range(3):
            save(folder / "Images" / kind / f"{i}.jpg")
            lists["test" if i == 2 else "train"].append(f"{kind}/{i}.jpg")
    for split, paths in lists.items():
        cells = np.empty((len(paths), 1), dtype=object)
        cells[:, 0] = paths
        numbers = np.array([[1 + kinds.index(path.split("/")[0])] for path in paths])
        savemat(folder / f"{split}_list.mat", {"file_list": cells, "labels": numbers})


def make_imagenet(folder):
    for part, count in (("train", 2), ("val", 1)):
        for kind in ("n01", "n02", "n03"):
            for i in range(count):
                save(folder / part / kind / f"{i}.JPEG")
    (folder / "LOC_synset_mapping.txt").write_text("n01 tench, Tinca tinca\nn02 crane\nn03 crane\n")


LAYOUTS = {
    "tiny-imagenet": (make_tiny_imagenet, 6, {"val/images/val_0.JPEG": 1, "val/images/val_1.JPEG": 0}),
    "cub200": (make_cub200, 2, {"images/001.Albatross/b.jpg": 0, "images/002.Auklet/c.jpg": 1}),
    "mit67": (make_mit67, 2, {"Images/bar/b.jpg": 0, "Images/zoo/d.jpg": 1}),
    "stanford-dogs": (make_stanford_dogs, 4, {"Images/n1-Chihuahua/2.jpg": 0, "Images/n2-Shih-Tzu/2.jpg": 1}),
    "imagenet": (make_imagenet, 6, {"val/n01/0.JPEG": 0, "val/n02/0.JPEG": 1, "val/n03/0.JPEG": 2}),
}
NAMES = {
    "tiny-imagenet": ("goldfish", "crane"),
    "cub200": ("001.Albatross", "002.Auklet"),
    "mit67": ("bar", "zoo"),
    "stanford-dogs": ("Chihuahua", "Shih-Tzu"),
    "imagenet": ("tench", "crane (n02)", "crane (n03)"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_unpacked_archives(tmp_path, name):
    make, train_images, test_labels = LAYOUTS[name]
    (tmp_path / name).mkdir()
    make(tmp_path / name)
    data = load_data(name, root=tmp_path)
    assert len(data.train) == train_images
    assert labels_by_name(data.test) == test_labels
    assert data.class_names == NAMES[name]
    assert data.channels == 3
    assert data.image_size == ((64, 64) if name == "tiny-imagenet" else (224, 224))
    shown = data.test.images.read(0)
    expected = Image.open(next((tmp_path / name).rglob(data.test.images.describe(0))))
    assert (shown.permute(1, 2, 0).numpy() == np.asarray(expected)).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_missing_archives(tmp_path, name):
    with pytest.raises(PretaskError, match=f"{name} is not in .*{name}: unpack .* holds ") as caught:
        load_data(name, root=tmp_path)
    assert "\n" not in str(caught.value)


def test_cub200_given_its_inner_folder(tmp_path):
    make_cub200(tmp_path)
    (tmp_path / "CUB_200_2011").rename(tmp_path / "cub200")
    assert len(load_data("cub200", root=tmp_path).train) == 2


def test_damaged_archives(tmp_path):
    for name in ("mit67", "stanford-dogs", "imagenet", "cub200"):
        (tmp_path / name).mkdir()
        LAYOUTS[name][0](tmp_path / name)
    (tmp_path / "mit67" / "TrainImages.txt").write_text("zoo/lost.jpg\nbar/a.jpg\n")
    with pytest.raises(PretaskError, match=r"mit67 lists Images/zoo/lost.jpg, which is not in"):
        load_data("mit67", root=tmp_path)
    (tmp_path / "stanford-dogs" / "test_list.mat").write_bytes(b"no matrix")
    with pytest.raises(PretaskError, match=r"cannot read .*test_list.mat"):
        load_data("stanford-dogs", root=tmp_path)
    save(tmp_path / "imagenet" / "val" / "stray.JPEG")
    with pytest.raises(PretaskError, match="val needs a folder of images for each class"):
        load_data("imagenet", root=tmp_path)
    (tmp_path / "cub200" / "CUB_200_2011" / "train_test_split.txt").write_text("1 1\n2 0\n")
    with pytest.raises(PretaskError, match=r"train_test_split.txt"):
        load_data("cub200", root=tmp_path)
