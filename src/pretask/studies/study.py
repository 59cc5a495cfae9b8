"""What all studies have in common: a plan, trials that resume where they were stopped, a table and a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic

from rich.console import Console

from pretask.config.files import C, override
from pretask.data.parallel import usable_cpus
from pretask.data.splits.classes import ClassSplit
from pretask.errors import PretaskError
from pretask.io.documents import read_json_object, write_sealed
from pretask.io.files import make_folder, write_atomically, write_json
from pretask.io.locks import held
from pretask.options import Decision
from pretask.reports import write_study_report
from pretask.reports.curves import GATE, TASKS
from pretask.reports.study_table import study_tables
from pretask.reports.table import markdown_tables, print_tables
from pretask.studies.execute import execute
from pretask.studies.execution import Execution
from pretask.studies.executors import create_executor
from pretask.studies.plan import Cell, Plan, Variant, cell_config, check_seeds, make_plan, parse_variants
from pretask.studies.rows import RUNS, Control, Done, rows_of, summarise, write_rows
from pretask.studies.trials import LOCKS, Results, Trial
from pretask.training.data import IMAGES, D, fix_version, same_images
from pretask.training.device import available_threads, choose_precision, hardware, resolve_device
from pretask.training.display import say
from pretask.training.run_folder import RunFolder, describe_environment, folder_name

DECIDED = "decided.json"


class Study(ABC, Generic[C]):
    """Variants x seeds on the same splits, at equal length and, where asked for, at equal compute.

    Args:
        config: what all runs share; the key that names a variant is replaced, the seed is the first.
        methods: variants, each with settings of its own where wanted.
        seeds: runs of each.

    Attributes:
        prefix: of the folder's name where the user gives none.
        decided: what was chosen for all runs where the configuration leaves it open.
        plan, folder: of the study, once it runs.

    Raises:
        PretaskError: numbers out of range, no seed, or methods that do not exist.
    """

    prefix: ClassVar[str] = "compare"
    decided: tuple[Decision, ...] = ()
    plan: Plan
    folder: Path

    def __init__(self, config: C, methods: Sequence[str], seeds: int) -> None:
        check_seeds(seeds)
        self.config, self.seeds = fix_version(config), seeds  # all trials see the same images
        self.variants = parse_variants(methods, self.config)

    def run(self, equal_compute: bool, execution: Execution, console: Console | None) -> dict[str, Any]:
        """Run the study, or resume one that was stopped.

        Args:
            equal_compute: also give cheaper methods the passes of the most expensive one.
            execution: where trials are made, and how many at a time.
            console: for progress and the table.

        Returns:
            the content of `study.json`, with "folder" and "failures".

        Raises:
            PretaskError: a plan that cannot be run. Runs that fail do not stop the others.
            Interrupted: the user stopped the study.
        """
        executor = create_executor(execution, self.config.session.device)
        if self.at_hand and not executor.in_process:
            raise PretaskError(
                "data given as objects cannot leave this process: take the local executor with one job, or give a "
                "name or a path"
            )
        work = self.work()
        self.plan = make_plan(self.config, self.variants, self.seeds, work if equal_compute else None)
        self.folder = self._place(self.data_name)
        config, decided = decide_once(self.config, executor.threads, execution, self.folder)
        self.decided = (*self.decided, *decided)
        trials = self.trials(config)
        if console is not None:
            self._announce(trials, console)
        failures = execute(trials, executor, self.folder, console)
        study = {**self._provenance(), **self._found(), "failures": failures}
        tables = study_tables(study["rows"], study["reference"], study["selection"])
        if console is not None:
            print_tables(tables, console)
        write_sealed(self.folder / "study.json", study)
        table = markdown_tables(tables)
        write_atomically(self.folder / "table.md", lambda path: path.write_text(table, encoding="utf-8"))
        report = write_study_report(study, self.folder / "report.html")
        if console is not None:
            say(console, f"report: {report}")
        return {**study, "folder": str(self.folder)}

    def _place(self, data_name: str) -> Path:
        """Return the folder of the study on data of such a name."""
        session = self.config.session
        return Path(session.runs) / folder_name(session.name, f"{self.prefix}-{data_name}")

    def _same_images(self, data: D) -> D:
        """Return data, not split, as the study found it at its first start; see `same_images`."""
        folder = self._place((data.train if isinstance(data, ClassSplit) else data).name)
        make_folder(folder, "another --runs folder")
        with held(folder / LOCKS / f"{IMAGES}.lock", wait=True):
            if not any(folder.glob("*/config.yaml")):  # of a study that was refused before its first run
                (folder / IMAGES).unlink(missing_ok=True)
            return same_images(self.config, data, folder, new=True)

    @property
    def at_hand(self) -> bool:
        """Whether data is given as objects, which stay in this process."""
        return False

    @property
    @abstractmethod
    def data_name(self) -> str:
        """Of what the study is about."""

    @abstractmethod
    def work(self) -> Mapping[Variant, float]:
        """Return what an epoch, or step, of each variant costs, in any unit."""

    @abstractmethod
    def trials(self, config: C) -> list[Trial]:
        """Return what there is to do under `config`; `plan` and `folder` are set."""

    @abstractmethod
    def done(self, results: Mapping[Cell, dict[str, Any]]) -> Mapping[Cell, Done]:
        """Return the runs that are finished with all that is asked of them, from the `results.json` of each."""

    def controls(self) -> Sequence[Control]:
        """Return what is compared beside the variants."""
        return ()

    def facts(self, results: Mapping[Cell, dict[str, Any]]) -> dict[str, Any]:
        """Return what a report says of the study beyond its rows and curves."""
        any_result = next(iter(results.values()))
        return {key: any_result.get(key) for key in ("data", "backbone", "protocol", "selection")}

    def cells(self, config: C) -> dict[Cell, tuple[C, RunFolder]]:
        """Return the configuration and the run folder of each cell of the plan.

        Raises:
            PretaskError: a folder holds a run of other settings, which is not this study's.
        """
        cells = {}
        for cell in self.plan.cells():
            settings = cell_config(config, cell, str(self.folder))
            run = RunFolder(self.folder / cell.name)
            if run.begun:
                run.open(settings, free=("threads",))  # with another number, its results count all the same
            cells[cell] = (settings, run)
        return cells

    def trial(self, name: str, results: Results, work: Callable[[], str], folders: Sequence[Path]) -> Trial:
        """Return a trial of this study, see `Trial`; `folder` is set."""
        return Trial(name, self.folder / LOCKS / f"{name}.lock", results, work, tuple(folders))

    def _found(self) -> dict[str, Any]:
        """Return what the study found, from disk; write its rows.

        Raises:
            PretaskError: no run finished.
        """
        folders = {cell: RunFolder(self.folder / cell.name) for cell in self.plan.cells()}
        results = {cell: run.read_results() for cell, run in folders.items() if run.finished}
        rows = rows_of(self.plan, self.done(results), self.controls())
        if not rows:
            raise PretaskError(f"no run of the study in {self.folder} finished: see the messages above")
        write_rows(self.folder / RUNS, rows)
        return {
            **self.facts(results),
            "rows": summarise(rows, self.plan.reference.name),
            "curves": [
                curve(cell, folders[cell].read_metrics(), self.plan.budgets(cell)) for cell in results
            ],
        }

    def _announce(self, trials: Sequence[Trial], console: Console) -> None:
        finished = sum(trial.finished for trial in trials)
        done = f", {finished} already finished" if finished else ""
        counts = f"{len(self.plan.variants)} methods x {len(self.plan.seeds)} seeds, {len(trials)} runs"
        say(console, f"study {self.folder}: {counts}{done}")
        for made in self.decided:
            if made.reason:
                say(console, f"decided {made.line()}")

    def _provenance(self) -> dict[str, Any]:
        environment = describe_environment(hardware(resolve_device(self.config.session.device)))
        return {
            "name": self.folder.name,
            "command": environment.pop("command"),
            "created": environment.pop("started"),
            "environment": environment,
            "seeds": list(self.plan.seeds),
            "reference": self.plan.reference.name,
            "unit": self.plan.unit,
        }


def _with_threads(config: C, threads: int | None) -> C:
    """Return a configuration whose runs use so many threads, unless it names its own number."""
    if threads is None or config.session.threads is not None:
        return config
    return override(config, threads=threads)


def decide_once(
    config: C, threads: int | None, execution: Execution, folder: Path
) -> tuple[C, tuple[Decision, ...]]:
    """Return the configuration with what results on a CPU depend on decided, as the first start of the study did.

    All runs of a study are made alike, whenever and by whomever they are begun, and however many at a time: in one
    precision, with one number of threads. GPUs of one kind all decide alike; what the machines of a cluster have is not
    known here, unless `--device cpu` is given: their runs decide for themselves.

    Args:
        config: of the study; what it names is left as it is.
        threads: that a run would have now; None for all that there are.
        execution: says where runs are made, and how many at a time.
        folder: of the study.

    Returns:
        the configuration, and what was decided.

    Raises:
        PretaskError: what was decided cannot be read or written.
    """
    session = config.session
    known = execution.executor == "local" or session.device == "cpu"
    device = resolve_device(session.device) if known else None
    if device is None or device.type != "cpu":
        return _with_threads(config, threads), ()
    jobs, cpus = execution.jobs or 1, usable_cpus()
    share = f"{'all' if jobs == 1 else 'a share'} of {cpus} CPUs"
    lasting = "results depend on it, --threads fixes it for any --jobs"
    now = Decision("threads", threads or available_threads(), f"{share}; {lasting}")
    found = [made for made in (choose_precision(device), now) if getattr(session, made.key) in ("auto", None)]
    if not found:
        return config, ()
    path = folder / DECIDED
    with held(folder / LOCKS / f"{DECIDED}.lock", wait=True):
        saved = (
            read_json_object(path, f"delete {path}, and the study decides again") if path.is_file() else {}
        )
        missing = {made.key: made.value for made in found if made.key not in saved}
        if missing:
            write_json(path, {**saved, **missing})
    found = [
        made
        if made.key in missing
        else replace(made, value=saved[made.key], reason="as when the study began")
        for made in found
    ]
    config = override(config, **{made.key: made.value for made in found})
    if now.key not in missing and (busy := jobs * (config.session.threads or 1)) > cpus:
        slow = f"as when the study began; {busy} threads hinder each other on {cpus} CPUs, type fewer --jobs"
        found = [replace(made, reason=slow) if made.key == now.key else made for made in found]
    return config, tuple(found)


def curve(cell: Cell, records: Sequence[Mapping[str, Any]], budgets: Sequence[str]) -> dict[str, Any]:
    """Return the training curves of one run, over epochs or steps as the cell's length is counted.

    "gate" has each task's weights, where the method has a gate, "tasks" the accuracies of auxiliary heads; "budgets"
    are those that the run belongs to.
    """
    validated = [r for r in records if r.get("validation")]
    at = cell.unit.removesuffix("s")
    gate, tasks = GATE.read(records), TASKS.read(records)
    return {
        "method": cell.method,
        "seed": cell.seed,
        "budgets": list(budgets),
        "at": [r[at] for r in records],
        "train_loss": [r["train"]["loss"] for r in records],
        "train_accuracy": [r["train"].get("accuracy") for r in records],
        "validation_at": [r[at] for r in validated],
        "validation_top1": [next(iter(r["validation"].values()))["top1"] for r in validated],
        **({"gate": gate} if gate else {}),
        **({"tasks": tasks} if tasks else {}),
    }
