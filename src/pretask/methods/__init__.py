"""How pretexts, losses and a backbone become one training objective; presets by name."""

from pretask.methods.base import Method, MethodParts
from pretask.methods.classifier import Classifier
from pretask.methods.encoder import Encoder
from pretask.methods.factory import METHODS, create_method
from pretask.methods.gate import GATES, GateOptions
from pretask.methods.model_files import ModelCard, load_classifier, read_card, save_model

__all__ = [
    "GATES",
    "METHODS",
    "Classifier",
    "Encoder",
    "GateOptions",
    "Method",
    "MethodParts",
    "ModelCard",
    "create_method",
    "load_classifier",
    "read_card",
    "save_model",
]
