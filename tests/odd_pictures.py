"""Pictures of every kind that people have, made on the spot, and what is seen of each."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from pretask.data.images.decode import FORMATS

HEIGHT, WIDTH = 24, 36
_y, _x = np.mgrid[:HEIGHT, :WIDTH]
COLOURS = np.stack((40 + 6 * _x, 30 + 8 * _y, 200 - 3 * _x - 3 * _y), -1).astype(np.uint8)
COLOURS[2:8, 3:12] = (250, 20, 10)
"""What a photo shows, upright: slow ramps, and a red mark that says where top and left are."""
PHOTO = Image.fromarray(COLOURS)
GREY = np.asarray(PHOTO.convert("L"))
_CLEAR = (_x + _y) % 24 < 8
ON_WHITE = np.where(_CLEAR[..., None], 255, COLOURS).astype(np.uint8)
GREY_ON_WHITE = np.where(_CLEAR, 255, GREY).astype(np.uint8)
_FACTOR = np.where(_CLEAR, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Odd:
    """A file's bytes, and what it shows: uint8 [H, W] or [H, W, 3], to a mean difference of `within` levels."""

    content: bytes
    shown: np.ndarray
    within: float = 0.0


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _turned(orientation: int) -> tuple[Image.Image, Image.Exif]:
    """Return how the photo is stored so that an orientation makes it upright, and the EXIF data that say so."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    return PHOTO.transpose(back[orientation]), exif


def _turned_bytes(kind: str, orientation: int, **options) -> bytes:
    image, exif = _turned(orientation)
    return encoded(image, kind, exif=exif.tobytes(), **options)


def _png_of_16_bits(pixels: np.ndarray) -> bytes:
    """Return a PNG of uint16 [H, W, 3], which Pillow does not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _alpha(hidden: int) -> Image.Image:
    below = np.where(_CLEAR[..., None], hidden, COLOURS).astype(np.uint8)
    return Image.fromarray(np.dstack((below, _FACTOR)))


def _palette(image: Image.Image) -> tuple[Image.Image, np.ndarray]:
    found = image.quantize(200, dither=Image.Dither.NONE)
    return found, np.asarray(found.convert("RGB"))


def _grey_alpha(hidden: int) -> Image.Image:
    below = np.where(_CLEAR, hidden, GREY).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(below), Image.fromarray(_FACTOR)])


