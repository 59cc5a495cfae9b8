"""Named tensors in one safetensors file with a checksum: written whole or not at all, verified when they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pretask.io.documents import one_line
from pretask.io.files import check_regular, write_atomically

CHECKSUM = "sha256"
"""The metadata's key of the checksum. Files without one, of other programs, are read as they are."""


class DamagedFile(Exception):
    """A file that is not what was written; the message says how that shows."""


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    keep: Path | None = None,
) -> None:
    """Write contiguous tensors on the CPU, no two of which share memory.

    Args:
        path: of the file; its folder is made.
        tensors: by name.
        metadata: more texts, by name.
        keep: where what was at `path` goes; see `write_atomically`.

    Raises:
        PretaskError: the file cannot be written.
    """
    texts = dict(metadata or {})
    texts[CHECKSUM] = checksum(tensors, texts)
    write_atomically(path, lambda temporary: save_file(dict(tensors), temporary, metadata=texts), keep)


def read_tensors(path: Path, known: Collection[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what `write_tensors` wrote: tensors on the CPU, and metadata without the checksum.

    Args:
        path: of the file.
        known: names that metadata may have beside the checksum's: one that is not known may be that, misspelt.

    Raises:
        DamagedFile: no such file, not safetensors, unknown metadata, or content that its checksum does not fit.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise DamagedFile("it is missing") from None
    except OSError as error:
        raise DamagedFile(one_line(error)) from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise DamagedFile(one_line(error)) from error
    written = metadata.pop(CHECKSUM, None)
    if unknown := metadata.keys() - set(known):
        raise DamagedFile(f"it has metadata of another kind, {min(unknown)[:80]!r}")
    if written is not None and written != checksum(tensors, metadata):
        raise DamagedFile("its content does not fit its checksum")
    return tensors, metadata


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of texts and tensors: names, types, shapes and bytes, whatever their order."""
    digest = hashlib.sha256()
    for name, text in sorted(metadata.items()):
        _add(digest, name.encode(), text.encode())
    for name, tensor in sorted(tensors.items()):
        _add(digest, f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        _add(digest, tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, *parts: bytes | memoryview) -> None:
    """Add parts, each behind its length, so that none can pass for a piece of another."""
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
