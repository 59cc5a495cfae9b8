"""Slow literal references, one pixel at a time."""

from __future__ import annotations

import torch
from torch import Tensor

ORDERS_6 = ["RGB", "RBG", "GRB", "GBR", "BRG", "BGR"]
ORDERS_3 = ["RGB", "GBR", "BRG"]


def turn_once(image: Tensor) -> Tensor:
    """Counter-clockwise by a quarter turn: what is at the right edge comes to the top."""
    C, H, W = image.shape
    out = torch.empty(C, W, H, dtype=image.dtype)
    for i in range(W):
        for j in range(H):
            out[:, i, j] = image[:, j, W - 1 - i]
    return out


def literal_rotation(image: Tensor, quarter_turns: int) -> Tensor:
    for _ in range(quarter_turns):
        image = turn_once(image)
    return image


def literal_color(image: Tensor, order: str) -> Tensor:
    return torch.stack([image["RGB".index(letter)] for letter in order])


def literal_mirror(image: Tensor, axis: str) -> Tensor:
    rows, columns = list(range(image.shape[1])), list(range(image.shape[2]))
    if axis == "horizontal":
        columns.reverse()
    else:
        rows.reverse()
    return torch.stack([torch.stack([image[:, i, j] for j in columns], 1) for i in rows], 1)
