"""The points that an attack may reach: a ball around each clean image, cut to pixel values of [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Randomness = torch.Generator | Sequence[torch.Generator] | None
"""A generator for the batch; or one for each image, whose draws then do not depend on the batch; or torch's own."""


class Ball(ABC):
    """The ball of one norm around each image.

    Args:
        centre: the clean images [B, …] in [0, 1].
        radius: in pixel values.
    """

    def __init__(self, centre: Tensor, radius: float) -> None:
        self.centre, self.radius = centre, radius

    def project(self, points: Tensor) -> Tensor:
        """Return the points [B, …] brought into ball and box; as the centre is in the box, cutting to the
        box does not lead out of the ball."""
        return self._into_ball(points).clamp(0, 1)

    def random_points(self, generator: Randomness = None) -> Tensor:
        """Return points [B, …], uniform in the ball, then cut to the box."""
        return self.project(self.centre + self._offsets(generator))

    @abstractmethod
    def ascent(self, gradients: Tensor) -> Tensor:
        """Return the steps [B, …] of length 1 in this norm along which the loss grows most."""

    @abstractmethod
    def _into_ball(self, points: Tensor) -> Tensor: ...

    @abstractmethod
    def _offsets(self, generator: Randomness) -> Tensor: ...


class LinfBall(Ball):
    """No pixel value changes by more than the radius."""

    def ascent(self, gradients: Tensor) -> Tensor:
        return gradients.sign()

    def _into_ball(self, points: Tensor) -> Tensor:
        return torch.clamp(points, self.centre - self.radius, self.centre + self.radius)

    def _offsets(self, generator: Randomness) -> Tensor:
        return (2 * _draw(torch.rand, self.centre, generator) - 1) * self.radius


class L2Ball(Ball):
    """The Euclidean length of an image's change is at most the radius."""

    def ascent(self, gradients: Tensor) -> Tensor:
        # A confident model's gradients are so small that their squares vanish in float32.
        largest = gradients.abs().flatten(1).amax(1)
        scaled = gradients / _per_image(largest.clamp(min=_tiny(gradients)), gradients)
        return scaled / _lengths(scaled)

    def _into_ball(self, points: Tensor) -> Tensor:
        offsets = points - self.centre
        return self.centre + offsets * (self.radius / _lengths(offsets)).clamp(max=1)

    def _offsets(self, generator: Randomness) -> Tensor:
        directions = _draw(torch.randn, self.centre, generator)
        one_each = self.centre.flatten(1)[:, :1]
        # The share of a ball's volume within radius r grows as r^d.
        radii = _draw(torch.rand, one_each, generator) ** (1 / max(1, self.centre[:1].numel()))
        return directions / _lengths(directions) * _per_image(radii, directions) * self.radius


BALLS: dict[str, type[Ball]] = {"linf": LinfBall, "l2": L2Ball}


def _lengths(vectors: Tensor) -> Tensor:
    """Euclidean lengths, broadcastable over the images; never 0, so that they can divide."""
    return _per_image(vectors.flatten(1).norm(dim=1).clamp(min=_tiny(vectors)), vectors)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (images.dim() - 1))


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny


def _draw(sample: Callable[..., Tensor], like: Tensor, generator: Randomness) -> Tensor:
    """Draw in the shape of `like`, always in contiguous order: the memory format must not change the draw."""
    if generator is None:
        return sample(like.shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, torch.Generator):
        return sample(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(
            like.device
        )
    drawn = torch.empty(like.shape, dtype=like.dtype)
    for row, own in zip(drawn, generator, strict=True):
        row.copy_(sample(like.shape[1:], generator=own, dtype=like.dtype, device=own.device))
    return drawn.to(like.device)
