"""Studies of pre-training: objectives x seeds, each judged by probes and by fine-tuning with few labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from rich.console import Console

from pretask import tasks
from pretask.config.files import override, to_flat
from pretask.config.sections import PretrainConfig
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.judging import Asked, Judging, head_score
from pretask.studies.plan import Cell, Variant
from pretask.studies.rows import Control, Done, Score
from pretask.studies.study import Study
from pretask.studies.trials import Trial
from pretask.training.data import build_data, unsplit_data
from pretask.training.device import resolve_device
from pretask.training.guest import as_guest
from pretask.training.run_folder import RunFolder

RANDOM, SUPERVISED = "random", "supervised"
CONTROLS = (RANDOM, SUPERVISED)
TUNING_FACTS = (
    "method", "epochs", "steps", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "augment", "selection",
)  # fmt: skip
_SHARED_WITH_LABELS = (
    "data", "data_root", "image_size", "channels", "skip_bad", "validation", "per_class", "label_fraction",
    "split_seed", "loader", "workers", "backbone", "device", "threads",
)  # fmt: skip


@as_guest()
def compare_pretraining(
    config: PretrainConfig,
    methods: tuple[str, ...],
    judging: Judging,
    seeds: int = 3,
    equal_compute: bool = False,
    execution: Execution = ONE_AT_A_TIME,
    console: Console | None = None,
) -> dict[str, Any]:
    """Run a study of pre-training; all but `methods` and `judging` is as in `compare`.

    What is on disk is read, not made again: another protocol may be asked for later.

    Args:
        methods: objectives, with settings of their own where wanted, as in "trimix:consistency_weight=0"; differences
            are to the first of them. "random" (the weights a run begins with) and "supervised" (a training with all
            labels, as `judging.tuning` has it, for as many epochs) are controls.
        judging: what every backbone is asked.
    """
    return PretrainingStudy(config, methods, judging, seeds).run(equal_compute, execution, console)


@dataclass(frozen=True)
class Candidate:
    """A backbone of a study.

    Attributes:
        asked: what it is asked, and where it lies.
        make: trains it, or resumes its training.
        length: how long it trains, in the study's unit.
    """

    asked: Asked
    make: Callable[[], dict[str, Any]]
    length: int

    @property
    def finished(self) -> bool:
        """Whether it is trained and has answered all that it is asked."""
        return RunFolder(self.asked.folder).finished and self.asked.finished

    def work(self) -> str:
        """Train it and ask it; return a line about it."""
        seconds = self.make()["seconds"]
        self.asked.answer()
        scores = ", ".join(f"{score.protocol} {100 * score.value:.2f} %" for score, _ in self.scores())
        return f"{scores} ({seconds:.0f} s)"

    def scores(self) -> list[tuple[Score, str]]:
        """Return what it reached, each score with the full name of its protocol."""
        results = RunFolder(self.asked.folder).read_results()
        own = [head_score(results, "own head", self.asked.judging.metric)] if results["inferences"] else []
        return [*self.asked.scores(), *((score, results["protocol"]) for score in own)]

    def done(self) -> Done:
        """Return what it reached and cost."""
        results = RunFolder(self.asked.folder).read_results()
        scores = [score for score, _ in self.scores()]
        return Done(scores, self.length, results["work_images"], results["seconds"])


class PretrainingStudy(Study[PretrainConfig]):
    """A study of pre-training; see `compare_pretraining`."""

    prefix: ClassVar[str] = "compare-pretraining"

    def __init__(
        self, config: PretrainConfig, methods: tuple[str, ...], judging: Judging, seeds: int
    ) -> None:
        super().__init__(config, [name for name in methods if name not in CONTROLS], seeds)
        self._judging = judging
        self._controls = [name for name in CONTROLS if name in methods]
        judging.check(heads=SUPERVISED in self._controls)
        self._data = build_data(self.config, self._same_images(unsplit_data(self.config)))
        self._runs: dict[Cell, Candidate] = {}
        self._beside: dict[tuple[str, int], Candidate] = {}

    @property
    def data_name(self) -> str:
        return self._data.name

    def work(self) -> Mapping[Variant, float]:
        device = resolve_device(self.config.session.device)
        asked = {v: tasks.Pretraining(v.config(self.config), self._data) for v in self.variants}
        for task in asked.values():
            task.decide(device)
        return {v: task.make().passes_per_image for v, task in asked.items()}

    def trials(self, config: PretrainConfig) -> list[Trial]:
        self._runs = {
            cell: Candidate(
                Asked(run.path, settings, cell.seed, self._judging),
                partial(tasks.pretrain, settings),
                cell.length,
            )
            for cell, (settings, run) in self.cells(config).items()
        }
        self._beside = {
            (name, seed): self._control(name, seed, config)
            for name in self._controls
            for seed in self.plan.seeds
        }
        candidates = (*self._beside.values(), *self._runs.values())
        return [
            self.trial(candidate.asked.folder.name, candidate, candidate.work, candidate.asked.folders)
            for candidate in sorted(candidates, key=lambda candidate: candidate.asked.seed)
        ]

    def done(self, results: Mapping[Cell, dict[str, Any]]) -> dict[Cell, Done]:
        return {cell: candidate.done() for cell, candidate in self._runs.items() if candidate.finished}

    def controls(self) -> list[Control]:
        done = {key: candidate.done() for key, candidate in self._beside.items() if candidate.finished}
        return [
            Control(name, {seed: run for (of, seed), run in done.items() if of == name})
            for name in self._controls
        ]

    def facts(self, results: Mapping[Cell, dict[str, Any]]) -> dict[str, Any]:
        asked = (*self._runs.values(), *self._beside.values())
        return {
            **super().facts(results),
            "protocol": {
                score.protocol: full_name
                for candidate in asked
                if candidate.finished
                for score, full_name in candidate.scores()
            },
            "tuning": {k: v for k, v in to_flat(self._judging.tuning).items() if k in TUNING_FACTS},
            "selection": "last",
            "validation": "Share of validation images whose 20 nearest training images name the right class.",
        }

    def _control(self, name: str, seed: int, config: PretrainConfig) -> Candidate:
        """Return the backbone of a control."""
        plan, judging = self.plan, self._judging
        length = plan.lengths[plan.equal_length][plan.reference]
        place = f"{name}-seed{seed}" if name == RANDOM else f"{name}-{plan.unit}{length}-seed{seed}"
        settings = override(config, seed=seed, name=place, runs=str(self.folder))
        if name == RANDOM:
            asked = Asked(self.folder / place, settings, seed, judging)
            return Candidate(asked, partial(tasks.save_untrained, settings), 0)
        flat = to_flat(config)
        labelled = override(
            judging.tuning, **{key: flat[key] for key in _SHARED_WITH_LABELS},
            **{"epochs": 1, "steps": None, plan.unit: length}, method="baseline", seed=seed, name=place,
            runs=str(self.folder),
        )  # fmt: skip
        asked = Asked(self.folder / place, settings, seed, judging, own_labels=False)
        return Candidate(asked, partial(tasks.train, labelled), length)
