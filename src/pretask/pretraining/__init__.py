"""Objectives of pre-training: what images teach without any label."""

from pretask.pretraining.bases import BASES
from pretask.pretraining.embedding import collapse_warning, effective_rank, spread
from pretask.pretraining.objective import (
    OBJECTIVES,
    Objective,
    ObjectiveParts,
    create_objective,
)
from pretask.pretraining.views import STRENGTHS, get_strength, recommended_strength

__all__ = [
    "BASES",
    "OBJECTIVES",
    "STRENGTHS",
    "Objective",
    "ObjectiveParts",
    "collapse_warning",
    "create_objective",
    "effective_rank",
    "get_strength",
    "recommended_strength",
    "spread",
]
