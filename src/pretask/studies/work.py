"""What a unit of training costs: what equal compute is reckoned by."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.studies.plan import unit_of
from pretask.studies.variants import Variant
from pretask.tasks import Supervised


def work_of(config: RunConfig, variants: Sequence[Variant], data: ImageData) -> dict[Variant, float]:
    """Return what each variant costs, in forward-backward passes: per image of an epoch, or per step.

    Raises:
        PretaskError: parts of a method that do not suit the data or each other; methods whose epochs pass over
            different images.
    """
    counted = {variant: _work(variant.config(config), data) for variant in variants}
    if unit_of(config) == "epochs" and len({unlabelled for _, _, unlabelled in counted.values()}) > 1:
        raise PretaskError(
            "an epoch of fixmatch passes over the unlabelled images, one of other methods over the labelled ones: "
            "type --steps instead of --epochs to compare them"
        )
    if unit_of(config) == "epochs":
        return {variant: passes for variant, (passes, _, _) in counted.items()}
    return {variant: passes * images for variant, (passes, images, _) in counted.items()}


def _work(config: RunConfig, data: ImageData) -> tuple[float, int, bool]:
    """Return passes per image, images per step, and whether unlabelled ones are among them."""
    task = Supervised(override(config, pretrained=False, init=None, precision="fp32", compile="no"), data)
    task.decide(torch.device("cpu"))
    method = task.build()
    unlabelled = method.unlabelled_per_image
    return task.passes(method), task.images_per_step(method) * (1 + unlabelled), unlabelled > 0
