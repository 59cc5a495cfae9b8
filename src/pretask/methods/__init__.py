"""How pretexts, losses and a backbone become one training objective; presets by name."""

from pretask.methods.base import METHODS, Method, MethodParts, Trainee, create_method
from pretask.methods.classifier import Classifier
from pretask.methods.encoder import Encoder
from pretask.methods.gate import GATES, create_gate
from pretask.methods.model_card import ModelCard, read_card
from pretask.methods.model_files import (
    load_backbone_weights,
    load_classifier,
    load_encoder,
    load_part,
    no_head,
    save_calibration,
    save_encoder,
    save_model,
)

__all__ = [
    "GATES",
    "METHODS",
    "Classifier",
    "Encoder",
    "Method",
    "MethodParts",
    "ModelCard",
    "Trainee",
    "create_gate",
    "create_method",
    "load_backbone_weights",
    "load_classifier",
    "load_encoder",
    "load_part",
    "no_head",
    "read_card",
    "save_calibration",
    "save_encoder",
    "save_model",
]
