"""Names for parts: each part registers itself in its own file, and the registry finds the files."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from pretask.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to parts of one kind.

    Every module of `package` is imported at the first look-up, so a new file with a `register` line is all
    that a new part needs. Other distributions add parts through an entry point group: the package's name, unless
    several kinds share the package.
    """

    def __init__(self, kind: str, package: str, group: str | None = None) -> None:
        self.kind = kind
        self.package, self.group = package, group or package
        self._parts: dict[str, T] = {}
        self._discovered = False

    def register(self, *names: str) -> Callable[[T], T]:
        """Return a decorator that files a part under each of `names`.

        Raises:
            ValueError: a name is taken by another part.
        """

        def file(part: T) -> T:
            for name in names:
                if self._parts.get(name, part) is not part:
                    raise ValueError(f"the {self.kind} '{name}' is registered twice")
                self._parts[name] = part
            return part

        return file

    def get(self, name: str) -> T:
        """Return the part called `name`; an unknown name is a `PretaskError` that tells the nearest one."""
        self._discover()
        if name not in self._parts:
            raise unknown_name(self.kind, name, self._parts)
        return self._parts[name]

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        self._discover()
        return sorted(self._parts)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            point.load()
