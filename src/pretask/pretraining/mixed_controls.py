"""The relatives of TriMix, as its controls: i-Mix and Un-Mix."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.mixing import Alpha, PerSample, draw_shares
from pretask.pretraining.objective import FORWARD_SHARE, OBJECTIVES, BaseSpec, Objective, ObjectiveParts
from pretask.pretraining.trimix import weighted_extraction


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
