"""Configurations as flat mappings and YAML files: one set of keys, the same as the flags."""

from __future__ import annotations

import re
import reprlib
import types
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from pretask.config.episodes import ONLY_HERE as ONLY_IN_EPISODES
from pretask.config.episodes import FewShotConfig
from pretask.config.pretraining import ONLY_HERE as ONLY_IN_PRETRAINING
from pretask.config.pretraining import PretrainConfig
from pretask.config.sections import DECIDED_AT_START, MAY_DIFFER_ON_RESUME, RunConfig
from pretask.errors import PretaskError, unknown_name
from pretask.io.documents import read_yaml
from pretask.io.files import write_atomically
from pretask.io.redaction import without_known_secrets

_OPEN: tuple[Any, ...] = ("auto", (), None)
_COUNTED = re.compile(r"# (\d+) settings\n")
_shown = reprlib.Repr()  # a value in an error: bounded
_shown.maxstring = _shown.maxother = 80

AnyConfig = RunConfig | PretrainConfig | FewShotConfig
C = TypeVar("C", bound=AnyConfig)

KIND = "kind"
"""The first key of a file that a run writes; any file may have it."""
_KINDS: dict[str, type[AnyConfig]] = {made.kind: made for made in (RunConfig, PretrainConfig, FewShotConfig)}


def _sections(kind: type[Any]) -> dict[str, type]:
    hints = get_type_hints(kind)
    return {section.name: hints[section.name] for section in fields(kind)}


def config_types(kind: type[Any] = RunConfig) -> dict[str, Any]:
    """Return the type of every key of a kind of configuration."""
    return {
        key: hint for section in _sections(kind).values() for key, hint in get_type_hints(section).items()
    }


def to_flat(config: AnyConfig) -> dict[str, Any]:
    """Return the configuration as one mapping of keys to values."""
    return {key: value for section in asdict(config).values() for key, value in section.items()}


def from_flat(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Build the configuration of a run from a flat mapping; see `build_config`."""
    return build_config(RunConfig, values, source)


def build_config(kind: type[C], values: Mapping[str, Any], source: str = "the configuration") -> C:
    """Build a configuration from a flat mapping; keys not given keep their defaults.

    Args:
        kind: of a run, of a pre-training, or of a training by episodes.
        values: keys as in the flags, with underscores; "kind" may be among them.
        source: where the mapping comes from, for errors.

    Raises:
        PretaskError: an unknown key (the nearest is named), a value of the wrong type, or another kind.
    """
    given = _kind_named(values, source)
    if given not in (None, kind):
        raise PretaskError(
            f"{source} is for a {given.words}, and a {kind.words} is asked for: type `pretask {given.command}`"
        )
    known = config_types(kind)
    checked = {}
    for key, value in values.items():
        if key == KIND:
            continue
        if key not in known:
            raise unknown_name(f"key in {source}", str(key), known)
        checked[key] = _checked(key, value, known[key], source)
    sections = {
        name: section(**{f.name: checked[f.name] for f in fields(section) if f.name in checked})
        for name, section in _sections(kind).items()
    }
    return kind(**sections)


def override(config: C, **values: Any) -> C:
    """Return a copy with some keys replaced; see `build_config` for errors."""
    return build_config(type(config), {**to_flat(config), **values})


def load_config(path: Path | str, **overrides: Any) -> RunConfig:
    """Read a configuration file, flags of which may be overridden.

    Raises:
        PretaskError: see `read_yaml` and `from_flat`.
    """
    return from_flat({**read_yaml(Path(path)), **overrides}, source=str(path))


def load_any_config(path: Path | str, **overrides: Any) -> AnyConfig:
    """Read the configuration that a run of any kind wrote.

    Raises:
        PretaskError: as `load_config`; or a part of the file is missing.
    """
    values = read_yaml(Path(path))
    text = Path(path).read_text(encoding="utf-8")
    told = _COUNTED.match(text)
    if told is not None and (int(told[1]) != len(values) or not text.endswith("\n")):
        raise PretaskError(
            f"{path} has {len(values)} of {told[1]} settings: it was cut short or edited; restore it, or train again "
            "with another --name"
        )
    return any_config({**values, **overrides}, source=str(path))


def any_config(values: Mapping[str, Any], source: str = "the configuration") -> AnyConfig:
    """Build the configuration that a flat mapping is of, by its kind, or else its keys; see `build_config`."""
    by_keys = {ONLY_IN_PRETRAINING: PretrainConfig, ONLY_IN_EPISODES: FewShotConfig}
    found = next((made for key, made in by_keys.items() if key in values), RunConfig)
    return build_config(_kind_named(values, source) or found, values, source)


def _kind_named(values: Mapping[str, Any], source: str) -> type[AnyConfig] | None:
    """Return the kind of configuration that a mapping says it is.

    Raises:
        PretaskError: there is no such kind.
    """
    if KIND not in values:
        return None
    name = str(values[KIND])
    if name not in _KINDS:
        raise unknown_name(f"{KIND} in {source}", name, _KINDS)
    return _KINDS[name]


def save_config(config: AnyConfig, path: Path) -> None:
    """Write kind and every key as YAML, and how many there are: a part of such a file is YAML too."""
    flat = {KIND: config.kind, **to_flat(config)}
    content = {key: list(v) if isinstance(v, tuple) else v for key, v in flat.items()}
    text = f"# {len(content)} settings\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def merge_for_resume(asked: C, saved: AnyConfig, folder: Path) -> C:
    """Return what a resumed run uses: the saved values, or the asked ones where they cannot change the result.

    A key of `DECIDED_AT_START` that is left open takes what the first start decided.

    Raises:
        PretaskError: the configurations differ; the first differing key is named with both values.
    """
    if saved.kind != asked.kind:
        raise PretaskError(
            f"{folder} holds a {saved.words}, and a {asked.words} is asked for: give another --name"
        )
    old, new = to_flat(saved), to_flat(asked)
    for key, value in new.items():
        if key in MAY_DIFFER_ON_RESUME:
            old[key] = value
        elif value != old[key] and not (key in DECIDED_AT_START and value in _OPEN):
            raise PretaskError(
                f"{folder} was started with {key} = {old[key]}, now {key} = {value} is asked: "
                "give the same settings to resume, or another --name for a new run"
            )
    return build_config(type(asked), old)


def _checked(key: str, value: Any, hint: Any, source: str) -> Any:
    """Return the value as the key's type, or raise the error that tells what is allowed."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        accepted, converted = _convert(value, option)
        if accepted:
            _refuse_secret(key, converted, source)
            return converted
    allowed = " or ".join(_describe(option) for option in options)
    raise PretaskError(f"{key} = {_shown.repr(value)} in {source} is not allowed: give {allowed}")


def _refuse_secret(key: str, value: Any, source: str) -> None:
    """Settings are written down, passwords and tokens are not."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and without_known_secrets(text) != text:
            raise PretaskError(
                f"{key} in {source} holds a password or token, and settings are written down: "
                "take it out; for the Hugging Face Hub type `hf auth login`"
            )


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


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {_describe(get_args(hint)[0])}"
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        type(None): "nothing",
    }
    return names.get(hint, str(hint))
