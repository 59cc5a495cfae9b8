"""Random views: drawn for each image, in range, repeatable; and the verdict on collapse."""

from __future__ import annotations

import pytest
import torch
from small_objectives import make

from pretask.pretraining import (
    STRENGTHS,
    collapse_warning,
    effective_rank,
    recommended_strength,
    spread,
)
from pretask.pretraining.views import RandomViews, Strength, get_strength

NOTHING = Strength("nothing", crop=1.0, flip=0.0, jitter=(0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("name", sorted(STRENGTHS))
@pytest.mark.parametrize("channels", [1, 3])
def test_views_keep_shape_range_format_and_the_batch(name: str, channels: int) -> None:
    x = torch.rand(16, channels, 12, 16).contiguous(memory_format=torch.channels_last)
    held = x.clone()
    views = RandomViews(get_strength(name), (12, 16), channels)(x.requires_grad_())
    assert views.shape == x.shape and views.dtype == x.dtype and not views.requires_grad
    assert views.min() >= 0 and views.max() <= 1
    assert channels == 1 or views.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, held)


def test_the_seed_alone_decides() -> None:
    x, views = torch.rand(8, 3, 16, 16), RandomViews(get_strength("photo"), (16, 16), 3)
    torch.manual_seed(1)
    first, second = views(x), views(x)
    torch.manual_seed(1)
    assert torch.equal(views(x), first) and not torch.equal(first, second)


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({"flip": 0.5}, lambda x: x.flip(3)),
        ({"vertical_flip": 0.5}, lambda x: x.flip(2)),
    ],
    ids=["flip", "vertical flip"],
)
def test_each_image_is_mirrored_or_not_by_its_own_draw(more: dict, changed) -> None:
    x = torch.rand(200, 3, 8, 8)
    strength = Strength(**{**NOTHING.__dict__, **more})
    views = RandomViews(strength, (8, 8), 3)(x)
    same = (views - x).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (views - changed(x)).abs().amax((1, 2, 3)) < 1e-4
    assert bool((same ^ mirrored).all()) and 60 < int(mirrored.sum()) < 140


def test_colours_change_by_image_and_grey_ones_have_none() -> None:
    x = torch.full((100, 3, 6, 6), 0.4) * torch.tensor([1.0, 0.7, 0.3])[:, None, None]
    jittered = RandomViews(Strength("", 1.0, 0.0, (0.4, 0.4, 0.4, 0.1), jitter_share=1.0), (6, 6), 3)(x)
    assert len({round(float(v), 4) for v in jittered[:, 0, 0, 0]}) > 80
    grey = RandomViews(Strength("", 1.0, 0.0, (0.0, 0.0, 0.0, 0.0), grey=1.0), (6, 6), 3)(x)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])


def test_crops_are_as_small_as_the_strength_allows() -> None:
    """On a ramp from left to right, the range of values in a view is the crop's share of the width."""
    ramp = torch.linspace(0, 1, 64).expand(300, 3, 64, 64).contiguous()
    views = RandomViews(Strength("", 0.25, 0.0, (0.0, 0.0, 0.0, 0.0)), (64, 64), 3)(ramp)
    width = views.amax((1, 2, 3)) - views.amin((1, 2, 3))
    # A crop of a quarter of the area and ratio 3:4 is 0.43 wide, a little less between pixel centres.
    assert 0.38 < width.min() < 0.6 and width.max() <= 1


def test_the_strength_follows_the_images() -> None:
    assert recommended_strength((32, 32), 3, mirrors=True) == "small"
    assert recommended_strength((224, 224), 3, mirrors=True) == "photo"
    assert recommended_strength((28, 28), 1, mirrors=False) == "upright"
    assert recommended_strength((28, 28), 1, mirrors=True) == "medical"


def test_spread_is_one_for_even_and_zero_for_collapsed_embeddings() -> None:
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 32)).item() == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(50, 32) + 1e-6 * torch.randn(50, 32)).item() < 0.05


def test_effective_rank_counts_directions() -> None:
    torch.manual_seed(0)
    three = torch.linalg.qr(torch.randn(100, 100)).Q[:, :3] @ torch.linalg.qr(torch.randn(8, 8)).Q[:3]
    three = three - three.mean(0)
    assert 2.8 < effective_rank(three) < 3.01
    assert effective_rank(torch.arange(20.0)[:, None] * torch.ones(1, 8)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.ones(20, 8)) == 1


def test_the_warning_names_the_cause() -> None:
    assert collapse_warning(0.9, 20.0, 32, "it is old") == ""
    told = collapse_warning(0.01, 20.0, 32, "it is old")
    assert told.endswith("spread 0.01 (1 is even), effective rank 20.0 of 32; it is old")
    assert collapse_warning(0.5, 1.1, 32, "it is old")
    robbed = make("byol", predictor=False, target="online", stop_gradient=False).collapse_cause()
    assert "without a predictor and the stop-gradient: leave them on" in robbed
    assert "without a predictor: leave it on" in make("byol", predictor=False).collapse_cause()
    assert "--lr" in make("byol").collapse_cause()


def test_consistency_without_a_predictor_is_named() -> None:
    assert "--base simclr, or --consistency-weight 0" in make("trimix").collapse_cause()
    assert "--lr" in make("trimix", consistency_weight=0.0).collapse_cause()
    assert "--lr" in make("trimix", base="simclr").collapse_cause()
