"""What an evaluator is, what is printed of its findings, and the list of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pretask.options import options_of
from pretask.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from pretask.data.images.containers import ImageData

Entry = tuple[str, Any] | tuple[str, Any, str]
"""A label and its value: a text, a number, or a number and its unit, of which "%" stands for a share in [0, 1] that is
printed as per cent. An entry whose value is None is left out."""
Headline = Sequence[Entry]
"""What is printed of an evaluator's findings: (label, value) or (label, value, unit) each, see `Entry`."""


class Evaluator(Protocol):
    """Measures a classifier on a data set.

    A class with these four is an evaluator; deriving from this class gives the default headline. The constructor takes
    `split`, `batch_size` and `device`, and options declared as `pretask.options` says, which are set by
    "NAME:key=value".

    An evaluator that asks for `embed` alone has the attribute `uses_features = True`: it is given an encoder, which may
    have no class head, in place of a classifier. Its attribute `metrics` names the keys of its findings that studies
    may compare backbones by: shares in [0, 1], larger is better.

    Attributes:
        name: under which it is registered.
        protocol: name, version and every constant that changes a number.
    """

    name: str
    protocol: str

    def __call__(self, classifier: nn.Module, data: ImageData) -> dict[str, Any]:
        """Return the findings as JSON-able Python values; `None` stands for one that does not exist."""
        ...

    def headline(self, found: Mapping[str, Any]) -> Headline:
        """Return what is printed of `found`, the findings: by default every number, those within by their path."""
        return list(numbers(found))


EVALUATORS: Registry[Callable[..., Evaluator]] = Registry("evaluator", "pretask.evaluation")
"""What makes an evaluator, by name; it takes the options of `Evaluator`."""


def numbers(found: Mapping[str, Any], within: str = "") -> Iterator[Entry]:
    """Yield each number of nested findings with the keys that lead to it."""
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{within}{key} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{within}{key}", value


def headline_parts(evaluator: Evaluator, found: Mapping[str, Any]) -> list[str]:
    """Return an evaluator's headline, the default where it has none, as a text for each entry."""
    headline: Callable[[Mapping[str, Any]], Headline] | None = getattr(evaluator, "headline", None)
    entries = list(numbers(found)) if headline is None else headline(found)
    return [entry_text(entry) for entry in entries if entry[1] is not None]


def entry_text(entry: Entry) -> str:
    """Return an entry of a headline as it is printed: "top-1 93.12 %"."""
    label, value, unit = (*entry, "")[:3]
    if unit == "%":
        return f"{label} {100 * value:.2f} %"
    number = (
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    )
    return f"{label} {number} {unit}".rstrip()


def create_evaluator(
    spec: str, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Evaluator:
    """Return the evaluator that a spec asks for.

    Args:
        spec: "NAME" or "NAME:key=value:key=value".
        settings: split, batch size and device.
        defaults: options for evaluators that have them and whose spec gives no value; None leaves one out.

    Raises:
        PretaskError: an unknown name or option, or a value that is not allowed.
    """
    name, values = EVALUATORS.read(spec)
    make = EVALUATORS.get(name)
    known = {*options_of(make), *inspect.signature(make).parameters}
    given = {key: value for key, value in (defaults or {}).items() if key in known and value is not None}
    return make(**settings, **{**given, **values})


def uses_features(spec: str) -> bool:
    """Whether an evaluator needs a backbone alone, without a class head."""
    return bool(getattr(EVALUATORS.get(spec.partition(":")[0]), "uses_features", False))


def metrics_of(spec: str) -> tuple[str, ...]:
    """Return the keys of an evaluator's findings that studies may compare by."""
    return tuple(getattr(EVALUATORS.get(spec.partition(":")[0]), "metrics", ()))


def columns_of(evaluator: Evaluator, found: Mapping[str, Any], metric: str) -> dict[str, float]:
    """Return what an evaluator adds to the row of a study: the metric, and the same under other settings, by a word.

    The metric itself has no word. An evaluator with more than one column has a method `columns` of findings and metric.
    """
    columns: Callable[..., dict[str, float]] | None = getattr(evaluator, "columns", None)
    return {"": found[metric]} if columns is None else columns(found, metric)
