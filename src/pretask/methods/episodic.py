"""Learning to learn from a few images: a step is an episode of new classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretask.backbones import Backbone
from pretask.errors import PretaskError
from pretask.losses.base import in_full
from pretask.methods.base import Trainee, accuracy
from pretask.methods.classifier import aggregate_joint
from pretask.methods.encoder import Encoder, Normalize
from pretask.pretexts import Pretext
from pretask.registry import Registry


def nearest_mean(support: Tensor, queries: Tensor) -> Tensor:
    """Return minus the squared distance of each query to each class mean.

    Args:
        support: [E, N, k, D].
        queries: [E, Q, D].

    Returns:
        [E, Q, N].
    """
    return -torch.cdist(queries, support.mean(2)).square()


def ridge_scores(support: Tensor, queries: Tensor, targets: Tensor, penalty: Tensor | float) -> Tensor:
    """Return q·W, W = Sᵀ(S·Sᵀ + penalty·I)⁻¹Y minimising ‖S·W − Y‖² + penalty·‖W‖²; see `nearest_mean` for shapes.

    Args:
        support, queries: as there.
        targets: [N, N], the row of Y that the images of each class have.
        penalty: above 0.
    """
    episodes, ways, shots, size = support.shape
    rows = support.reshape(episodes, ways * shots, size)
    diagonal = torch.eye(ways * shots, dtype=rows.dtype, device=rows.device) * penalty
    wanted = targets.repeat_interleave(shots, 0).expand(episodes, -1, -1)
    solved: Tensor = torch.linalg.solve(rows @ rows.mT + diagonal, wanted)
    return (queries @ rows.mT) @ solved


HEADS: Registry[type[nn.Module]] = Registry("few-shot head", "pretask.methods", "pretask.methods.episodic")
"""Classes of heads, by name: made from the number of features, they map support [E, N, k, D] and queries [E, Q, D] to
scores [E, Q, N]."""


@HEADS.register("prototypes")
class Prototypes(nn.Module):
    """The nearest class mean: −‖q − mean of S_c‖² times a learned scale (Snell et al., NeurIPS 2017, arXiv 1703.05175).

    The scale begins at 1/D, which keeps the first losses small whatever the width of the features.

    Args:
        num_features: D.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0 / num_features]))

    def forward(self, support: Tensor, queries: Tensor) -> Tensor:
        """Return scores [E, Q, N] of queries [E, Q, D] by support [E, N, k, D]."""
        return self.scale * nearest_mean(support, queries)


@HEADS.register("ridge")
class RidgeRegression(nn.Module):
    """Ridge regression of one-hot labels, solved in each episode and differentiated through.

    Scores are α·q·W + β with W = Sᵀ(S·Sᵀ + λI)⁻¹Y; α, β and λ are learned (Bertinetto et al., ICLR 2019, arXiv
    1805.08136, eq. 5 and 7).

    Args:
        num_features: D.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([10.0]))
        self.offset = nn.Parameter(torch.tensor([0.0]))
        self.log_penalty = nn.Parameter(torch.tensor([0.0]))

    def forward(self, support: Tensor, queries: Tensor) -> Tensor:
        """Return scores [E, Q, N]; see `Prototypes.forward`."""
        ways = support.shape[1]
        targets = torch.eye(ways, dtype=support.dtype, device=support.device)
        return self.scale * ridge_scores(support, queries, targets, self.log_penalty.exp()) + self.offset


class EpisodicMethod(Trainee):
    """Classifies an episode's queries by its support; with pretexts, by class *and* transformation.

    With M views of every image an N-way episode becomes one of N·M ways: class n and view m are one class n·M + m,
    whose support is view m of class n's images (Lee, Hwang, Shin, ICML 2020, arXiv 1910.05872, section 4.3). At test
    time the M views of a query, each read in its own columns, are averaged.

    Args:
        backbone: the network.
        mean, std: of the training pixels in [0, 1], per channel.
        head: "prototypes" or "ridge".
        ways, shots: of an episode; the number of queries follows from the batch.
        pretexts: of images; none is the plain method.

    Raises:
        PretaskError: an unknown head, or pretexts of features.
    """

    num_classes = 0

    def __init__(
        self,
        backbone: Backbone,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        head: str,
        ways: int,
        shots: int,
        pretexts: Sequence[Pretext] = (),
    ) -> None:
        super().__init__()
        if any(pretext.domain != "image" for pretext in pretexts):
            raise PretaskError("episodes take pretexts of images, not of features: type --pretexts rotation")
        self.encoder = Encoder(backbone, Normalize(mean, std), pretexts)
        self.head_name, self.ways, self.shots = head.partition(":")[0], ways, shots
        self.head = HEADS.create(head, backbone.num_features)
        self.views = self.encoder.num_labels
        self.passes_per_image = float(self.views)

    def summary(self) -> str:
        """Return head, ways and pretexts."""
        joint = f", joint with {self.encoder.name}: {self.ways * self.views} ways" if self.views > 1 else ""
        return f"{self.head_name}, {self.ways}-way {self.shots}-shot{joint}"

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the objective of one episode.

        Args:
            images: [ways·(shots + queries), C, H, W] in [0, 1], class by class, the support of each first.
            labels: not read; the order gives the classes.

        Returns:
            "loss", the cross-entropy of the queries over ways·M classes, and their "accuracy".
        """
        features = self.encoder.views(images)
        scores = self.scores(features.view(1, self.ways, -1, self.views, features.shape[1]))[0]
        queries = len(scores) // (self.ways * self.views)
        joint = torch.arange(self.ways * self.views, device=images.device).view(self.ways, 1, self.views)
        targets = joint.expand(-1, queries, -1).reshape(-1)
        loss = F.cross_entropy(scores, targets)
        return {"loss": loss, "accuracy": accuracy(scores.detach().argmax(1), targets)}

    def scores(self, features: Tensor) -> Tensor:
        """Return the scores of all queries' views; heads compute in float32 at least, whatever the step does.

        Args:
            features: of episodes, [E, N, k + q, M, D], the support first.

        Returns:
            [E, N·q·M, N·M], queries class by class, view by view.
        """
        episodes, ways, _, views, size = features.shape
        support = (
            features[:, :, : self.shots].transpose(2, 3).reshape(episodes, ways * views, self.shots, size)
        )
        queries = features[:, :, self.shots :].reshape(episodes, -1, size)
        # Products and solutions of a system in bf16 are no solutions, where there is a solver for it at all.
        with torch.autocast(features.device.type, enabled=False):
            scores: Tensor = self.head(in_full(support), in_full(queries))
        return scores

    def answers(self, features: Tensor, inference: str) -> Tensor:
        """Return class scores [E, N·q, N] of queries; see `scores` for the features.

        Args:
            features: [E, N, k + q, M, D].
            inference: "aggregated" averages the views, each in its own columns; "single" reads the first.
        """
        scores = self.scores(features)
        views = features.shape[3]
        by_view = scores.view(-1, views, scores.shape[2])
        chosen = by_view[:, 0, ::views] if inference == "single" else aggregate_joint(by_view)
        return chosen.view(len(features), -1, chosen.shape[1])
