"""Methods by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pretask.registry import Registry

if TYPE_CHECKING:
    from pretask.methods.base import Method, MethodParts


class MethodRegistry(Registry["type[Method]"]):
    """Methods by name; "WRAPPER+NAME" is the method NAME with something added to it."""

    def __init__(self) -> None:
        super().__init__("method", "pretask.methods")
        self._wrappers: dict[str, Callable[[type[Method]], type[Method]]] = {}

    def wrap(self, prefix: str, wrapper: Callable[[type[Method]], type[Method]]) -> None:
        """Make "prefix+NAME" a name for what `wrapper` makes of each method."""
        self._wrappers[prefix] = wrapper

    def get(self, name: str) -> type[Method]:
        """Return the method called `name`; see `Registry.get`."""
        prefix, plus, inner = name.partition("+")
        self._discover()  # finds wrappers too
        if plus and prefix in self._wrappers:
            return self._wrappers[prefix](super().get(inner))
        return super().get(name)


METHODS = MethodRegistry()
"""Classes of methods, by name."""


def create_method(name: str, parts: MethodParts) -> Method:
    """Return the method called `name`, made of `parts`.

    Raises:
        PretaskError: an unknown name, or parts that do not suit the method.
    """
    return METHODS.get(name)(parts)
