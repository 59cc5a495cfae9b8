"""Configurations as flat mappings and YAML files: one set of keys, the same as the flags."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.errors import PretaskError, unknown_name
from pretask.io.documents import read_yaml
from pretask.io.files import write_atomically
from pretask.io.redaction import without_known_secrets
from pretask.options import DECIDED, FREE, Option, section_options
from pretask.registry import Registry
from pretask.specs import key_of, read_spec, spell_out

KIND = "kind"
"""The key of a file that says what it configures."""

_OPEN: tuple[Any, ...] = ("auto", (), None)
_COUNTED = re.compile(r"# (\d+) settings\n")
_KINDS = (RunConfig, PretrainConfig, FewShotConfig)
_SIGNS: dict[type[Any], set[str]] = {
    PretrainConfig: {"base", "strength"},
    FewShotConfig: {"head", "test_episodes"},
}  # keys that show the kind of a file that does not say it

_section_keys: dict[Any, dict[str, Option]] = {}

AnyConfig = RunConfig | PretrainConfig | FewShotConfig
C = TypeVar("C", bound=AnyConfig)


def sections(kind: type[Any]) -> dict[str, Any]:
    """Return the sections of a kind of configuration, by the name of its field."""
    return {name: hint for name, hint in get_type_hints(kind).items() if is_dataclass(hint)}


def section_keys(kind: type[Any]) -> dict[str, Option]:
    """Return the keys that every configuration of a kind has, without those of parts."""
    if kind not in _section_keys:
        declared = [section_options(section) for section in sections(kind).values()]
        _section_keys[kind] = {key: option for options in declared for key, option in options.items()}
    return _section_keys[kind]


def config_keys(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Option]:
    """Return all keys of a configuration: those of its kind, and the options of the parts that `values` choose.

    Raises:
        PretaskError: a part that does not exist, or that is not named by text.
    """
    keys = dict(section_keys(kind))
    for option in section_keys(kind).values():
        if option.named is not None and not option.several:
            chosen = option.read(values.get(option.name, option.default))
            for key, own in option.named.find().all_options(chosen, values).items():
                keys.setdefault(key, own)
    return keys


def to_flat(config: AnyConfig) -> dict[str, Any]:
    """Return the configuration as one mapping of keys to values; options of parts as far as they are given."""
    flat = {
        f.name: getattr(getattr(config, name), f.name)
        for name, section in sections(type(config)).items()
        for f in fields(section)
    }
    return {**flat, **config.options}


def to_full(config: AnyConfig) -> dict[str, Any]:
    """Return the configuration as one mapping, with the options of its parts at their defaults where not given."""
    flat = to_flat(config)
    keys = config_keys(type(config), flat)
    return {key: flat.get(key, option.default) for key, option in keys.items()}


def from_flat(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Build the configuration of a training with labels from a flat mapping; see `build_config`."""
    return build_config(RunConfig, values, source)


def build_config(
    kind: type[C],
    values: Mapping[str, Any],
    source: str = "the configuration",
    among: Iterable[Mapping[str, Any]] = (),
) -> C:
    """Build a configuration from a flat mapping; keys not given keep their defaults.

    Args:
        kind: of a training with labels, of a pre-training, or of a training by episodes.
        values: keys as in the flags, with underscores; "kind" may be among them. A part may come with options, as in
            "gssl:gate=frozen".
        source: where the mapping comes from, for errors.
        among: further choices of parts whose options may be given too: those of a study's variants.

    Raises:
        PretaskError: an unknown key (the nearest is named), an option of a part that is not chosen, a value of the
            wrong type or out of range, or another kind.
    """
    if KIND in values and (other := kind_of(values)) is not kind:
        raise PretaskError(
            f"{source} is for a {other.words}, and a {kind.words} is asked for: type `pretask {other.command}`"
        )
    values = spell_out(section_keys(kind), {key: value for key, value in values.items() if key != KIND})
    known = config_keys(kind, values)
    for choice in among:
        known = {**config_keys(kind, {**values, **choice}), **known}
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise unknown_key(kind, str(key), known, source)
        if value is None and key not in section_keys(kind) and not known[key].takes_none:
            continue  # an option of a part that is left to the part
        checked[key] = _read(known[key], value, source)
    return _assembled(kind, checked)


