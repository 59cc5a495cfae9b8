"""What the size of a batch counts: images, or views of images."""

from __future__ import annotations

import pytest
import torch

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.speed.steps import made_up_data
from pretask.studies.compare import work_of
from pretask.studies.variants import parse_variants
from pretask.training.build import build_loader, images_per_step, resolve

ASKED = override(RunConfig(), data="digits", backbone="resnet8", batch_size=24, precision="fp32")


@pytest.mark.parametrize(
    ("settings", "images"),
    [
        ({"method": "baseline", "batch_of": "views"}, 24),
        ({"method": "sla"}, 24),
        ({"method": "sla", "batch_of": "views"}, 6),
        ({"method": "sla", "batch_of": "views", "views": 3}, 8),
        ({"method": "sla", "batch_of": "views", "pretexts": ("rotation", "color3")}, 2),
        ({"method": "ssfe", "batch_of": "views"}, 24),
        ({"method": "sla-fast"}, 12),
        ({"method": "sla-fast", "batch_of": "images"}, 24),
        ({"method": "sla", "batch_of": "views", "batch_size": 2}, 1),
    ],
)
def test_images_of_a_step(settings: dict[str, object], images: int) -> None:
    config = override(ASKED, **settings)
    assert images_per_step(config) == images
    decided = resolve(config, made_up_data(48, 2, 3, 16), torch.device("cpu"))
    assert decided.method.batch_of in ("images", "views") and images_per_step(decided) == images


def test_the_loader_and_the_work_of_a_step_follow() -> None:
    data = made_up_data(48, 2, 3, 16)
    config = resolve(override(ASKED, method="sla-fast"), data, torch.device("cpu"))
    loader = build_loader(config, data, torch.device("cpu"), 0, 1)
    assert len(loader) == 4 and len(next(iter(loader.epoch(0))).labels) == 12
    loader.close()
    steps = override(ASKED, steps=10)
    variants = parse_variants(["baseline", "sla", "sla:batch_of=views", "sla-fast"], steps)
    assert list(work_of(steps, variants, data).values()) == [24, 96, 24, 24]
