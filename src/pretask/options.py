"""Options of parts: declared once where a part takes them, read from specs, flags and files.

A part (a class or a function that a registry knows) declares an option as a parameter with a default:

    def __init__(self, parts: MethodParts, *, temperature: Annotated[float, above(0), "of the softmax"] = 1.0) -> None:

Type, range, default and help are all that is needed: the flag `--temperature`, the YAML key `temperature`, the spec
`NAME:temperature=2`, the error for a bad value and the documentation follow from the declaration.
"""

from __future__ import annotations

import functools
import inspect
import math
import reprlib
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pretask.errors import PretaskError, unknown_name

T = TypeVar("T")
_WORDS = {"yes": True, "true": True, "no": False, "false": False}
_bounded = reprlib.Repr()
_bounded.maxstring = _bounded.maxother = 80


@dataclass(frozen=True)
class Range:
    """Which numbers an option may have.

    Attributes:
        allows: whether a number is one of them.
        words: the same in words, after "a number".
    """

    allows: Callable[[Any], bool] = field(compare=False)
    words: str


def at_least(low: float) -> Range:
    """Return the range from `low` on."""
    return Range(lambda value: value >= low, f"{low:g} or more")


def above(low: float) -> Range:
    """Return the range above `low`."""
    return Range(lambda value: value > low, f"above {low:g}")


def between(low: float, high: float, words: str | None = None) -> Range:
    """Return the range from `low` to `high`, both included.

    Args:
        low, high: its ends.
        words: for errors and help, after "a number"; else made of the ends.
    """
    return Range(lambda value: low <= value <= high, words or f"from {low:g} to {high:g}")


SHARE = between(0, 1)
"""The range from 0 to 1, both included."""
BELOW_ONE = Range(lambda value: 0 <= value < 1, "0 or more and below 1")
"""The range from 0 on, below 1."""


@dataclass(frozen=True)
class Named:
    """The option names a part of a registry, or several, each with options of its own.

    Attributes:
        registry: where the parts are registered, as "module:ATTRIBUTE"; it is imported at the first look-up.
    """

    registry: str

    def find(self) -> Any:
        """Return the registry, a `pretask.registry.Registry`."""
        module, _, attribute = self.registry.partition(":")
        return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class Mark:
    """What else is known of an option."""

    words: str


DECIDED = Mark("may be left open; the first start of a run decides it")
FREE = Mark("does not change what a run computes, so that a resumed run may have another")
LARGEST, SMALLEST = 1e30, 1e-30
"""What a number that is not 0 may be in size: beyond these, squares and products leave what float32 can hold."""
LARGEST_WHOLE = 2**63 - 1
OPEN: Any = None
"""The default of a `DECIDED` option that a run chooses from its data; typed and written as "auto"."""
_AUTO = "auto"


@dataclass(frozen=True)
class Decision:
    """What an option that was left open became, and why.

    Attributes:
        key: of the configuration, as "image_size".
        value: that it was given.
        reason: of what was found, in a few words without a full stop.
    """

    key: str
    value: Any
    reason: str

    def line(self) -> str:
        """Return the decision in one line: "image size 96: the images differ in size, …"."""
        return f"{self.key.replace('_', ' ')} {_write(self.value)}: {self.reason}"


