"""Two generations of checkpoints: a damaged newest one is passed over, and the run ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretask import tasks
from pretask.config.files import override
from pretask.errors import PretaskError
from pretask.io.tensors import DamagedFile, read_tensors, write_tensors
from pretask.training import step as gradient
from pretask.training.checkpoint import Checkpoints

TREE = {"weights": torch.arange(6.0).reshape(2, 3), "step": 1}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4  # among the last tensor's bytes: the header stays as it is
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = pytest.mark.parametrize("damage", [flip_a_bit, cut, empty, Path.unlink])


@DAMAGES
def test_the_one_before_stands_in_for_a_damaged_newest_one(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    checkpoints, warnings = Checkpoints(tmp_path), list[str]()
    checkpoints.save(TREE)
    checkpoints.save({**TREE, "step": 2})
    assert checkpoints.load(warnings.append)["step"] == 2 and warnings == []
    damage(checkpoints.newest)
    assert checkpoints.load(warnings.append)["step"] == 1
    assert len(warnings) == 1 and "state.safetensors is damaged" in warnings[0]
    checkpoints.save({**TREE, "step": 3})
    damage(checkpoints.newest)
    assert checkpoints.load(warnings.append)["step"] == 1, "a damaged one never takes the place of a good one"
    damage(checkpoints.previous)
    with pytest.raises(PretaskError, match=r"is damaged .*: delete .* to start the run again"):
        checkpoints.load(warnings.append)


@DAMAGES
def test_a_run_goes_on_from_the_checkpoint_before(
    configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    whole = configure(name="whole", method="baseline", epochs=2, checkpoint_steps=2)
    tasks.train(whole)
    stopped, steps = override(whole, name="stopped"), []

    def stop_at_the_eighth(*_: object) -> None:
        steps.append(None)
        if len(steps) == 8:
            raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(gradient, "begin_step", stop_at_the_eighth)
        with pytest.raises(RuntimeError):
            tasks.train(stopped)
    damage(tmp_path / "stopped/last/state.safetensors")
    tasks.train(stopped)
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not (tmp_path / "stopped/last/previous.safetensors").exists()


def test_a_file_of_tensors_is_what_was_written(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(3, 2), "b": torch.zeros(0), "c": torch.tensor(7)}
    path = tmp_path / "some.safetensors"
    write_tensors(path, tensors, {"told": "text"})
    found, metadata = read_tensors(path, known=("told",))
    assert metadata == {"told": "text"} and found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    flip_a_bit(path)
    with pytest.raises(DamagedFile, match="does not fit its checksum"):
        read_tensors(path, known=("told",))
    save_file({"a": tensors["a"]}, path)
    assert torch.equal(read_tensors(path)[0]["a"], tensors["a"]), "files of other programs have no checksum"
