"""Parquet files that stay on the Hub, which a server of this process plays: what is read, sent, kept and told."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from parquet_shards import noise, numbered, write_shards
from pretask.data import load_data
from pretask.data.loaders import streaming
from pretask.data.loaders.loader import create_loader
from pretask.errors import PretaskError

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from fake_hub import REPO, asked_by_this_process, forget_settings
from pretask.data.load import fixed_source
from pretask.data.readers.hub_stream import parse_address, read_hub_stream

HERE = f"hf://datasets/{REPO}"


@pytest.fixture
def hub(monkeypatch):
    with asked_by_this_process(monkeypatch) as hub:
        monkeypatch.setattr(streaming, "usable_cpus", lambda: 2)
        yield hub


def colours(folder: Path, count: int = 48) -> Path:
    """Write noise of 96x96x3 in row groups of eight, about 220 KB each; eight images are for validation."""
    write_shards(folder / "data", [noise(i, 96) for i in range(count)], row_group_size=8)
    held = [noise(1000 + i, 96) for i in range(8)]
    write_shards(folder / "data", held, shards=1, row_group_size=8, split="validation")
    return folder


@pytest.fixture
def pets(hub, tmp_path):
    """A data set on the Hub, and the folder with the same files."""
    folder = colours(tmp_path / "pets")
    hub.push(folder)
    return folder


def stream(split, workers=2, **options):
    return create_loader(
        split, image_size=(96, 96), batch_size=4, device="cpu", train=True, augment="crop-flip",
        kind="streaming", workers=workers, **options,
    )  # fmt: skip


def epoch(loader, number, start=0):
    shown = [(batch.index, batch.labels, batch.images) for batch in loader.epoch(number, start)]
    return [torch.cat(parts) for parts in zip(*shown, strict=True)]


@pytest.mark.parametrize(
    "place", ["", "/data", "@main/data/*.parquet", "/data/*-0000[0-9]-of-*", "/d*/*", "@refs/convert/parquet"]
)
def test_images_and_labels_are_those_of_the_same_files_on_disk(hub, pets, place):
    hub.branches["refs/convert/parquet"] = hub.branches["main"]
    there, here = load_data(HERE + place), load_data(pets)
    assert (there.name, there.class_names) == (REPO, here.class_names)
    assert (len(there.train), len(there.validation), there.test) == (48, 8, None)
    assert there.mean == here.mean
    for mine, other in ((there.train, here.train), (there.validation, here.validation)):
        assert torch.equal(mine.labels, other.labels)
        assert all(torch.equal(mine.images.read(i), other.images.read(i)) for i in range(len(other)))


def test_one_file_is_all_train_images(hub, pets):
    data = load_data(f"{HERE}/data/validation-00000-of-00001.parquet")
    assert (len(data.train), data.validation) == (8, None)


def test_labels_take_a_small_part_of_the_bytes_and_an_image_its_row_group(hub, tmp_path):
    hub.push(colours(tmp_path / "pets", count=150))
    raw = read_hub_stream(HERE)
    assert torch.equal(raw.splits["train"].labels, torch.arange(150) % 3)
    assert hub.size() > 4_000_000
    assert hub.sent < 0.08 * hub.size()
    before, asked = hub.sent, len(hub.stored())
    raw.splits["train"].images.read(20)
    assert len(hub.stored()) == asked + 1, "bytes and paths of a row group come together"
    assert 200_000 < hub.sent - before < 240_000
    raw.splits["train"].images.read(21)
    assert len(hub.stored()) == asked + 1, "the row group is at hand"


def test_two_workers_show_each_image_once_and_as_from_disk(hub, pets):
    there, here = (load_data(source, memory_limit=0) for source in (HERE, pets))
    loaders = [stream(data.train) for data in (there, here)]
    there.train.images.items._forget()  # what was looked through at the start
    hub.asked.clear()
    of_parent = set(hub.connections)
    hub.connections.clear()
    for number in (0, 1):
        found, expected = (epoch(loader, number) for loader in loaders)
        assert sorted(found[0].tolist()) == list(range(48))
        assert all(map(torch.equal, found, expected))
    asked = Counter(hub.stored())
    assert len(asked) == 6
    assert len(hub.connections) >= 2
    assert not hub.connections & of_parent, "forked workers have connections of their own"
    assert max(asked.values()) <= 2, "each worker fetches a row group once and keeps it"
    for loader in loaders:
        loader.close()


def test_an_epoch_that_begins_in_the_middle_goes_on_with_the_same_pixels(hub, pets):
    loader = stream(load_data(HERE, memory_limit=0).train)
    whole = epoch(loader, 1)
    loader.close()
    train = load_data(HERE, memory_limit=0).train
    train.images.items._forget()
    again = stream(train)
    for mine, other in zip(epoch(again, 1, start=5), whole, strict=True):
        assert torch.equal(mine, other[20:])
    again.close()


def test_what_was_listed_is_read_even_where_the_branch_moves(hub, pets, tmp_path):
    first = hub.branches["main"]
    raw = read_hub_stream(HERE)
    assert raw.notes == (f"read from {HERE}@{first}",)
    hub.push(colours(tmp_path / "other", count=6))
    assert torch.equal(raw.splits["train"].images.read(40), load_data(pets).train.images.read(40))
    assert all(first in path for path, *_ in hub.asked)
    assert len(load_data(HERE).train) == 6
    assert len(load_data(f"{HERE}@{first}").train) == 48


def test_a_source_is_fixed_by_one_question_and_then_by_none(hub, pets):
    fixed = fixed_source(f"{HERE}@main/data")
    assert fixed == f"{HERE}@{hub.branches['main']}/data"
    hub.fault = lambda path: 500
    assert fixed_source(fixed) == fixed
    assert fixed_source("digits") == "digits"


def test_a_file_may_go_to_other_processes(hub, pets):
    items = load_data(HERE, memory_limit=0).train.images.items
    assert items[5]
    sent = pickle.loads(pickle.dumps(items))
    assert len(sent._at_hand) == 0
    assert sent[47] == noise(47, 96)


@pytest.mark.parametrize("spoiled", [503, 429, "cut"])
def test_a_fault_that_passes_is_not_seen(hub, pets, spoiled):
    left = {"stored": 2, "api": 2}

    def twice(path):
        kind = "api" if "/api/" in path else "stored"
        if kind not in path or (spoiled == "cut" and kind == "api"):
            return None
        left[kind] -= 1
        return spoiled if left[kind] >= 0 else None

    hub.fault = twice
    assert torch.equal(load_data(HERE).train.labels, torch.arange(48) % 3)
    assert left["stored"] < 0


def test_the_pause_that_the_hub_asks_for_is_kept(hub, pets):
    images = load_data(HERE, memory_limit=0).train.images
    images.items._forget()
    answers = iter([429, 503])
    hub.fault, hub.headers = lambda path: next(answers, None), {"retry-after": "55"}
    assert images.read(20).shape == (3, 96, 96)
    assert len(hub.slept) == 2
    assert min(hub.slept) >= 55


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        (503, r"\(the Hub answered 503\): try again later"),
        (404, r"\(404: there is none, or it is private\): check the name; .*HF_TOKEN"),
        (401, r"\(401: there is none, or it is private\): check the name; .*HF_TOKEN"),
        (403, r"\(no access\): ask for access on its page on the Hub.*HF_TOKEN"),
        ("whole", r"\(its server sends whole files only\): fetch the files"),
        ("cut", r"check the network"),
        ("silent", r"check the network"),
    ],
)
def test_a_fault_that_stays_is_told_in_one_line(hub, pets, monkeypatch, spoiled, told):
    raw = read_hub_stream(HERE)
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", 0.2)
    hub.fault = lambda path: spoiled
    with pytest.raises(PretaskError, match=told) as caught:
        raw.splits["train"].images.read(20)
    assert str(caught.value).startswith(
        f"cannot read {HERE}@{hub.branches['main'][:12]}/data/train-00001-of-00003"
    )
    check_line(caught)
    if isinstance(spoiled, int) or spoiled == "silent":
        with pytest.raises(PretaskError, match=told) as caught:
            load_data(HERE)
        check_line(caught)


def check_line(caught):
    assert "\n" not in str(caught.value)
    assert "verysecret" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_workers_hand_on_what_stays(hub, pets):
    train = load_data(HERE, memory_limit=0).train
    train.images.items._forget()
    loader = stream(train)
    hub.fault = lambda path: 503
    with pytest.raises(PretaskError, match=r"the Hub answered 503\): try again later"):
        epoch(loader, 0)
    loader.close()


def test_names_that_are_not_there(hub, pets):
    for place, told in (
        ("hf://datasets/owner/nobody", "there is none, or it is private"),
        (f"{HERE}@v9", "no such revision.*check what follows @"),
        (f"{HERE}/nowhere", f"no .parquet file lies in {HERE}/nowhere, nor in its folders"),
        (f"{HERE}/data/test-*", f"no file is named by {HERE}/data/test-"),
        (f"{HERE}/data/valid*", f"{HERE}/data/valid.* has no train images"),
        ("hf://owner/pets", "give hf://datasets/OWNER/NAME"),
        ("hf://datasets/pets", "give hf://datasets/OWNER/NAME"),
    ):
        with pytest.raises(PretaskError, match=told):
            load_data(place)


def test_offline_and_without_a_server(hub, pets, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PretaskError, match="check the network, or try again later"):
        load_data(HERE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    forget_settings()
    with pytest.raises(PretaskError, match="HF_HUB_OFFLINE is set"):
        load_data(HERE)


def test_files_that_were_cut_or_changed(hub, pets):
    raw = read_hub_stream(HERE)
    file = pets / "data" / "train-00001-of-00003.parquet"
    content = file.read_bytes()
    for spoiled, row, told in (
        (content[:100_000], 16, "it ends at byte 100,000 of"),
        (content[:300_000] + bytes(len(content) - 300_000), 31, "changed, or is damaged"),
        (content[:10], 31, "shorter than was listed"),
    ):
        file.write_bytes(spoiled)
        with pytest.raises(PretaskError, match=told) as caught:
            raw.splits["train"].images.read(row)
        check_line(caught)
    file.write_bytes(bytes(1000))
    with pytest.raises(PretaskError, match=r"train-00001-of-00003.parquet .*it was changed, or is damaged"):
        load_data(HERE)


def test_shards_that_are_missing_and_folders_of_several_configurations(hub, pets, tmp_path):
    (pets / "data" / "train-00002-of-00003.parquet").unlink()
    with pytest.raises(
        PretaskError, match=f"1 of 3 files are missing, the first of them {HERE}/data/train-00002"
    ):
        load_data(HERE)
    assert len(load_data(f"{HERE}/data/train-*").train) == 32
    both = tmp_path / "both"
    for name in ("large", "small"):
        write_shards(both / name, [numbered(i) for i in range(6)], shards=1)
    hub.push(both)
    with pytest.raises(PretaskError, match=r"several folders of files \(large, small\): give one of them"):
        load_data(HERE)
    assert len(load_data(f"{HERE}/small").train) == 6


def test_folders_may_be_called_by_splits(hub, tmp_path):
    """As in the files that the Hub itself makes, at refs/convert/parquet."""
    for split in ("train", "test"):
        (tmp_path / "it" / "default" / split).mkdir(parents=True)
        rows = {"image": [numbered(i) for i in range(6)], "label": [0, 1, 2] * 2}
        pq.write_table(pa.table(rows), tmp_path / "it" / "default" / split / "0000.parquet")
    hub.push(tmp_path / "it", "refs/convert/parquet")
    data = load_data(f"{HERE}@refs/convert/parquet/default")
    assert (len(data.train), len(data.test)) == (6, 6)


@pytest.mark.parametrize("path", ["secret.png", "/etc/hostname", "../secret.png"])
def test_cells_cannot_point_to_files_of_this_machine(hub, tmp_path, monkeypatch, path):
    (tmp_path / "secret.png").write_bytes(numbered(1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it").mkdir()
    rows = {"image": [{"bytes": None, "path": path}] * 6, "label": [0, 1] * 3}
    typed = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows["image"], typed), "label": rows["label"]})
    pq.write_table(table, tmp_path / "it" / "train.parquet")
    hub.push(tmp_path / "it")
    with pytest.raises(PretaskError, match="nothing is read but its parquet files"):
        load_data(HERE)


def test_a_token_goes_to_the_hub_alone(hub, pets, monkeypatch):
    hub.token = "hf_" + "a1B2" * 8
    with pytest.raises(PretaskError, match="HF_TOKEN"):
        load_data(HERE)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    data = load_data(HERE)
    assert len(data.train) == 48
    assert hub.token.encode() not in pickle.dumps(read_hub_stream(HERE).splits["train"].images)
    assert {token for _, _, token in hub.stored()} == {None}
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 8)
    with pytest.raises(PretaskError) as caught:
        load_data(HERE)
    assert "hf_w" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "hf://datasets/a/b",
        "hf://datasets/a/b@v1.0/x/y.parquet",
        "hf://datasets/a/b@refs%2Fconvert%2Fparquet/d",
    ],
)
def test_addresses_are_told_as_they_are_given(text):
    assert str(parse_address(text)) == text
    assert str(parse_address(text.replace("%2F", "/"))) == text
