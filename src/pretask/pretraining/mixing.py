"""Mixed images: by which shares, and the objectives i-Mix and Un-Mix, which are the controls of TriMix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.distributions import Beta

from pretask.distributed.gathering import from_first_rank
from pretask.errors import PretaskError
from pretask.options import above
from pretask.pretraining.embedding import Embedding, distance
from pretask.pretraining.objective import FORWARD_SHARE, OBJECTIVES, BaseSpec, Objective, ObjectiveParts

Alpha = Annotated[float, above(0), "of the Beta distribution of the shares"]
PerSample = Annotated[bool, "draw a share for each image instead of one for the batch"]


@dataclass(frozen=True)
class Shares:
    """Shares of a mixture and its partners.

    Attributes:
        share: λ in [½, 1], [B, 1].
        order: π, int64 [B]: the image that each is mixed with, among the process's own.
    """

    share: Tensor
    order: Tensor

    def blend(self, own: Tensor, other: Tensor) -> Tensor:
        """Return λ·own + (1 − λ)·other of tensors [B, …]."""
        share = self.share.view(-1, *[1] * (own.dim() - 1)).to(own.dtype)
        return share * own + (1 - share) * other

    def blend_partners(self, x: Tensor) -> Tensor:
        """Return λ·x + (1 − λ)·x[π]."""
        return self.blend(x, x[self.order])


def draw_shares(images: Tensor, alpha: float, per_sample: bool) -> Shares:
    """Draw max(λ, 1 − λ) with λ ~ Beta(α, α), one for the batch or one for each image, and a permutation.

    One for the batch is one for the union of all processes' batches: losses over the union are weighted with it. Shares
    of images and permutations are each process's own, of its own images.
    """
    count, device = len(images), images.device
    concentration = torch.tensor(alpha, device=device)
    drawn = Beta(concentration, concentration).sample((count if per_sample else 1,))
    if not per_sample:
        drawn = from_first_rank(drawn)
    share = torch.maximum(drawn, 1 - drawn).expand(count)[:, None]
    return Shares(share, torch.randperm(count, device=device))


def weighted_extraction(predicted: Tensor, targets: tuple[Tensor, Tensor], shares: Shares) -> Tensor:
    """Return the mean of λ·D(q(zv), t) + (1−λ)·D(q(zv), t[π])."""
    share = shares.share.squeeze(1).to(predicted.dtype)
    own, other = (distance(predicted, target) for target in targets)
    return (share * own + (1 - share) * other).mean()


@OBJECTIVES.register("i-mix")
class IMix(Objective):
    """i-Mix: each mixed view is drawn to the other view of both its originals, by their shares.

    ½ Σ over both directions of λ·D(q(zv1), t2) + (1−λ)·D(q(zv1), t2[π]) (Lee et al., ICLR 2021, arXiv 2010.08887,
    for BYOL), in place of the base's loss. Only for bases that predict.
    """

    def __init__(
        self,
        parts: ObjectiveParts,
        *,
        base: BaseSpec = "byol",
        mix_alpha: Alpha = 1.0,
        mix_per_sample: PerSample = False,
        **options: Any,
    ) -> None:
        super().__init__(parts, base=base, **options)
        self.alpha, self.per_sample = mix_alpha, mix_per_sample
        if not self.base.predicts:
            raise PretaskError(
                f"i-mix needs a base that predicts, which {self.base_name} does not: type --base byol or simsiam, "
                "or --method un-mix"
            )

    def passes(self) -> float:
        """Return what a step costs per image: two mixed views, and the targets of the plain ones."""
        return 2.0 + 2 * FORWARD_SHARE

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the mixed losses of both directions, halved; see `Objective.objective`."""
        one, embeddings = self._toward(first, self.target_of(second))
        other, _ = self._toward(second, self.target_of(first))
        return {"loss": (one + other) / 2}, embeddings

    def _toward(self, view: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        shares = draw_shares(view, self.alpha, self.per_sample)
        embeddings = self.base.projector(self.encoder(shares.blend_partners(view)))
        targets = (target, target[shares.order])
        return weighted_extraction(self.base.predictor(embeddings), targets, shares), embeddings


@OBJECTIVES.register("un-mix")
class UnMix(Objective):
    """Un-Mix: beside the base, its loss of mixed views with the other view of both originals, by their shares.

    L(x1, x2) + λ·L(xv, x2) + (1−λ)·L(xv, x2[π]) (Shen et al., AAAI 2022, arXiv 2003.05438, algorithm 1). Images are
    interpolated, not cut, and partners drawn at random instead of by reversing the batch; see `draw_shares` for several
    processes.
    """

    def __init__(self, parts: ObjectiveParts, *, mix_alpha: Alpha = 1.0, **options: Any) -> None:
        super().__init__(parts, **options)
        self.alpha = mix_alpha

    def passes(self) -> float:
        """Return what a step costs per image: a third view."""
        return super().passes() + 1.0

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the base's loss of plain and of mixed views; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        shares = draw_shares(first, self.alpha, per_sample=False)
        features = self.encoder(shares.blend_partners(first))
        projected = self.base.projector(features)
        virtual = Embedding(features, projected, self.base.predictor(projected), projected.detach())
        base = self.base.pair(one, other)
        share = shares.share[0, 0].to(base.dtype)
        mixed = share * self.base.toward(virtual, other)
        mixed = mixed + (1 - share) * self.base.toward(virtual, other.at(shares.order))
        parts = {"loss": base + mixed, "base_loss": base.detach(), "mixed_loss": mixed.detach()}
        return parts, one.projected
