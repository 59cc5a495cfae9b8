"""Good and bad files of images: pictures, arrays and tables."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from mutations import cut_short, damaged, deep_json, odd
from pretask.data import load_data
from pretask.data.images.decode import FORMATS
from pretask.data.images.stores import EncodedImages, FileImages

Spoil = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: of the kind.
        files: good ones, by their names.
        read: does what is done with such a file, which lies in a folder of its own; returns what was found in it.
        spoil: makes a bad file of a good one.
        whole_only: whether nothing but the good content may come of a file that can be read: all of it or an error.
        parts: files the first bytes of which are good files too.
    """

    name: str
    files: dict[str, bytes]
    read: Callable[[Path], Any]
    spoil: tuple[Spoil, ...]
    whole_only: bool = False
    parts: tuple[str, ...] = ()


def pictures() -> Kind:
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    colours = Image.fromarray(noise)
    grey, palette, deep = (
        colours.convert("L"),
        colours.convert("P"),
        Image.fromarray(noise[..., 0] * np.uint16(257)),
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "rgb.png": (colours, {}),
        "grey.png": (grey, {}),
        "alpha.png": (colours.convert("RGBA"), {"exif": turned}),
        "palette.png": (palette, {"transparency": b"\0\x80"}),
        "deep.png": (deep, {}),
        "rgb.jpg": (colours, {"exif": turned}),
        "grey.jpg": (grey, {}),
        "cmyk.jpg": (colours.convert("CMYK"), {}),
        "progressive.jpg": (colours, {"progressive": True}),
        "a.gif": (palette, {}),
        "moving.gif": (palette, {"save_all": True, "append_images": [palette.rotate(90)]}),
        "a.bmp": (colours, {}),
        "palette.bmp": (palette, {}),
        "a.webp": (colours, {}),
        "exact.webp": (colours, {"lossless": True}),
        "a.tif": (colours, {}),
        "deflated.tif": (colours, {"compression": "tiff_deflate"}),
        "lzw.tif": (grey, {"compression": "tiff_lzw"}),
        "deep.tif": (deep, {}),
        "a.ppm": (colours, {}),
        "a.pgm": (grey, {}),
    }
    if "AVIF" in FORMATS:
        made["a.avif"] = (colours, {"exif": turned})
    if "HEIF" in FORMATS:
        import_module("pillow_heif").register_heif_opener()
        made["a.heic"] = (colours, {"exif": turned})
    files = {}
    for name, (image, options) in made.items():
        stream = io.BytesIO()
        image.save(stream, Image.registered_extensions()[Path(name).suffix], **options)
        files[name] = stream.getvalue()

    def read(path: Path) -> Any:
        found = [FileImages(path.parent, [path.name], channels).read(0) for channels in (None, 1, 3)]
        stored = EncodedImages([path.read_bytes()])
        header = FileImages(path.parent, [path.name]).header(0)
        assert stored.header(0) == header
        assert found[0].shape == (header.channels, header.height, header.width)
        stored.fitted(0, (5, 5))
        return found[0]

    return Kind("pictures", files, read, (damaged, damaged, cut_short))


def npz() -> Kind:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (12, 8, 8), dtype=np.uint8), np.arange(12) % 3
    floats = {"train_images": images.astype(np.float32) / 255, "train_labels": labels[:, None]}
    files = {
        "a.npz": _saved(train_images=images, train_labels=labels),
        "floats.npz": _saved(**floats, test_images=floats["train_images"], test_labels=labels),
        "packed.npz": _saved(np.savez_compressed, train_images=images, train_labels=labels),
    }
    return Kind("npz", files, _load, (damaged, damaged, cut_short, _odd_arrays, _odd_header))


