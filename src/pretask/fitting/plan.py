"""What a job tries in its time: networks at sizes first, then ways of learning, each by successive halving."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretask.errors import PretaskError

NETWORKS = (
    ("resnet20", 48, 8),
    ("wrn-16-2", 48, 25),
    ("wrn-16-2", 64, 60),
    ("wrn-16-4", 64, 60),
    ("resnet18", 96, 60),
    ("resnet18", 128, 60),
)
"""Networks and sizes of images to train from scratch, the cheapest first, each with the epochs from which it pays."""
TUNED_SIZES = (96, 128, 160, 224)
"""Sizes of images to fine-tune at."""
WAYS = ("baseline", "lorot", "sla-fast", "sla-fast:pretexts=color")
"""Ways of learning: the control first, then one that costs no more, then those that see several views."""
LONG_EPOCHS, MEDIUM_EPOCHS = 60, 30
"""Epochs of plain training in whose time sla-fast, and lorot, have proved best."""
HANDICAP = 0.1
"""By what share of right answers ways of learning that see several views may be behind in a trial of no length, to be
ahead in a long training."""
LARGEST = 224
"""Side of images above which nothing is tried."""

RACE_SHARE = 0.4
"""Of the time for training: for the race, where one can be paid for."""
LAST_SHARE = 1 - RACE_SHARE
"""Of the time for training: for the winner."""
NETWORK_SHARE, MANY_TRIALS = 0.4, 6
"""Of the race: to choose a network, once the race has room for so many good trials."""
FEW_IMAGES = 768
"""As many are counted in an epoch at least, which makes 48 steps of the smallest batch: few images need more epochs."""
FEWEST_EPOCHS, TUNED_EPOCHS = 8, 4
"""Passes over the images without which no network is worth a trial, unless it pays from fewer, as one with published
weights does."""
GOOD_EPOCHS, LEAST_EPOCHS = 16, 8
"""Passes over the images (plain ones: a way of learning that costs twice makes half as many) that a good trial has, and
without which a trial says nothing of longer trainings."""
SHORTEST = 6.0
"""Seconds that a planned trial trains at least."""
SHORTEST_BUDGET = 10.0
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


@dataclass(frozen=True)
class Candidate:
    """One way to the classifier.

    Attributes:
        backbone: its name.
        image_size: side in pixels; None for the images' own.
        way: the method, with settings of its own where wanted, as in a study.
    """

    backbone: str
    image_size: int | None
    way: str

    @property
    def network(self) -> str:
        """Backbone and size, as tables show them."""
        return self.backbone + ("" if self.image_size is None else f" at {self.image_size}")

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"{self.network}, {self.way}"

    @property
    def folder(self) -> str:
        """The name of its folders."""
        return re.sub(r"[^\w.+-]+", "-", self.name)


@dataclass(frozen=True)
class Round:
    """Candidates that train for the same time.

    Attributes:
        stage: what is chosen: "network" or "learning".
        arms: how many candidates there are.
        keep: how many go on.
        seconds: of training, for each.
    """

    stage: str
    arms: int
    keep: int
    seconds: float


def seconds_of(text: str) -> float:
    """Return the seconds of "30m", "1h30m", "90s" or "90".

    Raises:
        PretaskError: another text, or less than 10 seconds.
    """
    found = _TIME.fullmatch(text.strip().lower().replace(" ", ""))
    parts = [float(part or 0) for part in found.groups()] if found else []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise PretaskError(f"--time {text} is not a time: type one as in 30m, 1h30m or 90s")
    if seconds < SHORTEST_BUDGET:
        raise PretaskError(f"--time {text} is too short to choose and train: type 10s or more")
    return seconds


def sensible_seconds(images: int) -> float:
    """Return the time to take where none is given: 10 minutes for 3,000 images, as their square root, 3 to 60."""
    minutes = min(60.0, max(3.0, 10 * math.sqrt(images / 3_000)))
    return 60.0 * round(minutes)


def halving(stage: str, arms: int, seconds: float, shortest: float, overhead: float) -> list[Round]:
    """Return the rounds of successive halving (Jamieson and Talwalkar, arXiv 1502.07943) over so many arms.

    Every round has the same time, so that half as many candidates train twice as long; there are as many rounds as
    leave each trial the shortest time.

    Args:
        stage: see `Round`.
        arms: candidates at the start.
        seconds: for all trials.
        shortest: of a trial's training.
        overhead: seconds of a trial beside its training.
    """
    rounds = max(1, math.ceil(math.log2(max(2, arms))))
    while rounds > 1 and seconds / rounds / arms - overhead < shortest:
        rounds -= 1
    made = []
    for left in range(rounds, 0, -1):
        keep = 1 if left == 1 else max(2, math.ceil(arms / 2))
        made.append(Round(stage, arms, keep, seconds / rounds / arms - overhead))
        arms = keep
    return made


def counted(images: int) -> int:
    """Return how many images an epoch is counted as; see `FEW_IMAGES`."""
    return max(FEW_IMAGES, images)


def fewest_epochs(pays: float) -> float:
    """Return the passes over the images without which a network that pays from so many is not worth a trial."""
    return min(pays, FEWEST_EPOCHS)


def affordable(
    costs: Mapping[Candidate, float], enough: Sequence[float], images: int, seconds: float
) -> list[Candidate]:
    """Return which networks are worth a trial, the likeliest first.

    The most expensive that can pass over the images often enough to pay comes first, then its neighbours in cost; those
    that cannot so often as to be worth a trial are left out, unless none can.

    Args:
        costs: seconds of each for one image, the cheapest first.
        enough: epochs from which each pays.
        images: to train on.
        seconds: of the last training.
    """
    epochs = {candidate: seconds / (cost * images) for candidate, cost in costs.items()}
    pays = [candidate for candidate, least in zip(costs, enough, strict=False) if epochs[candidate] >= least]
    first = list(costs).index(pays[-1]) if pays else 0
    worth = [c for c, pay in zip(costs, enough, strict=False) if epochs[c] >= fewest_epochs(pay)]
    possible = worth or list(costs)[:1]
    places = {candidate: abs(list(costs).index(candidate) - first) for candidate in possible}
    return sorted(possible, key=lambda candidate: (places[candidate], costs[candidate]))


def likeliest_first(ways: Sequence[str], epochs: float) -> list[str]:
    """Return ways of learning, the likeliest in the time of so many plain epochs first, then the control.

    Args:
        ways: the control first.
        epochs: of plain training in the time of the last training.
    """
    likeliest = "sla-fast" if epochs >= LONG_EPOCHS else "lorot" if epochs >= MEDIUM_EPOCHS else ways[0]
    return sorted(ways, key=lambda way: way != likeliest)


def handicap(passes: float, trial_epochs: float, last_epochs: float) -> float:
    """Return what is added to a trial's share of right answers, for the last training is longer.

    A way of learning that passes each image more than once learns more slowly, and goes further in a long training.

    Args:
        passes: of an image.
        trial_epochs, last_epochs: of plain training in the time of the trial, and of the last training.
    """
    if passes < 1.5 or last_epochs < LONG_EPOCHS:
        return 0.0
    return HANDICAP * max(0.0, 1 - trial_epochs / LONG_EPOCHS)


@dataclass(frozen=True)
class Race:
    """What is raced.

    Attributes:
        networks: candidates for the network, the likeliest first.
        ways: of learning, the likeliest first.
        rounds: in their order; none where there is nothing to choose, or no time to.
        short: seconds that are missing for a race, 0 where none are.
    """

    networks: list[Candidate]
    ways: list[str]
    rounds: list[Round]
    short: float = 0.0


def plan_race(
    networks: Sequence[Candidate], ways: Sequence[str], epoch_seconds: float, seconds: float, overhead: float
) -> Race:
    """Return the race that the time allows: few candidates in long trials rather than many in short ones.

    Short trials prefer what learns fast to what learns well, so ways of learning are not compared in less than
    `LEAST_EPOCHS` passes over the images; the network is raced once there is room for `MANY_TRIALS` good trials.

    Args:
        networks: see `affordable`.
        ways: of learning, the likeliest first and the control among the first two.
        epoch_seconds: what a plain pass over the images takes with the likeliest network.
        seconds: for all trainings.
        overhead: seconds of a trial beside its training.
    """
    time = RACE_SHARE * seconds
    least, good = (max(SHORTEST, epochs * epoch_seconds) for epochs in (LEAST_EPOCHS, GOOD_EPOCHS))
    several = min(len(networks), len(ways)) > 1
    if max(len(networks), len(ways)) < 2:
        return Race(list(networks), list(ways), [])
    if time < 2 * (least + overhead):
        missing = 2 * (least + overhead) / RACE_SHARE - seconds
        return Race(list(networks[:1]), list(ways[:1]), [], missing)
    share = NETWORK_SHARE if several and time >= MANY_TRIALS * (good + overhead) else 0.0
    if len(ways) < 2:
        share = 1.0

    def fitting(count: int, part: float) -> int:
        return min(count, max(2, int(part * time / (good + overhead))))

    arms = fitting(len(networks), share) if share else 1
    tried = fitting(len(ways), 1 - share) if share < 1 else 1
    rounds: list[Round] = []
    if arms > 1:
        rounds += halving("network", arms, share * time, good, overhead)
    if tried > 1:
        rounds += halving("learning", tried, (1 - share) * time, good, overhead)
    return Race(list(networks[:arms]), list(ways[:tried]), rounds)


def chosen(scores: Sequence[float], images: int, keep: int) -> list[int]:
    """Return which candidates go on, the best first.

    One that is likelier beforehand is passed only by more than the standard error of the difference of two shares on
    the same images (taken as that of one share, as if half of the errors were common).

    Args:
        scores: shares of right answers, the likeliest candidate's first; negative where it could not be trained.
        images: by which they were judged.
        keep: how many go on.
    """
    left, order = list(range(len(scores))), list[int]()
    while left and len(order) < keep:
        most = max(scores[i] for i in left)
        error = math.sqrt(max(0.0, most * (1 - most)) / max(1, images))
        order.append(next(i for i in left if scores[i] >= most - error))
        left.remove(order[-1])
    return order
