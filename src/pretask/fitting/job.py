"""The job from beginning to end: look, plan, race, train the winner, judge it, report."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask import tasks
from pretask.config.files import override, to_flat
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.evaluation.calibration import FEWEST_IMAGES
from pretask.fitting.judging import judge, worth
from pretask.fitting.plan import (
    LAST_SHARE,
    SHORTEST,
    WAYS,
    Candidate,
    affordable,
    chosen,
    counted,
    fewest_epochs,
    handicap,
    likeliest_first,
    plan_race,
    sensible_seconds,
)
from pretask.fitting.state import State
from pretask.fitting.trainings import Cost, Trainings
from pretask.io.files import make_folder
from pretask.io.locks import held
from pretask.reports.fit_report import race_table, write_fit_report
from pretask.reports.table import print_tables
from pretask.studies.execute import execute
from pretask.studies.execution import ONE_AT_A_TIME, Execution
from pretask.studies.executors import create_executor
from pretask.studies.plan import parse_variants
from pretask.studies.trials import LOCKS, Trial
from pretask.tasks.foresee import FORWARD_SHARE
from pretask.training.data import fix_version
from pretask.training.device import available_threads, prepare_host, resolve_device, resolve_precision
from pretask.training.display import in_minutes, say
from pretask.training.guest import as_guest
from pretask.training.run_folder import RunFolder, describe_environment, folder_name

REPORT = "fit.html"
RACE = "race"
_LOOK, _PLAN, _FINAL, _TRUST = "look", "plan", "final", "trust"
_BY_TIME = ("epochs", "steps", "max_seconds", "learn_from", "test", "selection", "eval_every")
"""Settings of a training that a job makes itself."""
_END_SECONDS = 5.0
"""For reports and files, after the last training."""
_SHORTEST_LAST = 5.0
"""Seconds that the last training has at least, however late it is."""
_SPARE = 3
"""How many times as many epochs as the time is expected to allow the last training may have."""
_SPARED_SHARE = 0.12
"""Of training and validation images, up to which the last training spares the latter: they calibrate the model."""
_SET_UP_SECONDS = 1.5
"""What a training takes at least beside its steps and judging."""
_LOOK_SHARE = 0.1
"""Of the time, after which no more networks are measured."""
_PLENTY = 10
"""How many times the epochs that fit into its time a trial may have."""
_CURVE_POINTS = 4
_MANY_TO_JUDGE = 300
"""Validation images that are enough to choose by."""


@as_guest()
def fit(
    data: str | Path | ImageData,
    seconds: float | None = None,
    methods: Sequence[str] = WAYS,
    config: RunConfig | None = None,
    execution: Execution = ONE_AT_A_TIME,
    console: Console | None = None,
    started: float | None = None,
) -> dict[str, Any]:
    """Make the best classifier that the time allows, or resume a job that was stopped.

    Networks, sizes of images and ways of learning are tried on the training images and chosen on validation images;
    the winner trains in the time that is left, on both where validation images are many of all; else these calibrate
    its probabilities. The test images judge it once.

    Args:
        data: what `load_data` takes.
        seconds: for everything; chosen by the number of images where not given.
        methods: ways of learning to try, each with settings of its own where wanted; the baseline is the control.
        config: whatever else is to be so and not otherwise; backbone and image size are tried where they are open.
        execution: where trials are made, and how many at a time.
        console: for progress, tables and the verdict.
        started: when the clock began, as `time.time` has it; now where not given.

    Returns:
        what was found: "folder" (the model's), "plan", "rounds", "winner", "worth", "test", "seconds" and more.

    Raises:
        PretaskError: data that cannot be read, a method that does not exist, or a folder of another job.
        Interrupted: the user stopped it; the same call resumes it.
    """
    asked = config or RunConfig()
    if not isinstance(data, ImageData):
        asked = override(asked, data=str(data))
    job = Job(asked, seconds, methods, execution, console, clock.time() if started is None else started)
    return job.run(data if isinstance(data, ImageData) else None)


class Job:
    """One job and its folder; see `fit`."""

    def __init__(
        self,
        asked: RunConfig,
        seconds: float | None,
        methods: Sequence[str],
        execution: Execution,
        console: Console | None,
        started: float,
    ) -> None:
        _check_open(asked)
        self.asked = fix_version(asked)
        self.variants = {variant.name: variant for variant in parse_variants(methods, self.asked)}
        self.execution, self.console = execution, console
        self.seconds, self.started = seconds, started
        self.executor = create_executor(execution, asked.session.device)
        self.device = resolve_device(asked.session.device)
        self.threads, self.all_threads = asked.session.threads or self.executor.threads, available_threads()

    def run(self, given: ImageData | None) -> dict[str, Any]:
        """Do all phases that are not done; see `fit`."""
        prepare_host(self.threads, self.device)
        self.trainings = Trainings(self.asked, self.variants, given, self.device)
        session = self.asked.session
        self.folder = Path(session.runs) / folder_name(session.name, f"fit-{self.trainings.raw.name}")
        make_folder(self.folder, "another --runs folder")
        with held(self.folder / LOCKS / "job.lock", wait=True):
            self.trainings.begin(self.folder)
            asked = {k: v for k, v in to_flat(self.asked).items() if k not in ("runs", "workers")}
            asked = {key: list(v) if isinstance(v, tuple) else v for key, v in asked.items()}
            asked |= {"methods": list(self.variants), "time": self.seconds}
            self.state = State(self.folder, asked, self.started)
            self._look()
            self._plan()
            winner = self._race()
            self._train(winner)
            return self._end(winner)

    # -- look -------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Say what there is, and fix what all trials share."""
        if _LOOK not in self.state:
            raw = self.trainings.raw
            images = len(raw.train)
            own = raw.validation is not None or self.asked.data.validation != RunConfig().data.validation
            share = (
                self.asked.data.validation if own else min(0.25, max(0.1, round(_MANY_TO_JUDGE / images, 2)))
            )
            precision = resolve_precision(self.asked.session.precision, self.device)
            self.state.keep(_LOOK, {"validation": share, "precision": precision})
        found = self.state[_LOOK]
        self.trainings.base = override(
            self.asked, validation=found["validation"], precision=found["precision"]
        )
        self.data = self.trainings.split(self.trainings.raw)
        self._say("data", self.data.summary())
        for made in self._decisions():
            self._say("decided", made)
        for note in self.data.notes:
            self._say("note", note)

    def _decisions(self) -> list[str]:
        """Return what was decided on the images, but for their size, which the race decides."""
        return [made.line() for made in self.data.decisions if made.key != "image_size"]

    # -- plan -------------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Measure what each network costs on this machine, and share out the time."""
        if _PLAN not in self.state:
            total = self.seconds or sensible_seconds(len(self.data.train))
            images = counted(len(self.data.train))
            measured = self._costs(images, total)
            costs = {candidate: cost.seconds for candidate, cost in measured.items()}
            left = max(SHORTEST, total - self.state.spent - _END_SECONDS)
            pays = self.trainings.networks()
            networks = affordable(costs, [pays[c] for c in costs], images, left * LAST_SHARE)
            cost = costs[networks[0]]  # the likeliest network says what a trial takes
            overhead = self._overhead(cost)
            judged = self.data.validation is not None
            epochs = left * LAST_SHARE / (cost * images)
            ways = likeliest_first(list(self.variants), epochs)
            if not judged:
                networks, ways = networks[:1], ways[:1]
            race = plan_race(networks, ways, cost * images, left, overhead)
            if not race.rounds:  # then the last training has all of the time
                networks = affordable(costs, [pays[c] for c in costs], images, left)[:1]
                epochs = left / (costs[networks[0]] * images)
                ways = likeliest_first(list(self.variants), epochs)[:1]
            self.state.keep(
                _PLAN,
                {
                    "seconds": total,
                    "images": len(self.data.train),
                    "costs": {c.network: cost for c, cost in costs.items()},
                    "threads": {c.network: cost.threads for c, cost in measured.items()},
                    "overhead": overhead,
                    "race_ends": total - _END_SECONDS - left * LAST_SHARE,
                    "networks": [asdict(c) for c in (race.networks if race.rounds else networks)],
                    "ways": race.ways if race.rounds else ways,
                    "epochs": epochs,
                    "rounds": [asdict(r) for r in race.rounds],
                    "short": race.short,
                },
            )
        plan = self.state[_PLAN]
        by_images = "" if self.seconds else f", chosen for {plan['images']:,} images (--time changes it)"
        self._say("time", f"{in_minutes(plan['seconds'])}{by_images}")
        networks = [Candidate(**c) for c in plan["networks"]]
        threads = self._threads(networks[0])
        if self.threads is None and threads is not None and threads < self.all_threads:
            self._say("decided", f"threads {threads}: a step takes longer with all {self.all_threads}")
        names = ", ".join(c.network for c in networks)
        if plan["rounds"]:
            self._say("plan", f"networks to try: {names}; ways of learning: {', '.join(plan['ways'])}")
            return
        why = "no validation images to choose by" if self.data.validation is None else "nothing to choose"
        if plan["short"]:
            longer = in_minutes(plan["seconds"] + plan["short"])
            why = f"too short to compare ways of learning, which would take {longer} in all"
        self._say("plan", f"{why}: {names}, {plan['ways'][0]} is trained")

    def _costs(self, images: int, total: float) -> dict[Candidate, Cost]:
        """Return what networks cost, the cheapest first, until they are too expensive."""
        costs: dict[Candidate, Cost] = {}
        threads = self.all_threads if self.threads is None else None
        for candidate, epochs in self.trainings.networks().items():
            costs[candidate] = self.trainings.cost(candidate, threads)
            too_much = costs[candidate].seconds * images * fewest_epochs(epochs) > total * LAST_SHARE
            if too_much or self.state.spent > _LOOK_SHARE * total:
                break
        return costs

    def _overhead(self, image_seconds: float) -> float:
        """Return about what a trial takes beside its training, in seconds: its set-up, and judging."""
        judged = (_CURVE_POINTS + 2) * self._judges
        return _SET_UP_SECONDS + judged * image_seconds / FORWARD_SHARE

    # -- race -------------------------------------------------------------------------------------------------------

    def _race(self) -> Candidate:
        """Make all rounds; return the winner."""
        plan = self.state[_PLAN]
        arms = [Candidate(**c) for c in plan["networks"]]
        best = replace(arms[0], way=plan["ways"][0])
        stage = "network"
        for number, of_round in enumerate(plan["rounds"]):
            if of_round["stage"] != stage:
                stage, arms = of_round["stage"], [replace(best, way=way) for way in plan["ways"]]
            found = self._round(number, of_round, arms)
            if found:
                seconds = self.state[f"round{number}"]["seconds"]
                scores = [self._score(c, found[c.name]["top1"], seconds) for c in arms]
                arms = [arms[i] for i in chosen(scores, self._judges, of_round["keep"])]
            best = arms[0] if stage == "learning" else replace(arms[0], way=plan["ways"][0])
        if self.console is not None and plan["rounds"]:
            print_tables([race_table(self._rounds())], self.console)
        return best

    def _rounds(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return what the rounds found, those before number `before`, or all."""
        count = len(self.state[_PLAN]["rounds"]) if before is None else before
        return [self.state[f"round{n}"] for n in range(count)]

    @property
    def _judges(self) -> int:
        """How many images candidates are compared by."""
        return 0 if self.data.validation is None else len(self.data.validation)

    def _score(self, candidate: Candidate, top1: float, seconds: float) -> float:
        """Return the share of right answers by which a candidate is chosen, with its handicap; below 0 if it failed."""
        plan = self.state[_PLAN]
        epochs = seconds / (plan["costs"][candidate.network] * counted(plan["images"]))
        return top1 if top1 < 0 else top1 + handicap(self.trainings.passes(candidate), epochs, plan["epochs"])

    def _round(self, number: int, of_round: dict[str, Any], arms: Sequence[Candidate]) -> dict[str, Any]:
        """Train every candidate for the round's time, and return what each reached on the validation images.

        A round for which no time is left finds nothing.
        """
        phase, begun = f"round{number}", f"begun{number}"
        if begun not in self.state:
            self.state.keep(begun, self._seconds_left(number))
        seconds: float = self.state[begun]
        if phase not in self.state and not seconds:
            self._say("race", f"round {number + 1}, {of_round['stage']}: left out, its time is over")
            self.state.keep(phase, {**of_round, "seconds": 0.0, "found": {}, "failures": []})
        elif phase not in self.state:
            self._say("race", f"round {number + 1}, {of_round['stage']}: {len(arms)} x {seconds:.0f} s")
            configs = {c: self._trial_config(number, seconds, c) for c in arms}
            started = clock.time()
            # So that images are decoded once for a size.
            by_size = sorted(configs, key=lambda c: c.image_size or 0)
            trials = [self._trial(configs[c]) for c in by_size]
            failures = execute(trials, self.executor, self.folder, self.console)
            overhead = (clock.time() - started) / len(arms) - seconds
            found = {}
            for candidate, config in configs.items():
                run = _run_of(config)
                if run.finished:
                    found[candidate.name] = {**_scores(run), "image_size": candidate.image_size}
            if not found:
                raise PretaskError(f"no candidate could be trained: {'; '.join(failures)}")
            missing = {c.name: {"top1": -1.0} for c in arms if c.name not in found}
            kept = {**of_round, "seconds": seconds, "overhead": overhead, "found": {**found, **missing}}
            self.state.keep(phase, {**kept, "failures": failures})
        result: dict[str, Any] = self.state[phase]["found"]
        return result

    def _seconds_left(self, number: int) -> float:
        """Return how long each trial of a round may train: as planned, or less where the race is late.

        It is 0 where it would be less than half of what was planned, which would say too little.
        """
        plan = self.state[_PLAN]
        rounds = plan["rounds"]
        overhead: float = [
            plan["overhead"],
            *(r["overhead"] for r in self._rounds(number) if "overhead" in r),
        ][-1]
        left: float = plan["race_ends"] - self.state.spent
        planned: float = rounds[number]["seconds"]
        shares = [(float(r["seconds"]) + overhead) * r["arms"] for r in rounds[number:]]
        seconds: float = left * shares[0] / sum(shares) / rounds[number]["arms"] - overhead
        return min(planned, seconds) if seconds >= planned / 2 else 0.0

    def _trial_config(self, number: int, seconds: float, candidate: Candidate) -> RunConfig:
        epochs = max(1, round(seconds / (self._cost(candidate) * len(self.data.train))))
        return self.trainings.config(
            candidate,
            # The clock ends it: all candidates have the same time, however rough the timing.
            epochs=_PLENTY * epochs,
            max_seconds=seconds,
            test=False,
            eval_every=max(1, round(epochs / _CURVE_POINTS)),
            threads=self._threads(candidate),
            name=f"round{number + 1}-{candidate.folder}",
            runs=str(self.folder / RACE),
        )

    def _trial(self, config: RunConfig) -> Trial:
        run = _run_of(config)
        work = partial(_train_candidate, config, self.trainings.given)
        if self.executor.in_process:
            work = partial(self._train_here, config)
        return Trial(run.path.name, self.folder / LOCKS / f"{run.path.name}.lock", run, work, (run.path,))

    def _train_here(self, config: RunConfig) -> str:
        return _train_candidate(config, self.trainings.data(config.data.image_size))

    # -- last training ----------------------------------------------------------------------------------------------

    def _train(self, winner: Candidate) -> None:
        """Train the winner in the time that is left, on the validation images too where these are many of all."""
        data = self.trainings.data(winner.image_size)  # decoded before the time that is left is counted
        if _FINAL not in self.state:
            threads = self._last_threads(winner)
            left = self.state[_PLAN]["seconds"] - self.state.spent - _SET_UP_SECONDS - _END_SECONDS
            last_time = max(_SHORTEST_LAST, left - self._test_seconds(winner))
            images = len(self.data.train)
            spared = self._judges >= FEWEST_IMAGES and self._judges <= _SPARED_SHARE * (images + self._judges)
            images += 0 if spared else self._judges
            # The clock ends it: a few more epochs than there is time for cost nothing.
            epochs = math.ceil(_SPARE * last_time / (self._real_cost(winner) * images))
            learn_from = "train" if spared else "all"
            kept = {
                "winner": asdict(winner),
                "epochs": epochs,
                "seconds": last_time,
                "learn_from": learn_from,
                "threads": threads,
            }
            self.state.keep(_FINAL, kept)
        final = self.state[_FINAL]
        config = self.trainings.config(
            winner,
            epochs=final["epochs"],
            max_seconds=final["seconds"],
            learn_from=final["learn_from"],
            selection="last",
            threads=final["threads"],
            name=self.folder.name,
            runs=str(self.folder.parent),
        )
        shown = "all images but the test images"
        if final["learn_from"] == "train":
            shown = "the training images (those of validation calibrate its probabilities)"
        self._say("winner", f"{winner.name}: trains on {shown} for {in_minutes(final['seconds'])}")
        prepare_host(final["threads"], self.device)
        tasks.train(config, data, self.console)

    def _cost(self, candidate: Candidate) -> float:
        """Return about the seconds that a candidate takes for an image in training, as measured before the race."""
        of_network: float = self.state[_PLAN]["costs"][candidate.network]
        return of_network * self.trainings.passes(candidate)

    def _threads(self, candidate: Candidate) -> int | None:
        """Return with how many threads a trial of a candidate is made; None where it does not matter."""
        quickest: int | None = self.state[_PLAN]["threads"][candidate.network]
        return self.threads or quickest

    def _last_threads(self, winner: Candidate) -> int | None:
        """Return with how many threads the last training is made, which is alone in this process."""
        if self.executor.in_process or self.asked.session.threads is not None:
            return self._threads(winner)
        return self.trainings.cost(winner, self.all_threads).threads

    def _real_cost(self, winner: Candidate) -> float:
        """Return the seconds for an image in the winner's longest trial; without one, what was measured before."""
        found = [r["found"][winner.name] for r in self._rounds() if winner.name in r["found"]]
        return float(found[-1]["image_seconds"]) if found else self._cost(winner)

    def _test_seconds(self, winner: Candidate) -> float:
        """Return about what judging takes at the end."""
        return 0.0 if self.data.test is None else 3 * self._real_cost(winner) * len(self.data.test)

    # -- end --------------------------------------------------------------------------------------------------------

    def _end(self, winner: Candidate) -> dict[str, Any]:
        """Judge the model, write the report, and say how to use it."""
        if _TRUST not in self.state:
            data = self.trainings.splits(winner.image_size)
            test = judge(self.folder, data, self.data, self.device)
            found = worth(self._rounds(), self.folder / RACE, self.trainings.splits, self.device)
            self.state.keep(_TRUST, {"test": test, "worth": found, "data": data.facts()})
        found = {
            "folder": str(self.folder),
            "name": self.folder.name,
            "command": describe_environment({})["command"],
            "decisions": self._decisions(),
            "plan": self.state[_PLAN],
            "rounds": self._rounds(),
            "winner": winner.name,
            "final": {**self.state[_FINAL], "epochs": RunFolder(self.folder).read_results()["epochs"]},
            **self.state[_TRUST],
            "seconds": self.state["spent"],
        }
        report = write_fit_report(self.folder / REPORT, found)
        self._say("worth", found["worth"]["words"])
        self._say("test", found["test"]["words"])
        self._say("time", f"{in_minutes(found['seconds'])} of {in_minutes(self.state[_PLAN]['seconds'])}")
        self._say("report", str(report))
        self._say("next", f"pretask predict {self.folder} NEW_PICTURES")
        return found

    def _say(self, what: str, words: str) -> None:
        say(self.console, f"{what:<9} {words}")


def _check_open(asked: RunConfig) -> None:
    """Refuse settings that the time decides.

    Raises:
        PretaskError: one of them is given.
    """
    given, standard = to_flat(asked), to_flat(RunConfig())
    for key in _BY_TIME:
        if given[key] != standard[key]:
            raise PretaskError(
                f"fit decides {key} itself, within its time: drop --{key.replace('_', '-')}, or type `pretask train`"
            )


def _run_of(config: RunConfig) -> RunFolder:
    return RunFolder(Path(config.session.runs) / str(config.session.name))


def _train_candidate(config: RunConfig, data: ImageData | None) -> str:
    """Make one trial; return a line about it."""
    results = tasks.train(config, data, report=False)
    top1 = results["inferences"][results["default_inference"]]["selected"]["validation"]["top1"]
    return f"validation {100 * top1:.1f} % ({results['seconds']:.0f} s)"


def _scores(run: RunFolder) -> dict[str, Any]:
    """Return what is kept of a trial: its accuracy, its curve, what it learned beside the labels, what it cost."""
    results, records = run.read_results(), run.read_metrics()
    inference = results["default_inference"]
    validated = [record for record in records if record.get("validation")]
    return {
        "top1": results["inferences"][inference]["selected"]["validation"]["top1"],
        "inference": inference,
        "folder": run.path.name,
        "seconds": results["seconds"],
        "steps": records[-1]["step"],
        "image_seconds": results["seconds"] / max(1, results["images"]),
        "epochs": results["epochs"],
        "curve": [[r["seconds"], next(iter(r["validation"].values()))["top1"]] for r in validated],
        "pretext": records[-1]["train"].get("pretext_accuracy"),
    }
