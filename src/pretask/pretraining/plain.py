"""A base as it was published, without mixing."""

from __future__ import annotations

from torch import Tensor

from pretask.pretraining.objective import OBJECTIVES, Objective


@OBJECTIVES.register("plain")
class Plain(Objective):
    """The base alone: two views of each image are drawn together."""

    def objective(self, first: Tensor, second: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the base's loss; see `Objective.objective`."""
        one, other = self.embed(first), self.embed(second)
        return {"loss": self.base.pair(one, other)}, one.projected
