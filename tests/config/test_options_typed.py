"""Flags and keys of the parts that are chosen: what they set, what help shows of them, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from command_line import CommandLine, parsed
from pretask.config.files import from_flat, override, to_full
from pretask.config.recipes import read_recipe
from pretask.config.sections import PretrainConfig, RunConfig
from pretask.losses import LOSSES
from pretask.methods import GATES, METHODS
from pretask.options import above


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def test_the_flag_the_key_and_the_spec_of_an_option_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "method: gssl\ngate: normalised\ngate_floor: 0.2\nloss: ldam\nldam_margin: 0.4\n"
    )
    typed = [
        [
            "--method",
            "gssl",
            "--gate",
            "normalised",
            "--gate-floor",
            "0.2",
            "--loss",
            "ldam",
            "--ldam-margin",
            "0.4",
        ],
        ["--config", str(tmp_path / "mine.yaml")],
        ["--config", str(tmp_path / "mine.yaml"), "--gate-floor", "0.2"],
        ["--method", "gssl:gate=normalised:gate_floor=0.2", "--loss", "ldam:ldam_margin=0.4"],
    ]
    made = [parsed(["train", *tokens]).arguments["settings"].build(RunConfig) for tokens in typed]
    assert all(config == made[0] for config in made)
    full = to_full(made[0])
    assert (full["gate"], full["gate_floor"], full["ldam_margin"], full["ldam_scale"]) == (
        "normalised",
        0.2,
        0.4,
        30.0,
    )


def test_a_flag_overrules_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("method: gssl\ngate: normalised\ngate_floor: 0.2\nlr: 0.3\n")
    tokens = ["train", "--config", str(tmp_path / "mine.yaml"), "--gate-floor", "0.9", "--lr", "0.4"]
    full = to_full(parsed(tokens).arguments["settings"].build(RunConfig))
    assert (full["gate_floor"], full["lr"]) == (0.9, 0.4)


def test_help_shows_the_options_of_what_is_chosen_and_no_others(cli: CommandLine) -> None:
    plain = cli.well("train", "--help")
    baseline = cli.well("train", "--method", "baseline", "--help")
    gated = cli.well("train", "--method", "gssl", "--gate", "normalised", "--loss", "ldam", "--help")
    for option in (
        *METHODS.options("gssl").values(),
        *GATES.options("normalised").values(),
        *LOSSES.options("ldam").values(),
    ):
        assert option.flag in gated, option
        assert " ".join(option.help.split()[:2]) in gated, option
    assert "[0.3]" in gated, "the floor's default"
    for flag in ("--gate-floor", "--pretext-weight", "--ldam-margin", "--distill-weight"):
        assert flag not in baseline and flag not in plain, flag
    assert "--label-smoothing" in baseline
    assert "--temperature" not in cli.well("pretrain", "--method", "byol", "--help")
    assert "--temperature" in cli.well("pretrain", "--method", "trimix", "--base", "simclr", "--help")
    for shown in (baseline, gated):
        assert len(shown.splitlines()) < 125


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (
            ["--method", "gssl", "--pretext-weight", "-1"],
            "pretext_weight = -1.0 is not possible: type --pretext-weight with a number 0 or more",
        ),
        (
            ["--method", "gssl", "--pretext-weight", "nan"],
            "pretext_weight = nan is not possible: type --pretext-weight",
        ),
        (["--method", "gssl", "--pretext-weight", "much"], "--pretext-weight"),
        (
            ["--method", "sla", "--views", "0"],
            "views = 0 is not possible: type --views with a number 1 or more",
        ),
        (["--method", "sla", "--views", "1.5"], "--views 1.5 is not a whole number"),
        (["--method", "sla", "--batch-of", "auto"], "--batch-of"),
        (["--method", "baseline", "--views", "2"], "--views"),
        (["--method", "gssl", "--gate-floor", "0.2"], "--gate-floor"),
        (["--method", "gssl", "--gate", "lerned"], "unknown gate 'lerned'; did you mean 'learned'?"),
        (
            ["--method", "gssl", "--gate", "fixed", "--gate-weights", "1", "-1"],
            "gate_weights = (1.0, -1.0) is not possible",
        ),
        (["--loss", "ldam-drw", "--class-weights", "inverse"], "--class-weights"),
        (
            ["--adversarial", "pgd10", "--epsilon", "300"],
            "epsilon = 300.0 is not possible: type --epsilon with a number from 0 to 255",
        ),
        (["--lr", "0"], "lr = 0.0 is not possible: type --lr with a number above 0"),
    ],
)
def test_a_wrong_flag_is_told_in_a_line(cli: CommandLine, tokens: list[str], words: str) -> None:
    assert len(cli("train", *tokens).fault(words)) < 1000
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "method: gssl\npretext_weight: -1\n",
            "pretext_weight = -1 is not possible: type --pretext-weight with a number 0 or",
        ),
        ("method: gssl\npretext_weight: .nan\n", "pretext_weight = nan is not possible"),
        (
            "method: gssl\npretext_weight: much\n",
            "pretext_weight = 'much' in mine.yaml is not allowed: give a number",
        ),
        (
            "method: sla\nviews: 1.5\n",
            "views = 1.5 in mine.yaml is not allowed: give a whole number or nothing",
        ),
        ("method: baseline\nviews: 2\n", "views in mine.yaml is an option of method da, da-patch,"),
        (
            "method: gssl\ngate: uniform\ngate_floor: 0.2\n",
            "gate_floor in mine.yaml is an option of gate normalised, which is not chosen",
        ),
        ("method: sla\nveiws: 2\n", "unknown key in mine.yaml 'veiws'; did you mean 'views'?"),
    ],
)
def test_a_wrong_key_is_told_in_a_line(cli: CommandLine, text: str, words: str) -> None:
    Path("mine.yaml").write_text(text)
    cli("train", "--config", "mine.yaml").fault(words)


def test_a_flag_that_takes_one_value_names_the_way_to_compare_several(cli: CommandLine) -> None:
    for command, chosen in (("train", "--method"), ("compare", "--methods")):
        words = "--gate takes one value, not 2 (frozen, learned): type one of them, or compare some by `pretask compare"
        told = cli(command, chosen, "gssl", "--gate", "frozen", "learned").fault(words)
        assert "--methods NAME:gate=frozen NAME:gate=learned`" in told
    cli("train", "--lr", "0.1", "0.2").fault("--lr takes one value, not 2 (0.1, 0.2)")
    assert "--gate" in cli.well("train", "--method", "gssl", "--gate", "frozen", "-h")


@pytest.mark.parametrize(
    ("tokens", "left"),
    [
        ("--recipe gssl-tiny-imagenet --method baseline", {}),
        (
            "--recipe lt-gssl-cifar10 --gate uniform",
            {"gate": "uniform", "pretext_weight": 0.1, "pretext_scale": 1.0},
        ),
    ],
)
def test_options_of_a_recipe_go_with_the_part_that_a_flag_replaces(tokens: str, left: dict) -> None:
    """As the recipes' headers say one gets their controls."""
    made = parsed(["train", *tokens.split()]).arguments["settings"].build(RunConfig)
    assert dict(made.options) == left
    recipe, flag, value = tokens.split()[1:]
    assert dict(override(from_flat(read_recipe(recipe)), **{flag[2:]: value}).options) == left


def test_an_option_may_be_called_much_like_a_flag_of_every_run(monkeypatch) -> None:
    class Momenta(METHODS.get("baseline")):
        def __init__(self, parts, *, momentums: Annotated[float, above(0), "of two kinds"] = 1.0) -> None:
            super().__init__(parts)

    monkeypatch.setitem(METHODS._parts, "momenta", Momenta)
    made = parsed(["train", "--method", "momenta", "--momentums", "2"]).arguments["settings"].build(RunConfig)
    assert to_full(made)["momentums"] == 2.0


def test_controls_of_pre_training_stand_among_its_methods() -> None:
    tokens = [
        "compare-pretraining",
        "--methods",
        "trimix:mixed=views",
        "random",
        "supervised",
        "--hidden-size",
        "16",
    ]
    called = parsed(tokens).arguments
    assert called["methods"] == ("trimix:mixed=views", "random", "supervised")
    assert to_full(called["settings"].build(PretrainConfig, called["methods"][:1]))["hidden_size"] == 16
