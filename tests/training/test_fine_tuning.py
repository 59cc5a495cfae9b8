"""Fine-tuning: rates that fall from layer to layer, and heads that learn before the backbone does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pretask import tasks
from pretask.backbones import create_backbone
from pretask.config.sections import OptimConfig
from pretask.errors import Interrupted, PretaskError
from pretask.methods import METHODS, Method, MethodParts, create_method
from pretask.training import loop
from pretask.training.optim import HeadStart, check_optimizer, make_optimizer, set_lr


def method_of(backbone: str, method: str = "baseline", size: int = 32) -> Method:
    torch.manual_seed(0)
    network = create_backbone(backbone, image_size=(size, size))
    counts = torch.tensor([5, 5])
    return create_method(method, MethodParts(network, counts, (0.5,) * 3, (0.25,) * 3))


def scales(method: Method, **options) -> dict[str, tuple[float, float]]:
    """Return each weight's share of the rate, and its weight decay."""
    optimizer = make_optimizer(method, OptimConfig(lr=2.0, weight_decay=0.1, **options))
    set_lr(optimizer, 2.0)
    names = {weight: name for name, weight in method.named_parameters()}
    found = {
        names.pop(weight): (group["lr"] / 2.0, group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert not names, "some weights are in no group"
    return {name.removeprefix("encoder.backbone."): of for name, of in found.items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rates_of_a_residual_network_by_hand(optimizer):
    found = scales(method_of("resnet8"), layer_decay=0.5, optimizer=optimizer)
    by_hand = {"conv.weight": 1 / 16, "bn.bias": 1 / 16, "blocks.0.conv1.weight": 1 / 8, "blocks.1.bn2.weight": 1 / 4,
               "blocks.2.conv2.weight": 1 / 2, "head.weight": 1.0, "head.bias": 1.0}  # fmt: skip
    assert {name: found[name][0] for name in by_hand} == pytest.approx(by_hand)
    vectors = 0.1 if optimizer == "sgd" else 0.0
    assert found["bn.bias"][1] == found["head.bias"][1] == vectors
    assert found["conv.weight"][1] == found["head.weight"][1] == 0.1


def test_rates_of_timms_models_follow_their_own_layers():
    found = scales(method_of("test_vit"), layer_decay=0.5, optimizer="adamw")
    depth = len(method_of("test_vit").backbone.net.blocks)
    assert found["net.patch_embed.proj.weight"][0] == pytest.approx(0.5 ** (depth + 1))
    for block in range(depth):
        assert found[f"net.blocks.{block}.mlp.fc1.weight"][0] == pytest.approx(0.5 ** (depth - block))
    assert found["net.norm.weight"] == (pytest.approx(0.5), 0.0)
    assert found["head.weight"] == (1.0, 0.1)
    assert found["net.pos_embed"][1] == found["net.cls_token"][1] == 0.0  # timm names them


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_convnext", "wrn-10-1", "resnet12", "test_resnet"]
)
def test_every_family_has_layers_that_learn_faster_towards_the_end(name):
    found = [share for share, _ in scales(method_of(name, "baseline"), layer_decay=0.8).values()]
    assert len(set(found)) >= 5
    assert max(found) == 1.0


def test_without_decay_groups_are_as_ever():
    method = method_of("resnet8")
    sgd = make_optimizer(method, OptimConfig())
    assert len(sgd.param_groups) == 1
    assert sgd.param_groups[0]["params"] == list(method.parameters())
    adamw = make_optimizer(method, OptimConfig(optimizer="adamw"))
    assert len(adamw.param_groups) == 2
    assert not any("lr_scale" in group for group in (*sgd.param_groups, *adamw.param_groups))


def test_lars_has_no_layer_decay():
    with pytest.raises(PretaskError, match=r"--layer-decay 0\.5 is for sgd and adamw"):
        check_optimizer(OptimConfig(optimizer="lars", layer_decay=0.5), method_of("resnet8"))


def state(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_held_backbone_stays_bit_for_bit(optimizer, alone):
    method = method_of("resnet8").train()
    stepper = make_optimizer(method, OptimConfig(optimizer=optimizer, lr=0.5, weight_decay=0.1))
    start, before = HeadStart(method, 3, alone), state(method)
    images, labels = torch.rand(8, 3, 32, 32), torch.arange(8) % 2
    for step in range(5):
        method.train() if step == 1 else None  # as at the beginning of an epoch
        start.begin(step)
        method(images, labels)["loss"].backward()
        start.drop_gradient()
        stepper.step()
        stepper.zero_grad()
        after = state(method)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        of_backbone = {name for name in changed if ".backbone." in name}
        assert changed - of_backbone, step
        assert bool(of_backbone) == (step >= 3), step
        assert method.backbone.training == (step >= 3)
    assert all(weight.requires_grad for weight in method.parameters())
    assert {name for name in before if "running" in name} <= of_backbone


def test_epochs_of_new_layers_in_a_run(configure, monkeypatch, tmp_path):
    """The first one and a half epochs leave the backbone as it was drawn, and what follows does not."""
    seen, real = [], loop.add_gradient

    def watch(model, *others):
        seen.append(state(model))
        return real(model, *others)

    monkeypatch.setattr(loop, "add_gradient", watch)
    settings = {"method": "gssl", "channels": 3, "epochs": 3, "head_epochs": 1.5, "ema": 0.9}
    tasks.train(configure(**settings))
    steps = len(seen) // 3
    held = round(1.5 * steps)
    names = [name for name in seen[0] if ".backbone." in name]
    for step in range(1, len(seen)):
        same = all(torch.equal(seen[step][name], seen[0][name]) for name in names)
        assert same == (step <= held), step


@pytest.mark.parametrize("at", [2, 8])
def test_a_resumed_run_equals_the_uninterrupted_one(configure, monkeypatch, tmp_path, at):
    settings = {
        "epochs": 3, "head_epochs": 1.0, "layer_decay": 0.6, "optimizer": "adamw", "lr": 0.01, "ema": 0.9,
        "checkpoint_steps": 1,
    }  # fmt: skip
    whole = tasks.train(configure(**settings, name="whole"))
    real, calls = loop.set_lr, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == at:
            raise Interrupted("stopped")
        real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(loop, "set_lr", stop)
        tasks.train(configure(**settings, name="cut"))
    cut = tasks.train(configure(**settings, name="cut"))
    weights = [(Path(found["folder"]) / "model.safetensors").read_bytes() for found in (whole, cut)]
    assert weights[0] == weights[1]


def test_nothing_new_to_learn_is_said():
    method = method_of("resnet8", "baseline")
    for weight in method.head.parameters():
        weight.requires_grad_(False)
    with pytest.raises(PretaskError, match="--head-epochs needs new layers"):
        check_optimizer(OptimConfig(head_epochs=1), method)
    check_optimizer(OptimConfig(), method)


def test_every_method_has_new_layers():
    for name in METHODS.names():
        check_optimizer(OptimConfig(head_epochs=1), method_of("resnet8", name))
