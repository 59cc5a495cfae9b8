"""Where images lie: in arrays, encoded in memory, in files, in blocks of a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pretask.data.fitting import Framing, as_evaluated
from pretask.data.images.decode import Header, decode, read_file, read_header


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which images of a store are read together, as those of one row group of a parquet file are.

    Attributes:
        of: the block of each image, int64 [n].
        at_once: blocks that a reader keeps at hand.
    """

    of: Tensor
    at_once: int

    def subset(self, chosen: Tensor) -> Blocks:
        """Return the blocks of the images at `chosen`, int64."""
        return Blocks(self.of[chosen], self.at_once)

    def shuffled(self, steps: int, batch_size: int, draws: torch.Generator) -> Tensor:
        """Return an order of the images that needs few blocks at a time: int64 [steps, batch_size].

        Blocks come in random order, and so do the images of each. That sequence is cut into as many lanes as blocks
        can be at hand, and every batch takes the next images of every lane: it is mixed from that many places, and
        a rank, which gets a part of each batch, reads a part of the lanes.
        """
        rows = torch.randperm(len(self.of), generator=draws)
        found, of = self.of.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        place = torch.randperm(len(found), generator=draws)
        order = rows[place[of[rows]].argsort(stable=True)][: steps * batch_size]
        lanes = min(self.at_once, batch_size, len(found))
        ends = [batch_size * lane // lanes for lane in range(lanes + 1)]
        shares = [end - start for start, end in pairwise(ends)]
        parts = torch.split(order, [steps * share for share in shares])
        return torch.cat([part.view(steps, share) for part, share in zip(parts, shares, strict=True)], dim=1)


Indices = Sequence[int] | Tensor


class ImageStore(ABC):
    """Images by index: uint8 tensors [C, H, W] in 0..255, each of its own height and width."""

    channels: int | None
    """1 or 3 where every image is delivered with that many channels, None where each has its own."""
    blocks: Blocks | None = None
    """Which images are read together; None where each is read by itself."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, i: int) -> Tensor:
        """Return image `i`, decoded: uint8 [C, H, W].

        Raises:
            UnreadableImageError: the image cannot be decoded; the message names it.
        """

    def brought(self, i: int, framing: Framing) -> Tensor:
        """Return image `i` brought to a size by a framing: uint8 [C, H, W]; raises as `read` does."""
        return framing.tensor(self.read(i))

    def fitted(self, i: int, size: tuple[int, int]) -> Tensor:
        """Return image `i` as it is evaluated and predicted: uint8 [C, H, W] of `size`; raises as `read` does."""
        return self.brought(i, as_evaluated(size))

    @abstractmethod
    def header(self, i: int) -> Header:
        """Return size and channels of image `i` as stored, without decoding its pixels.

        Raises:
            UnreadableImageError: the header cannot be read; the message names the image.
        """

    @abstractmethod
    def describe(self, i: int) -> str:
        """Return what a person would call image `i`: "cats/001.jpg", "image 17"."""

    @abstractmethod
    def subset(self, indices: Indices) -> ImageStore:
        """Return the images at `indices`, in that order; pixels and bytes are shared, not copied."""

    @abstractmethod
    def converted(self, channels: int | None) -> ImageStore:
        """Return the same images delivered with 1 or 3 channels; None leaves them as they are."""


class ArrayImages(ImageStore):
    """Images of one size, decoded and in memory.

    Args:
        storage: uint8 [n, C, H, W].
        rows: which rows of `storage` these images are, in order; None for all of them.
        names: what each row of `storage` is called; None for "image 17".

    Raises:
        ValueError: `storage` is of another type or shape.
    """

    def __init__(
        self, storage: Tensor, rows: Tensor | None = None, names: Sequence[str] | None = None
    ) -> None:
        if storage.dtype != torch.uint8 or storage.ndim != 4:
            raise ValueError(f"need uint8 [n, C, H, W], got {storage.dtype} {tuple(storage.shape)}")
        self.storage = storage
        self.rows = rows
        self.names = names
        self.channels = storage.shape[1]

    @property
    def array(self) -> Tensor:
        """The images as one tensor, uint8 [n, C, H, W]; a subset is gathered anew at each call."""
        return self.storage if self.rows is None else self.storage[self.rows]

    def __len__(self) -> int:
        return len(self.storage) if self.rows is None else len(self.rows)

    def read(self, i: int) -> Tensor:
        image: Tensor = self.storage[self._row(i)]
        return image

    def header(self, i: int) -> Header:
        channels, height, width = self.storage.shape[1:]
        return Header(height, width, channels)

    def describe(self, i: int) -> str:
        row = self._row(i)
        return f"image {row}" if self.names is None else self.names[row]

    def subset(self, indices: Indices) -> ArrayImages:
        chosen = as_index(indices)
        rows = chosen if self.rows is None else self.rows[chosen]
        return ArrayImages(self.storage, rows, self.names)

    def converted(self, channels: int | None) -> ArrayImages:
        if channels in (None, self.channels):
            return self
        storage = _grey(self.storage) if channels == 1 else self.storage.expand(-1, 3, -1, -1)
        return ArrayImages(storage, self.rows, self.names)

    def _row(self, i: int) -> int:
        return i if self.rows is None else int(self.rows[i])


class FileImages(ImageStore):
    """Image files, decoded when read.

    Args:
        folder: what the paths are relative to.
        paths: relative paths, with forward slashes.
        channels: 1 or 3, to convert each image; None to leave it as it is.
    """

    def __init__(self, folder: Path, paths: Sequence[str], channels: int | None = None) -> None:
        self.folder = folder
        self.paths = tuple(paths)
        self.channels = channels

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, i: int) -> Path:
        """Return the file of image `i`."""
        return self.folder / self.paths[i]

    def read(self, i: int) -> Tensor:
        return self._decode(i)

    def brought(self, i: int, framing: Framing) -> Tensor:
        return self._decode(i, framing)

    def _decode(self, i: int, framing: Framing | None = None) -> Tensor:
        path = self.path(i)
        return decode(read_file(path, str(path)), self.channels, str(path), framing)

    def header(self, i: int) -> Header:
        return read_header(self.path(i), str(self.path(i)))

    def describe(self, i: int) -> str:
        return self.paths[i]

    def subset(self, indices: Indices) -> FileImages:
        paths = [self.paths[i] for i in as_index(indices).tolist()]
        return FileImages(self.folder, paths, self.channels)

    def converted(self, channels: int | None) -> FileImages:
        return self if channels is None else FileImages(self.folder, self.paths, channels)


class ByteItems(Protocol):
    """Encoded images by index, wherever they are kept."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> bytes: ...


class EncodedImages(ImageStore):
    """Images as the bytes of JPEG, PNG, … files, decoded when read.

    Args:
        items: the bytes, one item per image.
        channels: 1 or 3, to convert each image; None to leave it as it is.
        rows: which items these images are, in order; None for all of them.
        origin: where the bytes come from, for `describe`: "train.parquet".
        blocks: which of these images are read together.
    """

    def __init__(
        self,
        items: ByteItems,
        channels: int | None = None,
        rows: Tensor | None = None,
        origin: str = "",
        blocks: Blocks | None = None,
    ) -> None:
        self.items = items
        self.channels = channels
        self.rows = rows
        self.origin = origin
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.items) if self.rows is None else len(self.rows)

    def encoded(self, i: int) -> bytes:
        """Return the bytes of image `i` as they are stored."""
        return self.items[self._row(i)]

    def read(self, i: int) -> Tensor:
        return decode(self.encoded(i), self.channels, self.describe(i))

    def brought(self, i: int, framing: Framing) -> Tensor:
        return decode(self.encoded(i), self.channels, self.describe(i), framing)

    def header(self, i: int) -> Header:
        return read_header(self.encoded(i), self.describe(i))

    def describe(self, i: int) -> str:
        row = f"image {self._row(i)}"
        return f"{row} of {self.origin}" if self.origin else row

    def subset(self, indices: Indices) -> EncodedImages:
        chosen = as_index(indices)
        rows = chosen if self.rows is None else self.rows[chosen]
        blocks = None if self.blocks is None else self.blocks.subset(chosen)
        return EncodedImages(self.items, self.channels, rows, self.origin, blocks)

    def converted(self, channels: int | None) -> EncodedImages:
        if channels is None:
            return self
        return EncodedImages(self.items, channels, self.rows, self.origin, self.blocks)

    def _row(self, i: int) -> int:
        return i if self.rows is None else int(self.rows[i])


