"""Names with options: "discard:groups=8:grouping=strided"."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pretask.errors import PretaskError, unknown_name

Value = int | float | bool | str
_WORDS = {"yes": True, "true": True, "no": False, "false": False}


def options_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return what can be set in a spec, by name: parameters typed int, float, bool, str or a Literal of strings."""
    parameters = inspect.signature(factory, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if _is_option(p)}


def default_options(factory: Callable[..., Any]) -> str:
    """Return all options at their defaults, as they are written in a spec: ":grid=2:position=no"."""
    return "".join(f":{key}={_write(option.default)}" for key, option in options_of(factory).items())


def read_options(name: str, factory: Callable[..., Any], written: Sequence[str]) -> dict[str, Value]:
    """Read the options of one spec.

    Args:
        name: of the pretext, for messages.
        factory: whose parameters are the options.
        written: "key=value" each.

    Raises:
        PretaskError: an unknown option, one given twice or without a value, a value of another type.
    """
    values: dict[str, Value] = {}
    known = options_of(factory) if written else {}
    for text in written:
        key, equals, value = text.partition("=")
        if not known:
            raise PretaskError(f"pretext '{name}' has no options: type {name} without ':{text}'")
        if key not in known:
            raise unknown_name(f"option of pretext {name}", key, known)
        if key in values:
            raise PretaskError(f"option '{key}' of pretext {name} is given twice: keep one of them")
        if not equals:
            example = f"{name}:{key}={_write(known[key].default)}"
            raise PretaskError(f"option '{key}' of pretext {name} has no value: type {example}, for example")
        values[key] = _convert(value, known[key].annotation, f"{key}={value} of pretext {name}")
    return values


def canonical_name(name: str, factory: Callable[..., Any], values: Mapping[str, Value]) -> str:
    """Return `name` with those of the factory's options that differ from their defaults, in their order.

    Args:
        name: of the pretext without options.
        factory: whose parameters are the options.
        values: by option; entries that are no options of the factory are left out.
    """
    told = [
        f"{key}={_write(values[key])}"
        for key, option in options_of(factory).items()
        if key in values and values[key] != option.default
    ]
    return ":".join([name, *told])


def chosen(option: str, value: str, allowed: Any) -> str:
    """Return a value that is among those of a Literal type, else raise a `PretaskError`."""
    if value not in get_args(allowed):
        raise unknown_name(option, value, get_args(allowed))
    return value


def _is_option(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    if get_origin(kind) is Literal:
        return all(isinstance(choice, str) for choice in get_args(kind))
    return kind in (int, float, bool, str)


def _convert(text: str, kind: Any, what: str) -> Value:
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        allowed = _listed(get_args(kind))
    elif kind is bool:
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        allowed = "yes or no"
    elif kind is str:
        return text
    else:
        try:
            number: int | float = kind(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        allowed = "a whole number" if kind is int else "a number"
    raise PretaskError(f"{what} is not allowed: give {allowed}")


def _write(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("e+", "e")  # 1e+20: "+" joins the factors of a product


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
