"""The flags of a run: keys of the configuration, options of the parts that are chosen, files that set defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import cyclopts
from cyclopts import App, Group, Parameter

from pretask.config.sections import RunConfig
from pretask.errors import PretaskError
from pretask.options import Option

if TYPE_CHECKING:
    from pretask.config.files import AnyConfig, C

F = TypeVar("F", bound=Callable[..., None])
_TITLES = {
    "data": "Data",
    "method": "Method",
    "pretraining": "Pre-training",
    "episodes": "Episodes",
    "backbone": "Backbone",
    "optim": "Training",
    "session": "Run",
}
_INSTEAD_OF = {
    "steps": "epochs",
    "warmup_steps": "warmup_epochs",
    "checkpoint_steps": "checkpoint_seconds",
}
_MISSPELT = 0.85
"""From this similarity on to a flag of every run, a flag is taken for that one misspelt, where no part is chosen."""
# To cyclopts, classes of the standard library's modules are values, not groups of flags.
_HERE = {"__module__": __name__}
_commands: dict[str, tuple[Any, type[Any], tuple[str, ...]]] = {}


def section(title: str, order: int) -> Parameter:
    """Return what puts the fields of a dataclass into a group of flags of this title."""
    return Parameter(name="*", group=Group(title, sort_key=order))


EXECUTION = section("Execution", 20)


@dataclass(frozen=True)
class Settings:
    """What the flags of a run say. Subclasses have a field for each section, made by `_flags`."""

    config: Annotated[Path | None, Parameter(help="YAML file that sets everything; flags override it")] = None
    recipe: Annotated[
        str | None, Parameter(help="a published setting (pretask list recipes); flags override it")
    ] = None

    def build(self, kind: type[C], variants: Sequence[str] = ()) -> C:
        """Return the configuration that the flags make.

        Args:
            kind: of the configuration.
            variants: of a study, whose options may be set for all of them.

        Raises:
            PretaskError: see `build_config`.
        """
        from pretask.config.files import build_config, read_variant, section_keys
        from pretask.specs import spell_out

        given: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            part = getattr(self, field.name)
            if dataclasses.is_dataclass(part):
                values = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
                own = field.name == "options"
                given |= {key: value for key, value in values.items() if not own or value is not None}
        given = spell_out(section_keys(kind), given)
        return build_config(
            kind, given, "the flags", among=[read_variant(kind, variant, given) for variant in variants]
        )


def takes_settings(kind: type[Any], controls: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Return a decorator for commands whose parameter `settings` takes the flags of a kind of configuration.

    Args:
        kind: of configuration.
        controls: names that stand among a study's methods and are none.
    """

    def note(command: F) -> F:
        _commands[command.__name__.replace("_", "-")] = command, kind, controls
        return command

    return note


def bind_settings(tokens: Sequence[str]) -> None:
    """Give the command that `tokens` begin with the flags of the parts that they choose.

    The parts are imported where a flag may be theirs, or where help is asked for with a choice; else nothing is.

    Raises:
        PretaskError: several values of a flag that takes one, parts that do not exist, a file that is no configuration.
    """
    if not tokens or tokens[0] not in _commands:
        return
    command, kind, _ = _commands[tokens[0]]
    defaults: dict[str, Any] = command.__kwdefaults__ or {}
    from pretask.config.files import not_chosen, section_keys

    typed = _typed(tokens[1:])
    always = section_keys(kind)
    known = {*always, "config", "recipe", "help", *defaults}
    strange = {name for name in typed if name not in known and name.removeprefix("no_") not in known}
    choices = {key for key, option in always.items() if option.named is not None} | {"methods"}
    if not choices & set(typed):
        strange = {name for name in strange if not get_close_matches(name, known, cutoff=_MISSPELT)}
    asks = "help" in typed or "-h" in tokens
    options: dict[str, Option] = {}
    pretexts = ""
    if strange or "config" in typed or "recipe" in typed or (asks and choices & set(typed)):
        options, pretexts = _options_of_parts(command, kind, typed, tokens[0])
        for name in sorted({name.removeprefix("no_") for name in strange} - set(options)):
            if (fault := not_chosen(kind, name, "the flags")) is not None:
                raise fault
    _refuse_several({**always, **options}, typed)
    flags = _flags(kind, options, pretexts)
    command.__annotations__["settings"] = flags
    command.__kwdefaults__ = {**defaults, "settings": flags()}


