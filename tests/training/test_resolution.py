"""Small images first: which size, how long, at what cost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from pretask.config.files import override
from pretask.config.sections import MethodConfig, RunConfig
from pretask.data import load_data
from pretask.errors import PretaskError
from pretask.methods import Method
from pretask.speed.steps import made_up_data
from pretask.studies.compare import work_of
from pretask.studies.plan import parse_variants
from pretask.tasks import Supervised, train
from pretask.training.preparation import LowResolution, low_resolution, make_preparation

DIGITS = override(
    RunConfig(), data="digits", per_class=8, backbone="resnet8", batch_size=16, method="baseline"
)


def test_images_are_averaged_down_until_their_share_is_over() -> None:
    low = LowResolution(scale=0.5, share=0.5)
    images = torch.rand(2, 3, 8, 6)
    expected = images.reshape(2, 3, 4, 2, 3, 2).mean((3, 5))
    torch.testing.assert_close(low(images, 0.0), expected)
    torch.testing.assert_close(low(images, 0.49), expected)
    assert low(images, 0.5) is images


@pytest.mark.parametrize(
    ("scale", "share", "work"), [(0.5, 0.5, 0.625), (0.5, 1.0, 0.25), (0.75, 0.4, 0.825)]
)
def test_work_counts_pixels_over_the_whole_training(scale: float, share: float, work: float) -> None:
    assert LowResolution(scale, share).work((32, 32)) == pytest.approx(work)


def test_what_is_asked_for_and_what_is_not() -> None:
    assert low_resolution(MethodConfig("baseline")) is None
    assert low_resolution(MethodConfig("baseline", low_resolution=1.0)) is None
    assert low_resolution(MethodConfig("baseline", low_resolution=0.5, low_resolution_share=0.0)) is None
    assert low_resolution(MethodConfig("baseline", low_resolution=0.5)) == LowResolution(0.5, 0.5)


def test_a_method_sees_small_images_first() -> None:
    config = override(DIGITS, low_resolution=0.5, low_resolution_share=0.5)
    data = load_data("digits")
    prepare = make_preparation(config, data.num_classes)
    method = Supervised(config, data).build()
    assert prepare is not None
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    shapes = []
    for fraction in (0.0, 0.4, 0.6):
        method.set_progress(fraction)
        shapes.append(prepare(method, images, labels)[0].shape[-1])
    assert shapes == [4, 4, 8]


def test_studies_reckon_with_the_smaller_work() -> None:
    names = ("baseline", "baseline:low_resolution=0.5", "sla:low_resolution=0.5:low_resolution_share=0.8")
    variants = parse_variants(names, DIGITS)
    assert list(work_of(DIGITS, variants, load_data("digits")).values()) == pytest.approx([1, 0.625, 4 * 0.4])


def test_a_run_says_what_it_did_and_cost(tmp_path: Path) -> None:
    config = override(DIGITS, low_resolution=0.5, epochs=2, runs=str(tmp_path), name="run", device="cpu")
    results = train(config)
    assert results["passes"] == pytest.approx(0.625)
    again = train(config)
    assert again["inferences"] == results["inferences"]
    saved = (tmp_path / "run" / "config.yaml").read_text()
    assert "low_resolution: 0.5" in saved and "low_resolution_share: 0.5" in saved


@pytest.mark.parametrize(("length", "small"), [({"epochs": 1}, 3), ({"steps": 3}, 2), ({"steps": 7}, 4)])
def test_progress_is_that_of_steps(
    length: dict, small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one epoch images grow, and the work is what the steps saw; seven steps are a little under two epochs."""
    sides: list[int] = []
    real = Method.set_progress
    config = override(DIGITS, low_resolution=0.5, runs=str(tmp_path), name="run", device="cpu", **length)
    data = load_data("digits")

    def count(prepare, method, images, labels):
        changed = prepare(method, images, labels)
        sides.append(changed[0].shape[-1])
        return changed

    monkeypatch.setattr(Supervised, "preparation", lambda self: partial(count, make_preparation(config, 10)))
    monkeypatch.setattr("pretask.tasks.run.foresee", lambda *_, **__: None)
    told: list[float] = []
    monkeypatch.setattr(Method, "set_progress", lambda self, done: told.append(done) or real(self, done))
    results = train(config, data)
    assert sides == [4] * small + [8] * (len(sides) - small)
    assert told == [step / len(sides) for step in range(len(sides))]
    work = [side**2 / 64 for side in sides]
    assert results["work_images"] == pytest.approx(16 * sum(work))
    assert results["passes"] == pytest.approx(sum(work) / len(work))


def test_sizes_that_cannot_be_are_refused() -> None:
    photos = made_up_data(16, 2, 3, 32)
    with pytest.raises(PretaskError, match=r"cannot take images of 16x16 pixels, which --low-resolution 0.5"):
        Supervised(override(DIGITS, backbone="vit_tiny_patch16_224", low_resolution=0.5), photos).build()
    patches = override(DIGITS, method="gssl", pretexts=("patch-rotation:grid=4",), low_resolution=0.25)
    with pytest.raises(PretaskError, match="grid"):
        Supervised(patches, load_data("digits")).build()
