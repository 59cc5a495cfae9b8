"""Every pretext on whole images against slow literal references, one pixel at a time."""

from __future__ import annotations

import pytest
import torch
from literal_images import ORDERS_3, ORDERS_6, literal_color, literal_mirror, literal_rotation
from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretexts import ColorOrder, Pretext, Product, Rotation, create_pretext


def literal(name: str, image: Tensor, label: int) -> Tensor:
    if name in ("rotation", "rotation4"):
        return literal_rotation(image, label)
    if name == "rotation2":
        return literal_rotation(image, 2 * label)
    if name in ("color", "color6"):
        return literal_color(image, ORDERS_6[label])
    if name == "color3":
        return literal_color(image, ORDERS_3[label])
    axis = {"hflip": "horizontal", "vflip": "vertical"}[name]
    return literal_mirror(image, axis) if label else image


NAMES = ["color", "color3", "color6", "hflip", "rotation", "rotation2", "rotation4", "vflip"]


def images(batch: int = 7, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(batch * 3 * 6 * 6).reshape(batch, 3, 6, 6).to(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_transform_equals_the_literal_loop(name: str) -> None:
    pretext = create_pretext(name)
    x = images(13)
    labels = torch.randint(pretext.num_labels, (13,), generator=torch.Generator().manual_seed(0))
    labels[: pretext.num_labels] = torch.arange(pretext.num_labels)
    expected = torch.stack([literal(name, image, int(label)) for image, label in zip(x, labels, strict=True)])
    assert torch.equal(pretext.transform(x, labels), expected)


@pytest.mark.parametrize("name", [*NAMES, "rotation2+color3", "rotation+color"])
def test_views_are_all_transformations_sample_major(name: str) -> None:
    pretext = create_pretext(name)
    x = images(3)
    views = pretext.views(x)
    M = pretext.num_labels
    assert views.shape == (3 * M, 3, 6, 6)
    for b in range(3):
        for m in range(M):
            expected = pretext.transform(x[b : b + 1], torch.tensor([m]))[0]
            assert torch.equal(views[b * M + m], expected), (b, m)
    assert torch.equal(views[::M], x), "view 0 is the identity"
    assert torch.equal(Pretext.views(pretext, x), views)


@pytest.mark.parametrize("name", NAMES)
def test_every_transformation_is_distinct(name: str) -> None:
    views = create_pretext(name).views(images(1))
    assert len({tuple(view.flatten().tolist()) for view in views}) == len(views)


@pytest.mark.parametrize("name", [*NAMES, "rotation2+color3"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_keeps_dtype_memory_format_and_input(name: str, dtype: torch.dtype) -> None:
    pretext = create_pretext(name)
    x = (images(4) % 251).to(dtype).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    labels = torch.tensor([0, 1, 1, 0])
    for out in (pretext.transform(x, labels), pretext.views(x)):
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)
    assert torch.equal(pretext.views(x), pretext.views(x.contiguous()))


def test_product_is_first_major_as_in_the_authors_code() -> None:
    product = Product(Rotation(2), ColorOrder(3))
    assert product.num_labels == 6
    x = images(1)
    for label in range(6):
        turned = literal_rotation(x[0], 2 * (label // 3))
        expected = literal_color(turned, ORDERS_3[label % 3])
        assert torch.equal(product.transform(x, torch.tensor([label]))[0], expected)
    assert product.label_names()[4] == "180° GBR"
    assert create_pretext("rotation+color").num_labels == 24
    assert create_pretext(["rotation", "color3"]).num_labels == 12
    assert create_pretext(["rotation2", "color3"]).name == "rotation2+color3"


def test_non_square_images_take_half_turns_only() -> None:
    x = torch.rand(2, 1, 4, 6)
    assert Rotation(2).views(x).shape == (4, 1, 4, 6)
    with pytest.raises(PretaskError, match=r"square images, not 4x6.*rotation2"):
        Rotation(4).views(x)
    with pytest.raises(PretaskError, match="4x6"):
        Product(Rotation(2), Rotation(4)).check(1, 4, 6)


def test_color_order_on_grey_images_is_refused() -> None:
    with pytest.raises(PretaskError, match=r"3 channels, not 1 \(1x28x28\)"):
        ColorOrder(6).transform(torch.rand(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))


def test_errors_name_what_is_known() -> None:
    with pytest.raises(PretaskError, match=r"unknown pretext 'rotatoin'; did you mean 'rotation'"):
        create_pretext("rotatoin")
    with pytest.raises(PretaskError, match="a pretext is needed"):
        create_pretext(())
    with pytest.raises(PretaskError, match="not 3"):
        Rotation(3)
    with pytest.raises(PretaskError, match="not 5"):
        ColorOrder(5)


def test_gradient_flows_through_views() -> None:
    x = images(2).requires_grad_()
    create_pretext("rotation+color3").views(x).square().sum().backward()
    assert torch.equal(x.grad, 2 * 12 * x.detach())


@pytest.mark.parametrize("name", ["color", "color3", "rotation2+color3", "patch-color:position=yes"])
def test_normalised_values_are_permuted_where_asked(name: str) -> None:
    """The public code normalises an image first; here what the network sees is normalised after."""
    mean, std = torch.tensor([0.49, 0.48, 0.41]), torch.tensor([0.23, 0.22, 0.26])
    pixels, normalised = create_pretext(name), create_pretext(f"{name}:normalised=yes")
    assert create_pretext(normalised.name).name == normalised.name != pixels.name
    normalised.set_moments(mean.tolist(), std.tolist())
    x = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def after(images: Tensor) -> Tensor:
        return (images - mean[:, None, None]) / std[:, None, None]

    theirs = pixels.views(after(x))
    torch.testing.assert_close(after(normalised.views(x)), theirs, atol=1e-6, rtol=0)
    labels = torch.arange(4) % pixels.num_labels
    torch.testing.assert_close(
        after(normalised.transform(x, labels)), pixels.transform(after(x), labels), atol=1e-6, rtol=0
    )
    assert torch.equal(normalised.transform(x, 0 * labels), x)  # the identity is exact
    assert (after(pixels.views(x)) - theirs).abs().max() > 0.1
