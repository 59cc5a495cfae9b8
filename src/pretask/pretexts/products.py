"""Several pretexts, one after the other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from torch import Tensor

from pretask.pretexts.base import Domain, Pretext


class Product(Pretext):
    """Every pair of a transformation of `first` and one of `second`, applied in that order.

    Labels are first-major: label = a·M₂ + b, as in the products of Lee et al. 2020 (rotation-major).

    Args:
        first: pretext with M₁ labels.
        second: pretext with M₂ labels; the product has M₁·M₂.

    Raises:
        ValueError: one works on images, the other on features; `split_domains` keeps them apart.
    """

    def __init__(self, first: Pretext, second: Pretext) -> None:
        super().__init__()
        if first.domain != second.domain:
            raise ValueError(
                f"{first.name} works on {first.domain}, {second.name} on {second.domain}: "
                "they cannot be applied at once; see split_domains"
            )
        self.first, self.second = first, second
        self.num_labels = first.num_labels * second.num_labels
        self.name = f"{first.name}+{second.name}"
        self.domain = first.domain
        self.needs_map = first.needs_map or second.needs_map
        self.has_identity = first.has_identity and second.has_identity
        self.stochastic = first.stochastic or second.stochastic
        self.hidden_by = first.hidden_by | second.hidden_by
        self.reconstruction = "; ".join(filter(None, (first.reconstruction, second.reconstruction)))

    def check(self, channels: int, height: int, width: int) -> None:
        """Refuse what either factor refuses."""
        self.first.check(channels, height, width)
        self.second.check(channels, height, width)

    def prepare(self, channels: int) -> None:
        """Prepare both factors."""
        self.first.prepare(channels)
        self.second.prepare(channels)

    def set_moments(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say to both factors how images are normalised."""
        self.first.set_moments(mean, std)
        self.second.set_moments(mean, std)

    def transform(self, x: Tensor, labels: Tensor) -> Tensor:
        """Transform by both factors; see `Pretext.transform`."""
        inner = self.second.num_labels
        return self.second.transform(self.first.transform(x, labels // inner), labels % inner)

    def views(self, x: Tensor) -> Tensor:
        """Return all M₁·M₂ versions, sample-major; see `Pretext.views`."""
        return self.second.views(self.first.views(x))

    def label_names(self) -> list[str]:
        """Return the pairs of names."""
        return [f"{a} {b}" for a in self.first.label_names() for b in self.second.label_names()]


def product(pretexts: Sequence[Pretext]) -> Pretext:
    """Return the product of one or more pretexts, the first applied first; one alone is returned as it is.

    Products among them are taken apart first: equal names always mean equal modules and state.

    Raises:
        ValueError: no pretexts, or pretexts on images together with pretexts on features.
    """
    if not pretexts:
        raise ValueError("a product needs at least 1 pretext")
    return reduce(Product, [factor for pretext in pretexts for factor in _factors(pretext)])


def split_domains(pretexts: Sequence[Pretext]) -> tuple[Pretext | None, Pretext | None]:
    """Return the product of the `pretexts` on images and that of those on features; None where there are none."""

    def of(domain: Domain) -> Pretext | None:
        chosen = [pretext for pretext in pretexts if pretext.domain == domain]
        return product(chosen) if chosen else None

    return of("image"), of("features")


def _factors(pretext: Pretext) -> list[Pretext]:
    if isinstance(pretext, Product):
        return _factors(pretext.first) + _factors(pretext.second)
    return [pretext]
