"""Protocols that judge a classifier or its features; each is one file, one name and one string of its constants."""

from __future__ import annotations

from pretask.evaluation.accuracy import Accuracy, evaluate_loader, evaluate_split
from pretask.evaluation.base import EVALUATORS, Evaluator, Headline
from pretask.evaluation.features import FeatureEvaluator, Features
from pretask.evaluation.predictions import Predictions, predict

__all__ = [
    "EVALUATORS",
    "Accuracy",
    "Evaluator",
    "FeatureEvaluator",
    "Features",
    "Headline",
    "Predictions",
    "evaluate_loader",
    "evaluate_split",
    "predict",
]
