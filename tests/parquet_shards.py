"""Parquet shards whose images tell their own number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def numbered(i: int, side: int = 64) -> bytes:
    """Return a grey picture, all of whose pixels are `i`."""
    return _picture(np.full((side, side), i, dtype=np.uint8))


def noise(i: int, side: int) -> bytes:
    """Return a picture of colours that nothing can compress, side * side * 3 bytes and a header."""
    return _picture(np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8))


def _picture(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "BMP")
    return stream.getvalue()


def write_shards(
    folder: Path, images: list[bytes], shards: int = 3, row_group_size: int = 4, split: str = "train"
) -> list[Path]:
    """Write images as even shards in the Hub's layout; the label of image i is i % 3."""
    folder.mkdir(parents=True, exist_ok=True)
    share, files = -(-len(images) // shards), []
    for shard in range(shards):
        rows = range(shard * share, min((shard + 1) * share, len(images)))
        table = pa.table(
            {
                "image": [{"bytes": images[i], "path": f"{i}.bmp"} for i in rows],
                "label": [i % 3 for i in rows],
            }
        )
        files.append(folder / f"{split}-{shard:05}-of-{shards:05}.parquet")
        pq.write_table(table, files[-1], row_group_size=row_group_size)
    return files
