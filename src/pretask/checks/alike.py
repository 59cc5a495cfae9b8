"""How far two pictures are the same one: compressed anew, brighter, smaller, or cut at the edges.

Normalised cross-correlation (Lewis, "Fast normalized cross-correlation", 1995) of small grey versions: first of the
whole pictures, which finds for each its few likeliest partners among all; then of their details, with one slid over the
other at several scales. Details of the same picture agree wherever they come from; those of two pictures of one kind of
thing do not, though a hash of the two may well be the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

PARTNERS = 4
"""Likeliest partners that are looked at for each picture."""
ALIKE_AT_ALL, DETAILS_ALIKE, SAME = 0.55, 0.8, 0.85
"""Correlations from which two pictures are looked at closer, closer still, and are one."""
_COARSE, _ROUGH, _FINE = 16, 32, 64
_WINDOW = 9
"""Side of the mean that is taken off to leave the details."""
_ROWS, _PAIRS = 2048, 64
"""Pictures, and pairs, that are compared at once."""
_ROUGH_LENGTHS = (32, 30, 29)
_FINE_LENGTHS = (64, 62, 60, 58, 56)
_MOST_UNEVEN = 4
"""By how many pixels a cut may be longer on one axis than on the other, of 64."""


def same_pictures(small: Tensor) -> Iterator[tuple[int, int, float]]:
    """Yield pairs (i, j), i < j, of pictures that are one and the same, with the correlation of their details.

    Args:
        small: uint8 [n, 64, 64].
    """
    pairs = likely_pairs(small)
    rough = [(length, length) for length in _ROUGH_LENGTHS]
    pairs = pairs[agreement(small, pairs, _ROUGH, rough) >= DETAILS_ALIKE]
    fine = [(h, w) for h in _FINE_LENGTHS for w in _FINE_LENGTHS if abs(h - w) <= _MOST_UNEVEN]
    found = agreement(small, pairs, _FINE, fine)
    for (i, j), value in zip(pairs.tolist(), found.tolist(), strict=True):
        if value >= SAME:
            yield i, j, value


def likely_pairs(small: Tensor) -> Tensor:
    """Return pairs of pictures that look alike on the whole: int64 [p, 2], the lower number first.

    Args:
        small: uint8 [n, 64, 64].
    """
    whole = (
        torch.cat([_outline(rows) for rows in torch.split(small, _ROWS)]) if len(small) else torch.zeros(0, 1)
    )
    found = []
    for start in range(0, len(whole), _ROWS):
        rows = whole[start : start + _ROWS]
        likeness = rows @ whole.T
        mine = torch.arange(start, start + len(rows))
        likeness[torch.arange(len(rows)), mine] = -1
        values, partners = likeness.topk(min(PARTNERS, len(whole)), dim=1)
        kept = values >= ALIKE_AT_ALL
        found.append(torch.stack([mine[:, None].expand_as(partners)[kept], partners[kept]], dim=1))
    pairs = torch.cat(found) if found else torch.zeros((0, 2), dtype=torch.int64)
    return pairs.sort(dim=1).values.unique(dim=0) if len(pairs) else pairs  # type: ignore[no-untyped-call]


def _outline(small: Tensor) -> Tensor:
    """Return uint8 [n, 64, 64] at 16 pixels, without mean and of length 1: [n, 256]."""
    whole = F.avg_pool2d(small[:, None].float(), small.shape[-1] // _COARSE).flatten(1)
    return F.normalize(whole - whole.mean(dim=1, keepdim=True), dim=1)


def agreement(small: Tensor, pairs: Tensor, side: int, cuts: Sequence[tuple[int, int]]) -> Tensor:
    """Return the highest correlation of the details of each pair, over cuts of either picture: float32 [p].

    Args:
        small: uint8 [n, 64, 64].
        pairs: int64 [p, 2].
        side: at which they are compared.
        cuts: heights and widths, of `side`, that one picture may have within the other.
    """
    best = [torch.zeros(0)]
    for part in torch.split(pairs, _PAIRS):
        first, second = (small[part[:, k], None].float() for k in (0, 1))
        best.append(torch.maximum(_within(first, second, side, cuts), _within(second, first, side, cuts)))
    return torch.cat(best)


def _within(whole: Tensor, cut: Tensor, side: int, cuts: Sequence[tuple[int, int]]) -> Tensor:
    """Return the highest correlation with `cut` of any part of `whole`, both [p, 1, 64, 64], that has its size."""
    detail = _detail(whole, (side, side))
    best = torch.full((len(whole),), -1.0)
    for height, width in cuts:
        sought = F.normalize(_detail(cut, (height, width)).flatten(1), dim=1)
        parts = (
            detail.unfold(2, height, 1).unfold(3, width, 1).flatten(4).flatten(1, 3)
        )  # [p, places, pixels]
        found = torch.einsum("pak,pk->pa", parts, sought) / parts.norm(dim=2).clamp_min(1e-6)
        best = torch.maximum(best, found.amax(dim=1))
    return best


def _detail(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return what is left of pictures at a size when a mean over their surroundings is taken off."""
    fitted = picture
    if picture.shape[-2:] != size:
        fitted = F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
    around = F.avg_pool2d(fitted, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)
    return fitted - around
