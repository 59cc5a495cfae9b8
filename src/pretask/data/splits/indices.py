"""Which images are used for what: seeded, pure functions from labels to indices.

Every function takes int64 labels [n] and a seed, returns int64 indices in ascending order, and gives the same
indices for the same arguments on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pretask.errors import PretaskError

PROFILES = ("exponential", "step")


def hold_out(labels: Tensor, size: float, seed: int, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Part off a stratified share: each class gives in proportion, and keeps at least one image.

    Args:
        labels: int64 [n].
        size: a fraction in (0, 1), of which `int(n * size + 0.5)` images are held out, or their number (int).
        seed: chooses the images.
        groups: for each image the row of the first of its copies, int64 [n], see `copy_groups`: n and `size` then
            count the first of each, and the copies go where it goes. None where there are no copies.

    Returns:
        (kept, held) indices.

    Raises:
        PretaskError: `size` is outside its range, or leaves some class without an image.
    """
    if groups is not None:
        return _hold_out_groups(labels, size, seed, groups)
    total = number_held(size, len(labels))
    order, counts = _shuffled_by_class(labels, seed)
    quotas = _share_out(counts, total)
    held = torch.cat([rows[:quota] for rows, quota in zip(order, quotas.tolist(), strict=True)])
    kept = torch.cat([rows[quota:] for rows, quota in zip(order, quotas.tolist(), strict=True)])
    return kept.sort().values, held.sort().values


def _hold_out_groups(labels: Tensor, size: float, seed: int, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Part off images with their copies; see `hold_out`."""
    first = groups.unique()  # type: ignore[no-untyped-call]
    _, held_first = hold_out(labels[first], size, seed)
    is_held = torch.isin(groups, first[held_first])
    # A copy may have another label than the first, and be all that its class has.
    kept = torch.bincount(labels[~is_held], minlength=int(labels.max()) + 1)
    emptied = (kept == 0).nonzero()[:, 0]
    is_held &= ~torch.isin(groups, groups[torch.isin(labels, emptied)])
    return (~is_held).nonzero()[:, 0], is_held.nonzero()[:, 0]


def most_held(labels: Tensor) -> int:
    """Return how many images `hold_out` can part off at most, so that each class keeps one."""
    return int((torch.bincount(labels) - 1).clamp_min(0).sum())


def per_class(labels: Tensor, n: int, seed: int, class_names: Sequence[str] | None = None) -> Tensor:
    """Choose `n` images of each class.

    Args:
        labels: int64 [m].
        n: images of each class, 1 or more.
        seed: chooses the images.
        class_names: for messages.

    Returns:
        the chosen indices, int64, ascending.

    Raises:
        PretaskError: a class has fewer; the message names it, by `class_names` where given.
    """
    if n < 1:
        raise PretaskError(f"images per class must be at least 1, not {n}")
    order, counts = _shuffled_by_class(labels, seed)
    if (counts < n).any():
        worst = int(counts.argmin())
        name = class_names[worst] if class_names else worst
        raise PretaskError(
            f"class '{name}' has {int(counts[worst])} train images, fewer than {n}: "
            f"type --per-class {int(counts[worst])} or less"
        )
    return torch.cat([rows[:n] for rows in order]).sort().values


def label_fraction(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Choose the same fraction of every class, rounded half up, and at least one image of each.

    Args:
        labels: int64 [n].
        fraction: of each class, in (0, 1].
        seed: chooses the images.

    Returns:
        the chosen indices, int64, ascending.

    Raises:
        PretaskError: `fraction` is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise PretaskError(f"label fraction must be above 0 and at most 1, not {fraction}")
    order, _ = _shuffled_by_class(labels, seed)
    return torch.cat([rows[: max(1, int(len(rows) * fraction + 0.5))] for rows in order]).sort().values


def long_tailed(labels: Tensor, ratio: float, profile: str = "exponential", seed: int = 0) -> Tensor:
    """Choose images so that classes become uneven: class 0 keeps most, the last class `ratio` times fewer.

    Exponential: class c of C keeps `int(n_max * (1 / ratio) ** (c / (C - 1)))` images (Cao et al., NeurIPS
    2019, arXiv 1906.07413; Cui et al., CVPR 2019). Step: the first half of the classes keep n_max, the others
    `int(n_max / ratio)`. n_max is the largest class's count; a class that has fewer images than its share
    keeps all of them, and every class keeps at least one.

    Args:
        labels: int64 [n].
        ratio: largest class to smallest, 1 or more.
        profile: "exponential" or "step".
        seed: chooses the images.

    Returns:
        the chosen indices, int64, ascending.

    Raises:
        PretaskError: `ratio` is below 1, or `profile` is unknown.
    """
    order, counts = _shuffled_by_class(labels, seed)
    targets = long_tailed_counts(int(counts.max()), len(counts), ratio, profile)
    return torch.cat([rows[:n] for rows, n in zip(order, targets, strict=True)]).sort().values


def long_tailed_counts(largest: int, num_classes: int, ratio: float, profile: str) -> list[int]:
    """Return the number of images that `long_tailed` asks of each class; raises as it does."""
    if ratio < 1:
        raise PretaskError(
            f"imbalance must be at least 1 (100: the first class has 100 times more), not {ratio}"
        )
    if profile not in PROFILES:
        raise PretaskError(f"unknown imbalance profile '{profile}': use {' or '.join(PROFILES)}")
    if profile == "step":
        head = num_classes // 2
        shares = [1.0 if c < head else 1 / ratio for c in range(num_classes)]
    else:
        last = max(num_classes - 1, 1)
        shares = [(1 / ratio) ** (c / last) for c in range(num_classes)]
    return [max(1, int(largest * share)) for share in shares]


def _shuffled_by_class(labels: Tensor, seed: int) -> tuple[list[Tensor], Tensor]:
    """Return the indices of each class in an order drawn by `seed`, and the class counts."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    counts = torch.bincount(labels)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return list(torch.split(by_class, counts.tolist())), counts


def number_held(size: float, n: int) -> int:
    """Return how many of n images a share in (0, 1) or a number stands for; raises as `hold_out` does."""
    if isinstance(size, int):
        if not 0 < size < n:
            raise PretaskError(f"cannot hold out {size} of {n} images: give a number from 1 to {n - 1}")
        return size
    if not 0 < size < 1:
        raise PretaskError(f"the share to hold out must be between 0 and 1, or a whole number, not {size}")
    return max(1, int(n * size + 0.5))


def _share_out(counts: Tensor, total: int) -> Tensor:
    """Share `total` among the classes in proportion to `counts`, by largest remainder, below each count."""
    most = (counts - 1).clamp_min(0)
    if total > int(most.sum()):
        raise PretaskError(
            f"cannot hold out {total} of {int(counts.sum())} images in {len(counts)} classes: "
            f"each class must keep one; hold out {int(most.sum())} or fewer"
        )
    exact = counts.double() * total / counts.sum()
    quotas = torch.minimum(exact.floor().long(), most)
    while (missing := total - int(quotas.sum())) > 0:
        remainder = torch.where(quotas < most, exact - quotas, torch.full_like(exact, -torch.inf))
        chosen = remainder.argsort(descending=True, stable=True)[:missing]
        quotas[chosen[quotas[chosen] < most[chosen]]] += 1
    return quotas
