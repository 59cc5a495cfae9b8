"""Single, aggregated and distilled inference, and the classifier on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretask.backbones import create_backbone
from pretask.errors import PretaskError
from pretask.losses import create_loss
from pretask.methods import (
    Classifier,
    MethodParts,
    ModelCard,
    create_method,
    load_classifier,
    read_card,
    save_model,
)
from pretask.pretexts import create_pretexts


@pytest.mark.parametrize("pretext", ["rotation", "color", "rotation2+color3"])
def test_aggregated_equals_the_views_one_by_one(build, batch, pretext: str) -> None:
    images, _ = batch
    method = build("sla", pretext)
    M = method.encoder.num_labels
    got = method.classifier("aggregated")(images)
    for i, image in enumerate(images):
        rows = []
        for j in range(M):
            view = method.encoder.image_pretext.transform(image[None], torch.tensor([j]))
            joint = method.joint_head(method.backbone(method.encoder.normalize(view)))[0]
            rows.append(torch.stack([joint[y * M + j] for y in range(3)]))
        torch.testing.assert_close(got[i], torch.stack(rows).mean(0))


def test_single_reads_the_first_views_columns(build, batch) -> None:
    images, _ = batch
    method = build("sla")
    joint = method.joint_head(method.backbone(method.encoder.normalize(images)))
    torch.testing.assert_close(method.classifier("single")(images), joint[:, ::4])


def test_distilled_is_one_pass_through_its_own_head(build, batch) -> None:
    images, _ = batch
    method = build("sla-sd")
    expected = method.head(method.backbone(method.encoder.normalize(images)))
    torch.testing.assert_close(method.classifier()(images), expected)
    assert method.inferences == ("distilled", "aggregated", "single")


@pytest.mark.parametrize("name", ["da", "mt"])
def test_mean_over_views_of_a_plain_head(build, batch, name: str) -> None:
    images, _ = batch
    method = build(name)
    logits = [
        method.head(method.backbone(method.encoder.normalize(torch.rot90(images, j, (2, 3)))))
        for j in range(4)
    ]
    torch.testing.assert_close(method.classifier("aggregated")(images), torch.stack(logits).mean(0))
    torch.testing.assert_close(method.classifier("single")(images), logits[0])


def test_classifier_contract(build, batch) -> None:
    images, _ = batch
    method = build("sla")
    for inference in method.inferences:
        classifier = method.classifier(inference)
        assert classifier(images).shape == (6, 3)
        assert classifier.embed(images).shape == (6, 5)
        assert classifier.num_classes == 3
        assert classifier.backbone is method.backbone
    with pytest.raises(
        PretaskError, match=r"unknown inference of this method 'agregated'; did you mean 'aggregated'"
    ):
        method.classifier("agregated")


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, dict[str, Classifier]]:
    torch.manual_seed(0)
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8), in_channels=1),
        class_counts=torch.tensor([5, 5, 5]),
        mean=(0.3,),
        std=(0.2,),
        pretexts=create_pretexts("rotation"),
    )
    method = create_method("sla-sd", parts).eval()
    card = ModelCard("resnet8", (8, 8), 1, ("a", "b", "c"), (0.3,), (0.2,), "sla-sd", "distilled")
    classifiers = {name: method.classifier(name) for name in method.inferences}
    save_model(tmp_path / "run", classifiers, card)
    return tmp_path / "run", classifiers


def test_saved_classifier_answers_as_before(saved) -> None:
    folder, classifiers = saved
    images = torch.rand(4, 1, 8, 8)
    for name, classifier in classifiers.items():
        assert torch.equal(load_classifier(folder, name)(images), classifier(images)), name
    assert torch.equal(load_classifier(folder)(images), classifiers["distilled"](images))
    assert read_card(folder).class_names == ("a", "b", "c")
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_inferences_that_share_a_head_are_saved(tmp_path: Path) -> None:
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8), in_channels=1),
        class_counts=torch.tensor([5, 5]),
        mean=(0.3,),
        std=(0.2,),
        pretexts=create_pretexts("rotation"),
    )
    method = create_method("da", parts).eval()
    card = ModelCard("resnet8", (8, 8), 1, ("a", "b"), (0.3,), (0.2,), "da", "single")
    save_model(tmp_path, {name: method.classifier(name) for name in method.inferences}, card)
    images = torch.rand(3, 1, 8, 8)
    for name in method.inferences:
        assert torch.equal(load_classifier(tmp_path, name)(images), method.classifier(name)(images))


def test_damaged_files_are_named(saved, tmp_path: Path) -> None:
    folder, _ = saved
    with pytest.raises(PretaskError, match=r"unknown inference of .* 'best'"):
        load_classifier(folder, "best")
    with pytest.raises(PretaskError, match=r"no trained model in .*nowhere"):
        load_classifier(tmp_path / "nowhere")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PretaskError, match=r"model.safetensors is damaged"):
        load_classifier(folder)
    weights.unlink()
    with pytest.raises(PretaskError, match="is missing"):
        load_classifier(folder)
    (folder / "model.json").write_text("{half")
    with pytest.raises(PretaskError, match=r"cannot read .*model\.json"):
        load_classifier(folder)


def test_weights_of_another_architecture_are_refused(saved) -> None:
    folder, classifiers = saved
    card = replace(read_card(folder), backbone="resnet14")
    save_model(folder, classifiers, card)
    with pytest.raises(PretaskError, match="do not fit the resnet14"):
        load_classifier(folder)


@pytest.mark.parametrize("name", ["sla+ssfe", "ssfe-sd", "gssl"])
@pytest.mark.parametrize("loss", ["cross_entropy", "ldam"])
def test_classifiers_with_masks_and_normalised_heads_answer_as_before(
    tmp_path: Path, name: str, loss: str
) -> None:
    torch.manual_seed(0)
    own = {"sla+ssfe": ["rotation", "discard:grouping=random"], "ssfe-sd": ["discard:groups=3"]}
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(8, 8)),
        class_counts=torch.tensor([5, 4, 3]),
        mean=(0.3,) * 3,
        std=(0.2,) * 3,
        pretexts=create_pretexts(own[name]) if name in own else (),
        make_loss=create_loss(loss),
    )
    options = {"layer": "blocks.1"} if name == "ssfe-sd" else {}
    method = create_method(name, parts, **options).eval()
    card = ModelCard(
        "resnet8", (8, 8), 3, ("a", "b", "c"), (0.3,) * 3, (0.2,) * 3, name, method.inferences[0]
    )
    save_model(tmp_path, {mode: method.classifier(mode) for mode in method.inferences}, card)
    images = torch.rand(4, 3, 8, 8)
    for mode in method.inferences:
        loaded = load_classifier(tmp_path, mode)
        assert torch.equal(loaded(images), method.classifier(mode)(images)), mode
        assert loaded.num_classes == 3


@pytest.mark.parametrize("loss", ["cross_entropy", "ldam"])
def test_inferences_of_masked_features_by_hand(loss: str) -> None:
    torch.manual_seed(0)
    network = create_backbone("resnet8", image_size=(8, 8))
    parts = MethodParts(
        network, torch.tensor([5, 4]), (0.5,) * 3, (0.2,) * 3, create_pretexts(["rotation", "discard"]),
        make_loss=create_loss(loss),
    )  # fmt: skip
    method = create_method("sla", parts).eval()
    images = torch.rand(3, 3, 8, 8)
    joint = {}
    for a in range(4):
        z = network((torch.rot90(images, a, (2, 3)) - 0.5) / 0.2)
        for b in range(4):
            masked = z.clone()
            masked[:, 16 * b : 16 * (b + 1)] = 0
            joint[a, b] = method.joint_head(masked).reshape(3, 2, 4, 4)[:, :, a, b]
    plain = method.joint_head(network((images - 0.5) / 0.2)).reshape(3, 2, 4, 4)[:, :, 0]
    close = torch.testing.assert_close
    close(method.classifier("aggregated")(images), torch.stack(list(joint.values())).mean(0))
    close(method.classifier("single")(images), joint[0, 0])
    close(method.classifier("unmasked")(images), plain.mean(2))


def test_places_left_to_chance_are_not_averaged_over(build) -> None:
    assert build("da", "patch-flip", views=1).inferences == ("single",)
    with pytest.raises(PretaskError, match="position=yes, or use --method gssl"):
        build("sla", "patch-flip")
    assert build("sla", "patch-flip:position=yes").inferences == ("aggregated", "single")
