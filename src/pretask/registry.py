"""Names for parts: each part registers itself in its own file, and the registry finds the files."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pretask.errors import unknown_name
from pretask.options import Option, checking, options_of
from pretask.specs import read_spec, spell_out, write_spec

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

        def file(given: T) -> T:
            part = checking(given)
            for name in names:
                if self._parts.get(name, part) is not part:
                    raise ValueError(f"the {self.kind} '{name}' is registered twice")
                self._parts[name] = part
            return part

        return file

    def get(self, name: str) -> T:
        """Return the part called `name`; an unknown name is a `PretaskError` that names the nearest one."""
        self._discover()
        if name not in self._parts:
            raise unknown_name(self.kind, name, self._parts)
        return self._parts[name]

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        self._discover()
        return sorted(self._parts)

    def options(self, name: str) -> dict[str, Option]:
        """Return the options of the part called `name`, by name."""
        return options_of(self.get(name))  # type: ignore[arg-type]

    def all_options(self, name: str, values: Mapping[str, Any]) -> dict[str, Option]:
        """Return the options of the part called `name`, with those of the parts that `values` choose for it."""
        found: dict[str, Option] = {}
        for key, option in self.options(name).items():
            found.setdefault(key, option)
            if option.named is not None and not option.several:
                chosen = option.read(values.get(key, option.default))
                inner = option.named.find().all_options(chosen, values)
                found.update({name: own for name, own in inner.items() if name not in found})
        return found

    def arguments(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the part called `name` takes of `values`; parts that it names are specs with their options."""
        taken = {}
        for key, option in self.options(name).items():
            if option.named is not None and not option.several:
                taken[key] = option.named.find().spec(values.get(key, option.default), values)
            elif key in values:
                taken[key] = values[key]
        return taken

    def spec(self, name: str, values: Mapping[str, Any]) -> str:
        """Return "NAME:key=value" for the part called `name` with those of `values` that are its options."""
        return write_spec(name, self.all_options(name, values), values)

    def read(self, spec: str, beside: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Return name and options of "NAME:key=value", with those given `beside` it; see `read_spec`.

        Raises:
            PretaskError: see `read_spec`; an option beside it that the part does not have, or a value that is not
                allowed.
        """
        others = spell_out(self.options(spec.partition(":")[0]), beside or {})
        name, values = read_spec(spec, self.options, self.kind, others)
        known = self.all_options(name, {**values, **others})
        for key, value in others.items():
            if key not in known:
                raise unknown_name(f"option of {self.kind} {name}", key, known)
            values[key] = known[key].read(value)
        return name, values

    def create(self, spec: str, *arguments: Any, **options: Any) -> Any:
        """Return the part that a spec asks for, made of `arguments`; `options` are set beside those of the spec."""
        name, values = self.read(spec, options)
        make: Any = self.get(name)
        return make(*arguments, **self.arguments(name, values))

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            point.load()
