"""Where patches lie."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from pretask.errors import PretaskError
from pretask.pretexts import GridPlaces, WindowPlaces

CPU = torch.device("cpu")


def test_tiles_are_in_reading_order() -> None:
    place = GridPlaces(2, 3).at(torch.arange(6), 8, 9)
    assert place.top.tolist() == [0, 0, 0, 4, 4, 4]
    assert place.left.tolist() == [0, 3, 6, 0, 3, 6]
    assert place.height.tolist() == [4] * 6
    assert place.width.tolist() == [3] * 6
    assert place.cell.tolist() == list(range(6))
    assert GridPlaces(2, 3).cell_names() == ["0,0", "0,1", "0,2", "1,0", "1,1", "1,2"]
    covered = place.inside(8, 9).sum(dim=0)
    assert torch.equal(covered, torch.ones(8, 9, dtype=torch.int64)), "tiles cover each pixel once"


def test_inside_is_the_rectangle() -> None:
    place = GridPlaces(2, 3).at(torch.tensor([4]), 8, 9)
    expected = torch.zeros(1, 8, 9, dtype=torch.bool)
    expected[:, 4:8, 3:6] = True
    assert torch.equal(place.inside(8, 9), expected)


def test_tiles_are_drawn_uniformly_and_per_image() -> None:
    torch.manual_seed(0)
    counts = torch.bincount(GridPlaces(3, 3).draw(9000, 6, 6, CPU).cell, minlength=9)
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all(), counts


def test_repeating_keeps_images_together() -> None:
    place = GridPlaces(2, 2).at(torch.tensor([3, 1]), 4, 4).repeat(3)
    assert place.cell.tolist() == [3, 3, 3, 1, 1, 1]
    assert place.top.tolist() == [2, 2, 2, 0, 0, 0]


def test_windows_lie_inside_and_have_every_side_and_place() -> None:
    torch.manual_seed(0)
    places, draws = WindowPlaces(), 1500
    windows = []
    for _ in range(draws):
        place = places.draw(3, 10, 14, CPU)
        rows = torch.stack([place.top, place.left, place.height, place.width, place.cell], 1).tolist()
        assert rows[0] == rows[1] == rows[2], "one window per batch"
        windows.append(rows[0])
    assert all(h == w and cell == 0 for _, _, h, w, cell in windows)
    assert all(0 <= t <= 10 - h and 0 <= left <= 14 - h for t, left, h, _, _ in windows)
    sides = Counter(h for _, _, h, _, _ in windows)
    assert set(sides) == {2, 3, 4, 5}, "from 2 to half the shorter side"
    assert all(abs(n - draws / 4) < 5 * (draws * 3 / 16) ** 0.5 for n in sides.values()), sides
    for side in sides:
        assert {t for t, _, h, _, _ in windows if h == side} == set(range(10 - side + 1))
        assert {left for _, left, h, _, _ in windows if h == side} == set(range(14 - side + 1))


def test_the_smallest_image_has_the_smallest_window() -> None:
    WindowPlaces().check(4, 5)
    assert WindowPlaces().draw(2, 4, 4, CPU).height.tolist() == [2, 2]
    with pytest.raises(PretaskError, match=r"4x4 or more, not 3x9"):
        WindowPlaces().check(3, 9)


def test_a_grid_must_divide_the_image() -> None:
    GridPlaces(2, 2).check(104, 32)
    with pytest.raises(
        PretaskError, match=r"2x2 grid .* images of 103x103 .*: type --image-size 104 or choose lorot-i$"
    ):
        GridPlaces(2, 2).check(103, 103)
    with pytest.raises(PretaskError, match=r"3x3 grid .* 32x64 .* --image-size 33"):
        GridPlaces(3, 3).check(32, 64)


def test_equal_places_are_known_by_their_shape() -> None:
    assert GridPlaces(2, 2) == GridPlaces(2, 2) != GridPlaces(4, 4)
    assert WindowPlaces() == WindowPlaces() != GridPlaces(1, 1)
