"""Stanford Dogs, as images.tar and lists.tar unpack."""

from __future__ import annotations

from pathlib import Path

from pretask.data.images.containers import RawData
from pretask.data.sources import SOURCES
from pretask.data.sources._layout import find_layout, from_entries
from pretask.errors import PretaskError

_NEEDED = ("Images", "train_list.mat", "test_list.mat")


@SOURCES.register("stanford-dogs")
def read_stanford_dogs(folder: Path, download: bool) -> RawData:
    """Stanford Dogs: 12,000 + 8,580 photos, 120 breeds, seen at 224x224; unpack images.tar and lists.tar"""
    top = find_layout("stanford-dogs", folder, _NEEDED)
    entries = {
        split: [(f"Images/{path}", path.split("/")[0]) for path in _listed(top / f"{split}_list.mat")]
        for split in ("train", "test")
    }
    # "n02085620-Chihuahua" is shown as "Chihuahua".
    names = {kind: kind.split("-", 1)[-1] for _, kind in entries["train"]}
    return from_entries("stanford-dogs", top, entries, names)


def _listed(path: Path) -> list[str]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return [str(cell[0][0]) for cell in loadmat(path)["file_list"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, MatReadError) as fault:
        raise PretaskError(f"cannot read {path} ({fault}): unpack lists.tar again") from fault
