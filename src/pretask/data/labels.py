"""Labels of any kind become int64 class indices with class names, or a fault that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretask.errors import PretaskError
from pretask.io.documents import one_line


def encode_labels(
    labels: Mapping[str, Any], where: str, class_names: Sequence[str] | None = None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return int64 labels in 0..N-1 for each split, and the N class names.

    Args:
        labels: per split, "train" first of all: integers or strings, [n] or [n, 1].
        where: what the labels belong to, for errors.
        class_names: names of classes 0..N-1 where they are known and the labels are integers.

    Raises:
        PretaskError: labels are float, negative, not below N, of one class only, or of several per image;
            a class has no train image; the splits differ in their classes.
    """
    columns = {split: _column(values, f"{split} labels of {where}") for split, values in labels.items()}
    if all(column.dtype.kind == "U" for column in columns.values()):
        return _from_strings(columns, where)
    if any(column.dtype.kind == "U" for column in columns.values()):
        raise PretaskError(f"labels of {where} are strings in one split and numbers in another: use one kind")
    return _from_integers(columns, where, class_names)


def as_array(values: Any, what: str) -> np.ndarray[Any, Any]:
    """Return a list, a tensor or an array of any kind as one array.

    Raises:
        PretaskError: they do not make one, as rows of several lengths or images of several sizes.
    """
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except Exception as fault:  # a list can hold objects of any library, each with errors of its own
        raise PretaskError(
            f"{what} do not make one array ({one_line(fault).rstrip('.')}): give numbers or strings in one shape"
        ) from None


def check_count(images: int, labels: int, where: str) -> None:
    """Raise `PretaskError` unless there are as many labels as images."""
    if images != labels:
        raise PretaskError(f"{where} has {images} images but {labels} labels: give one label for each image")


def check_same_classes(train: set[str], other: set[str], split: str, where: str) -> None:
    """Raise `PretaskError` where `split` has classes that train lacks, or lacks some of train's."""
    if train == other:
        return
    only = [
        f"only {name} has {_some(classes)}"
        for name, classes in (("train", train - other), (split, other - train))
        if classes
    ]
    raise PretaskError(
        f"train and {split} of {where} have different classes ({'; '.join(only)}): make the class names agree"
    )


def _column(values: Any, what: str) -> np.ndarray[Any, Any]:
    array = as_array(values, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise PretaskError(f"{what} have shape {array.shape}: one class per image is needed, shape (n,)")
    if array.dtype.kind == "O":
        if any(value is None for value in array):
            raise PretaskError(f"{what} have empty entries: remove those rows or label them")
        array = as_array(array.tolist(), what)
    if array.dtype.kind in "bui":
        return array.astype(np.int64)
    if array.dtype.kind in "SU":
        try:
            return array.astype(str)
        except UnicodeDecodeError:
            raise PretaskError(f"{what} are bytes that are no text: give strings, or whole numbers") from None
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise PretaskError(
            f"{what} hold NaN at row {int(np.isnan(array).argmax())}: remove or label that row"
        )
    raise PretaskError(f"{what} are {array.dtype}: whole numbers 0..N-1 or strings are needed")


def _from_strings(
    columns: Mapping[str, np.ndarray[Any, Any]], where: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    names: np.ndarray[Any, Any] = np.unique(columns["train"])
    encoded = {}
    for split, column in columns.items():
        check_same_classes(set(names.tolist()), set(np.unique(column).tolist()), split, where)
        encoded[split] = torch.from_numpy(np.searchsorted(names, column).astype(np.int64))
    _check_several(len(names), where)
    return encoded, tuple(names.tolist())


def _some(names: set[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _from_integers(
    columns: Mapping[str, np.ndarray[Any, Any]], where: str, class_names: Sequence[str] | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    highest = max(int(column.max(initial=-1)) for column in columns.values())
    if not class_names and highest >= len(columns["train"]):  # too many to be named, perhaps
        present = set(columns["train"].tolist())
        missing = next(i for i in range(highest + 1) if i not in present)
        raise _without_image(missing, str(missing), where)
    names = tuple(class_names) if class_names else tuple(str(i) for i in range(highest + 1))
    for split, column in columns.items():
        for wrong in (column < 0, column >= len(names)):
            if wrong.any():
                row = int(wrong.argmax())
                raise PretaskError(
                    f"{split} label {column[row]} of {where} (row {row}) is out of range: "
                    f"labels must be 0..{max(len(names) - 1, 0)}"
                )
    _check_several(len(np.unique(columns["train"])), where)
    counts = np.bincount(columns["train"], minlength=len(names))
    if (counts == 0).any():
        missing = int((counts == 0).argmax())
        raise _without_image(missing, names[missing], where)
    return {split: torch.from_numpy(column) for split, column in columns.items()}, names


def _without_image(number: int, name: str, where: str) -> PretaskError:
    return PretaskError(
        f"class {number} ('{name}') of {where} has no train image: "
        f"number the classes 0..N-1 without gaps, or give the labels as strings"
    )


def _check_several(num_classes: int, where: str) -> None:
    if num_classes < 2:
        raise PretaskError(f"{where} has {num_classes} class: a classifier needs images of at least two")