def _saved(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def _odd_arrays(content: bytes, draw: Random) -> bytes:
    with np.load(io.BytesIO(content)) as found:
        arrays = dict(found)
    labels = arrays["train_labels"].ravel()
    choices = {
        "train_images": (
            arrays["train_images"].astype(">f8"), arrays["train_images"][..., None, None], arrays["train_images"][:0],
            np.zeros((12, 0, 8), np.uint8), np.array(["x"] * 12), np.array([None] * 12), np.float64(3),
            arrays["train_images"].astype(complex), np.full((12, 8, 8), np.nan), np.zeros(12, "M8[s]"),
            np.zeros((12, 8, 8), np.longdouble), np.zeros(12, [("a", "u1")]), np.zeros((12, 8, 8), np.uint64),
            np.zeros((12, 8, 8, 3), bool), np.zeros((3, 2, 1, 3), np.uint8), b"raw",
        ),
        "train_labels": (
            labels + 10**15, labels - 1, labels.astype(np.uint64) + 2**63, labels / 2, labels[:5], labels[:0],
            np.int64(1), np.array([b"\xff"] * 12), np.array(["a", "b\0", ""] * 4), np.array([{}] * 12),
            np.full(12, np.nan),
            np.zeros((12, 2), int), np.zeros(12, int), np.array(["a", 1, None] * 4), labels.astype("M8[D]"),
        ),
    }  # fmt: skip
    key = draw.choice(list(choices))
    arrays[key] = draw.choice(choices[key])
    if draw.random() < 0.2:
        arrays[draw.choice(("val_images", "test_labels", "", "a/b"))] = arrays.pop(key)
    return _saved(**arrays)


def _odd_header(content: bytes, draw: Random) -> bytes:
    """Change the text before an array's bytes, or how its entry is packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as found, zipfile.ZipFile(stream, "w") as archive:
        for name in found.namelist():
            old, new = draw.choice(
                (
                    (b"(12,", b"(10**9,"), (b"(12,", b"(999999999999,"), (b"(12,", b"(-12,"), (b"|u1", b"|O"),
                    (b"|u1", b"|V9"), (b"<i8", b"<M8"), (b"<f4", b"<f9"), (b"{", b"[" * 500), (b"False", b"exit()"),
                    (b"\x93NUMPY", b"pickle"), (b"\x01\x00v\x00", b"\x01\x00\xff\xff"), (b"\x01\x00", b"\x09\x00"),
                )
            )  # fmt: skip
            archive.writestr(name, found.read(name).replace(old, new, 1), draw.choice((0, 8, 12, 14)))
    return stream.getvalue().replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"
    )


def _load(path: Path) -> Any:
    data = load_data(path, image_size=8, channels=1)
    assert data.train.images.read(0).dtype == torch.uint8
    return data.train.labels.tolist()


def lists() -> Kind:
    """Lists of the files that lie with them, as every reader makes these."""
    rows = [f"{i}.png,{'abc'[i % 3]},{('train', 'test')[i % 2]}" for i in range(12)]
    files = {
        "list.csv": "\n".join(("file,label,split", *rows)).encode(),
        "marked.csv": "\r\n".join(("file;class", *(row.replace(",", ";") for row in rows))).encode(
            "utf-8-sig"
        ),
        "list.tsv": "\n".join(("path\ttarget", *(row.replace(",", "\t") for row in rows))).encode(),
    }

    def read(path: Path) -> Any:
        for i in range(12):
            Image.new("L", (8, 8)).save(path.parent / f"{i}.png")
        return _load(path)

    return Kind("lists", files, read, (damaged, damaged, cut_short, _odd_rows), parts=tuple(files))


def _odd_rows(content: bytes, draw: Random) -> bytes:
    odd_cells = (
        b"", b"\0", b'"', b"../../etc/passwd", b"/dev/zero", b"\xff\xfe", b"x" * 200_000, b"train", b"-1", b"9" * 5000,
        "\u0663".encode(), "\u00b2".encode(), b"a\rb", b'"a\nb', b".", b"~", b"nul\\",
    )  # fmt: skip
    cells = re.split(rb"([,;\t\n])", content)
    for _ in range(draw.randint(1, 3)):
        cells[draw.randrange(0, len(cells), draw.choice((1, 2)))] = draw.choice(odd_cells)
    return b"".join(cells)


def parquet() -> Kind:
    pictures = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(12)]
    cells = []
    for picture in pictures:
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        cells.append(stream.getvalue())
    structs, labels = [{"bytes": cell, "path": None} for cell in cells], [i % 3 for i in range(12)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}
    named = pa.table({"image": structs, "label": labels}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    texts = pa.table({"picture": cells, "label": [str(label) for label in labels]})
    files = {"named.parquet": _table(named), "texts.parquet": _table(texts, compression="gzip")}
    return Kind("parquet", files, _load, (damaged, damaged, cut_short, _odd_table, _odd_table_metadata))


def _table(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def _odd_table(content: bytes, draw: Random) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    odd_columns = (
        pa.array([None] * 12), pa.array([[1, 2]] * 12), pa.array([{"bytes": None, "path": "../../etc/passwd"}] * 12),
        pa.array([{"bytes": None, "path": "a\0b"}] * 12), pa.array([{"bytes": b"", "path": ""}] * 12),
        pa.array([0.5] * 12), pa.array([{"bytes": "text", "path": 3}] * 12), pa.array([b"no image"] * 12),
        pa.array([10**15] * 12),
        pa.array([None, 1] * 6), pa.array(["a", None] * 6), pa.array([True, False] * 6),
        pa.array([1, 2] * 6, pa.timestamp("s")), pa.array(["x", "y"] * 6).dictionary_encode(),
        pa.array([1, -1] * 6, pa.int8()), pa.array([2**64 - 1] * 12, pa.uint64()),
        pa.array([1, 2] * 6, pa.decimal128(5, 1)), pa.array([[b"\xff"]] * 12),
        pa.array(["a", "b"] * 6, pa.large_string()),
    )  # fmt: skip
    place = draw.randrange(2)
    kind = draw.randrange(4)
    if kind == 0:
        table = table.remove_column(place)
    elif kind == 1:
        table = table.append_column(table.schema.names[place], draw.choice(odd_columns))
    elif kind == 2:
        table = table.slice(0, draw.choice((0, 1)))
    else:
        table = table.set_column(place, table.schema.names[place], draw.choice(odd_columns))
    return _table(table)


def _odd_table_metadata(content: bytes, draw: Random) -> bytes:
    table = pq.read_table(io.BytesIO(content))
    told = json.loads((table.schema.metadata or {}).get(b"huggingface", b'{"info": {"features": {}}}'))
    text = draw.choice((json.dumps(odd(told, draw)).encode(), deep_json(draw), b"\xff", b"null"))
    return _table(table.replace_schema_metadata({"huggingface": text}))