def override(config: C, **values: Any) -> C:
    """Return a copy with some keys replaced; options of parts that it then does not have are left out.

    Raises:
        PretaskError: see `build_config`.
    """
    kind = type(config)
    given = spell_out(section_keys(kind), values)
    flat = {**to_flat(config), **given}
    known = config_keys(kind, flat)
    if any(known[key].named and not known[key].several for key in given if key in known):
        flat = {key: value for key, value in flat.items() if key in known or key in given}
    for key, value in given.items():
        if key not in known:
            raise unknown_key(kind, key, known, "the configuration")
        flat[key] = _read(known[key], value, "the configuration")
    return _assembled(kind, flat)


def load_config(path: Path | str, **overrides: Any) -> RunConfig:
    """Read a configuration file, flags of which may be overridden.

    Raises:
        PretaskError: see `read_yaml` and `build_config`.
    """
    values = read_yaml(Path(path))
    return from_flat({**values, **overrides}, source=str(path))


def load_any_config(path: Path | str, **overrides: Any) -> AnyConfig:
    """Read the configuration that a run of any kind wrote.

    Raises:
        PretaskError: as `load_config`; or a part of the file is missing.
    """
    values = read_yaml(Path(path))
    text = Path(path).read_text(encoding="utf-8")
    counted = _COUNTED.match(text)
    if counted is not None and (int(counted[1]) != len(values) or not text.endswith("\n")):
        raise PretaskError(
            f"{path} has {len(values)} of {counted[1]} settings: it was cut short or edited; restore it, or train "
            "again with another --name"
        )
    kind = kind_of({**values, **overrides})
    return build_config(kind, {**_of_its_parts(kind, values), **overrides}, source=str(path))


def any_config(values: Mapping[str, Any], source: str = "the configuration") -> AnyConfig:
    """Build the configuration that a flat mapping is of; see `kind_of` and `build_config`."""
    kind = kind_of(values)
    return build_config(kind, values, source)


def kind_of(values: Mapping[str, Any]) -> type[AnyConfig]:
    """Return which kind of configuration a flat mapping is of: as it says, or by keys that others do not have.

    Raises:
        PretaskError: it says a kind that does not exist.
    """
    if KIND in values:
        kinds: dict[str, type[AnyConfig]] = {kind.kind: kind for kind in _KINDS}
        named = str(values[KIND])
        if named not in kinds:
            raise unknown_name("kind of configuration", named, kinds)
        return kinds[named]
    return next((kind for kind, signs in _SIGNS.items() if signs & set(values)), RunConfig)


def save_config(config: AnyConfig, path: Path) -> None:
    """Write kind and every key of the configuration as YAML, and how many: a part of such a file is YAML too."""
    content: dict[str, Any] = {KIND: config.kind}
    content |= {key: list(v) if isinstance(v, tuple) else v for key, v in to_full(config).items()}
    text = f"# {len(content)} settings\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def merge_for_resume(asked: C, saved: AnyConfig, folder: Path, free: Collection[str] = ()) -> C:
    """Return what a resumed run uses: the saved values, or the asked ones where they cannot change the result.

    A key that the first start decides takes what it decided where it is left open.

    Args:
        asked, saved: the two.
        folder: of the run.
        free: further keys that cannot change the result, as the run is made.

    Raises:
        PretaskError: the configurations differ; the first differing key is named with both values.
    """
    if not isinstance(saved, type(asked)):
        raise PretaskError(
            f"{folder} holds a {saved.words}, and a {asked.words} is asked for: give another --name"
        )
    old, new = to_full(saved), to_full(asked)
    keys = {**config_keys(type(saved), old), **config_keys(type(asked), new)}
    for key, value in new.items():
        if FREE in keys[key].marks or key in free:
            old[key] = value
        elif value != old.get(key, value) and not (DECIDED in keys[key].marks and value in _OPEN):
            raise PretaskError(
                f"{folder} was started with {key} = {old[key]}, now {key} = {value} is asked: "
                "give the same settings to resume, or another --name for a new run"
            )
    return build_config(type(asked), old)


