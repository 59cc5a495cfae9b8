"""A run that was killed ends in the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forked import Forked
from pretask import tasks
from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.errors import Interrupted, PretaskError
from pretask.reports import write_run_report
from pretask.training import loop
from pretask.training.checkpoint import load_tree, save_tree


def states_equal(a: Path, b: Path) -> bool:
    one, other = load_tree(a / "last/state.safetensors"), load_tree(b / "last/state.safetensors")
    weights = all(torch.equal(one["method"][k], other["method"][k]) for k in one["method"])
    momentum = all(
        torch.equal(
            one["optimizer"]["state"][k]["momentum_buffer"], other["optimizer"]["state"][k]["momentum_buffer"]
        )
        for k in one["optimizer"]["state"]
    )
    averages = (one["average"] is None) == (other["average"] is None) and (
        one["average"] is None or all(torch.equal(v, other["average"][k]) for k, v in one["average"].items())
    )
    return weights and momentum and averages and one["position"]["step"] == other["position"]["step"]


def without_times(folder: Path) -> list[tuple[object, ...]]:
    from pretask.training.run_folder import RunFolder

    return [
        (r["epoch"], r["step"], r["lr"], r["train"], r.get("validation"))
        for r in RunFolder(folder).read_metrics()
    ]


SETTINGS = [
    {"method": "sla-sd"},
    {"method": "sla", "views": 2, "mixup": 0.4, "cutmix": 1.0, "ema": 0.9},
    {"method": "mt", "loader": "streaming", "workers": 0},
    {
        "method": "gssl", "pretexts": ("lorot-e", "patch-flip"), "gate": "aligned", "loss": "ldam",
        "class_weights": "effective", "reweight_from": 0.5,
    },
    {"method": "ssfe", "pretexts": ("discard:grouping=random",), "layer": "blocks.1", "adversarial": "fgsm"},
]  # fmt: skip


def train_and_die(config: RunConfig) -> None:
    """Train until step 9 of 15, which is the 4th of epoch 2's 5, and die there."""
    real, calls = loop.set_lr, [0]

    def set_lr(*arguments: object) -> None:
        calls[0] += 1
        if calls[0] == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    loop.set_lr = set_lr
    tasks.train(config)


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s["method"])
def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(configure, tmp_path: Path, settings) -> None:
    whole = configure(name="whole", epochs=3, checkpoint_steps=2, **settings)
    tasks.train(whole)

    killed = override(whole, name="killed")
    process = Forked(tmp_path / "streams", train_and_die, killed)
    told = process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL, told
    position = load_tree(tmp_path / "killed/last/state.safetensors")["position"]
    assert (position["epoch"], position["batch"], position["step"]) == (1, 3, 8)

    tasks.train(killed)
    assert states_equal(tmp_path / "whole", tmp_path / "killed")
    assert without_times(tmp_path / "whole") == without_times(tmp_path / "killed")
    for name, tensor in load_file(tmp_path / "whole/model.safetensors").items():
        assert torch.equal(load_file(tmp_path / "killed/model.safetensors")[name], tensor), name


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_run_that_resumes(configure, tmp_path: Path) -> None:
    whole = configure(name="whole", epochs=6, checkpoint_seconds=0.0)
    tasks.train(whole)
    killed = override(whole, name="killed")
    for kill in range(2):
        process = Forked(tmp_path / "streams", tasks.train, killed)
        deadline = time.time() + 100
        before = len(without_times(tmp_path / "killed"))
        while (
            process.poll() is None
            and len(without_times(tmp_path / "killed")) < before + 1
            and time.time() < deadline
        ):
            time.sleep(0.01)
        time.sleep(0.05 * kill)
        process.kill()
        process.communicate(timeout=100)
    tasks.train(killed)
    assert states_equal(tmp_path / "whole", tmp_path / "killed")


def test_a_stop_request_leaves_a_checkpoint(
    configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = loop.set_lr, []

    def stop_at_third(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        real(*arguments)

    whole = configure(name="whole")
    tasks.train(whole)
    monkeypatch.setattr(loop, "set_lr", stop_at_third)
    stopped = override(whole, name="stopped")
    with pytest.raises(Interrupted, match="stopped after step 3 of 10"):
        tasks.train(stopped)
    monkeypatch.undo()
    tasks.train(stopped)
    assert states_equal(tmp_path / "whole", tmp_path / "stopped")


def test_finished_run_is_read_not_trained_again(configure, tmp_path: Path) -> None:
    first = tasks.train(configure(epochs=1))
    state = (tmp_path / "run/last/state.safetensors").stat().st_mtime_ns
    assert tasks.train(configure(epochs=1))["inferences"] == first["inferences"]
    assert (tmp_path / "run/last/state.safetensors").stat().st_mtime_ns == state


def test_a_run_has_its_results_last(configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed as it wrote them is taken up again, and lacks nothing."""
    from pretask import reports
    from pretask.tasks import run as one_run

    def lose_power(*_: object) -> None:
        raise RuntimeError("the power is gone")

    run, settings = tmp_path / "run", configure(epochs=1, checkpoint_steps=1)
    for module, step in ((reports, "write_run_report"), (one_run, "write_sealed")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, lose_power)
            with pytest.raises(RuntimeError):
                tasks.train(settings)
        assert not (run / "results.json").exists()
    tasks.train(settings)
    assert {path.name for path in (run / "last").iterdir()} == {"state.safetensors"}
    report = (run / "report.html").read_text()
    assert write_run_report(run).read_text() == report, "it tells what the folder's results tell"


def test_resume_with_other_settings_is_refused(configure, tmp_path: Path) -> None:
    tasks.train(configure(epochs=1))
    with pytest.raises(PretaskError, match=r"started with lr = 0.1, now lr = 0.2 is asked"):
        tasks.train(configure(epochs=1, lr=0.2))
    assert tasks.resume(tmp_path / "run")["epochs"] == 1


def test_tree_survives_the_file(tmp_path: Path) -> None:
    shared = torch.arange(6).reshape(2, 3)
    tree = {
        "a": [shared, shared.t(), (1, 2.5, None, "x", True)],
        3: {"nested": torch.tensor(0.1 + 0.2, dtype=torch.float64)},
    }
    save_tree(tree, tmp_path / "t.safetensors")
    back = load_tree(tmp_path / "t.safetensors")
    assert torch.equal(back["a"][0], shared)
    assert torch.equal(back["a"][1], shared.t())
    assert back["a"][2] == (1, 2.5, None, "x", True)
    assert back[3]["nested"].item() == 0.1 + 0.2
    with pytest.raises(TypeError, match="set"):
        save_tree({"a": {1}}, tmp_path / "u.safetensors")
    assert not (tmp_path / "u.safetensors").exists()
