"""The options of objectives that mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pretask.errors import PretaskError
from pretask.pretraining.mixing import Mixed


@dataclass(frozen=True)
class TriMixOptions:
    """What TriMix leaves open, as reconstructed; the defaults are the reconstruction's.

    Attributes:
        mixed: different images, the two views of each image, or features of different images before the projector.
        alpha: α of λ ~ Beta(α, α).
        per_sample: a λ for each image instead of one for the batch, which is that of all processes together.
        extraction: draw the virtual embedding to both originals by their shares, or have a head take it apart.
        consistency: how the virtual embedding is compared with the mixture of the originals'.
        base_weight, extraction_weight, consistency_weight: of the three losses, 0 or more.

    Raises:
        PretaskError: a number out of its range, or weights that are all 0.
    """

    mixed: Mixed = "images"
    alpha: float = 1.0
    per_sample: bool = False
    extraction: Literal["weighted", "unmixed"] = "weighted"
    consistency: Literal["squared", "cosine", "correlation"] = "squared"
    base_weight: float = 1.0
    extraction_weight: float = 1.0
    consistency_weight: float = 1.0

    def __post_init__(self) -> None:
        weights = (self.base_weight, self.extraction_weight, self.consistency_weight)
        if self.alpha <= 0 or min(weights) < 0 or not any(weights):
            raise PretaskError(
                f"alpha {self.alpha:g} with weights {', '.join(f'{w:g}' for w in weights)} is not possible: "
                "give an alpha above 0, and weights of 0 or more that are not all 0"
            )