def read_variant(kind: type[Any], text: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of "NAME:key=value": the part that a study varies, its options, and keys of how it learns.

    Args:
        kind: of the study's configurations.
        text: the variant.
        beside: settings of the whole study, which choose further parts whose options a variant may have.

    Raises:
        PretaskError: an unknown name or option, or a key that a study gives to all its runs alike.
    """
    always = section_keys(kind)
    registry = always[kind.named_by].named
    assert registry is not None
    own = {key: option for key, option in always.items() if key in _varied(kind)}

    def options_at(name: str) -> dict[str, Option]:
        return {**own, **registry.find().options(name)}

    words = {key_of(word) for word in text.split(":")[1:]}
    for key in sorted(words & set(always) - set(own)):
        raise PretaskError(
            f"'{text}' has {key} of its own, which a study gives to all alike: type {always[key].flag} for all of it"
        )
    name, values = read_spec(text, options_at, kind.named_by, beside)
    return {kind.named_by: name, **values}


def _varied(kind: type[Any]) -> set[str]:
    """Return the keys in which runs of a study may differ: how they learn, not what from, how long or whence."""
    learning = {"backbone", "optim", "method", "pretraining", "episodes"}
    found = {f.name for name, section in sections(kind).items() if name in learning for f in fields(section)}
    found -= {"epochs", "steps", "ways", "shots", "queries", "test_episodes", kind.named_by}
    return found | {"augment"} if kind is RunConfig else found


def _assembled(kind: type[C], values: Mapping[str, Any]) -> C:
    """Return a configuration of values that are checked."""
    made = {
        name: section(**{f.name: values[f.name] for f in fields(section) if f.name in values})
        for name, section in sections(kind).items()
    }
    options = {key: value for key, value in values.items() if key not in section_keys(kind)}
    return kind(**made, options=options)


def unknown_key(kind: type[Any], key: str, known: Iterable[str], source: str) -> PretaskError:
    """Return the error for a key that a configuration does not have; it names the parts that do, or the nearest key."""
    return not_chosen(kind, key, source) or unknown_name(f"key in {source}", key, known)


def not_chosen(kind: type[Any], key: str, source: str) -> PretaskError | None:
    """Return the error for an option of parts that are not chosen; None where no part has it."""
    holders = {name: registry.kind for registry, name in _all_parts(kind) if key in registry.options(name)}
    if not holders:
        return None
    names = list(holders)
    some = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return PretaskError(
        f"{key} in {source} is an option of {holders[names[0]]} {some}, which is not chosen: choose it, or leave "
        f"out --{key.replace('_', '-')}"
    )


def _of_its_parts(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run wrote, without options of parts that it does not have."""
    values = {key: value for key, value in values.items() if key != KIND}
    gate = values.get("gate")
    if isinstance(gate, list) and len(gate) == 1:
        values["gate"] = gate[0]
    known = config_keys(kind, values)
    others = {key for registry, name in _all_parts(kind) for key in registry.options(name)}
    return {key: value for key, value in values.items() if key in known or key not in others}


def _all_parts(kind: type[Any]) -> list[tuple[Registry[Any], str]]:
    """Return registry and name of every part that a configuration of a kind may choose, of parts of parts too."""
    found: list[tuple[Registry[Any], str]] = []
    named = [option.named for option in section_keys(kind).values() if option.named and not option.several]
    for choice in named:  # grows
        registry = choice.find()
        for name in registry.names():
            found.append((registry, name))
            inner = (o.named for o in registry.options(name).values() if o.named and not o.several)
            named.extend(other for other in inner if other not in named)
    return found


def _read(option: Option, value: Any, source: str) -> Any:
    """Return a value as its option's type; settings are written down, passwords and tokens are not.

    Raises:
        PretaskError: see `Option.read`; a value that holds a secret.
    """
    read = option.read(value, f" in {source}")
    for text in read if isinstance(read, tuple) else (read,):
        if isinstance(text, str) and without_known_secrets(text) != text:
            raise PretaskError(
                f"{option.name} in {source} holds a password or token, and settings are written down: "
                "take it out; for the Hugging Face Hub type `hf auth login`"
            )
    return read