class JoinedImages(ImageStore):
    """The images of several stores, one after the other.

    Args:
        parts: the stores, at least one.
        chosen: which images of all these are, in order, int64; None for all of them.
    """

    def __init__(self, parts: tuple[ImageStore, ...], chosen: Tensor | None = None) -> None:
        self.parts = parts
        self.chosen = chosen
        self.starts = [0, *accumulate(len(part) for part in parts)]
        counts = {part.channels for part in parts}
        self.channels = counts.pop() if len(counts) == 1 else None

    def __len__(self) -> int:
        return self.starts[-1] if self.chosen is None else len(self.chosen)

    def read(self, i: int) -> Tensor:
        part, row = self._place(i)
        return part.read(row)

    def brought(self, i: int, framing: Framing) -> Tensor:
        part, row = self._place(i)
        return part.brought(row, framing)

    def header(self, i: int) -> Header:
        part, row = self._place(i)
        return part.header(row)

    def describe(self, i: int) -> str:
        part, row = self._place(i)
        return part.describe(row)

    def subset(self, indices: Indices) -> JoinedImages:
        chosen = as_index(indices)
        return JoinedImages(self.parts, chosen if self.chosen is None else self.chosen[chosen])

    def converted(self, channels: int | None) -> JoinedImages:
        return JoinedImages(tuple(part.converted(channels) for part in self.parts), self.chosen)

    def _place(self, i: int) -> tuple[ImageStore, int]:
        """Return the store of image `i`, and which of its images it is."""
        row = i if self.chosen is None else int(self.chosen[i])
        part = bisect_right(self.starts, row) - 1
        return self.parts[part], row - self.starts[part]


def as_index(indices: Indices) -> Tensor:
    return torch.as_tensor(indices, dtype=torch.int64)


def _grey(images: Tensor) -> Tensor:
    """Map uint8 [n, 3, H, W] to its luma (ITU-R 601-2, rounded as Pillow does), [n, 1, H, W]."""
    grey = torch.empty_like(images[:, :1], memory_format=torch.contiguous_format)
    for chunk, out in zip(torch.split(images, 256), torch.split(grey, 256), strict=True):
        red, green, blue = chunk.int().unbind(1)
        out[:, 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return grey
