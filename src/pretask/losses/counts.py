"""The number of training images of each label, checked."""

from __future__ import annotations

import torch
from torch import Tensor

from pretask.errors import PretaskError


def positive_counts(class_counts: Tensor, purpose: str) -> Tensor:
    """Return the counts [K] as float64.

    Args:
        class_counts: training images of each of the K labels.
        purpose: who needs them, the start of the error ("LDAM").

    Raises:
        PretaskError: no counts, or a label without images.
    """
    empty = int((class_counts <= 0).sum())
    if len(class_counts) and not empty:
        return class_counts.to(torch.float64)
    found = f"{empty} of {len(class_counts)} classes have none" if empty else "none were given"
    raise PretaskError(
        f"{purpose} needs the number of training images of each class, and {found}: give each an image, "
        "or type --loss cross_entropy --class-weights none"
    )
