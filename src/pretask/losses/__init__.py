"""Losses for classification: one value per sample, so that methods decide how views are reduced."""

from pretask.losses.base import ClassificationLoss
from pretask.losses.cross_entropy import CrossEntropy, Distillation
from pretask.losses.factory import LOSSES, LossFactory, create_loss
from pretask.losses.focal import Focal
from pretask.losses.heads import CosineLinear, create_head
from pretask.losses.ldam import LDAM
from pretask.losses.reweighting import ClassWeights, Reweighted

__all__ = [
    "LDAM",
    "LOSSES",
    "ClassWeights",
    "ClassificationLoss",
    "CosineLinear",
    "CrossEntropy",
    "Distillation",
    "Focal",
    "LossFactory",
    "Reweighted",
    "create_head",
    "create_loss",
]
