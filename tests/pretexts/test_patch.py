"""Tasks on patches against slow literal references, one pixel at a time."""

from __future__ import annotations

import pytest
import torch
from literal_images import ORDERS_6, literal_color, literal_mirror, literal_rotation
from torch import Tensor

from pretask.errors import PretaskError
from pretask.pretexts import PatchPretext, create_pretext, create_pretexts, transform_shared
from pretask.pretexts.place import Place

SPECS = [
    "lorot-e", "lorot-e:grid=3", "lorot-e:grid=1", "lorot-i", "patch-rotation", "patch-rotation:grid=4",
    "patch-rotation:grid=3:position=yes", "patch-flip", "patch-flip:axis=vertical",
    "patch-flip:grid=3:position=yes:axis=vertical", "patch-flip:grid=1", "patch-color", "patch-color:grid=4",
    "patch-color:grid=3:position=yes",
]  # fmt: skip
OBLONG = ["patch-flip", "patch-flip:grid=3:axis=vertical", "patch-color:grid=3", "lorot-i"]


def literal_action(pretext: PatchPretext, patch: Tensor, action: int) -> Tensor:
    kind = pretext.name.partition(":")[0]
    if kind == "patch-color":
        return literal_color(patch, ORDERS_6[action])
    if kind == "patch-flip":
        axis = "vertical" if "axis=vertical" in pretext.name else "horizontal"
        return literal_mirror(patch, axis) if action else patch
    return literal_rotation(patch, action)


def literal_undo(pretext: PatchPretext, patch: Tensor, action: int) -> Tensor:
    kind = pretext.name.partition(":")[0]
    if kind == "patch-color":
        order = ORDERS_6[action]
        return torch.stack([patch[order.index(letter)] for letter in "RGB"])
    return literal_action(pretext, patch, -action % pretext.num_actions)


def on_patch(image: Tensor, place: Place, b: int, do, pretext: PatchPretext, action: int) -> Tensor:
    top, left, height, width = (int(t[b]) for t in (place.top, place.left, place.height, place.width))
    image = image.clone()
    patch = image[:, top : top + height, left : left + width].clone()
    image[:, top : top + height, left : left + width] = do(pretext, patch, action)
    return image


