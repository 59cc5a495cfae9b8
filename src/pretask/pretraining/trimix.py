"""TriMix, reconstructed: virtual embeddings, the extraction of the originals from them, and self-consistency.

Bdair, Abdelhamid, Navab, Albarqouni, arXiv 2206.06023. There is no public code and only the abstract was at hand: it
says that virtual embeddings come from a linear interpolation of the data, that the originals are extracted from them,
and that a self-consistency term ties virtual to actual embeddings. The rest is put together from its relatives.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretask.errors import PretaskError
from pretask.options import at_least
from pretask.pretraining.embedding import Embedding, distance, moments
from pretask.pretraining.mixing import Alpha, PerSample, Shares, draw_shares, weighted_extraction
from pretask.pretraining.objective import OBJECTIVES, Objective, ObjectiveParts

Mixed = Literal["images", "views", "latent"]
Extraction = Literal["weighted", "unmixed"]
Consistency = Literal["squared", "cosine", "correlation"]


@OBJECTIVES.register("trimix")
class TriMix(Objective):
    """TriMix (reconstructed): beside the base, mixed images whose embeddings hold both originals.

    L = w_b·L_base + w_e·L_ext + w_s·L_sc with the virtual embedding zv = g(f(λ·x1 + (1−λ)·x1[π])),

    - extraction, across views: L_ext = λ·D(q(zv), t2) + (1−λ)·D(q(zv), t2[π]);
    - self-consistency, within a view: L_sc = mean ‖s(zv) − s(λ·t1 + (1−λ)·t1[π])‖² per feature, where s standardises
      with t1's batch statistics, and targets carry no gradient.
    """

    reconstruction = "TriMix (arXiv 2206.06023), from its abstract and its relatives"

    def __init__(
        self,
        parts: ObjectiveParts,
        *,
        mixed: Annotated[
            Mixed, "what is mixed: different images, the two views of each, or features of different images"
        ] = "images",
        mix_alpha: Alpha = 1.0,
        mix_per_sample: PerSample = False,
        extraction: Annotated[
            Extraction,
            "of the originals from a mixture: drawn to both by their shares, or taken apart by a head",
        ] = "weighted",
        consistency: Annotated[
            Consistency, "how the embedding of a mixture is compared with the mixture of embeddings"
        ] = "squared",
        base_weight: Annotated[float, at_least(0), "of the base's loss"] = 1.0,
        extraction_weight: Annotated[float, at_least(0), "of the extraction"] = 1.0,
        consistency_weight: Annotated[float, at_least(0), "of the self-consistency"] = 1.0,
        **options: Any,
    ) -> None:
        self.mixed = mixed
        super().__init__(parts, **options)
        if not any((base_weight, extraction_weight, consistency_weight)):
            raise PretaskError("trimix needs a weight above 0: type --base-weight 1, for example")
        self.alpha, self.per_sample, self.consistency = mix_alpha, mix_per_sample, consistency
        self.weights = (base_weight, extraction_weight, consistency_weight)
        size, hidden = self.base.embedding_size, self.base.hidden_size
        self.unmix = UnmixingHead(size, hidden) if extraction == "unmixed" else None

    def passes(self) -> float:
        """Return what a step costs per image: a third view, unless features are mixed."""
        return super().passes() + (0.0 if self.mixed == "latent" else 1.0)

    def collapse_cause(self) -> str:
        """Return the likely cause of a collapse; see `Objective.collapse_cause`."""
        _, _, consistency_weight = self.weights
        if self.base.predicts and not self.missing() and consistency_weight:
            return (
                f"the self-consistency passes by the predictor, without which {self.base_name} collapses: type "
                "--base simclr, or --consistency-weight 0"
            )
        return super().collapse_cause()

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the sum of the three losses; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        shares = draw_shares(first, self.alpha, self.per_sample)
        virtual = self.base.projector(self._virtual_features(first, second, one, shares))
        own, across = partners(one.target, other.target, self.mixed, shares.order)
        base = self.base.pair(one, other)
        extraction = self._extraction(virtual, across, shares)
        consistency = consistency_loss(virtual, own, shares, self.consistency)
        of_base, of_extraction, of_consistency = self.weights
        loss = of_base * base + of_extraction * extraction + of_consistency * consistency
        named = {"base_loss": base, "extraction_loss": extraction, "consistency_loss": consistency}
        return {"loss": loss, **{name: part.detach() for name, part in named.items()}}, one.projected

    def _virtual_features(self, first: Tensor, second: Tensor, one: Embedding, shares: Shares) -> Tensor:
        if self.mixed == "latent":
            return shares.blend_partners(one.features)
        images = shares.blend(first, second) if self.mixed == "views" else shares.blend_partners(first)
        features: Tensor = self.encoder(images)
        return features

    def _extraction(self, virtual: Tensor, across: tuple[Tensor, Tensor], shares: Shares) -> Tensor:
        if self.unmix is None:
            return weighted_extraction(self.base.predictor(virtual), across, shares)
        found = self.unmix(virtual, shares.share)
        return (distance(found[0], across[0]).mean() + distance(found[1], across[1]).mean()) / 2


class UnmixingHead(nn.Module):
    """A head that takes a virtual embedding apart: [zv; λ] → two embeddings.

    Args:
        size: d of embeddings.
        hidden: width of the hidden layer.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size + 1, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2 * size)
        )

    def forward(self, virtual: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding of the larger and of the smaller part, [B, d] each, of zv [B, d] and λ [B, 1]."""
        found: Tensor = self.layers(torch.cat((virtual, share.to(virtual.dtype)), dim=1))
        larger, smaller = found.chunk(2, dim=1)
        return larger, smaller


def partners(
    t1: Tensor, t2: Tensor, mixed: Mixed, order: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the targets of both parts of each mixture, within the mixed view and across views, [B, d] each.

    For mixtures of different images these are (t1, t1[π]) and (t2, t2[π]). Where the two views of one image are
    mixed, its parts are t1 and t2, and across views t2 and t1.
    """
    if mixed == "views":
        return (t1, t2), (t2, t1)
    return (t1, t1[order]), (t2, t2[order])


def consistency_loss(virtual: Tensor, targets: tuple[Tensor, Tensor], shares: Shares, kind: str) -> Tensor:
    """Return how far virtual embeddings [B, d] are from the mixture of their parts' targets, a scalar.

    "squared": mean over images and features of the squared difference, both standardised with the statistics of the
    first part's targets. "cosine": mean of D between the two. "correlation": mean over features of (1 − C_ii)², C_ii
    the correlation over the batches of all processes.
    """
    mixture = shares.blend(*targets)
    if kind == "cosine":
        return distance(virtual, mixture).mean()
    if kind == "correlation":
        return (1 - _correlation(virtual, mixture)).square().mean()
    mean, deviation = moments(targets[0])
    return F.mse_loss((virtual - mean) / deviation, (mixture - mean) / deviation)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of each column of [B, d] with its namesake, [d]."""
    (mean_a, deviation_a), (mean_b, deviation_b) = moments(a), moments(b)
    products, _ = moments((a - mean_a) / deviation_a * ((b - mean_b) / deviation_b))
    return products
