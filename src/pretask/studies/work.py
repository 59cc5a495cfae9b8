"""What a unit of training costs: what equal compute is reckoned by."""

from __future__ import annotations

from collections.abc import Sequence

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.data import ImageData
from pretask.errors import PretaskError
from pretask.methods.fixmatch import FixMatch
from pretask.studies.plan import unit_of
from pretask.studies.variants import Variant
from pretask.training.build import build_method, images_per_step, passes_per_image, pretext_names


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
    pretexts = pretext_names(config, data.image_size)
    method = build_method(override(config, pretexts=pretexts, pretrained=False, init=None), data)
    passes = passes_per_image(config, method, data.image_size)
    if not isinstance(method, FixMatch):
        return passes, images_per_step(config), False
    return passes, images_per_step(config) * (1 + method.unlabelled_ratio), True