@dataclass(frozen=True)
class Option:
    """One option, as declared.

    Attributes:
        name: of the parameter, of the key in files and, with dashes, of the flag.
        hint: its type, without annotations.
        default: where it is not given.
        help: what it does, in a line.
        range: of its numbers.
        named: the parts that it names.
        marks: `DECIDED`, `FREE`.
    """

    name: str
    hint: Any
    default: Any
    help: str
    range: Range | None = None
    named: Named | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def flag(self) -> str:
        """As it is typed on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def several(self) -> bool:
        """Whether it holds a list of values."""
        return get_origin(self.hint) is tuple

    @property
    def open(self) -> bool:
        """Whether a run chooses its value where none is given; "auto" is one of its values."""
        return DECIDED in self.marks and self.default is None

    @property
    def takes_none(self) -> bool:
        """Whether None is one of its values."""
        return self.open or type(None) in _choices(self.hint)

    def words(self) -> str:
        """Return what its values are: "a number above 0", "one of mean, sum"."""
        numbers = "" if self.range is None else f" {self.range.words}"
        return " or ".join(
            _describe(choice) + numbers * (choice is not type(None)) for choice in _choices(self.hint)
        )

    def read(self, value: Any, where: str = "") -> Any:
        """Return a value of a file or a program as the option's type.

        Args:
            value: as it stands there.
            where: " in settings.yaml" and the like, for the error.

        Raises:
            PretaskError: a value of another type, or a number out of range.
        """
        if self.open and value in (None, _AUTO):
            return None
        for choice in _choices(self.hint):
            accepted, converted = _convert(value, choice)
            if accepted:
                if (allowed := self.refusal(converted)) is not None:
                    raise PretaskError(
                        f"{self.name} = {short(value)} is not possible: type {self.flag} with {allowed}"
                    )
                return converted
        allowed = " or ".join(_describe(choice) for choice in _choices(self.hint))
        raise PretaskError(f"{self.name} = {_shown(value)}{where} is not allowed: give {allowed}")

    def parse(self, text: str, of: str) -> Any:
        """Return the value that a text stands for in a spec: "2", "yes", "frozen", "1,2,3".

        Args:
            text: what stands after "=".
            of: the part, as in "pretext discard", for the error.

        Raises:
            PretaskError: a text that is no value of the option, or a number out of range.
        """
        if self.open and text == _AUTO:
            return None
        allowed = _listed([_words(choice) for choice in _choices(self.hint) if choice is not type(None)])
        for choice in sorted(
            _choices(self.hint), key=lambda choice: choice is not type(None)
        ):  # "none" is no text
            accepted, value = _parse(text, choice)
            if accepted:
                refused = self.refusal(value)
                if refused is None:
                    return value
                allowed = refused
        raise PretaskError(f"{self.name}={short(text)} of {of} is not allowed: give {allowed}")

    def typed(self, text: str) -> Any:
        """Return the value that a text stands for behind the flag of an option that may stay open.

        Raises:
            PretaskError: a text that is no value of the option, or a number out of range.
        """
        if text == _AUTO:
            return None
        for choice in _choices(self.hint):
            accepted, value = _parse(text, choice)
            if accepted:
                return self.read(value)
        raise PretaskError(f"{self.flag} {short(text)} is not allowed: give {self.words()}, or {_AUTO}")

    def refusal(self, value: Any) -> str | None:
        """Return which numbers are allowed where the value holds one that is not, else None."""
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not _finite(number) or (self.range is not None and not self.range.allows(number)):
                return f"a number {self.range.words}" if self.range is not None else "a finite number"
            if isinstance(number, int) and abs(number) > LARGEST_WHOLE:
                return "a number of at most 64 bits"
            if isinstance(number, float) and not (number == 0 or SMALLEST <= abs(number) <= LARGEST):
                return f"a number between {SMALLEST:g} and {LARGEST:g} in size"
        return None

    def written(self, value: Any) -> str:
        """Return a value as a spec has it; `parse` reads it again."""
        if self.open and value is None:
            return _AUTO
        return ",".join(map(_write, value)) if isinstance(value, tuple) else _write(value)


def options_of(part: Callable[..., Any]) -> dict[str, Option]:
    """Return the options of a part by name: of a class, those of its bases too as far as it hands them on.

    A class hands options on where its constructor has `**options`; what it declares itself hides what a base declares
    under the same name, so that a subclass changes a default by declaring the option again.
    """
    if not isinstance(part, type):
        return _declared(part)
    found: dict[str, Option] = {}
    for kind in part.__mro__:
        constructor = vars(kind).get("__init__")
        if not isinstance(constructor, types.FunctionType):
            continue
        found = {**_declared(constructor), **found}
        hands_on = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(constructor).parameters.values())
        if not hands_on:
            break
    return found


def checking(part: T) -> T:
    """Return a part that refuses options out of range when it is called, however they reach it.

    Of a class the constructor is replaced, also one that it inherits; a function is wrapped.
    """
    function: Any = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]
    if not isinstance(function, types.FunctionType):
        return part
    options = options_of(cast(Callable[..., Any], part))
    if not options:
        return part
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        given = {**signature.bind_partial(*arguments, **named).arguments, **named}
        for name, option in options.items():
            if name in given and (allowed := option.refusal(given[name])) is not None:
                raise PretaskError(f"{name} = {short(given[name])} is not possible: give {allowed}")
        return function(*arguments, **named)

    if isinstance(part, type):
        part.__init__ = checked  # type: ignore[misc]
        return part
    return cast(T, checked)


def section_options(section: type[Any]) -> dict[str, Option]:
    """Return the options that the fields of a configuration's section declare, by name."""
    hints = get_type_hints(section, include_extras=True)
    made = (_option(f.name, hints[f.name], f.default) for f in fields(section))
    return {option.name: option for option in made if option is not None}


