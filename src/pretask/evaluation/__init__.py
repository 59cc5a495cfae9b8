"""Protocols that judge a classifier; each is one file, one name and one string that holds its constants."""

from __future__ import annotations

from pretask.evaluation.accuracy import Accuracy, evaluate_loader, evaluate_split
from pretask.evaluation.base import EVALUATORS, Evaluator
from pretask.evaluation.predictions import Predictions, predict

__all__ = [
    "EVALUATORS",
    "Accuracy",
    "Evaluator",
    "Predictions",
    "evaluate_loader",
    "evaluate_split",
    "predict",
]
