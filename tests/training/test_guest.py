"""A call leaves the program that makes it as it was: generators, threads, modes, signals, warnings, environment."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from command_line import picture
from pretask import PretaskError, RunConfig, compare, load_classifier, load_encoder, predict, tasks
from pretask.config.files import build_config
from pretask.evaluation.run import evaluate_run
from pretask.explain import explain
from pretask.export import export_model
from pretask.training.guest import as_guest


def belongings() -> dict[str, Any]:
    """Return what belongs to a program that calls the library."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")
    return {
        "python": random.getstate(),
        "numpy": tuple(map(str, np.random.get_state())),
        "torch": torch.get_rng_state().tolist(),
        "cuda": [s.tolist() for s in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else None,
        "threads": torch.get_num_threads(),
        "type": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "denormals": float(torch.tensor([5e-324], dtype=torch.float64) * 1),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "products": (torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32),
        "filters": list(warnings.filters),
        "warnings": warnings.showwarning,
        "signals": [signal.getsignal(getattr(signal, name)) for name in names if hasattr(signal, name)],
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "folder": Path.cwd(),
        "arguments": list(sys.argv),
        "numbers": np.geterr(),
        "processes": [dict(kind._shared_state) for kind in (PartialState, AcceleratorState, GradientState)],
    }


@pytest.fixture
def home() -> Iterator[Callable[[], None]]:
    """Settings of a caller's own; calling it asserts that nothing has changed since."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1234)
    before = belongings()

    def unchanged() -> None:
        after = belongings()
        for name, value in before.items():
            assert after[name] == value, name

    yield unchanged
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {
        "data": "digits", "per_class": 4, "backbone": "resnet8", "epochs": 1, "batch_size": 8, "lr": 0.1,
        "threads": 1, "device": "cpu", "precision": "fp32", "runs": str(tmp_path_factory.mktemp("runs")),
    }  # fmt: skip


def labelled(small: dict[str, Any], name: str, **more: Any) -> RunConfig:
    return build_config(RunConfig, {**small, "name": name, "method": "sla", "mixup": 0.2, **more})


@pytest.fixture(scope="module")
def run(small: dict[str, Any]) -> Path:
    return Path(tasks.train(labelled(small, "run"), report=False)["folder"])


def test_trainings_and_studies(small: dict[str, Any], home: Callable[[], None]) -> None:
    tasks.train(labelled(small, "again", cutmix=0.5), report=False)
    home()
    compare(labelled(small, "study"), ("baseline",), seeds=1)
    home()


def test_what_is_done_with_a_model(run: Path, home: Callable[[], None], tmp_path: Path) -> None:
    load_classifier(run)
    load_encoder(run)
    home()
    evaluate_run(run, ["accuracy", "knn"])
    home()
    explain([run], parts=["pretexts"], to=tmp_path / "pictures")
    home()
    exported = export_model(run, tmp_path / "exported")
    home()
    predict(exported, [picture(tmp_path / "picture.png", (8, 8))])
    home()


def test_a_training_that_fails(small: dict[str, Any], home: Callable[[], None]) -> None:
    with pytest.raises(PretaskError, match="smaller --lr"):
        tasks.train(labelled(small, "wild", lr=1e30))
    home()


def test_whatever_happens_within(home: Callable[[], None]) -> None:
    @as_guest()
    def upset() -> None:
        random.random()
        np.random.rand()
        torch.manual_seed(5)
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float16)
        torch.set_flush_denormal(belongings()["denormals"] != 0)
        os.environ["OF_THE_CALL"] = "1"
        del os.environ["PATH"]
        Accelerator(cpu=True)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        upset()
    home()


def test_the_callers_own_accelerator_is_left_to_it(small: dict[str, Any]) -> None:
    own = Accelerator(cpu=True)
    own.state.device = torch.device("meta")
    try:
        tasks.train(labelled(small, "beside"), report=False)
        assert own.state.device == torch.device("meta")
    finally:
        PartialState._reset_state()
        AcceleratorState._reset_state()


def test_modes_of_the_caller_change_no_result(small: dict[str, Any], run: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            tasks.train(labelled(small, "within"), report=False)
    finally:
        torch.set_default_dtype(torch.float32)
    weights = (Path(small["runs"]) / "within" / "model.safetensors").read_bytes()
    assert weights == (run / "model.safetensors").read_bytes()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_gpu(small: dict[str, Any], home: Callable[[], None]) -> None:
    torch.cuda.manual_seed(77)
    expected = torch.rand(3, device="cuda").tolist()
    torch.cuda.manual_seed(77)
    tasks.train(labelled(small, "gpu", device="cuda"))
    assert torch.rand(3, device="cuda").tolist() == expected
