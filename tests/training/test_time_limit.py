"""A training that may take so many seconds ends by then, and anneals as if it had been planned so."""

from __future__ import annotations

import json
from io import StringIO
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pretask import tasks
from pretask.methods import Method
from pretask.training import loop
from pretask.training.display import Display


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by a second whenever it is looked at, however busy the machine is."""
    ticks = count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))


def test_the_clock_ends_a_training_and_anneals_it(
    configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticking: None
) -> None:
    told: list[float] = []
    real = Method.set_progress
    monkeypatch.setattr(Method, "set_progress", lambda self, done: told.append(done) or real(self, done))
    results = tasks.train(configure(method="baseline", epochs=1000, max_seconds=100, warmup_epochs=0))
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert 3 < results["epochs"] == len(records) < 100
    assert 100 <= records[-1]["seconds"] < 110
    rates = [record["lr"] for record in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 4
    assert "validation" in records[-1]
    assert results["inferences"]["single"]["last"]["test"]["top1"] > 0
    during = told[-records[-1]["step"] :]
    assert during == sorted(during)
    assert during[0] == 0
    assert 0.8 < during[-1] < 1


def test_a_training_that_is_done_before_is_as_without_a_limit(configure, tmp_path: Path) -> None:
    for name, limit in (("free", None), ("limited", 10_000)):
        tasks.train(configure(method="baseline", name=name, max_seconds=limit))
    free, limited = (tmp_path / name / "model.safetensors" for name in ("free", "limited"))
    assert free.read_bytes() == limited.read_bytes()


def test_all_images_but_the_test_images_are_learned_from(configure) -> None:
    plain = tasks.train(configure(method="baseline", epochs=1))["data"]
    every = tasks.train(configure(method="baseline", epochs=1, name="all", learn_from="all"))["data"]
    assert every["train_images"] == plain["train_images"] + plain["validation_images"]
    assert every["validation_images"] == 0
    assert every["test_images"] == plain["test_images"]


def test_the_test_images_may_be_left_alone(configure) -> None:
    results = tasks.train(configure(method="baseline", epochs=1, test=False))
    assert results["data"]["test_images"] == 0
    assert set(results["inferences"]["single"]["last"]) == {"validation"}


def test_the_time_left_is_no_more_than_the_limit_leaves() -> None:
    out = Console(file=StringIO(), width=200)
    record = {"epoch": 1, "step": 1, "seconds": 30.0, "train": {}, "images_per_second": 1.0}
    with Display(out, "run", total=10**9, limit=95.0) as display:
        display.epoch(record, epochs=9)
    assert "1:05 left" in out.file.getvalue()
