"""Un-Mix, a control for TriMix: the base's own loss on mixed views too."""

from __future__ import annotations

from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretraining.embedding import Embedding
from pretask.pretraining.mixing import draw_shares
from pretask.pretraining.objective import OBJECTIVES, Objective, ObjectiveParts


@OBJECTIVES.register("un-mix")
class UnMix(Objective):
    """Un-Mix: beside the base, its loss of mixed views with the other view of both originals, by their shares.

    L(x1, x2) + λ·L(xv, x2) + (1−λ)·L(xv, x2[π]) (Shen et al., AAAI 2022, arXiv 2003.05438, algorithm 1). Images are
    interpolated, not cut, and partners drawn at random instead of by reversing the batch; see `draw_shares` for several
    processes.
    """

    def __init__(self, parts: ObjectiveParts) -> None:
        super().__init__(parts)
        if parts.mix.per_sample:
            raise PretaskError(
                "un-mix has one share for the batch: drop --mix-per-sample, or type --method trimix"
            )

    def passes(self) -> float:
        """Return what a step costs per image: a third view."""
        return super().passes() + 1.0

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the base's loss of plain and of mixed views; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        shares = draw_shares(first, self.parts.mix.alpha, per_sample=False)
        features = self.encoder(shares.blend_partners(first))
        projected = self.base.projector(features)
        virtual = Embedding(features, projected, self.base.predictor(projected), projected.detach())
        base = self.base.pair(one, other)
        share = shares.share[0, 0].to(base.dtype)
        mixed = share * self.base.toward(virtual, other)
        mixed = mixed + (1 - share) * self.base.toward(virtual, other.at(shares.order))
        parts = {"loss": base + mixed, "base_loss": base.detach(), "mixed_loss": mixed.detach()}
        return parts, one.projected
