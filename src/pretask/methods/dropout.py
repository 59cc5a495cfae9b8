"""Dropout as the control of masks with labels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from pretask.errors import PretaskError
from pretask.methods.base import MethodParts
from pretask.methods.baseline import Baseline
from pretask.methods.factory import METHODS
from pretask.pretexts.discard import Discard


@METHODS.register("ssfe-dropout")
class FeatureDropout(Baseline):
    """Ordinary dropout where `ssfe` masks, at the rate at which it masks."""

    default_pretexts: ClassVar[tuple[str, ...]] = ("discard",)

    def __init__(self, parts: MethodParts) -> None:
        super().__init__(parts)
        self.encoder = parts.encoder(self.pretexts_of(parts))
        pretext = self.encoder.feature_pretext
        if not isinstance(pretext, Discard):
            raise PretaskError(
                f"ssfe-dropout drops at the rate of one mask, {self.encoder.name} is none: type --pretexts discard"
            )
        self.rate = pretext.dropped_share

    def features(self, images: Tensor) -> Tensor:
        """Return the features [B, D] of a step's images, a share of them dropped."""
        return self.encoder.changed(images, lambda x: F.dropout(x, self.rate, self.training))

    def summary(self) -> str:
        """Return the rate."""
        return f"dropout of {100 * self.rate:g} %"