def images(batch: int, height: int = 12, width: int = 12, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.arange(batch * 3 * height * width).reshape(batch, 3, height, width).to(dtype)


def place_of(pretext: PatchPretext, labels: Tensor, height: int, width: int, seed: int) -> Place:
    """The place that `transform` takes after this seed."""
    if pretext.position:
        return pretext.places.at(labels // pretext.num_actions, height, width)
    torch.manual_seed(seed)
    return pretext.places.draw(len(labels), height, width, labels.device)


@pytest.mark.parametrize(("spec", "size"), [*((s, (12, 12)) for s in SPECS), *((s, (6, 12)) for s in OBLONG)])
def test_transform_equals_the_literal_loop_and_can_be_undone(spec: str, size: tuple[int, int]) -> None:
    pretext = create_pretext(spec)
    labels = torch.arange(pretext.num_labels).repeat(2)
    x = images(len(labels), *size)
    torch.manual_seed(3)
    changed = pretext.transform(x, labels)
    place = place_of(pretext, labels, *size, seed=3)
    assert torch.equal(pretext.place_labels(place, labels % pretext.num_actions), labels)
    for b, label in enumerate(labels.tolist()):
        action = label % pretext.num_actions
        expected = on_patch(x[b], place, b, literal_action, pretext, action)
        assert torch.equal(changed[b], expected), (b, label)
        assert torch.equal(on_patch(changed[b], place, b, literal_undo, pretext, action), x[b]), (b, label)
        assert torch.equal(changed[b], x[b]) == (action == 0), "only action 0 is the identity"


def test_lorot_labels_are_four_times_the_quadrant_plus_the_quarter_turns() -> None:
    lorot = create_pretext("lorot-e")
    assert lorot.num_labels == 16
    x = images(1)
    changed = lorot.transform(x, torch.tensor([4 * 1 + 3]))
    expected = x.clone()
    expected[0, :, :6, 6:] = literal_rotation(x[0, :, :6, 6:], 3)
    assert torch.equal(changed, expected)
    assert lorot.label_names()[7] == "270° at 0,1"
    assert create_pretext("lorot-i").label_names() == ["0°", "90°", "180°", "270°"]


@pytest.mark.parametrize("spec", SPECS)
def test_views_are_all_actions_at_one_place_of_each_image(spec: str) -> None:
    pretext = create_pretext(spec)
    x, M = images(3), pretext.num_labels
    torch.manual_seed(5)
    views = pretext.views(x)
    assert views.shape == (3 * M, 3, 12, 12)
    place = place_of(
        pretext, torch.arange(M).repeat(3) if pretext.position else torch.arange(3), 12, 12, seed=5
    )
    for b in range(3):
        for m in range(M):
            at = b * M + m if pretext.position else b
            expected = on_patch(x[b], place, at, literal_action, pretext, m % pretext.num_actions)
            assert torch.equal(views[b * M + m], expected), (b, m)
    assert torch.equal(views[::M], x), "view 0 is the identity"


@pytest.mark.parametrize(
    "spec", ["lorot-e", "lorot-i", "patch-flip:grid=3", "patch-color:grid=4:position=yes"]
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_keeps_dtype_memory_format_and_input(spec: str, dtype: torch.dtype) -> None:
    pretext = create_pretext(spec)
    x = (images(4) % 251).to(dtype).contiguous(memory_format=torch.channels_last)
    before, labels = x.clone(), torch.tensor([0, 1, 1, 0])
    for act in (
        lambda x: pretext.transform(x, labels),
        pretext.views,
        lambda x: transform_shared([pretext], x)[0],
    ):
        torch.manual_seed(0)
        out = act(x)
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=torch.channels_last)
        torch.manual_seed(0)
        flat = act(x.contiguous())
        assert flat.is_contiguous()
        assert torch.equal(out, flat)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "specs",
    [
        ["patch-color", "lorot-e", "patch-flip"],
        ["lorot-e:grid=3", "patch-flip:grid=3:axis=vertical:position=yes"],
        ["patch-rotation", "patch-color:position=yes"],
        ["lorot-i"],
    ],
)
def test_shared_patch_equals_flip_then_rotation_then_color_on_one_place(
    specs: list[str], dtype: torch.dtype
) -> None:
    tasks = create_pretexts(specs)
    x = (images(40) % 251).to(dtype)
    before = x.clone()
    torch.manual_seed(11)
    changed, labels = transform_shared(tasks, x)
    torch.manual_seed(11)
    place = tasks[0].places.draw(40, 12, 12, x.device)
    assert torch.equal(x, before)
    kinds = ("patch-flip", "rot", "patch-color")
    in_order = sorted(range(len(tasks)), key=lambda t: [kind in tasks[t].name for kind in kinds].index(True))
    for task, told in zip(tasks, labels, strict=True):
        cells = place.cell if task.position else torch.zeros_like(place.cell)
        assert torch.equal(told // task.num_actions, cells)
    for b in range(40):
        expected = x[b]
        for t in in_order:
            action = int(labels[t][b]) % tasks[t].num_actions
            expected = on_patch(expected, place, b, literal_action, tasks[t], action)
        assert torch.equal(changed[b], expected), b


def test_the_order_of_tasks_changes_nothing_but_the_order_of_labels() -> None:
    tasks, x = create_pretexts(["patch-color", "lorot-e", "patch-flip"]), images(8)
    torch.manual_seed(1)
    changed, (color, rotation, flip) = transform_shared(tasks, x)
    torch.manual_seed(1)
    again, labels = transform_shared(tasks[::-1], x)
    assert torch.equal(changed, again)
    assert all(torch.equal(a, b) for a, b in zip(labels, (flip, rotation, color), strict=True))


def test_labels_are_drawn_uniformly_and_independently() -> None:
    torch.manual_seed(0)
    tasks = create_pretexts(["lorot-e", "patch-flip", "patch-color"])
    _, (rotation, flip, color) = transform_shared(tasks, torch.zeros(9600, 3, 2, 2, dtype=torch.uint8))
    together = torch.bincount((rotation * 2 + flip) * 6 + color, minlength=192)
    assert len(together) == 192
    assert ((together - 50).abs() < 5 * 50**0.5).all(), together
    place, actions = tasks[0].draw(4000, 2, 2, torch.device("cpu"))
    together = torch.bincount(tasks[0].place_labels(place, actions), minlength=16)
    assert ((together - 250).abs() < 5 * 250**0.5).all(), together


def test_draws_follow_the_seed() -> None:
    window, x, labels = create_pretext("lorot-i"), images(5), torch.tensor([1, 2, 3, 1, 2])
    torch.manual_seed(4)
    first, second = window.transform(x, labels), window.transform(x, labels)
    torch.manual_seed(4)
    assert torch.equal(window.transform(x, labels), first)
    assert not torch.equal(first, second)


def test_tasks_that_cannot_share_a_patch_are_refused() -> None:
    x = images(2)
    with pytest.raises(PretaskError, match=r"lorot-e and patch-flip:grid=3 do not work on the same patches"):
        transform_shared(create_pretexts(["lorot-e", "patch-flip:grid=3"]), x)
    with pytest.raises(PretaskError, match="lorot-i"):
        transform_shared(create_pretexts(["patch-flip:grid=1", "lorot-i"]), x)
    with pytest.raises(ValueError, match="at least 1"):
        transform_shared([], x)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("patch-color", (1, 28, 28), r"3 channels, not 1 \(1x28x28\)"),
        ("lorot-e", (3, 103, 103), r"103x103 evenly: type --image-size 104 or choose lorot-i"),
        ("patch-flip:grid=5", (3, 32, 32), r"5x5 grid .* 32x32 evenly: type --image-size 35"),
        (
            "lorot-e",
            (3, 32, 24),
            r"square ones, not 16x12 \(images of 32x24\): type --image-size 24 or choose lorot-i",
        ),
        ("lorot-i", (3, 3, 32), r"4x4 or more, not 3x32"),
    ],
)
def test_shapes_that_do_not_suit_are_named(spec: str, shape: tuple[int, int, int], message: str) -> None:
    pretext = create_pretext(spec)
    x, labels = torch.rand(2, *shape), torch.zeros(2, dtype=torch.int64)
    for attempt in (
        lambda: pretext.check(*shape),
        lambda: pretext.transform(x, labels),
        lambda: pretext.views(x),
        lambda: transform_shared([pretext], x),
    ):
        with pytest.raises(PretaskError, match=message):
            attempt()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(
        PretaskError, match="grid=0 of pretext lorot-e is not allowed: give a number 1 or more"
    ):
        create_pretext("lorot-e:grid=0")
    with pytest.raises(
        PretaskError, match="unknown axis of patch-flip 'horizontl'; did you mean 'horizontal'"
    ):
        type(create_pretext("patch-flip"))(axis="horizontl")


def test_only_a_place_outside_the_label_is_left_to_chance() -> None:
    for spec in ("lorot-i", "patch-rotation", "patch-flip:grid=3", "patch-color"):
        assert create_pretext(spec).stochastic, spec
    for spec in ("lorot-e", "patch-flip:position=yes", "patch-rotation:grid=1"):
        assert not create_pretext(spec).stochastic, spec


def test_flipping_as_augmentation_hides_mirrored_whole_images_only() -> None:
    assert create_pretext("patch-flip:grid=1").hidden_by == {"flip"}
    assert not create_pretext("patch-flip").hidden_by
    assert not create_pretext("patch-flip:grid=1:axis=vertical").hidden_by


def test_lorot_works_on_grey_images_and_passes_gradients() -> None:
    x = torch.rand(16, 1, 4, 4, requires_grad=True)
    create_pretext("lorot-e").transform(x, torch.arange(16)).square().sum().backward()
    assert torch.equal(x.grad, 2 * x.detach())
