"""Decoding every kind of image that comes along, and naming those that cannot be read."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pretask.data.decode import Header, UnreadableImageError, decode, read_header

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
PHOTO = Image.fromarray(COLOURS)


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    return encode(PHOTO, kind, exif=exif)


GREY16 = Image.fromarray(np.full((6, 4), 200 * 256 + 17, np.uint16))
CASES = {
    "png": (encode(PHOTO), 3),
    "jpeg": (encode(PHOTO, "JPEG"), 3),
    "grey jpeg": (encode(PHOTO.convert("L"), "JPEG"), 1),
    "cmyk jpeg": (encode(PHOTO.convert("CMYK"), "JPEG"), 3),
    "alpha": (encode(PHOTO.convert("RGBA")), 3),
    "palette": (encode(PHOTO.convert("P")), 3),
    "palette with transparency": (encode(PHOTO.convert("P"), transparency=b"\x00\x80"), 3),
    "grey with alpha": (encode(PHOTO.convert("LA")), 1),
    "one bit": (encode(PHOTO.convert("1")), 1),
    "16 bit png": (encode(GREY16), 1),
    "16 bit tiff": (encode(GREY16, "TIFF"), 1),
    "gif": (encode(PHOTO, "GIF"), 3),
    "webp": (encode(PHOTO, "WEBP"), 3),
    "bmp": (encode(PHOTO, "BMP"), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_own_and_asked_channels(case):
    encoded, own = CASES[case]
    for asked in (None, 1, 3):
        image = decode(encoded, asked, case)
        assert image.dtype == torch.uint8
        assert image.shape == (asked or own, 6, 4)
        assert image.is_contiguous()
    assert read_header(encoded, case) == Header(6, 4, own)


def test_values():
    assert (decode(encode(PHOTO), 3, "").permute(1, 2, 0).numpy() == COLOURS).all()
    assert (decode(encode(PHOTO.convert("RGBA")), 3, "").permute(1, 2, 0).numpy() == COLOURS).all()
    assert (decode(encode(PHOTO), 1, "")[0].numpy() == np.array(PHOTO.convert("L"))).all()
    assert set(decode(CASES["one bit"][0], None, "").unique().tolist()) <= {0, 255}
    assert (decode(CASES["16 bit png"][0], None, "") == 200).all()
    jpeg = np.array(Image.open(io.BytesIO(CASES["jpeg"][0])))
    assert (decode(CASES["jpeg"][0], None, "").permute(1, 2, 0).numpy() == jpeg).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_are_turned_upright(kind):
    upright = decode(turned(kind), 3, "")
    lying = decode(encode(PHOTO, kind), 3, "")
    assert upright.shape == (3, 4, 6)
    assert torch.equal(upright, torch.rot90(lying, -1, (1, 2)))
    assert read_header(turned(kind), "") == Header(4, 6, 3)


@pytest.mark.parametrize("case", ["png", "jpeg", "gif", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_truncated_images_are_named(case, share):
    encoded = CASES[case][0]
    with pytest.raises(UnreadableImageError, match=r"cannot read cats/7.x \(.+\): .*--skip-bad") as caught:
        decode(encoded[: int(len(encoded) * share)], 3, "cats/7.x")
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(UnreadableImageError, match=r"cannot read a.png \(no known image format\)"):
        read_header(tmp_path / "a.png", "a.png")
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_header(tmp_path / "b.png", "b.png")


def test_floating_point_pixels_are_refused():
    image = Image.fromarray(RNG.random((4, 4)).astype(np.float32))
    with pytest.raises(UnreadableImageError, match="no known range"):
        decode(encode(image, "TIFF"), None, "a.tif")


def test_the_fault_survives_another_process():
    with pytest.raises(UnreadableImageError) as caught:
        decode(b"", None, "a.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.what) == (str(caught.value), "a.png")
