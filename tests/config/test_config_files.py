"""One set of keys in Python, YAML and flags; anything else is refused with the nearest name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pretask.config.files import (
    build_config,
    config_keys,
    from_flat,
    load_any_config,
    load_config,
    merge_for_resume,
    override,
    save_config,
    section_keys,
    sections,
    to_flat,
    to_full,
)
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.errors import PretaskError
from pretask.options import DECIDED, FREE

KINDS = (RunConfig, PretrainConfig, FewShotConfig)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_unique_over_all_sections(kind) -> None:
    keys = [f.name for section in sections(kind).values() for f in fields(section)]
    assert len(keys) == len(set(keys))
    assert keys == list(section_keys(kind)), "every field is declared with a help line"
    assert to_flat(kind()) == {key: option.default for key, option in section_keys(kind).items()}


def test_options_of_parts_hide_no_key_of_a_section() -> None:
    """What is typed as `--lr` means one thing, whatever is chosen."""
    for kind in KINDS:
        always = section_keys(kind)
        for option in always.values():
            if option.named is not None and not option.several:
                registry = option.named.find()
                for name in registry.names():
                    assert not set(registry.all_options(name, {})) & set(always), (kind, name)


def test_what_may_differ_on_resume_is_marked() -> None:
    free = {key for key, option in section_keys(RunConfig).items() if FREE in option.marks}
    assert free == {
        "data_root", "workers", "name", "runs", "checkpoint_seconds", "checkpoint_steps", "log_every",
        "profile",
    }  # fmt: skip
    decided = {key for key, option in section_keys(RunConfig).items() if DECIDED in option.marks}
    assert {"augment", "pretexts", "backbone", "precision", "compile", "threads", "low_resolution"} <= decided


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    config = from_flat(
        {"method": "mt", "pretexts": ["rotation2", "color3"], "lr": 0.05, "steps": 7, "milestones": [0.3]}
    )
    save_config(config, tmp_path / "c.yaml")
    assert to_full(load_config(tmp_path / "c.yaml")) == to_full(config)
    assert to_full(load_config(tmp_path / "c.yaml", lr=0.2)) == {**to_full(config), "lr": 0.2}
    assert from_flat(to_flat(RunConfig())) == RunConfig()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (
            RunConfig,
            {"method": "gssl", "gate": "normalised", "gate_floor": 0.2, "loss": "ldam", "ldam_margin": 0.4},
        ),
        (
            RunConfig,
            {
                "method": "fixmatch+sla-sd",
                "pseudo_threshold": 0.9,
                "views": 2,
                "adversarial": "pgd7",
                "epsilon": 4.0,
            },
        ),
        (PretrainConfig, {"method": "trimix", "base": "simclr", "temperature": 0.2, "mixed": "views"}),
        (PretrainConfig, {"method": "byol", "predictor": False}),
        (FewShotConfig, {"head": "ridge", "pretexts": ["rotation"]}),
    ],
)
def test_options_of_parts_are_saved_at_their_defaults_too_and_read_again(kind, given, tmp_path: Path) -> None:
    config = build_config(kind, given)
    save_config(config, tmp_path / "c.yaml")
    again = load_any_config(tmp_path / "c.yaml")
    assert type(again) is kind
    assert to_full(again) == to_full(config) == to_flat(again)
    full = to_full(config)
    assert set(full) == set(config_keys(kind, full)) >= set(section_keys(kind)) | set(given)
    for key, value in given.items():
        assert full[key] == (tuple(value) if isinstance(value, list) else value)


def test_yaml_numbers_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("weight_decay: 1e-4\nlr: 1\nepochs: 3\npretexts: rotation\n")
    config = load_config(tmp_path / "c.yaml")
    assert (config.optim.weight_decay, config.optim.lr, config.method.pretexts) == (1e-4, 1.0, ("rotation",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, r"unknown key in the configuration 'epoch'; did you mean 'epochs'"),
        ({"epochs": "many"}, r"epochs = 'many' .* give a whole number"),
        ({"epochs": 2.5}, r"epochs = 2.5 .* give a whole number"),
        ({"epochs": True}, r"epochs = True"),
        ({"lr": "fast"}, r"lr = 'fast' .* give a number"),
        ({"schedule": "cosin"}, r"give one of cosine, step, one-cycle, constant"),
        ({"per_class": "few"}, r"give a whole number or nothing"),
        ({"pretexts": [1]}, r"give a list of text"),
        ({"pretrained": "yes"}, r"pretrained = 'yes' .* give yes or no"),
        ({"lr": 0}, r"^lr = 0 is not possible: type --lr with a number above 0$"),
        (
            {"method": "gssl", "pretext_weight": -1},
            r"^pretext_weight = -1 is not .* --pretext-weight with a number 0 or",
        ),
        ({"method": "gssl", "gate": "lerned"}, r"unknown gate 'lerned'; did you mean 'learned'"),
        (
            {"gate_floor": 0.1},
            r"^gate_floor in the configuration is an option of gate normalised, which is not chosen: choose it",
        ),
        (
            {"method": "gssl", "gate_floor": 0.1},
            r"gate_floor .* an option of gate normalised, which is not chosen",
        ),
        (
            {"views": 2, "method": "gssl"},
            r"views .* of method da, da-patch, .*, …, which .* or leave out --views$",
        ),
        ({"batch_of": "auto", "method": "sla"}, r"batch_of = 'auto' .* give one of images, views"),
    ],
)
def test_wrong_keys_and_values_are_refused(values, message: str) -> None:
    with pytest.raises(PretaskError, match=message):
        from_flat(values)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(PretaskError, match="no configuration file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(PretaskError, match="`key: value` lines"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: }")
    with pytest.raises(PretaskError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml")


def test_merge_for_resume() -> None:
    saved = from_flat({"backbone": "resnet20", "precision": "fp32", "lr": 0.1, "workers": 4})
    asked = from_flat({"backbone": "auto", "lr": 0.1, "workers": 0})
    merged = merge_for_resume(asked, saved, Path("runs/x"))
    assert (merged.backbone.backbone, merged.session.precision, merged.data.workers) == (
        "resnet20",
        "fp32",
        0,
    )
    with pytest.raises(PretaskError, match=r"started with per_class = 20, now per_class = None is asked"):
        merge_for_resume(asked, override(saved, per_class=20), Path("runs/x"))
    with pytest.raises(
        PretaskError, match=r"runs/x was started with backbone = resnet20, now backbone = resnet32"
    ):
        merge_for_resume(override(asked, backbone="resnet32"), saved, Path("runs/x"))


def test_a_secret_is_refused_where_a_setting_is_replaced_too() -> None:
    address = "https://me:hunter2@host/cats"
    with pytest.raises(PretaskError, match="data in the configuration holds a password or token") as caught:
        override(RunConfig(), data=address)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(PretaskError, match="data in the configuration holds a password or token"):
        from_flat({"data": address})
