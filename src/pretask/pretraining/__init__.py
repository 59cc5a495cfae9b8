"""Objectives of pre-training: what images teach without any label."""

from pretask.pretraining.base import BASES, HeadOptions
from pretask.pretraining.collapse import collapse_warning, effective_rank, spread
from pretask.pretraining.factory import create_objective, default_base, objective_names
from pretask.pretraining.objective import OBJECTIVES, Objective, ObjectiveParts
from pretask.pretraining.strengths import STRENGTHS, get_strength, recommended_strength
from pretask.pretraining.trimix_options import TriMixOptions

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
