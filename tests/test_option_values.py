"""Whatever value an option is given, in a program, a file, a spec or a flag, it is taken or refused in a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import cyclopts
import pytest

from command_line import flags, parsed
from pretask.attacks import ATTACKS
from pretask.config.files import build_config, section_keys, to_full
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.errors import PretaskError
from pretask.evaluation import EVALUATORS
from pretask.losses import LOSSES
from pretask.methods import GATES, METHODS
from pretask.methods.episodic import HEADS
from pretask.options import (
    Option,
)
from pretask.pretexts import PRETEXTS
from pretask.pretraining import BASES, OBJECTIVES
from pretask.registry import Registry

REGISTRIES: tuple[Registry[Any], ...] = (
    METHODS, LOSSES, GATES, ATTACKS, OBJECTIVES, BASES, HEADS, PRETEXTS, EVALUATORS,
)  # fmt: skip
KINDS = (RunConfig, PretrainConfig, FewShotConfig)

EXTREMES: tuple[Any, ...] = (
    *(math.nan, math.inf, -math.inf, -1, 0, 1, 2, 0.5, -0.0, 1e308, 5e-324, 10**400, -(10**400), 10**5000),
    *("", " ", "x" * 100_000, "\0", "a\nb", "a:b=c", ",", "=", "nan", "1e999", "1e-4", "१", "none", "yes"),
    *(None, True, False, [], [[]], {}, {"a": 1}, [math.nan], [1, "x"], [None], [10**400], [10**5000], (1, 2)),
    *(object(), b"1", 1 + 2j),
)
TEXTS: tuple[str, ...] = (
    *(value for value in EXTREMES if isinstance(value, str)),
    *(
        "inf",
        "-inf",
        "-1",
        "0",
        "1",
        "0.5",
        "1e308",
        "1" + "0" * 400,
        "1" + "0" * 5000,
        "true",
        "1,2",
        "1,,2",
    ),
    *("nan,1", "\x1b[2J"),
)
TEXTS_OF_FLAGS = ("nan", "x" * 10_000, "-1", "1" + "0" * 400, "", "0.5", "a:b=c")


def outcome(case: str, act: Callable[..., Any], *arguments: Any) -> Any:
    """Return what comes of a call, or the fault, checked to be a line; anything else that is raised fails the test."""
    try:
        return act(*arguments)
    except PretaskError as fault:
        assert "\n" not in str(fault) and "\x1b" not in str(fault), case
        assert 0 < len(str(fault)) < 5000, (case, len(str(fault)))
        return fault
    except Exception as error:
        raise AssertionError(f"{case} ended in {type(error).__name__}: {str(error)[:200]}") from error


def named(value: Any) -> str:
    """A value in a few signs, also one that Python does not write."""
    try:
        return f"{type(value).__name__} {repr(value)[:30]}"
    except ValueError:
        return f"{type(value).__name__} of thousands of digits"


def fits(value: Any, option: Option) -> bool:
    """Whether a value is of an option's type, finite, and in its range."""
    hints = get_args(option.hint) if type(None) in get_args(option.hint) else (option.hint,)
    if value is None:
        return option.open or type(None) in hints
    hint = next(hint for hint in hints if hint is not type(None))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return isinstance(value, tuple) and all(
            fits(v, Option("", inner, None, "", option.range)) for v in value
        )
    if hint in (int, float) and (type(value) is not hint or not math.isfinite(float(value))):
        return False
    in_range = option.range is None or not isinstance(value, int | float) or option.range.allows(value)
    return isinstance(value, hint) and in_range


def declared() -> Iterator[tuple[str, Option]]:
    """Every option of every part and every key of every section."""
    for registry in REGISTRIES:
        for name in registry.names():
            for option in registry.options(name).values():
                yield f"{registry.kind} {name}", option
    for kind in KINDS:
        for option in section_keys(kind).values():
            yield kind.__name__, option


def test_any_value_of_any_option_is_taken_or_refused_in_a_line() -> None:
    refused = taken = 0
    for of, option in declared():
        for value in EXTREMES:
            case = f"{of}: {option.name} = {named(value)}"
            found = outcome(case, option.read, value, " in a file")
            if isinstance(found, PretaskError):
                refused += 1
                continue
            taken += 1
            assert fits(found, option), f"{case} was taken for {named(found)}"
            if not isinstance(found, str) and found != () and option.hint != tuple[str, ...]:
                assert option.parse(option.written(found), of) == found, case
    assert refused > 2000 and taken > 500


def test_any_text_of_any_option_is_taken_or_refused_in_a_line() -> None:
    refused = taken = 0
    for of, option in declared():
        for text in TEXTS:
            case = f"{of}: {option.name}={text[:30]!r}"
            found = outcome(case, option.parse, text, of)
            if isinstance(found, PretaskError):
                refused += 1
                continue
            taken += 1
            assert fits(found, option), f"{case} was taken for {named(found)}"
    assert refused > 2000 and taken > 500


def chosen_parts(kind: type[Any]) -> Iterator[dict[str, Any]]:
    """Every part that a configuration may choose, as the keys that choose it, with its parts."""
    for key, option in section_keys(kind).items():
        if option.named is None or option.several:
            continue
        registry = option.named.find()
        for name in registry.names():
            yield {key: name}
            for inner_key, inner in registry.options(name).items():
                if inner.named is not None and not inner.several:
                    yield from ({key: name, inner_key: other} for other in inner.named.find().names())


@pytest.mark.parametrize("kind", KINDS)
def test_any_value_in_a_configuration_is_taken_or_refused_in_a_line(kind: type[Any]) -> None:
    tried = set()
    for choice in ({}, *chosen_parts(kind)):
        known = to_full(build_config(kind, choice))
        for key in known.keys() - tried - choice.keys():
            tried.add(key)
            for value in EXTREMES:
                case = f"{choice} {key} = {named(value)}"
                found = outcome(case, build_config, kind, {**choice, key: value})
                if not isinstance(found, PretaskError):
                    outcome(case, to_full, found)
    assert tried >= {*section_keys(kind)} - {"method", "head", "loss", "adversarial"}


@pytest.mark.parametrize(
    ("command", "kind", "choice"),
    [
        ("train", RunConfig, {"method": "fixmatch+sla-sd", "loss": "ldam", "adversarial": "pgd10"}),
        ("train", RunConfig, {"method": "gssl", "gate": "normalised", "loss": "focal"}),
        ("pretrain", PretrainConfig, {"method": "trimix", "base": "simclr"}),
        ("few-shot", FewShotConfig, {"head": "ridge"}),
    ],
)
def test_any_text_of_any_flag_is_taken_or_refused(
    command: str, kind: type[Any], choice: dict[str, str]
) -> None:
    """Keys that training with labels has by itself are tried once, and with one text."""
    keys = set(to_full(build_config(kind, choice))) - set(choice)
    for key in sorted(keys if "gate" in choice else keys - set(section_keys(RunConfig))):
        for text in TEXTS_OF_FLAGS[: 1 if key in section_keys(RunConfig) else None]:
            tokens = [command, *flags(choice), f"--{key.replace('_', '-')}={text}"]
            outcome(tokens[-1][:60], build_from_flags, tokens, kind)


def build_from_flags(tokens: list[str], kind: type[Any]) -> Any:
    try:
        return parsed(tokens).arguments["settings"].build(kind)
    except cyclopts.CycloptsError as error:
        assert str(error)
        return error
