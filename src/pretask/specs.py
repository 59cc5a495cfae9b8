"""Specs: a part with options in a word, as in "gssl:gate=fixed:gate_weights=1,2,3", read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pretask.errors import PretaskError, unknown_name
from pretask.options import Option, short


def read_spec(
    text: str,
    options_at: Callable[[str], Mapping[str, Option]],
    kind: str,
    beside: Mapping[str, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Read "NAME:key=value:key=value".

    A key belongs to the innermost part that has it: in "ssfe:pretexts=discard:groups=8:lr=0.1" the groups are the
    pretext's, the rate is not. Lists are parted by commas. Options of a part that is named by a single value stand
    beside it in the result, those of a list of parts stay in their specs.

    Args:
        text: the spec.
        options_at: from the name to the options that may be set.
        kind: what the spec names, for errors.
        beside: values of options that the spec may leave out; parts that they name have options of their own.

    Raises:
        PretaskError: an unknown name or option, one given twice or without a value, a value that is not allowed.
    """
    name, *written = text.split(":")
    what, known = f"{kind} {name}", options_at(name)
    if written and not known:
        raise PretaskError(
            f"{kind} '{name}' has no options: type {name} without ':{short(':'.join(written))}'"
        )
    values: dict[str, Any] = {}
    strange = _take(written, known, values, what)
    if strange:  # options of a part that is named further on, beside the spec or by default
        named = {**(beside or {}), **values}
        nested: dict[str, Option] = {}
        for option in known.values():
            if option.named is not None and not option.several:
                chosen = named.get(option.name, option.default)
                nested |= option.named.find().all_options(chosen, named)
        for word in _take(strange, nested, values, what):
            raise unknown_name(f"option of {what}", key_of(word), {**nested, **known})
    return name, values


def spell_out(known: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with options that stand beside the name of a part, as in "gssl:gate=frozen", as values too.

    Raises:
        PretaskError: see `read_spec`; or such an option is a value already, and another.
    """
    spelled = dict(values)
    for key, value in values.items():
        option = known.get(key)
        if option is None or option.named is None or option.several:
            continue
        if isinstance(value, str) and ":" in value:
            spelled[key], own = option.named.find().read(value)
            for name, written in own.items():
                if values.get(name, written) not in (None, written):
                    raise PretaskError(
                        f"{name} is given twice, as {short(written)} in {key} = {short(value)} and as "
                        f"{short(values[name])}: keep one of them"
                    )
            spelled.update(own)
    return spelled


def write_spec(name: str, options: Mapping[str, Option], values: Mapping[str, Any]) -> str:
    """Return "NAME:key=value" with those of `values` that are options and differ from the defaults."""
    changed = [
        f"{key}={option.written(values[key])}"
        for key, option in options.items()
        if key in values and values[key] != option.default
    ]
    return ":".join([name, *changed])


def default_options(options: Mapping[str, Option]) -> str:
    """Return all options at their defaults, as a spec has them: ":grid=2:position=no"."""
    return "".join(f":{key}={option.written(option.default)}" for key, option in options.items())


def key_of(word: str) -> str:
    """Return the option that a word "key=value" sets."""
    return word.partition("=")[0].replace("-", "_")


def _take(
    written: Sequence[str], known: Mapping[str, Option], values: dict[str, Any], what: str
) -> list[str]:
    """Read those of the words "key=value" that are options into `values`; return the others."""
    words, strange = list(written), []
    while words:
        word = words.pop(0)
        key, (_, equals, value) = key_of(word), word.partition("=")
        if key not in known:
            strange.append(word)
            continue
        if key in values:
            raise PretaskError(f"option '{key}' of {what} is given twice: keep one of them")
        option = known[key]
        if not equals:
            example = f"{what.rpartition(' ')[2]}:{key}={option.written(option.default)}"
            raise PretaskError(f"option '{key}' of {what} has no value: type {example}, for example")
        if option.named is None:
            values[key] = option.parse(value, what)
            continue
        registry = option.named.find()
        spec = _whole_spec(value, words, registry, option.several)
        if option.several:
            values[key] = option.parse(spec, what)
        else:
            values[key], own = registry.read(spec)
            values.update(own)
    return strange


def _whole_spec(start: str, following: list[str], registry: Any, several: bool) -> str:
    """Return a spec that begins with `start`, with those of the `following` words taken that belong to it."""
    whole = start
    while following:
        innermost = whole.rpartition(",")[2] if several else whole
        name = innermost.partition(":")[0]
        if key_of(following[0]) not in registry.options(name):
            break
        whole = f"{whole}:{following.pop(0)}"
    return whole
