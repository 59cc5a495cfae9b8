"""How a backbone is judged in a study: probes of its features, and fine-tuning with few labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretask import tasks
from pretask.config.files import from_flat, override, to_flat
from pretask.config.sections import PretrainConfig, RunConfig
from pretask.errors import PretaskError
from pretask.evaluation.accuracy import Accuracy
from pretask.evaluation.base import (
    EVALUATORS,
    Evaluator,
    columns_of,
    create_evaluator,
    metrics_of,
    uses_features,
)
from pretask.evaluation.run import FEATURES, evaluate_run
from pretask.io.documents import read_sealed, write_sealed
from pretask.methods import read_card
from pretask.studies.rows import Score
from pretask.training.run_folder import RunFolder

_SHARED = ("data_root", "skip_bad", "validation", "split_seed", "loader", "workers")
_OWN = ("data", "image_size", "channels")


@dataclass(frozen=True)
class Judging:
    """What every backbone of a study is asked.

    Attributes:
        protocols: evaluators on features, with options of their own where wanted: "knn:k=5".
        label_fractions: of each class, to fine-tune with.
        transfer: other data to ask the same on.
        tuning: how fine-tuning goes; data, seed, folder and start are the study's.
        metric: what is compared: one of the `metrics` of each protocol, and of class heads where they are asked.
    """

    protocols: tuple[str, ...] = ("knn", "linear")
    label_fractions: tuple[float, ...] = (0.01, 0.1)
    transfer: tuple[str, ...] = ()
    tuning: RunConfig = field(default_factory=lambda: tuning_config({}))
    metric: str = "top1"

    @property
    def evaluators(self) -> dict[str, Evaluator]:
        """The evaluators by their specs."""
        settings = {"split": "test", "batch_size": 256, "device": "cpu"}
        return {spec: create_evaluator(spec, settings) for spec in self.protocols}

    def check(self, heads: bool) -> None:
        """Refuse what no backbone can be asked.

        Args:
            heads: whether class heads are compared too, those of fine-tuning aside.

        Raises:
            PretaskError: a protocol that needs a class head, or that has no such metric, a fraction outside (0, 1], or
                nothing to ask.
        """
        for spec in self.evaluators:
            if not uses_features(spec):
                raise PretaskError(
                    f"--protocols {spec} needs a class head, which a pre-trained backbone does not have: "
                    f"{self._that_can_be_compared()}"
                )
            self._check_metric(f"the evaluator {spec}", metrics_of(spec))
        if self.label_fractions or heads:
            asked = "fine-tuning (--label-fractions)" if self.label_fractions else "the control supervised"
            self._check_metric(f"the class head of {asked}", Accuracy.metrics)
        names = [Path(source).stem for source in self.transfer]
        if len(set(names)) < len(names):
            raise PretaskError(
                f"--transfer {' '.join(self.transfer)}: two data sets of one name, give each once"
            )
        for fraction in self.label_fractions:
            if not 0 < fraction <= 1:
                raise PretaskError(
                    f"--label-fractions {fraction:g} is no share of labels: give one above 0, at most 1"
                )
        if not self.protocols and not self.label_fractions:
            raise PretaskError(
                "a study of pre-training needs something to judge by: type --protocols knn linear"
            )

    def _check_metric(self, who: str, known: tuple[str, ...]) -> None:
        if not known:
            raise PretaskError(
                f"{who} has no single metric to compare backbones by: {self._that_can_be_compared()}"
            )
        if self.metric not in known:
            raise PretaskError(
                f"{who} has no metric '{self.metric}' (it has: {', '.join(known)}): "
                f"type --metric {known[0]}, or leave it out of the study"
            )

    def _that_can_be_compared(self) -> str:
        names = [
            name for name in EVALUATORS.names() if uses_features(name) and self.metric in metrics_of(name)
        ]
        return f"take {', '.join(names)}"


@dataclass(frozen=True)
class Asked:
    """A finished run and what it is asked.

    Attributes:
        folder: of the run.
        config: of the pre-training whose data the study is about.
        seed: of the run.
        judging: what is asked.
        own_labels: whether it is fine-tuned on the study's own data too.
    """

    folder: Path
    config: PretrainConfig
    seed: int
    judging: Judging
    own_labels: bool = True

    @property
    def finished(self) -> bool:
        """Whether all answers are on disk."""
        probed = all(set(self.judging.evaluators) <= set(self._probed(source)) for source in self._sources)
        return probed and all(RunFolder(self._tuned(*asked)).finished for asked in self._tunings())

    @property
    def folders(self) -> list[Path]:
        """The folders of the run and of those that fine-tune it."""
        return [self.folder, *(self._tuned(*asked) for asked in self._tunings())]

    def answer(self) -> None:
        """Get all answers and leave them on disk; those that are there are not made again."""
        for source in self._sources:
            known = self._probed(source)
            missing = [name for name in self.judging.evaluators if name not in known]
            if missing:
                found = evaluate_run(self.folder, missing, data=source, seed=self.seed)
                write_sealed(self._probe_file(source), {**known, **found["protocols"]})
        for fraction, source in self._tunings():
            tasks.train(self._fine_tuning(fraction, source))

    def scores(self) -> list[tuple[Score, str]]:
        """Return what was answered, each score with the full name of its protocol, from disk."""
        return [answer for source in self._sources for answer in self._read(source)]

    def _read(self, source: str | None) -> Iterator[tuple[Score, str]]:
        """Yield the answers on one data set."""
        metric, data = self.judging.metric, "" if source is None else Path(source).stem
        found = self._probed(source)
        for spec, evaluator in self.judging.evaluators.items():
            answer, protocol = found[spec]["inferences"][FEATURES], found[spec]["protocol"]
            for word, value in columns_of(evaluator, answer, metric).items():
                yield Score(f"{spec}-{word}" if word else spec, FEATURES, metric, value, data), protocol
        for fraction, of in self._tunings():
            if of == source:
                results = RunFolder(self._tuned(fraction, of)).read_results()
                name = f"{100 * fraction:.3g} % labels"
                yield head_score(results, name, metric, data), results["protocol"]

    @property
    def _sources(self) -> tuple[str | None, ...]:
        return (None, *self.judging.transfer)

    def _tunings(self) -> list[tuple[float, str | None]]:
        sources = self._sources if self.own_labels else self.judging.transfer
        return [(fraction, source) for source in sources for fraction in self.judging.label_fractions]

    def _probed(self, source: str | None) -> dict[str, Any]:
        """Return what probes have found so far on one data set, by protocol."""
        file = self._probe_file(source)
        return read_sealed(file, "delete it to ask again") if file.is_file() else {}

    def _probe_file(self, source: str | None) -> Path:
        return self.folder / ("probes.json" if source is None else f"probes-{Path(source).stem}.json")

    def _tuned(self, fraction: float, source: str | None) -> Path:
        where = "" if source is None else f"-{Path(source).stem}"
        return self.folder.with_name(f"{self.folder.name}-tuned{where}-{fraction:g}")

    def _fine_tuning(self, fraction: float, source: str | None) -> RunConfig:
        of_study, card, folder = to_flat(self.config), read_card(self.folder), self._tuned(fraction, source)
        session = {key: of_study[key] for key in ("device", "threads")}
        data = {key: of_study[key] for key in (*_SHARED, *_OWN)}
        if source is not None:
            data |= {"data": source, "image_size": max(card.image_size), "channels": card.channels}
        return override(
            self.judging.tuning, **data, **session, label_fraction=fraction, backbone=card.backbone,
            init=str(self.folder), seed=self.seed, name=folder.name, runs=str(folder.parent),
        )  # fmt: skip


def tuning_config(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Return how to fine-tune, from a flat mapping: plain training with labels unless it names another method.

    Raises:
        PretaskError: see `build_config`.
    """
    return from_flat({"method": "baseline", **values}, source)


def head_score(results: Mapping[str, Any], protocol: str, metric: str, data: str = "") -> Score:
    """Return the test score of a training with labels, by its default inference."""
    inference = results["default_inference"]
    value = float(results["inferences"][inference]["selected"]["test"][metric])
    return Score(protocol, inference, metric, value, data)
