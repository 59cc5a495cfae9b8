"""What the published settings have in common, by family of recipes."""

from __future__ import annotations

from dataclasses import dataclass

PHOTOS = {"tiny-imagenet": 200, "cub200": 200, "mit67": 67, "stanford-dogs": 120, "imagenet": 1000}
CLASSES = {"cifar10": 10, "cifar100": 100, **PHOTOS}

SLA = "Lee, Hwang, Shin, ICML 2020, arXiv 1910.05872"
LDAM = "Cao et al., NeurIPS 2019, arXiv 1906.07413"
SSFE = "Yang et al., arXiv 2106.04921"
LOROT = "Moon et al., ECCV 2022"
GSSL = "Fuadi et al., arXiv 2301.05865"
FIXMATCH = "Sohn et al., NeurIPS 2020, arXiv 2001.07685"
PGD = "Madry et al., ICLR 2018, arXiv 1706.06083"
SOURCES = {
    "baseline": SLA,
    "da": SLA,
    "mt": SLA,
    "sla": SLA,
    "ssfe": SSFE,
    "lorot": LOROT,
    "gssl": GSSL,
    "lt-ce": LDAM,
    "lt-cb-rw": LDAM,
    "lt-ldam-drw": LDAM,
    "adv": PGD,
    "fixmatch": FIXMATCH,
    "fixmatch-gssl": GSSL,
}
"""How the source line starts, by the start of the name; the longest start that fits counts, without lt- or adv-."""


@dataclass(frozen=True)
class Setting:
    """One published way of training.

    Attributes:
        twin: the recipe that all others differ from in the method alone.
        length: ("steps" or "epochs", how many).
        rates: learning rates by share of the training.
    """

    twin: str
    length: tuple[str, int]
    rates: dict[float, float]
    batch_size: int = 128
    weight_decay: float = 1e-4
    nesterov: bool = False
    schedule: str = "step"
    warmup_epochs: float = 0
    validation: float = 0
    selection: str = "last"


_TENTHS = {0: 0.1, 0.49: 0.1, 0.51: 0.01, 0.74: 0.01, 0.76: 0.001, 0.99: 0.001}


def setting_of(name: str) -> Setting:
    """Return the setting that a recipe's name promises."""
    data = data_of(name)
    if name.startswith("lt-"):
        falls = {0.025: 0.1, 0.7999: 0.1, 0.8: 1e-3, 0.8999: 1e-3, 0.9: 1e-5, 1: 1e-5}
        return Setting(f"lt-ce-{data}", ("epochs", 200), falls, weight_decay=2e-4, warmup_epochs=5)
    if name.startswith("fixmatch"):
        return Setting(
            "fixmatch-cifar10", ("steps", 2**20), {0: 0.03, 0.5: 0.015, 1: 0}, batch_size=64, weight_decay=5e-4,
            nesterov=True, schedule="cosine",
        )  # fmt: skip
    if name.startswith("adv-"):
        return Setting(
            "adv-cifar10", ("epochs", 200), {0: 0.1, 0.5: 0.05, 1: 0}, weight_decay=5e-4, nesterov=True,
            schedule="cosine",
        )  # fmt: skip
    if name.endswith("-tiny-imagenet") and name.startswith(("lorot", "gssl")):
        cosine = {0: 0.2, 0.5: 0.1, 1: 0}
        return Setting("lorot-tiny-imagenet", ("epochs", 400), cosine, batch_size=100, schedule="cosine")
    twin = f"baseline-{data}"
    if data in ("cifar10", "cifar100"):
        return Setting(twin, ("steps", 80_000), _TENTHS, validation=5000, selection="validation")
    if data == "imagenet":
        thirds = {0: 0.1, 0.33: 0.1, 0.34: 0.01, 0.66: 0.01, 0.67: 0.001, 0.99: 0.001}
        return Setting(twin, ("steps", 900_000), thirds)
    if data == "tiny-imagenet":
        return Setting(twin, ("steps", 80_000), _TENTHS)
    return Setting(twin, ("steps", 30_000), _TENTHS, batch_size=32)


def data_of(name: str) -> str:
    """Return the data set that a recipe's name ends with."""
    return max((data for data in CLASSES if name.endswith(f"-{data}")), key=len)


def method_of(name: str) -> tuple[str, str]:
    """Return the method and the loss that a recipe's name promises."""
    kind = name.removesuffix(f"-{data_of(name)}")
    if kind in ("lt-ce", "adv"):
        return "baseline", "cross_entropy"
    losses = {"ldam-drw": "ldam-drw", "cb-rw": "class-balanced"}
    if kind.removeprefix("lt-") in losses:
        return "baseline", losses[kind.removeprefix("lt-")]
    if kind.startswith("lt-sla-sd-"):
        return "sla-sd", losses.get(kind.removeprefix("lt-sla-sd-"), "cross_entropy")
    if kind.startswith("fixmatch"):
        return kind.replace("fixmatch-", "fixmatch+"), "cross_entropy"
    known = ("baseline", "da", "mt", "sla-sd", "sla", "ssfe", "lorot", "gssl-flip", "gssl-perm", "gssl")
    bare = kind.removeprefix("lt-").removeprefix("adv-")
    method = next(method for method in known if f"{bare}-".startswith(f"{method}-"))
    return method, "ldam-drw" if kind.startswith("lt-") else "cross_entropy"


def views_of(name: str) -> int:
    """Return the labelled views of an image in a step that a recipe's name promises."""
    method, _ = method_of(name)
    method = method.removeprefix("fixmatch+")
    if method in ("fixmatch", "baseline", "lorot", "gssl", "gssl-flip", "gssl-perm"):
        return 1
    for fold in (6, 12, 24):
        if f"-{fold}fold-" in name:
            return fold
    return 6 if "color" in name else 4


def source_of(name: str) -> str:
    """Return how the source line of a recipe starts."""
    starts = [start for start in SOURCES if name.startswith(f"{start}-")]
    if name.startswith(("lt-", "adv-")) and method_of(name)[0] != "baseline":
        bare = name.removeprefix("lt-").removeprefix("adv-")
        starts = [start for start in SOURCES if bare.startswith(f"{start}-")]
    return SOURCES[max(starts, key=len)]