def read_defaults(app: App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
    """Take the settings of --recipe and --config as defaults for the flags, the file above the recipe.

    Steps of a lower layer give way to epochs of a higher one, which they would otherwise overrule, and options of
    a part to the choice of another by a flag.

    Raises:
        PretaskError: an unknown recipe, or a file that is no configuration.
    """
    if not commands or commands[0] not in _commands:
        return
    typed = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    recipe, config = typed.get("--recipe"), typed.get("--config")
    layers = _file_layers(_commands[commands[0]][1], recipe, config, commands[0])
    values: dict[str, Any] = {}
    for layer in layers:
        values = {**_giving_way(values, layer), **layer}
    values = _giving_way(values, {name.lstrip("-").replace("-", "_") for name in typed})
    values.pop("kind", None)
    flags = {name.lstrip("-").replace("-", "_") for argument in arguments for name in argument.names}
    values = {key: value for key, value in values.items() if key in flags}
    known = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None}
    cyclopts.config.Dict(known, use_commands_as_keys=False)(app, commands, arguments)


def refuse_fractions(app: App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
    """Refuse 1.5 where a whole number is needed; cyclopts would round it."""
    for argument in arguments:
        for token in argument.tokens:
            if _whole(argument.hint) and "." in token.value:
                raise PretaskError(
                    f"{argument.name} {token.value} is not a whole number: type one without a point"
                )


def _whole(hint: Any) -> bool:
    """Whether a flag's only numbers are whole."""
    choices = (hint, *get_args(hint))
    return int in choices and float not in choices


def _refuse_several(known: Mapping[str, Option], typed: Mapping[str, list[str]]) -> None:
    for name, option in known.items():
        values = [value for value in typed.get(name, ()) if value != "-h"]
        if len(values) > 1 and not option.several and option.hint is not bool:
            variants = " ".join(f"NAME:{name}={value}" for value in values[:2])
            raise PretaskError(
                f"{option.flag} takes one value, not {len(values)} ({', '.join(values)}): type one of them, or compare "
                f"some by `pretask compare --methods {variants}`"
            )


def _typed(tokens: Sequence[str]) -> dict[str, list[str]]:
    """Return the flags among tokens, as keys, each with the values that follow it."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for token in tokens:
        if token.startswith("--") and len(token) > 2:
            name, equals, value = token[2:].partition("=")
            values = found.setdefault(name.replace("-", "_"), [])
            if equals:
                values.append(value)
        else:
            values.append(token)
    return found


def _options_of_parts(
    command: Any, kind: type[Any], typed: Mapping[str, list[str]], name: str
) -> tuple[dict[str, Option], str]:
    """Return the options of the parts that flags and files choose, and what the pretexts' are, in a line."""
    from pretask.config.files import config_keys, read_variant, section_keys

    first = {key: values[0] for key, values in typed.items() if values}
    chosen: dict[str, Any] = {}
    for layer in _file_layers(kind, first.get("recipe"), first.get("config"), name):
        chosen |= layer
    always = section_keys(kind)
    named = {key for key, option in always.items() if option.named is not None and not option.several}
    chosen |= {key: first[key].partition(":")[0] for key in named if key in first}
    chosen |= {key: values[0] for key, values in typed.items() if values and key not in always}
    variants = typed.get("methods") or (command.__kwdefaults__ or {}).get("methods", ())
    methods = [variant for variant in variants if variant not in _commands[name][2]]
    choices = [{**chosen, **read_variant(kind, variant, chosen)} for variant in methods] or [chosen]
    options: dict[str, Option] = {}
    for choice in choices:
        for key, option in config_keys(kind, choice).items():
            if key not in always:
                options.setdefault(key, option)
    return options, _pretexts_line(kind, choices[0], typed.get("pretexts", []))


def _pretexts_line(kind: type[Any], choice: Mapping[str, Any], typed: Sequence[str]) -> str:
    """Return the pretexts that are at work with all their options, as "discard:groups=4:grouping=contiguous"."""
    from pretask.methods import METHODS
    from pretask.pretexts import PRETEXTS
    from pretask.specs import default_options

    own = (
        METHODS.get(choice.get("method", RunConfig().method.method)).default_pretexts
        if kind is RunConfig
        else ()
    )
    names = [spec.partition(":")[0] for spec in typed or choice.get("pretexts") or own]
    return " ".join(name + default_options(PRETEXTS.options(name)) for name in names)


def _file_layers(
    kind: type[AnyConfig], recipe: str | None, config: str | None, command: str
) -> list[dict[str, Any]]:
    """Return the settings of a recipe and of a file, those given, the stronger last."""
    layers: list[dict[str, Any]] = []
    if recipe is not None:
        from pretask.config.recipes import read_recipe_for

        layers.append(read_recipe_for(kind, recipe))
    if config is not None:
        from pretask.config.files import KIND, build_config
        from pretask.io.documents import read_yaml

        given = read_yaml(Path(config))
        build_config(kind, given, source=config)
        layers.append({key: value for key, value in given.items() if key != KIND})
    return layers


def _giving_way(values: dict[str, Any], above: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if _INSTEAD_OF.get(key) not in above}


def _flags(kind: type[Any], options: Mapping[str, Option], pretexts: str) -> type[Settings]:
    """Return the class of a configuration's flags, in groups, with those of parts among them."""
    from pretask.config.files import sections
    from pretask.options import section_options

    groups: list[tuple[str, Any, Any]] = []
    for order, (name, cls) in enumerate(sections(kind).items(), 1):
        made = section_options(cls)
        if pretexts and "pretexts" in made:
            words = f"{made['pretexts'].help}; here {pretexts}"
            made["pretexts"] = dataclasses.replace(made["pretexts"], help=words)
        rows = [(o.name, Annotated[_typed_as(o), _shown(o)], o.default) for o in made.values()]
        groups.append(_group(name, _TITLES[name], 2 * order, rows))
    if options:
        rows = [(o.name, Annotated[_typed_as(o) | None, _shown(o)], None) for o in options.values()]
        groups.append(_group("options", "Options of the parts chosen", 5, rows))
    flags: type[Settings] = dataclasses.make_dataclass(
        f"{kind.__name__}Flags", groups, bases=(Settings,), frozen=True, namespace=_HERE
    )
    return Parameter(name="*")(flags)


def _group(name: str, title: str, order: int, rows: Sequence[tuple[str, Any, Any]]) -> tuple[str, Any, Any]:
    cls = dataclasses.make_dataclass(f"{name.title()}Flags", rows, frozen=True, namespace=_HERE)
    return name, Annotated[cls, section(title, order)], dataclasses.field(default_factory=cls)


def _typed_as(option: Option) -> Any:
    """Return the type of an option's flag, for cyclopts."""
    return option.hint | None if option.open else option.hint


def _shown(option: Option) -> Parameter:
    """Return what help shows of an option: a line, its choices, its default in brackets."""
    words = option.help
    if get_origin(option.hint) is Literal:
        words += f": {', '.join(get_args(option.hint))}"
    if option.open or option.default not in (None, (), False):
        words += f" [{option.written(option.default)}]"
    read = partial(_read_open, option) if option.open else None
    return Parameter(help=words, show_default=False, show_choices=False, converter=read)


def _read_open(option: Option, _type: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Return the value of a flag that may be "auto"."""
    return option.typed(tokens[0].value)
