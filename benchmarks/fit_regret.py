"""What choosing cost a job of `pretask fit`: its winner beside its other candidates, all trained for the full time.

Takes the folder of a finished job. Every network it tried trains plainly, and every way of learning on the winner's
network, each for as long as the winner did, on the same images, with several seeds; the test images judge them. The
regret is the best candidate's mean less the winner's. Finished trainings are not made again.

    pretask fit photos --time 5m
    python benchmarks/fit_regret.py runs/fit-photos --seeds 3 --out regret.csv
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import rows

from pretask import tasks
from pretask.config.files import from_flat, override
from pretask.fitting.plan import Candidate
from pretask.fitting.state import FILE
from pretask.fitting.trainings import Trainings
from pretask.io.documents import read_sealed
from pretask.statistics import mean_std
from pretask.studies.plan import parse_variants
from pretask.training.data import split_seed
from pretask.training.device import resolve_device

COLUMNS = ("job", "candidate", "seed", "seconds", "top1", "n")


def candidates(state: dict[str, Any]) -> list[Candidate]:
    """Return the winner, the other networks of the race, and the other ways of learning on the winner's."""
    winner = Candidate(**state["final"]["winner"])
    networks = [Candidate(**network) for network in state["plan"]["networks"]]
    ways = [replace(winner, way=way) for way in state["plan"]["ways"]]
    return list(dict.fromkeys([winner, *networks, *ways]))


def main() -> None:
    """Make all trainings that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("regret.csv"))
    asked = parser.parse_args()
    state = read_sealed(asked.job / FILE, "give the folder of a finished job")
    asked_then = dict(state["asked"])
    ways = asked_then.pop("methods")
    del asked_then["time"]
    base = override(from_flat(asked_then), **state["look"])
    device = resolve_device(base.session.device)
    variants = {variant.name: variant for variant in parse_variants(ways, base)}
    trainings = Trainings(base, variants, None, device)
    known: list[dict[str, Any]] = [*rows.read(asked.out)]
    done = {(row["job"], row["candidate"], row["seed"]) for row in known}
    for seed in range(asked.seeds):
        for candidate in candidates(state):
            if (asked.job.name, candidate.name, str(seed)) not in done:
                row = train(trainings, candidate, seed, state, asked.job)
                known.append(row)
                rows.append(asked.out, COLUMNS, row)
    show([row for row in known if row["job"] == asked.job.name], candidates(state)[0].name)


def train(
    trainings: Trainings, candidate: Candidate, seed: int, state: dict[str, Any], job: Path
) -> dict[str, Any]:
    """Train a candidate for as long as the winner had, and return its row."""
    final = state["final"]
    config = trainings.config(
        candidate,
        epochs=1000,
        max_seconds=final["seconds"],
        learn_from=final["learn_from"],
        selection="last",
        threads=final["threads"],
        seed=seed,
        split_seed=split_seed(trainings.base),
        name=f"{candidate.folder}-seed{seed}",
        runs=str(job / "regret"),
    )
    results = tasks.train(config, trainings.data(candidate.image_size), report=False)
    test = results["inferences"][results["default_inference"]]["selected"]["test"]
    found = (job.name, candidate.name, str(seed), round(final["seconds"]), round(test["top1"], 4), test["n"])
    return dict(zip(COLUMNS, found, strict=True))


def show(made: list[dict[str, Any]], winner: str) -> None:
    """Print mean and standard deviation of every candidate, and the regret."""
    of: dict[str, list[float]] = {}
    for row in made:
        of.setdefault(row["candidate"], []).append(100 * float(row["top1"]))
    found = {name: mean_std(values) for name, values in of.items()}
    for name, (mean, std) in sorted(found.items(), key=lambda entry: -entry[1][0]):
        spread = "" if std is None else f" ± {std:.1f}"
        print(f"{name:<40} {mean:5.1f}{spread} % of {len(of[name])} seed(s){'  winner' * (name == winner)}")
    print(f"regret {max(mean for mean, _ in found.values()) - found[winner][0]:.1f} points")


if __name__ == "__main__":
    main()
