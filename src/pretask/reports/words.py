"""How numbers are written: units, signs, and a dash for what does not exist."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from pretask.reports.html import NOTHING

MINUS = "\N{MINUS SIGN}"
SHARES = ("top1", "top5", "balanced", "macro_f1", "many", "medium", "few", "ece")
LOWER_IS_BETTER = ("ece", "loss")
MEASURES = {
    "top1": "top-1 accuracy",
    "balanced": "balanced accuracy",
    "macro_f1": "macro-F1",
    "many": "many-shot accuracy",
    "medium": "medium-shot accuracy",
    "few": "few-shot accuracy",
    "top5": "top-5 accuracy",
    "ece": "calibration error",
    "loss": "negative log-likelihood",
}
"""What a person calls a metric of a study."""
NAMES = {
    "top1": "top-1 %",
    "top5": "top-5 %",
    "balanced": "balanced %",
    "macro_f1": "macro-F1 %",
    "many": "many %",
    "medium": "medium %",
    "few": "few %",
    "ece": "ECE %",
    "loss": "NLL",
    "n": "images",
}


def known(value: Any) -> TypeGuard[float]:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 2) -> str:
    """Return a number with a true minus sign, or a dash."""
    if not known(value):
        return NOTHING
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)  # + 0.0 drops the sign of zero


def metric(key: str, value: Any) -> str:
    """Return an evaluator's metric: shares in per cent, counts whole, the rest with three decimals."""
    if key in SHARES:
        return percent(value)
    if key == "n":
        return whole(value)
    return number(value, 3)


def percent(share: Any) -> str:
    """Return a share in per cent, without the sign."""
    return number(100 * share) if known(share) else NOTHING


def spread(key: str, found: dict[str, Any] | None) -> str:
    """Return "mean ± std" of an evaluator's metric over seeds; one seed has no spread."""
    if not found:
        return NOTHING
    mean = metric(key, found.get("mean"))
    return f"{mean} ± {metric(key, found['std'])}" if known(found.get("std")) else mean


def points(share: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    written = number(100 * share)
    return written if written.startswith(MINUS) else f"+{written}"


def change(key: str, value: float) -> str:
    """Return a difference in an evaluator's metric, with its sign, in the unit of `unit`."""
    if key in SHARES:
        return points(value)
    written = number(value, 3)
    return written if written.startswith(MINUS) else f"+{written}"


def unit(key: str) -> str:
    """Return what differences in an evaluator's metric are counted in; nothing where it has no unit."""
    return "percentage points" if key in SHARES else "nats per image" if key == "loss" else ""


def interval(difference: Mapping[str, Any], key: str = "top1") -> str:
    """Return "[low, high]" of a difference in an evaluator's metric, or nothing where there is no interval."""
    if not (known(difference.get("low")) and known(difference.get("high"))):
        return ""
    return f"[{change(key, difference['low'])}, {change(key, difference['high'])}]"


def p_value(difference: Mapping[str, Any] | None) -> str:
    """Return the adjusted p-value of a difference, or a dash."""
    p = (difference or {}).get("adjusted_p")
    if not known(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else number(p, 3)


def duration(seconds: Any) -> str:
    """Return a time in the unit a person would use."""
    if not known(seconds):
        return NOTHING
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(written: Any) -> str | None:
    """Return a time in ISO format to the minute, in UTC; other words stay as they are."""
    try:
        return f"{datetime.fromisoformat(written).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (TypeError, ValueError):
        return written or None


def whole(value: Any) -> str:
    """Return a large count in groups of three digits."""
    return f"{round(value):,}" if known(value) else NOTHING
