"""i-Mix, a control for TriMix: mixed views instead of plain ones."""

from __future__ import annotations

from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretraining.mixing import draw_shares
from pretask.pretraining.objective import FORWARD_SHARE, OBJECTIVES, Objective, ObjectiveParts
from pretask.pretraining.trimix import weighted_extraction


@OBJECTIVES.register("i-mix")
class IMix(Objective):
    """i-Mix: each mixed view is drawn to the other view of both its originals, by their shares.

    ½ Σ over both directions of λ·D(q(zv1), t2) + (1−λ)·D(q(zv1), t2[π]) (Lee et al., ICLR 2021, arXiv 2010.08887,
    for BYOL), in place of the base's loss. Only for bases that predict.
    """

    default_base = "byol"

    def __init__(self, parts: ObjectiveParts) -> None:
        super().__init__(parts)
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
        shares = draw_shares(view, self.parts.mix.alpha, self.parts.mix.per_sample)
        embeddings = self.base.projector(self.encoder(shares.blend_partners(view)))
        targets = (target, target[shares.order])
        return weighted_extraction(self.base.predictor(embeddings), targets, shares), embeddings
