"""Objectives of pre-training: what images teach without any label."""

from pretask.pretraining.bases import BASES, HeadOptions
from pretask.pretraining.embedding import collapse_warning, effective_rank, spread
from pretask.pretraining.mixing import TriMixOptions
from pretask.pretraining.objective import (
    OBJECTIVES,
    Objective,
    ObjectiveParts,
    create_objective,
    default_base,
    objective_names,
)
from pretask.pretraining.views import STRENGTHS, get_strength, recommended_strength

__all__ = [
    "BASES",
    "OBJECTIVES",
    "STRENGTHS",
    "HeadOptions",
    "Objective",
    "ObjectiveParts",
    "TriMixOptions",
    "collapse_warning",
    "create_objective",
    "default_base",
    "effective_rank",
    "get_strength",
    "objective_names",
    "recommended_strength",
    "spread",
]
