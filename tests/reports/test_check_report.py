"""The page of a check holds its pictures, escapes what it shows, and loads nothing."""

from __future__ import annotations

import io
from base64 import b64decode

import torch
from PIL import Image

from pretask.reports.check_report import write_check_report
from pretask.reports.html import THUMBNAIL, thumbnail


def test_a_page_shows_findings_with_their_pictures(tmp_path, read_page):
    picture = {"name": "a<b>.png", "place": "train, cat", "source": thumbnail(torch.zeros(1, 8, 8).byte())}
    pair = {"value": "0.97", "note": "", "about": "", "pictures": [picture, {**picture, "name": "other.png"}]}
    small = {"value": "3", "note": "few", "about": "test dog", "pictures": []}
    kinds = [
        {"name": "near copy", "count": 30, "advice": "look", "value": "likeness", "shown": [pair]},
        {"name": "small class", "count": 1, "advice": "add", "value": "", "shown": [small]},
    ]
    found = {
        "name": "x",
        "lead": "40 pictures",
        "notes": ["n"],
        "command": "pretask check",
        "not_found": ["y"],
    }
    document = write_check_report(tmp_path / "check.html", {**found, "kinds": kinds}).read_text()
    text = read_page(document)
    for words in (
        "a<b>.png",
        "other.png",
        "0.97",
        "test dog",
        "Near copy: 30",
        "The first 1",
        "Not found: y",
    ):
        assert words in text
    assert document.count("<img") == 2


def test_a_thumbnail_is_the_whole_picture_in_small():
    pixels = torch.zeros(3, 100, 400).byte()
    pixels[0] = 200
    shown = Image.open(io.BytesIO(b64decode(thumbnail(pixels).partition(",")[2])))
    assert shown.size == (THUMBNAIL, THUMBNAIL // 4)
    assert all(
        abs(a - b) < 12 for a, b in zip(shown.convert("RGB").getpixel((50, 12)), (200, 0, 0), strict=True)
    )
