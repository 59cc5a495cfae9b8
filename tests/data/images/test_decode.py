"""Decoding every kind of image that comes along, and naming those that cannot be read."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from pretask.data.fitting import as_evaluated, fit
from pretask.data.images.decode import FORMATS, Header, UnreadableImageError, decode, read_header

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
    return encode(PHOTO, kind, exif=exif.tobytes())


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

if "AVIF" in FORMATS:
    CASES["avif"] = (encode(PHOTO, "AVIF", quality=100), 3)
    CASES["grey avif"] = (encode(PHOTO.convert("L"), "AVIF"), 1)
if "HEIF" in FORMATS:
    pytest.importorskip("pillow_heif").register_heif_opener()
    CASES["heic"] = (encode(PHOTO, "HEIF", quality=100), 3)
    CASES["grey heic"] = (encode(PHOTO.convert("L"), "HEIF"), 1)


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


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", *(kind for kind in ("AVIF", "HEIF") if kind in FORMATS)]
)
def test_images_are_turned_upright(kind):
    upright = decode(turned(kind), 3, "")
    lying = decode(encode(PHOTO, kind), 3, "")
    assert upright.shape == (3, 4, 6)
    assert torch.equal(upright, torch.rot90(lying, -1, (1, 2)))
    assert read_header(turned(kind), "") == Header(4, 6, 3)


@pytest.mark.parametrize(
    "case",
    ["png", "jpeg", "gif", "webp", "bmp", *(case for case in ("avif", "heic") if case in CASES)],
)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_truncated_images_are_named(case, share):
    encoded = CASES[case][0]
    with pytest.raises(UnreadableImageError, match=r"cannot read cats/7.x \(.+\): .*--skip-bad") as caught:
        decode(encoded[: int(len(encoded) * share)], 3, "cats/7.x")
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
def test_photos_of_cameras_are_read_from_bytes_and_files(tmp_path, name):
    if name not in FORMATS:
        pytest.skip(f"this installation reads no {name}")
    shown = smooth(48, 64)
    (tmp_path / "a.jpg").write_bytes(encode(shown, name, quality=95))
    assert read_header(tmp_path / "a.jpg", "a.jpg") == Header(48, 64, 3), "what it is called does not matter"
    image = decode((tmp_path / "a.jpg").read_bytes(), None, "a.jpg").permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - np.asarray(shown).astype(int)).mean() < 3


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(UnreadableImageError, match=r"cannot read a.png \(no known image format\)"):
        read_header(tmp_path / "a.png", "a.png")
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_header(tmp_path / "b.png", "b.png")


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_postscript_is_refused_before_pillow_would_start_ghostscript(tmp_path, monkeypatch, name):
    def started(*given, **options):
        raise AssertionError("Ghostscript was to be started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    path = tmp_path / name
    path.write_bytes(encode(PHOTO, "EPS"))
    with Image.open(path) as image, pytest.raises(AssertionError, match="to be started"):
        image.load()  # as it would without the list of formats
    for read in (read_header, lambda path, what: decode(path.read_bytes(), None, what)):
        with pytest.raises(UnreadableImageError, match=r"\(no known image format\)"):
            read(path, name)


LEVELS = np.array([[0, 1, 2], [100, 254, 255]])


@pytest.mark.parametrize(
    "stored",
    [
        LEVELS.astype(np.int32),
        (LEVELS * 257).astype(np.int32),
        (LEVELS / 255).astype(np.float32),
        LEVELS.astype(np.float32),
        (LEVELS * 257).astype(np.float32),
    ],
    ids=lambda array: f"{array.dtype} to {array.max():g}",
)
def test_pixels_of_32_bits_keep_their_grey(stored):
    encoded = encode(Image.fromarray(stored), "TIFF")
    assert read_header(encoded, "a.tif") == Header(2, 3, 1)
    for channels in (1, 3):
        assert (decode(encoded, channels, "a.tif").numpy() == LEVELS).all()
    turned = Image.Exif()
    turned[0x0112] = 3
    upside_down = decode(encode(Image.fromarray(stored), "TIFF", exif=turned), 1, "a.tif")
    assert (upside_down[0].numpy() == LEVELS[::-1, ::-1]).all()


@pytest.mark.parametrize(("brightest", "bits"), [(255, 8), (256, 12), (4095, 12), (4096, 16), (65535, 16)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_hold_what_the_brightest_needs(kind, brightest, bits):
    """As 12 bits of a camera or microscope lie in 16: of those, the upper 8 are next to nothing."""
    stored = np.array([[0, brightest // 3, brightest]], np.uint16)
    found = decode(encode(Image.fromarray(stored), kind), 1, "grey")
    assert found[0].tolist() == (stored >> (bits - 8)).tolist()


@pytest.mark.parametrize("brightest", [65_536, 100_000, 2**31 - 1])
def test_32_bits_are_not_cut_off(brightest):
    stored = np.array([[0, brightest // 4, brightest // 2, brightest]], np.int32)
    grey = decode(encode(Image.fromarray(stored), "TIFF"), 1, "grey")[0, 0].tolist()
    assert grey == [value >> (brightest.bit_length() - 8) for value in stored[0].tolist()]
    assert len(set(grey)) == 4


def test_a_format_that_says_its_range_is_believed():
    dark = Image.fromarray(np.array([[0, 255]], np.uint16))
    assert decode(encode(dark, "PPM"), 1, "dark").max() == 0


def test_pixels_below_nothing_are_refused():
    image = Image.fromarray(np.array([[-1000, 3000]], np.int32))
    with pytest.raises(UnreadableImageError, match=r"pixels from -1000 to 3000 have no known range"):
        decode(encode(image, "TIFF"), 1, "scan.tif")


def test_grey_of_16_bits_may_be_transparent():
    image = Image.fromarray(np.array([[7, 4096, 65535]], np.uint16))
    assert decode(encode(image, transparency=7), 1, "logo").tolist() == [[[255, 16, 255]]]


@pytest.mark.parametrize("wrong", [-0.5, 70_000.0, float("nan"), float("inf")])
def test_floating_point_pixels_of_no_known_range_are_refused(wrong):
    image = Image.fromarray(np.array([[0.5, wrong]], np.float32))
    with pytest.raises(UnreadableImageError, match=r"cannot read a.tif \(floating-point .* no known range"):
        decode(encode(image, "TIFF"), 1, "a.tif")


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_is_laid_on_white(mode, hidden):
    """Transparent, opaque black, and, where a mode has it, half transparent black; `hidden` is below."""
    shown = np.array([[[hidden] * 3 + [0], [0] * 3 + [255], [0] * 3 + [128]]], np.uint8)
    picture, options, expected = Image.fromarray(shown), {}, [255, 0, 127]
    if mode == "LA":
        picture = picture.convert("LA")
    elif mode != "RGBA":
        picture, expected = Image.new(mode, (2, 1)), [255, 0]
        if mode == "P":
            picture.putpalette([hidden] * 3 + [0] * 3)
            picture.putpixel((1, 0), 1)
            options = {"transparency": 0}
        else:
            clear = 7 if mode == "L" else (7, 7, 7)
            picture.putpixel((0, 0), clear)
            options = {"transparency": clear}
    encoded = encode(picture, **options)
    for channels in (1, 3):
        assert decode(encoded, channels, "logo")[:, 0].tolist() == [expected] * channels


def test_the_fault_survives_another_process():
    with pytest.raises(UnreadableImageError) as caught:
        decode(b"", None, "a.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.what) == (str(caught.value), "a.png")


def smooth(height, width):
    """A picture that changes slowly, so that every way to make it smaller gives the same pixels."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / 40 + c) * np.cos(y / 50) for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def test_a_jpeg_is_decoded_whole_before_it_is_made_smaller():
    """By the decoder's own reduction, a fine pattern comes out otherwise than by everybody else's."""
    y, x = np.mgrid[0:512, 0:512]
    stripes = Image.fromarray((127 + 100 * np.sign(np.sin(x * 1.7 + y * 0.2))).astype(np.uint8))
    encoded = encode(stripes, "JPEG", quality=95)
    fitted = decode(encoded, 1, "stripes", as_evaluated((48, 48)))
    assert torch.equal(fitted, fit(decode(encoded, 1, "stripes"), (48, 48)))


def test_a_jpeg_that_ends_early_is_refused_at_any_size():
    encoded = encode(smooth(480, 640), "JPEG")
    with pytest.raises(UnreadableImageError, match="photo"):
        decode(encoded[: len(encoded) // 2], 3, "photo", as_evaluated((8, 8)))
