"""A batch that goes through the network in pieces gives the gradient of the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pretask import tasks
from pretask.backbones import create_backbone
from pretask.config.files import override
from pretask.config.sections import FewShotConfig, PretrainConfig, SessionConfig
from pretask.errors import PretaskError
from pretask.losses import LOSSES, create_loss
from pretask.methods import METHODS, Method, MethodParts, create_method
from pretask.methods.auxiliary import AuxiliaryTasks
from pretask.tasks import pretrain, train_few_shot
from pretask.training.profiling import StepProfile
from pretask.training.step import add_gradient

CASES = [
    *("baseline", "mt", "sla", "sla-sd", "ssfe", "sla+ssfe", "lorot"),
    *(
        "gssl:uniform",
        "gssl:fixed:gate_weights=1,2,3",
    ),  # other gates follow the piece, as batch statistics do
    *(f"baseline:{loss}" for loss in LOSSES.names()),
]


def build(case: str) -> Method:
    """Make a method whose batch statistics stand still and whose draws follow from the pixels."""
    name, _, more = case.partition(":")
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8)),
        class_counts=torch.tensor([9, 5, 2]),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        make_loss=create_loss(more if more in LOSSES.names() else "cross_entropy"),
    )
    options = {"gate": more} if name == "gssl" else {}
    method = create_method(name, parts, **options).double()
    if isinstance(method, AuxiliaryTasks):
        method.embed_changed = lambda images: (
            method.encoder(images),
            [(images[:, 0, 0, 0] * 997).long() % task.num_labels for task in method.pretexts],
        )
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return method


def gradient(case: str, pieces: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(8, 3, 8, 8, generator=generator, dtype=torch.float64)
    method = build(case)
    session = SessionConfig(precision="fp32", compile="no")
    parts = add_gradient(
        method,
        images,
        torch.arange(8) % 3,
        pieces,
        session,
        Accelerator(cpu=True),
        StepProfile(0, Path(), torch.device("cpu")),
    )
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}, parts


@pytest.mark.parametrize("pieces", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_pieces_give_the_gradient_of_the_whole(case: str, pieces: int) -> None:
    whole, parts = gradient(case, 1)
    split, their_parts = gradient(case, pieces)
    assert whole.keys() == split.keys()
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=1e-9, atol=1e-12, msg=name)
    torch.testing.assert_close(their_parts["loss"].detach(), parts["loss"].detach())


def test_what_looks_at_a_batch_as_a_whole_is_refused(configure, tmp_path) -> None:
    with pytest.raises(PretaskError, match="--accumulate 2 is not possible here: the loss compares"):
        tasks.train(configure(method="fixmatch", accumulate=2))
    assert not (tmp_path / "run/config.yaml").exists(), "the name is free for a run without it"
    small = {"data": "digits", "per_class": 8, "backbone": "resnet8", "runs": str(tmp_path), "accumulate": 2}
    with pytest.raises(PretaskError, match="--accumulate 2 is not possible here"):
        pretrain(override(PretrainConfig(), **small))
    episodes = {**small, "per_class": None, "ways": 2, "queries": 3, "name": "episodes"}
    with pytest.raises(PretaskError, match="--accumulate 2 is not possible here"):
        train_few_shot(override(FewShotConfig(), **episodes))
    assert not list(tmp_path.glob("*/config.yaml"))


def test_uneven_pieces_are_refused(configure, tmp_path: Path) -> None:
    with pytest.raises(PretaskError, match=r"--accumulate 3 does not divide the 16 images .* --accumulate 2"):
        tasks.train(configure(accumulate=3))
    assert not (tmp_path / "run/config.yaml").exists()


def test_a_run_counts_steps_and_images_of_the_whole_batch(configure) -> None:
    whole = tasks.train(configure(name="whole", epochs=1))
    pieces = tasks.train(configure(name="pieces", epochs=1, accumulate=4))
    assert (pieces["images"], pieces["epochs"]) == (whole["images"], whole["epochs"])


def test_every_method_says_whether_it_can_be_split() -> None:
    kept = {name for name in METHODS.names() if not METHODS.get(name).mean_over_images}
    assert kept == {name for name in METHODS.names() if name.startswith("fixmatch")}