def one_of(what: str, value: str, allowed: Any) -> str:
    """Return a value that is among those of a Literal type.

    Raises:
        PretaskError: it is not; the nearest is named.
    """
    if value not in get_args(allowed):
        raise unknown_name(what, value, get_args(allowed))
    return value


def _declared(function: Callable[..., Any]) -> dict[str, Option]:
    """Return the options among a function's own parameters."""
    found: dict[str, Option] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            option = _option(name, _evaluated(parameter.annotation, function), parameter.default)
            if option is not None:
                found[name] = option
    return found


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    target = inspect.unwrap(function)
    return eval(annotation, vars(sys.modules[target.__module__]))


def _option(name: str, annotation: Any, default: Any) -> Option | None:
    if get_origin(annotation) is not Annotated:
        return None
    hint, *notes = get_args(annotation)
    texts = [note for note in notes if isinstance(note, str)]
    if not texts:
        return None
    return Option(
        name,
        hint,
        default,
        texts[-1],
        next((note for note in notes if isinstance(note, Range)), None),
        next((note for note in notes if isinstance(note, Named)), None),
        tuple(note for note in notes if isinstance(note, Mark)),
    )


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    if get_origin(hint) is Literal:
        return value in get_args(hint), value
    if get_origin(hint) is tuple:
        items = [value] if isinstance(value, str | float | int) else value
        if not isinstance(items, list | tuple):
            return False, value
        converted = [_convert(item, get_args(hint)[0]) for item in items]
        return all(ok for ok, _ in converted), tuple(item for _, item in converted)
    if hint is type(None):
        return value is None, value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _as_float(value)
    if hint is str and isinstance(value, str):
        return "\0" not in value, value  # no path can hold it
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool)), value


def _as_float(value: float | str) -> tuple[bool, Any]:
    """YAML reads `1e-4` as a string; it is a number all the same."""
    try:
        return True, float(value)
    except (ValueError, OverflowError):
        return False, value


def _parse(text: str, hint: Any) -> tuple[bool, Any]:
    """Return whether a text is a value of a type, and the value."""
    if get_origin(hint) is tuple:
        items = [_parse(item, get_args(hint)[0]) for item in text.split(",")] if text else []
        return all(ok for ok, _ in items), tuple(value for _, value in items)
    if hint is type(None):
        return text in ("none", "null"), None
    if get_origin(hint) is Literal:
        return text in get_args(hint), text
    if hint is bool:
        return text.lower() in _WORDS, _WORDS.get(text.lower())
    if hint in (int, float):
        try:
            number = hint(text)
        except ValueError:
            return False, text
        return _finite(number), number
    return bool(text), text


def _words(hint: Any) -> str:
    return _listed(get_args(hint)) if get_origin(hint) is Literal else _describe(hint)


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {_describe(get_args(hint)[0])}"
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "yes or no",
        type(None): "nothing",
    }
    return names.get(hint, str(hint))


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return str(value).replace("e+", "e")  # 1e+20: "+" joins the factors of a product


def _shown(value: Any, show: Callable[[Any], str] = _bounded.repr) -> str:
    try:
        return show(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "…"


def short(value: Any) -> str:
    """Return a value as errors show it: a long one by its beginning and its length."""
    text = _shown(value, str)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} characters)"


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
