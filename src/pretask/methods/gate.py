"""How several pretext tasks share one weight (after G-SSL: Fuadi et al., arXiv 2301.05865).

A gate turns the features of a batch into T weights that are at least zero and sum to one, so that the total
weight of the pretexts is the same in every mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pretask.distributed.gathering import mean_over_ranks, sum_over_ranks
from pretask.errors import PretaskError, unknown_name

GateMode = Literal["frozen", "learned", "uniform", "fixed", "normalised", "aligned"]
Losses = Callable[[Tensor], Sequence[Tensor]]
"""From features [B, D] to the mean class loss and the mean loss of each task, in this order."""


@dataclass(frozen=True)
class GateOptions:
    """What a gate is made of.

    Attributes:
        mode: see `GATES`.
        weights: of the tasks, for "fixed"; scaled to sum to one.
        floor: for "normalised": this share of the weight is spread evenly, which keeps the entropy up; 0 … 1.
        temperature: for "aligned": of the softmax over cosines, above 0.
        momentum: for "aligned": share of the cosines' running mean that a step keeps; 0 … 1.
    """

    mode: GateMode = "learned"
    weights: tuple[float, ...] = ()
    floor: float = 0.3
    temperature: float = 0.1
    momentum: float = 0.9


class Gate(nn.Module, ABC):
    """Features of a batch → weights of T tasks.

    Args:
        num_features: D.
        num_tasks: T.
        options: see `GateOptions`.
    """

    divides_by_chance: ClassVar[bool] = False
    """whether each task's loss is divided by what guessing costs, the log of its number of labels"""

    def __init__(self, num_features: int, num_tasks: int, options: GateOptions) -> None:
        super().__init__()
        self.num_tasks, self.options = num_tasks, options

    @abstractmethod
    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """Return the weights [T], each at least 0, sum 1, the same on every rank.

        Args:
            features: of the step's images [B, D].
            losses: for gates that ask how the tasks fare.
        """


class UniformGate(Gate):
    """1/T each: the control."""

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return features.new_full((self.num_tasks,), 1 / self.num_tasks)


class FixedGate(Gate):
    """The weights given, scaled to sum to one.

    Raises:
        PretaskError: not one weight of at least 0 for each task, or all of them 0.
    """

    weights: Tensor

    def __init__(self, num_features: int, num_tasks: int, options: GateOptions) -> None:
        super().__init__(num_features, num_tasks, options)
        given = options.weights
        if len(given) != num_tasks or min(given) < 0 or sum(given) <= 0:
            raise PretaskError(
                f"a fixed gate needs {num_tasks} weights of at least 0 for its tasks, not {list(given)}: "
                f"type --gate-weights {' '.join(['1'] * num_tasks)}"
            )
        self.register_buffer("weights", torch.tensor(given) / sum(given), persistent=False)

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return self.weights.to(features.dtype)


class LearnedGate(Gate):
    """One linear layer on the features, a softmax for each image, the mean over the batch (G-SSL as described)."""

    def __init__(self, num_features: int, num_tasks: int, options: GateOptions) -> None:
        super().__init__(num_features, num_tasks, options)
        self.linear = nn.Linear(num_features, num_tasks)

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return mean_over_ranks(self.linear(features).softmax(dim=1).mean(dim=0))


class FrozenGate(LearnedGate):
    """The same layer, never trained: what the public code does, where the weights enter as plain numbers."""

    def __init__(self, num_features: int, num_tasks: int, options: GateOptions) -> None:
        super().__init__(num_features, num_tasks, options)
        self.linear.requires_grad_(False)

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return super().forward(features.detach(), losses)


class NormalisedGate(LearnedGate):
    """Learned with a floor under each weight, each task's loss divided by the log of its labels.

    A gate trained on plain sums of losses moves to the task with the fewest labels, whose loss is the smallest.
    """

    divides_by_chance = True

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        even = self.options.floor / self.num_tasks
        return even + (1 - self.options.floor) * super().forward(features, losses)


class AlignedGate(Gate):
    """More weight to the task whose gradient points the way of the class loss's, on the shared features.

    weights = softmax(c / temperature), with c the running mean of the cosines between the gradients of each
    task's loss and of the class loss with respect to the features.
    """

    cosines: Tensor

    def __init__(self, num_features: int, num_tasks: int, options: GateOptions) -> None:
        super().__init__(num_features, num_tasks, options)
        self.register_buffer("cosines", torch.zeros(num_tasks))

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        if self.training:
            measured = gradient_cosines(features, losses).to(self.cosines.dtype)
            self.cosines.lerp_(measured, 1 - self.options.momentum)
        # A copy: the buffer changes in place, the weights of this step must not.
        return (self.cosines / self.options.temperature).softmax(dim=0).to(features.dtype)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def gradient_cosines(features: Tensor, losses: Losses) -> Tensor:
    """Return the cosine [T] of each task's gradient on the features with the class loss's, over all ranks.

    No gradient reaches anything from here, and parameters keep theirs.
    """
    with torch.enable_grad():
        at = features.detach().requires_grad_(True)
        class_loss, *task_losses = losses(at)
        # One list of gradients over the batch is one vector; ranks hold disjoint parts of it.
        target = torch.autograd.grad(class_loss, at, retain_graph=True)[0].flatten()
        found = [torch.autograd.grad(loss, at, retain_graph=True)[0].flatten() for loss in task_losses]
    products = [torch.stack([g @ target, g @ g]) for g in found]
    sums = sum_over_ranks(torch.cat([*products, (target @ target)[None]]))
    along, own = sums[:-1:2], sums[1:-1:2]
    return along / (own * sums[-1]).sqrt().clamp_min(1e-12)


GATES: dict[str, Callable[[int, int, GateOptions], Gate]] = {
    "frozen": FrozenGate,
    "learned": LearnedGate,
    "uniform": UniformGate,
    "fixed": FixedGate,
    "normalised": NormalisedGate,
    "aligned": AlignedGate,
}
"""Makes of gates, by name: from the number of features, the number of tasks and the options."""


def create_gate(num_features: int, num_tasks: int, options: GateOptions) -> Gate:
    """Return the gate that `options.mode` names.

    Raises:
        PretaskError: an unknown mode, or options that it cannot have.
    """
    if options.mode not in GATES:
        raise unknown_name("gate", options.mode, GATES)
    return GATES[options.mode](num_features, num_tasks, options)
