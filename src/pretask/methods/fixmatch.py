"""FixMatch (Sohn et al. 2020, arXiv 2001.07685): a supervised method that learns from images without labels too."""

from __future__ import annotations

from functools import cache, partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.distributed.gathering import mean_over_ranks
from pretask.losses.base import in_full
from pretask.methods.base import METHODS, Method, MethodParts
from pretask.methods.controls import Baseline
from pretask.methods.strong_views import StrongViews
from pretask.options import SHARE, at_least

WINDOW = 128
"""Steps over which guesses are averaged, as in ReMixMatch; here with weights that decay."""


class DistributionAlignment(nn.Module):
    """Class probabilities whose mean over steps is that of the labels: p̃ ∝ p · p(y) / p̄.

    A network that sees few labels drifts towards guessing a few classes, and learns its own guesses; this takes the
    drift out of them. Berthelot et al., "ReMixMatch", ICLR 2020, arXiv 1911.09785, section 3.1.

    Args:
        class_counts: labelled images of each class, int64 [N].

    Attributes:
        average: p̄, mean probabilities of the guesses so far, [N]; the labels' frequencies at first.
    """

    frequencies: Tensor
    average: Tensor

    def __init__(self, class_counts: Tensor) -> None:
        super().__init__()
        frequencies = class_counts.float() / class_counts.sum()
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("average", frequencies.clone())

    @torch.no_grad()
    def forward(self, probabilities: Tensor) -> Tensor:
        """Take the mean of probabilities [B, N] into account, over all ranks, return them aligned."""
        self.average.lerp_(mean_over_ranks(probabilities.mean(0)).to(self.average.dtype), 1 / WINDOW)
        aligned = probabilities * (self.frequencies / self.average.clamp_min(1e-6))
        return aligned / aligned.sum(1, keepdim=True)


class FixMatch(Method):
    """A supervised method on labelled images, and confident guesses on weak views as labels of strong views.

    L + λ_u·mean over unlabelled images of 1[max p ≥ τ]·CE(strong view, argmax p), p the answer in one pass for the
    weak view, without gradient (Sohn et al., NeurIPS 2020, arXiv 2001.07685, eq. 4). Weak views are what the loader
    makes; strong ones are made from a second view of the loader's. Labelled images and both views go through the
    network together, so that they share their batch statistics, as in the authors' code. With `align_guesses` p is
    aligned to the labels' class frequencies first, an extension that the paper names (`DistributionAlignment`). Mixed
    into a method's class by `with_fixmatch`.

    Args:
        parts: see `MethodParts`.
        pseudo_threshold: τ, in [0, 1].
        align_guesses: see above.
        unlabelled_weight: λ_u, 0 or more.
        unlabelled_ratio: μ, 1 or more.
        options: of the supervised method.

    Raises:
        PretaskError: a method that has no answer in one pass.
    """

    unlabelled_views = 2
    mean_over_images: ClassVar[bool] = False  # pieces would hold other shares of unlabelled images

    def __init__(
        self,
        parts: MethodParts,
        *,
        pseudo_threshold: Annotated[
            float, SHARE, "confidence from which a guess is taken for a label"
        ] = 0.95,
        align_guesses: Annotated[bool, "to the class frequencies of the labels"] = False,
        unlabelled_weight: Annotated[float, at_least(0), "weight of unlabelled images"] = 1.0,
        unlabelled_ratio: Annotated[
            int, at_least(1), "unlabelled images in a step for each labelled one"
        ] = 7,
        **options: Any,
    ) -> None:
        super().__init__(parts, **options)
        self.plain_logits(torch.zeros(1, parts.backbone.num_features))  # refuses methods that have none
        self.threshold, self.unlabelled_weight = pseudo_threshold, unlabelled_weight
        self.unlabelled_per_image = unlabelled_ratio
        self.strong = StrongViews()
        self.align = DistributionAlignment(parts.class_counts) if align_guesses else nn.Identity()
        ratio = self.unlabelled_per_image
        self.passes_per_image = (self.passes_per_image + 2 * ratio) / (1 + ratio)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the objective of one step.

        Args:
            images: [B·(1 + 2·ratio), C, H, W] in [0, 1]: the B labelled ones, the unlabelled ones, and a second view of
                each of these in the same order. Where that is missing the first serves for it.
            labels: int64 [B·(1 + ratio)]; those of unlabelled images are not read.

        Returns:
            The parts of the supervised method on the labelled images, "loss" with the unlabelled ones,
            "unlabelled_loss", and "confident", the share of unlabelled images that were given a label.
        """
        rows = len(labels)
        count = rows // (1 + self.unlabelled_per_image)
        weak, second = images[count:rows], images[rows:]
        both = torch.cat((weak, self.strong(second if len(second) else weak)))
        own = partial(super().forward, images[:count], labels[:count])  # type: ignore[safe-super]
        parts, features = self.encoder.with_beside(both, own)
        guessed, strong = in_full(self.plain_logits(features)).chunk(2)
        confidence, pseudo_labels = self.align(guessed.detach().softmax(1)).max(1)
        sure = (confidence >= self.threshold).to(strong.dtype)
        loss = (F.cross_entropy(strong, pseudo_labels, reduction="none") * sure).mean()
        return {
            **parts,
            "loss": parts["loss"] + self.unlabelled_weight * loss,
            "unlabelled_loss": loss.detach(),
            "confident": sure.mean(),
        }

    def summary(self) -> str:
        """Return what the supervised method adds, and the terms of the guesses."""
        inner = super().summary()
        terms = f"{self.unlabelled_per_image} unlabelled images per labelled one, guesses of {self.threshold:g} count"
        if isinstance(self.align, DistributionAlignment):
            terms += ", aligned to the labels' class frequencies"
        return f"{inner}; {terms}" if inner else terms


@cache
def with_fixmatch(kind: type[Method]) -> type[Method]:
    """Return a class of methods with FixMatch mixed in."""
    first_line = (kind.__doc__ or "").partition("\n")[0]
    members = {"__doc__": f"FixMatch over: {first_line}", "__module__": __name__}
    return type(f"FixMatch{kind.__name__}", (FixMatch, kind), members)


FixMatchBaseline = METHODS.register("fixmatch")(with_fixmatch(Baseline))
"""FixMatch over plain supervised training; "fixmatch+NAME" is over another method."""
METHODS.wrap("fixmatch", with_fixmatch)
