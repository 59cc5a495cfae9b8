"""Methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretask.registry import Registry

if TYPE_CHECKING:
    from pretask.methods.base import Method, MethodParts

METHODS: Registry[type[Method]] = Registry("method", "pretask.methods")


def create_method(name: str, parts: MethodParts) -> Method:
    """Return the method called `name`, made of `parts`.

    Raises:
        PretaskError: an unknown name, or parts that do not suit the method.
    """
    return METHODS.get(name)(parts)
