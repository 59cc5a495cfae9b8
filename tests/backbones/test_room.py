"""A network that a few signs name takes no more memory than it may."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from command_line import untrained_run
from pretask.backbones import create_backbone
from pretask.backbones.room import TooLarge, at_most
from pretask.config.files import from_flat
from pretask.errors import PretaskError
from pretask.methods import load_classifier, load_encoder
from pretask.tasks import Supervised, task

GIANT = "vit_7b_patch16_dinov3"  # 27 GB


def test_a_network_within_the_bound_is_the_same() -> None:
    torch.manual_seed(0)
    free = create_backbone("resnet8", image_size=(16, 16), in_channels=3)
    torch.manual_seed(0)
    with at_most(2**20, "nothing"):
        bound = create_backbone("resnet8", image_size=(16, 16), in_channels=3)
    assert all(torch.equal(bound.state_dict()[name], weight) for name, weight in free.state_dict().items())


def test_bytes_add_up_but_for_those_without_storage() -> None:
    with at_most(4000, "which is all"):
        torch.empty(10**9, device="meta")
        kept = torch.zeros(500)
        kept += kept.clone() + torch.ones_like(kept)
        with pytest.raises(TooLarge, match=r"takes more than 0\.0 GB, which is all"):
            torch.zeros(501)


@pytest.mark.parametrize("load", [load_classifier, load_encoder])
def test_a_card_that_names_a_giant_beside_small_weights_is_refused_before_it_is_made(load, tmp_path) -> None:
    card = json.loads((untrained_run(tmp_path / "run") / "model.json").read_text())
    card |= {"backbone": GIANT, "image_size": [224, 224]}
    (tmp_path / "run/model.json").write_text(json.dumps(card))
    create_backbone("test_vit", image_size=(160, 160), in_channels=3)  # timm itself takes memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        PretaskError, match=r"takes more than 0\.3 GB, which is not what .*model.safetensors holds"
    ):
        load(tmp_path / "run")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB
    with pytest.raises(PretaskError, match="both files must come from the same run"):
        Supervised.read(
            from_flat({"init": str(tmp_path / "run"), "channels": 3, "image_size": 224})
        ).backbone()


def test_a_network_that_does_not_fit_into_the_memory_is_refused(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(task, "free_memory", lambda device: 10**8)
    with pytest.raises(
        PretaskError, match=r"takes more than 0\.1 GB, which are not free: type a smaller --backbone"
    ):
        Supervised.read(from_flat({"backbone": GIANT, "image_size": 224})).make()
