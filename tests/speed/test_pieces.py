"""What `pretask speed` is made of: timing, ceilings, counts of work, and the plain loop."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from pretask.config.files import from_flat
from pretask.speed.ceilings import CeilingProbe, Ceilings, interleave, ratio
from pretask.speed.plain_loop import OwnProcess, PilImages, PlainLoop
from pretask.speed.steps import TrainingSteps, count_work, made_up_data

CPU = torch.device("cpu")


def test_pieces_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    seconds = interleave({name: lambda name=name: order.append(name) for name in "abc"}, 3, CPU)
    assert "".join(order) == "cba" + "abc" + "cba" + "abc"
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_slower_piece_is_slower_by_its_ratio() -> None:
    seconds = interleave({"one": lambda: time.sleep(0.02), "three": lambda: time.sleep(0.06)}, 3, CPU)
    found = ratio(seconds["three"], seconds["one"])
    assert found.low <= found.median <= found.high
    assert 2 < found.median < 4
    assert ratio([3.0, 8.0, 5.0], [1.0, 2.0, 1.0]).median == 4.0
    assert ratio([3.0], [1.5]).high == 2.0


def test_ceilings_bound_by_the_slower_one() -> None:
    assert Ceilings(100.0, 10.0).bound(200, 10) == 2.0
    assert Ceilings(100.0, 10.0).bound(200, 30) == 3.0


def test_a_probe_keeps_the_highest_ceilings() -> None:
    probe = CeilingProbe(CPU, torch.float32)
    probe.measure()
    once = probe.best
    assert once.flops > 1e8 and once.bandwidth > 1e8
    probe.measure()
    assert probe.best.flops >= once.flops and probe.best.bandwidth >= once.bandwidth


class Noted:
    """Writes a line with its process and threads for every step; the third one fails."""

    def __init__(self, path: Path) -> None:
        self.path, self.steps = path, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            os._exit(7)
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {torch.get_num_threads()}\n")


def test_a_piece_in_its_own_process_makes_a_step_when_asked(tmp_path: Path) -> None:
    piece = OwnProcess(partial(Noted, tmp_path / "steps"), threads=1)
    piece.step()
    piece.step()
    first, second = (tmp_path / "steps").read_text().splitlines()
    assert first == second and first.endswith(" 1") and not first.startswith(f"{os.getpid()} ")
    with pytest.raises(RuntimeError, match="code 7"):
        piece.step()
    piece.close()


def test_work_of_a_linear_layer_by_hand() -> None:
    """Forward, and the gradient of the weight: the input needs none. A sum is read, a view moves nothing."""
    layer, x = nn.Linear(8, 4, bias=False), torch.rand(16, 8)
    work = count_work(lambda: layer(x).sum().backward())
    assert work.flops == 2 * (2 * 16 * 8 * 4)
    added = count_work(lambda: x + 1)
    assert (added.flops, added.nbytes) == (0, 2 * x.nbytes)
    assert count_work(lambda: x.view(8, 16)).nbytes == 0


def test_work_of_a_training_step_grows_with_views() -> None:
    data, asked = made_up_data(16, 2, 3, 16), {"backbone": "resnet8", "batch_size": 8, "precision": "fp32"}
    counted = {
        name: TrainingSteps(from_flat({**asked, "method": name}), data, CPU).count().flops
        for name in ("baseline", "sla")
    }
    assert counted["sla"] == pytest.approx(4 * counted["baseline"], rel=0.01)


def test_made_up_steps_train_on_every_image_once_an_epoch() -> None:
    data = made_up_data(32, 2, 1, 16)
    steps = TrainingSteps(
        from_flat({"backbone": "resnet8", "batch_size": 8, "method": "baseline", "precision": "fp32"}),
        data,
        CPU,
    )
    for _ in range(5):
        steps.step()
    assert steps.meter.steps == 5 and 0 <= steps.wait_share < 1
    assert steps.meter.means()["loss"] > 0
    steps.close()


@pytest.mark.parametrize("channels", [1, 3])
def test_pil_images_are_whole_batches_of_normalised_pixels(channels: int) -> None:
    data = made_up_data(6, 2, channels, 16)
    images = torch.stack([data.train.images.read(i) for i in range(6)])
    pil = PilImages(images, data.train.labels)
    torch.manual_seed(0)
    image, label = pil[3]
    assert image.shape == (channels, 16, 16) and label == 1
    assert image.min() >= -2 and image.max() <= 2


@pytest.mark.parametrize(("joint", "logits"), [(True, 8), (False, 2)])
def test_the_plain_loop_learns(joint: bool, logits: int) -> None:
    """Bright and dark images are told apart after some steps, by both answers."""
    labels = torch.arange(16) % 2
    images = (labels * 200)[:, None, None, None].expand(16, 3, 16, 16).to(torch.uint8)
    torch.manual_seed(0)
    loop = PlainLoop("resnet8", images, labels, 8, CPU, workers=0, joint=joint)
    for _ in range(12):
        loop.step()
    assert loop.model[1].out_features == logits
    loss, _, single, _, aggregated = loop.log[-1]
    assert loss < loop.log[0][0]
    assert single == aggregated == 1.0
