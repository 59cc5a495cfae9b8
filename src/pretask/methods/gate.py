"""How several pretext tasks share one weight (after G-SSL: Fuadi et al., arXiv 2301.05865).

A gate turns the features of a batch into T weights that are at least zero and sum to one, so that the total
weight of the pretexts is the same in every mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pretask.distributed.gathering import mean_over_ranks, sum_over_ranks
from pretask.errors import PretaskError
from pretask.losses.base import in_full
from pretask.methods.base import uncompiled
from pretask.options import BELOW_ONE, SHARE, above, at_least
from pretask.registry import Registry

Losses = Callable[[Tensor], Sequence[Tensor]]
"""From features [B, D] to the mean class loss and the mean loss of each task, in this order."""


class Gate(nn.Module, ABC):
    """Features of a batch → weights of T tasks.

    Args:
        num_features: D.
        num_tasks: T.
    """

    divides_by_chance: ClassVar[bool] = False
    """whether each task's loss is divided by what guessing costs, the log of its number of labels"""

    def __init__(self, num_features: int, num_tasks: int) -> None:
        super().__init__()
        self.num_tasks = num_tasks

    @abstractmethod
    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """Return the weights [T], each at least 0, sum 1, the same on every rank.

        Args:
            features: of the step's images [B, D].
            losses: for gates that ask how the tasks fare.
        """


GATES: Registry[type[Gate]] = Registry("gate", "pretask.methods", "pretask.methods.gate")
"""Classes of gates, by name."""


@GATES.register("uniform")
class UniformGate(Gate):
    """1/T each: the control."""

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return features.new_full((self.num_tasks,), 1 / self.num_tasks)


@GATES.register("fixed")
class FixedGate(Gate):
    """The weights given, scaled to sum to one.

    Args:
        num_features, num_tasks: see `Gate`.
        gate_weights: of the tasks, each at least 0.

    Raises:
        PretaskError: not one weight of at least 0 for each task, or all of them 0.
    """

    weights: Tensor

    def __init__(
        self,
        num_features: int,
        num_tasks: int,
        *,
        gate_weights: Annotated[
            tuple[float, ...], at_least(0), "of the pretext heads, scaled to sum to one"
        ] = (),
    ) -> None:
        super().__init__(num_features, num_tasks)
        if len(gate_weights) != num_tasks or sum(gate_weights) <= 0:
            raise PretaskError(
                f"a fixed gate needs {num_tasks} weights of at least 0 for its tasks, not {list(gate_weights)}: "
                f"type --gate-weights {' '.join(['1'] * num_tasks)}"
            )
        self.register_buffer("weights", torch.tensor(gate_weights) / sum(gate_weights), persistent=False)

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return self.weights.to(features.dtype)


@GATES.register("learned")
class LearnedGate(Gate):
    """One linear layer on the features, a softmax for each image, the mean over the batch (G-SSL as described).

    Args:
        num_features, num_tasks: see `Gate`.
        gate_init: of the layer's weights: "linear" is torch's own, uniform within 1/√D; "kaiming" normal with deviation
            √(2/D), as the public code for uneven classes has it, where one task then outweighs the others.
        gate_softmax: "images" averages the softmax of each image, "mean" takes the softmax of the outputs' average, as
            the same code does.
    """

    def __init__(
        self,
        num_features: int,
        num_tasks: int,
        *,
        gate_init: Annotated[
            Literal["linear", "kaiming"],
            "start of its weights",
        ] = "linear",
        gate_softmax: Annotated[
            Literal["images", "mean"], "of each of the images, or of their mean"
        ] = "images",
    ) -> None:
        super().__init__(num_features, num_tasks)
        self.linear = nn.Linear(num_features, num_tasks)
        if gate_init == "kaiming":
            nn.init.kaiming_normal_(self.linear.weight)
        self.softmax_of = gate_softmax

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        outputs = in_full(self.linear(features))
        if self.softmax_of == "mean":
            return mean_over_ranks(outputs.mean(dim=0)).softmax(dim=0)
        return mean_over_ranks(outputs.softmax(dim=1).mean(dim=0))


@GATES.register("frozen")
class FrozenGate(LearnedGate):
    """The same layer, never trained: what the public code does, where the weights enter as plain numbers.

    As it stands it is the gate of the public code for Tiny-ImageNet and for adversarial training; with `gate_init`
    kaiming and `gate_softmax` mean it is that for uneven classes.
    """

    def __init__(self, num_features: int, num_tasks: int, **options: Any) -> None:
        super().__init__(num_features, num_tasks, **options)
        self.linear.requires_grad_(False)

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        return super().forward(features.detach(), losses)


@GATES.register("normalised")
class NormalisedGate(LearnedGate):
    """Learned with a floor under each weight, each task's loss divided by the log of its labels.

    A gate trained on plain sums of losses moves to the task with the fewest labels, whose loss is the smallest.

    Args:
        num_features, num_tasks: see `Gate`.
        gate_floor: in [0, 1]; spread evenly, it keeps the entropy up.
    """

    divides_by_chance = True

    def __init__(
        self,
        num_features: int,
        num_tasks: int,
        *,
        gate_floor: Annotated[float, SHARE, "share of the weight that is spread evenly"] = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(num_features, num_tasks, **options)
        self.floor = gate_floor

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        even = self.floor / self.num_tasks
        return even + (1 - self.floor) * super().forward(features, losses)


@GATES.register("aligned")
class AlignedGate(Gate):
    """More weight to the task whose gradient points the way of the class loss's, on the shared features.

    weights = softmax(c / temperature), with c the running mean of the cosines between the gradients of each
    task's loss and of the class loss with respect to the features.

    Args:
        num_features, num_tasks: see `Gate`.
        gate_temperature: above 0.
        gate_momentum: of the running mean, in [0, 1).
    """

    cosines: Tensor

    def __init__(
        self,
        num_features: int,
        num_tasks: int,
        *,
        gate_temperature: Annotated[float, above(0), "of the softmax over cosines"] = 0.1,
        gate_momentum: Annotated[float, BELOW_ONE, "share of the running mean that a step keeps"] = 0.9,
    ) -> None:
        super().__init__(num_features, num_tasks)
        self.temperature, self.momentum = gate_temperature, gate_momentum
        self.register_buffer("cosines", torch.zeros(num_tasks))

    def forward(self, features: Tensor, losses: Losses) -> Tensor:
        """See `Gate.forward`."""
        if self.training:
            measured = gradient_cosines(features, losses).to(self.cosines.dtype)
            self.cosines.lerp_(measured, 1 - self.momentum)
        # A copy: the buffer changes in place, the weights of this step must not.
        return (self.cosines / self.temperature).softmax(dim=0).to(features.dtype)


@uncompiled
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


def create_gate(spec: str, num_features: int, num_tasks: int, **options: Any) -> Gate:
    """Return the gate that a spec names, as in "learned" or "fixed:gate_weights=1,2,3".

    Args:
        spec: name and options.
        num_features: D.
        num_tasks: T.
        options: the same beside the spec.

    Raises:
        PretaskError: an unknown name or option, or a value that is not allowed.
    """
    gate: Gate = GATES.create(spec, num_features, num_tasks, **options)
    return gate