def _indexed_clear(kind: str) -> Odd:
    """A palette of which one colour, black, is transparent."""
    indices = np.where(_CLEAR, 0, 1 + GREY // 2).astype(np.uint8)
    picture = Image.fromarray(indices).convert("L")
    coloured = Image.frombytes("P", picture.size, picture.tobytes())
    palette = [[0, 0, 0], *[[2 * i, 2 * i, 90] for i in range(128)]]
    coloured.putpalette([value for entry in palette for value in entry])
    shown = np.array(palette, np.uint8)[indices]
    shown[_CLEAR] = 255
    return Odd(encoded(coloured, kind, transparency=0), shown)


_NEGATIVE = PHOTO.point(lambda value: 255 - value)
_P, _P_SHOWN = _palette(PHOTO)
_LOSSY = 6.0
_DEEP = GREY.astype(np.int64) * 257

KINDS: dict[str, dict[str, Odd]] = {
    "colour of 8 bits": {
        "rgb.png": Odd(encoded(PHOTO, "PNG"), COLOURS),
        "rgb.bmp": Odd(encoded(PHOTO, "BMP"), COLOURS),
        "rgb.ppm": Odd(encoded(PHOTO, "PPM"), COLOURS),
        "rgb.tif": Odd(encoded(PHOTO, "TIFF", compression="tiff_lzw"), COLOURS),
        "rgb.webp": Odd(encoded(PHOTO, "WEBP", lossless=True), COLOURS),
        "rgb.jpg": Odd(encoded(PHOTO, "JPEG", quality=95), COLOURS, _LOSSY),
        "progressive.jpeg": Odd(encoded(PHOTO, "JPEG", quality=95, progressive=True), COLOURS, _LOSSY),
    },
    "grey of 8 bits": {
        "grey.png": Odd(encoded(Image.fromarray(GREY), "PNG"), GREY),
        "grey.jpg": Odd(encoded(Image.fromarray(GREY), "JPEG", quality=95), GREY, _LOSSY),
    },
    "black and white": {
        "bilevel.png": Odd(
            encoded(Image.fromarray(GREY > 120), "PNG"), np.where(GREY > 120, 255, 0).astype(np.uint8)
        ),
        "bilevel.tif": Odd(
            encoded(Image.fromarray(GREY > 120), "TIFF"), np.where(GREY > 120, 255, 0).astype(np.uint8)
        ),
    },
    "grey of 12 or 16 bits": {
        "16-bits.png": Odd(encoded(Image.fromarray(_DEEP.astype(np.uint16)), "PNG"), GREY),
        "16-bits.tif": Odd(encoded(Image.fromarray(_DEEP.astype(np.uint16)), "TIFF"), GREY),
        "12-in-16.png": Odd(encoded(Image.fromarray(GREY.astype(np.uint16) * 16 + 3), "PNG"), GREY),
        "8-in-16.tif": Odd(encoded(Image.fromarray(GREY.astype(np.uint16)), "TIFF"), GREY),
        "16-bits.pgm": Odd(encoded(Image.fromarray(_DEEP.astype(np.uint16)), "PPM"), GREY),
    },
    "colour of 16 bits": {"16-bits-rgb.png": Odd(_png_of_16_bits(COLOURS.astype(np.uint16) * 257), COLOURS)},
    "integers of 32 bits": {
        "int32.tif": Odd(encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"), GREY),
        "int32-16.tif": Odd(encoded(Image.fromarray(_DEEP.astype(np.int32)), "TIFF"), GREY),
        "int32-24.tif": Odd(
            encoded(Image.fromarray((GREY.astype(np.int32) << 16) | 2**23), "TIFF"), GREY | 128
        ),
    },
    "floating point": {
        "float-1.tif": Odd(encoded(Image.fromarray((GREY / 255).astype(np.float32)), "TIFF"), GREY),
        "float-255.tif": Odd(encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), GREY),
        "float-65535.tif": Odd(encoded(Image.fromarray(_DEEP.astype(np.float32)), "TIFF"), GREY),
    },
    "alpha": {
        "hidden-black.png": Odd(encoded(_alpha(0), "PNG"), ON_WHITE),
        "hidden-white.png": Odd(encoded(_alpha(255), "PNG"), ON_WHITE),
        "alpha.webp": Odd(encoded(_alpha(0), "WEBP", lossless=True), ON_WHITE),
        "alpha.tif": Odd(encoded(_alpha(0), "TIFF"), ON_WHITE),
        "grey-alpha.png": Odd(encoded(_grey_alpha(0), "PNG"), GREY_ON_WHITE),
        "clear-level.png": Odd(
            encoded(Image.fromarray(np.where(_CLEAR, 1, GREY).astype(np.uint8)), "PNG", transparency=1),
            GREY_ON_WHITE,
        ),
    },
    "palette": {
        "palette.png": Odd(encoded(_P, "PNG"), _P_SHOWN),
        "palette.gif": Odd(encoded(_P, "GIF"), _P_SHOWN),
        "palette-clear.png": _indexed_clear("PNG"),
        "palette-clear.gif": _indexed_clear("GIF"),
    },
    "orientation": {
        **{
            f"turned-{turn}.jpg": Odd(_turned_bytes("JPEG", turn, quality=95), COLOURS, _LOSSY)
            for turn in range(2, 9)
        },
        "turned.png": Odd(_turned_bytes("PNG", 6), COLOURS),
        "turned.webp": Odd(_turned_bytes("WEBP", 8, lossless=True), COLOURS),
        "turned.tif": Odd(_turned_bytes("TIFF", 6), COLOURS),
        "turned-3.tif": Odd(_turned_bytes("TIFF", 3), COLOURS),
    },
    "animation, pages": {
        "moving.gif": Odd(
            encoded(_P, "GIF", save_all=True, append_images=[_NEGATIVE.quantize(200)]), _P_SHOWN
        ),
        "moving.apng": Odd(encoded(PHOTO, "PNG", save_all=True, append_images=[_NEGATIVE]), COLOURS),
        "moving.webp": Odd(
            encoded(PHOTO, "WEBP", save_all=True, append_images=[_NEGATIVE], lossless=True), COLOURS
        ),
        "pages.tif": Odd(encoded(PHOTO, "TIFF", save_all=True, append_images=[_NEGATIVE]), COLOURS),
    },
    "CMYK": {
        "cmyk.jpg": Odd(encoded(PHOTO.convert("CMYK"), "JPEG", quality=95), COLOURS, _LOSSY),
        "cmyk.tif": Odd(encoded(PHOTO.convert("CMYK"), "TIFF"), COLOURS),
    },
    "AVIF": {},
    "HEIC": {},
}
"""By the rows of `docs/images.md`; AVIF and HEIC are empty where this installation does not read them."""
if "AVIF" in FORMATS:
    KINDS["AVIF"] = {
        "rgb.avif": Odd(encoded(PHOTO, "AVIF", quality=95), COLOURS, _LOSSY),
        "turned.avif": Odd(_turned_bytes("AVIF", 6, quality=95), COLOURS, _LOSSY),
    }
if "HEIF" in FORMATS and find_spec("pillow_heif"):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    KINDS["HEIC"] = {
        "rgb.heic": Odd(encoded(PHOTO, "HEIF", quality=95), COLOURS, _LOSSY),
        "turned.heic": Odd(_turned_bytes("HEIF", 6, quality=95), COLOURS, _LOSSY),
    }

REFUSED = {
    "below-0.tif": encoded(Image.fromarray(GREY.astype(np.int32) - 1000), "TIFF"),
    "no-number.tif": encoded(Image.fromarray(np.where(_CLEAR, np.nan, GREY).astype(np.float32)), "TIFF"),
    "no-range.tif": encoded(Image.fromarray(GREY.astype(np.float32) * 1000), "TIFF"),
}


def write(folder: Path, kinds: dict[str, dict[str, Odd]] = KINDS) -> list[Path]:
    """Write all files of some kinds, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for files in kinds.values():
        for name, odd in files.items():
            paths.append(folder / name)
            paths[-1].write_bytes(odd.content)
    return paths
