"""Hugging Face data sets: with the package absent, with a stand-in for it, and with the package itself."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from pretask.data import load_data
from pretask.errors import MissingExtra, PretaskError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def encoded(i):
    stream = io.BytesIO()
    Image.fromarray(PIXELS[i]).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def check(data):
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1] * 3
    assert (data.train.images.read(3) == torch.from_numpy(PIXELS[3]).permute(2, 0, 1)).all()


def test_absent_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pretask\[hub\]'"):
        load_data("hf:owner/name")
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(MissingExtra, match="a saved Hugging Face data set"):
        load_data(tmp_path)


class StandIn(ModuleType):
    """The few calls of `datasets` that are made."""

    class Image:
        def __init__(self, decode=True):
            self.decode = decode

    class ClassLabel:
        names = ("cat", "dog")

    class Dataset:
        def __init__(self, columns):
            self.columns = columns
            self.features = {"photo": StandIn.Image(), "kind": StandIn.ClassLabel()}

        def __len__(self):
            return 6

        def __getitem__(self, key):
            if isinstance(key, str):
                return self.columns[key]
            return {name: column[key] for name, column in self.columns.items()}

        def select_columns(self, names):
            return StandIn.Dataset({name: self.columns[name] for name in names})

        def cast_column(self, name, feature):
            assert name == "photo"
            assert feature.decode is False
            return self

    def load_dataset(self, name, configuration):
        if name != "owner/pets":
            raise ConnectionError(f"couldn't reach {name}\non the hub")
        assert configuration in (None, "small")
        columns = {"photo": [encoded(i) for i in range(6)], "kind": [0, 1] * 3}
        return {"train": self.Dataset(columns), "unsupervised": None, "test": self.Dataset(columns)}


StandIn.Dataset.__module__ = "datasets.arrow_dataset"


@pytest.fixture
def stand_in(monkeypatch):
    module = StandIn("datasets")
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


@pytest.mark.parametrize("name", ["hf:owner/pets", "hf:owner/pets:small"])
def test_load_by_name(stand_in, name):
    data = load_data(name)
    check(data)
    assert data.name == "owner/pets"
    assert len(data.test) == 6


def test_no_network(stand_in):
    with pytest.raises(PretaskError, match=r"cannot load hf:owner/name \(couldn't reach owner/name\)"):
        load_data("hf:owner/name")


def test_data_set_in_memory(stand_in):
    check(load_data(stand_in.load_dataset("owner/pets", None)["train"]))


def test_the_package_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": [Image.fromarray(pixels) for pixels in PIXELS], "label": [0, 1] * 3}
    train = datasets.Dataset.from_dict(rows, features=features)
    check(load_data(train))
    both = datasets.DatasetDict({"train": train, "test": train.select([5, 2])})
    test = load_data(both).test
    assert test.labels.tolist() == [1, 0]
    assert (test.images.read(0) == torch.from_numpy(PIXELS[5]).permute(2, 0, 1)).all()
    both.save_to_disk(str(tmp_path / "saved"))
    check(load_data(tmp_path / "saved"))
    train.to_parquet(str(tmp_path / "train.parquet"))
    check(load_data(tmp_path / "train.parquet"))
    with pytest.raises(PretaskError, match="cannot load hf:no-such-owner/no-such-name"):
        load_data("hf:no-such-owner/no-such-name")
