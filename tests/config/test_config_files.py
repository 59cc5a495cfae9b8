"""One set of keys in Python, YAML and flags; anything else is refused with the nearest name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from pretask.config.files import (
    config_types,
    from_flat,
    load_config,
    merge_for_resume,
    override,
    save_config,
    to_flat,
)
from pretask.config.sections import MAY_DIFFER_ON_RESUME, RunConfig
from pretask.errors import PretaskError


def test_keys_are_unique_over_all_sections() -> None:
    sections = [getattr(RunConfig(), f.name) for f in fields(RunConfig)]
    keys = [f.name for section in sections for f in fields(section)]
    assert len(keys) == len(set(keys)) == len(config_types())
    assert set(keys) >= MAY_DIFFER_ON_RESUME


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    config = from_flat(
        {"method": "mt", "pretexts": ["rotation2", "color3"], "lr": 0.05, "steps": 7, "milestones": [0.3]}
    )
    save_config(config, tmp_path / "c.yaml")
    assert load_config(tmp_path / "c.yaml") == config
    assert load_config(tmp_path / "c.yaml", lr=0.2) == override(config, lr=0.2)
    assert from_flat(to_flat(RunConfig())) == RunConfig()


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
        ({"pretrained": "yes"}, r"give true or false"),
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
