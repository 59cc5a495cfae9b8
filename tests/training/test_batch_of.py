"""What the size of a batch counts: images, or views of images."""

from __future__ import annotations

import pytest
import torch

from pretask.config.files import override
from pretask.config.sections import RunConfig
from pretask.errors import PretaskError
from pretask.speed.steps import made_up_data
from pretask.studies.compare import work_of
from pretask.studies.plan import parse_variants
from pretask.tasks import Supervised

ASKED = override(RunConfig(), data="digits", backbone="resnet8", batch_size=24, precision="fp32")
DATA = made_up_data(48, 2, 3, 16)


def decided(**settings: object) -> Supervised:
    task = Supervised(override(ASKED, **settings), DATA)
    task.decide(torch.device("cpu"))
    return task


@pytest.mark.parametrize(
    ("settings", "images"),
    [
        ({"method": "baseline"}, 24),
        ({"method": "sla"}, 24),
        ({"method": "sla", "batch_of": "views"}, 6),
        ({"method": "sla", "batch_of": "views", "views": 3}, 8),
        ({"method": "sla", "batch_of": "views", "pretexts": ("rotation", "color3")}, 2),
        ({"method": "ssfe", "batch_of": "views"}, 24),
        ({"method": "sla+ssfe", "batch_of": "views"}, 6),
        ({"method": "sla-fast"}, 12),
        ({"method": "sla-fast", "batch_of": "images"}, 24),
        ({"method": "fixmatch+sla-fast"}, 12),
        ({"method": "gssl"}, 24),
        ({"method": "sla-fast:views=none"}, 6),
        ({"method": "sla-fast", "views": None}, 6),
        ({"method": "sla", "batch_of": "views", "batch_size": 2}, 1),
    ],
)
def test_images_of_a_step(settings: dict[str, object], images: int) -> None:
    task = decided(**settings)
    assert task.images_per_step(task.build()) == images


@pytest.mark.parametrize("method", ["baseline", "gssl"])
def test_a_method_of_one_view_has_no_such_option(method: str) -> None:
    with pytest.raises(
        PretaskError, match=r"batch_of .* is an option of method da, da-patch, .*, which is not chosen"
    ):
        override(ASKED, method=method, batch_of="views")


def test_the_loader_and_the_work_of_a_step_follow() -> None:
    task = decided(method="sla-fast")
    loader = task.loader(task.build())
    assert len(loader) == 4 and len(next(iter(loader.epoch(0))).labels) == 12
    loader.close()
    steps = override(ASKED, steps=10)
    variants = parse_variants(["baseline", "sla", "sla:batch_of=views", "sla-fast"], steps)
    assert list(work_of(steps, variants, DATA).values()) == [24, 96, 24, 24]
