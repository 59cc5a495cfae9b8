"""The losses' formulas, one sample at a time, in plain numbers."""

from __future__ import annotations

import math


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [power / sum(powers) for power in powers]


def smoothed(target: list[float], smoothing: float) -> list[float]:
    return [(1 - smoothing) * q + smoothing / len(target) for q in target]


def cross_entropy(logits: list[float], target: list[float], smoothing: float = 0.0) -> float:
    wanted = smoothed(target, smoothing)
    return -sum(q * math.log(p) for q, p in zip(wanted, softmax(logits), strict=True))


def ldam(
    logits: list[float], target: list[float], margins: list[float], scale: float, smoothing: float
) -> float:
    cosines = [v / scale for v in logits]
    lowered = [scale * (c - q * m) for c, q, m in zip(cosines, target, margins, strict=True)]
    return cross_entropy(lowered, target, smoothing)


def focal(logits: list[float], target: list[float], gamma: float, smoothing: float) -> float:
    wanted = smoothed(target, smoothing)
    return sum(q * (1 - p) ** gamma * -math.log(p) for q, p in zip(wanted, softmax(logits), strict=True))
