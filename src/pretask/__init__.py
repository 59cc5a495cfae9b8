"""pretask: better image classifiers from the images you have, with self-supervision.

Names are loaded when they are first used; importing the package does no work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretask.backbones import create_backbone as create_backbone
    from pretask.checks import check as check
    from pretask.config.files import from_flat as configure  # noqa: F401
    from pretask.config.files import load_config as load_config
    from pretask.config.sections import RunConfig as RunConfig
    from pretask.data import ImageData as ImageData
    from pretask.data import load_data as load_data
    from pretask.errors import PretaskError as PretaskError
    from pretask.fitting import fit as fit
    from pretask.losses import create_loss as create_loss
    from pretask.methods import Classifier as Classifier
    from pretask.methods import Method as Method
    from pretask.methods import MethodParts as MethodParts
    from pretask.methods import create_method as create_method
    from pretask.methods import load_classifier as load_classifier
    from pretask.methods import load_encoder as load_encoder
    from pretask.prediction import predict as predict
    from pretask.pretexts import Pretext as Pretext
    from pretask.pretexts import create_pretext as create_pretext
    from pretask.pretexts import create_pretexts as create_pretexts
    from pretask.studies.compare import compare as compare
    from pretask.studies.execution import Execution as Execution
    from pretask.tasks import resume as resume
    from pretask.tasks import train as train

_HOMES = {
    "Classifier": "pretask.methods",
    "Execution": "pretask.studies.execution",
    "ImageData": "pretask.data",
    "Method": "pretask.methods",
    "MethodParts": "pretask.methods",
    "Pretext": "pretask.pretexts",
    "PretaskError": "pretask.errors",
    "RunConfig": "pretask.config.sections",
    "check": "pretask.checks",
    "compare": "pretask.studies.compare",
    "configure": "pretask.config.files:from_flat",
    "create_backbone": "pretask.backbones",
    "create_loss": "pretask.losses",
    "create_method": "pretask.methods",
    "create_pretext": "pretask.pretexts",
    "create_pretexts": "pretask.pretexts",
    "fit": "pretask.fitting",
    "load_classifier": "pretask.methods",
    "load_encoder": "pretask.methods",
    "load_config": "pretask.config.files",
    "load_data": "pretask.data",
    "predict": "pretask.prediction",
    "resume": "pretask.tasks",
    "train": "pretask.tasks",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pretask' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return __all__
