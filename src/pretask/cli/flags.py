"""The flags of a run, shared by the commands that train, and the files that set their defaults."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import App, Group, Parameter

from pretask.config.episodes import EpisodesConfig, EpisodesOptimConfig, FewShotConfig
from pretask.config.pretraining import (
    PretrainConfig,
    PretrainingConfig,
    PretrainOptimConfig,
    PretrainSessionConfig,
)
from pretask.config.sections import (
    BackboneConfig,
    DataConfig,
    MethodConfig,
    OptimConfig,
    RunConfig,
    SessionConfig,
)
from pretask.errors import PretaskError

if TYPE_CHECKING:
    from pretask.config.files import AnyConfig

_KINDS: dict[str, type[AnyConfig]] = {
    "pretrain": PretrainConfig,
    "compare-pretraining": PretrainConfig,
    "few-shot": FewShotConfig,
    "compare-few-shot": FewShotConfig,
}
_INSTEAD_OF = {
    "steps": "epochs",
    "warmup_steps": "warmup_epochs",
    "checkpoint_steps": "checkpoint_seconds",
}


def _section(title: str, order: int) -> Parameter:
    return Parameter(name="*", group=Group(title, sort_key=order))


EXECUTION = _section("Execution", 6)


@Parameter(name="*")
@dataclass(frozen=True)
class RunFlags:
    """Every key of the configuration as a flag, in groups, and where defaults come from."""

    config: Annotated[Path | None, Parameter(help="YAML file that sets everything; flags override it")] = None
    recipe: Annotated[
        str | None, Parameter(help="a published setting by name (pretask list recipes); flags override it")
    ] = None
    data: Annotated[DataConfig, _section("Data", 1)] = field(default_factory=DataConfig)
    method: Annotated[MethodConfig, _section("Method", 2)] = field(default_factory=MethodConfig)
    backbone: Annotated[BackboneConfig, _section("Backbone", 3)] = field(default_factory=BackboneConfig)
    optim: Annotated[OptimConfig, _section("Training", 4)] = field(default_factory=OptimConfig)
    session: Annotated[SessionConfig, _section("Run", 5)] = field(default_factory=SessionConfig)

    def run_config(self) -> RunConfig:
        """Return the configuration that the flags make."""
        return RunConfig(self.data, self.method, self.backbone, self.optim, self.session)


@Parameter(name="*")
@dataclass(frozen=True)
class PretrainFlags:
    """Every key of a pre-training's configuration as a flag, in groups, and where defaults come from."""

    config: Annotated[Path | None, Parameter(help="YAML file that sets everything; flags override it")] = None
    recipe: Annotated[
        str | None, Parameter(help="a setting by name (pretask list recipes); flags override it")
    ] = None
    data: Annotated[DataConfig, _section("Data", 1)] = field(default_factory=DataConfig)
    pretraining: Annotated[PretrainingConfig, _section("Pre-training", 2)] = field(
        default_factory=PretrainingConfig
    )
    backbone: Annotated[BackboneConfig, _section("Backbone", 3)] = field(default_factory=BackboneConfig)
    optim: Annotated[PretrainOptimConfig, _section("Training", 4)] = field(
        default_factory=PretrainOptimConfig
    )
    session: Annotated[PretrainSessionConfig, _section("Run", 5)] = field(
        default_factory=PretrainSessionConfig
    )

    def pretrain_config(self) -> PretrainConfig:
        """Return the configuration that the flags make."""
        return PretrainConfig(self.data, self.pretraining, self.backbone, self.optim, self.session)


@Parameter(name="*")
@dataclass(frozen=True)
class FewShotFlags:
    """Every key of the configuration of a training by episodes as a flag, in groups, and where defaults come from."""

    config: Annotated[Path | None, Parameter(help="YAML file that sets everything; flags override it")] = None
    recipe: Annotated[
        str | None, Parameter(help="a setting by name (pretask list recipes); flags override it")
    ] = None
    data: Annotated[DataConfig, _section("Data", 1)] = field(default_factory=DataConfig)
    episodes: Annotated[EpisodesConfig, _section("Episodes", 2)] = field(default_factory=EpisodesConfig)
    backbone: Annotated[BackboneConfig, _section("Backbone", 3)] = field(default_factory=BackboneConfig)
    optim: Annotated[EpisodesOptimConfig, _section("Training", 4)] = field(
        default_factory=EpisodesOptimConfig
    )
    session: Annotated[SessionConfig, _section("Run", 5)] = field(default_factory=SessionConfig)

    def few_shot_config(self) -> FewShotConfig:
        """Return the configuration that the flags make."""
        return FewShotConfig(self.data, self.episodes, self.backbone, self.optim, self.session)


def read_defaults(app: App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
    """Take the settings of --recipe and --config as defaults for the flags, the file above the recipe.

    Steps of a lower layer give way to epochs of a higher one, which they would otherwise overrule.

    Raises:
        PretaskError: an unknown recipe, or a file that is no configuration.
    """
    typed = {argument.name: argument.tokens[0].value for argument in arguments if argument.tokens}
    values: dict[str, Any] = {}
    if "--recipe" in typed:
        from pretask.config.recipes import read_recipe_for

        values = read_recipe_for(_KINDS.get(commands[0], RunConfig), typed["--recipe"])
    if "--config" in typed:
        from pretask.config.files import build_config
        from pretask.io.documents import read_yaml

        source = Path(typed["--config"])
        given = read_yaml(source)
        build_config(_KINDS.get(commands[0], RunConfig), given, source=str(source))
        values = {**_giving_way(values, given), **given}
    values = _giving_way(values, {name.lstrip("-").replace("-", "_") for name in typed})
    values.pop("kind", None)
    known = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None}
    cyclopts.config.Dict(known, use_commands_as_keys=False)(app, commands, arguments)


def refuse_fractions(app: App, commands: tuple[str, ...], arguments: cyclopts.ArgumentCollection) -> None:
    """Refuse 1.5 where a whole number is needed; cyclopts would round it."""
    for argument in arguments:
        for token in argument.tokens:
            if argument.hint in (int, int | None) and "." in token.value:
                raise PretaskError(
                    f"{argument.name} {token.value} is not a whole number: type one without a point"
                )


def _giving_way(values: dict[str, Any], above: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if _INSTEAD_OF.get(key) not in above}
