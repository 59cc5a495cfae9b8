"""Pictures to uint8 pixels: decoded, upright, on white, of 8 bits, and fitted to a size."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from pretask.data.fitting import Framing
from pretask.errors import PretaskError
from pretask.io.files import check_regular


def mixed_channels(what: str, given: int, expected: int) -> PretaskError:
    """Return the error for an image that has other channels than the rest."""
    return PretaskError(
        f"{what} has {given} channels, the others have {expected}: convert it, or type --skip-bad"
    )


_AVIF = "avif" in features.modules and bool(features.check("avif"))
_HEIF = find_spec("pillow_heif") is not None
_ALWAYS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_BUILT_IN = ("AVIF", *_ALWAYS) if _AVIF else _ALWAYS
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
FORMATS = (*_BUILT_IN, "HEIF") if _HEIF else _BUILT_IN
"""What this installation reads, whatever a file is called. Others are not tried: for some, Pillow would start other
programs."""
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff")
    + (".ppm", ".pgm", ".pbm", ".pnm")
    + (".avif",) * _AVIF
    + _HEIF_SUFFIXES * _HEIF
)
"""How files are called that this installation reads."""
UNREAD: dict[str, str] = {
    **({} if _AVIF else {".avif": ".avif needs Pillow 11.3 or newer"}),
    **({} if _HEIF else dict.fromkeys(_HEIF_SUFFIXES, ".heic needs `pip install 'pretask[heic]'`")),
}
"""What would help this installation to read files of other suffixes."""
MAX_BYTES = 2**30
"""Of an image file."""
MAX_PIXELS = 2 * 89_478_485
"""Of an image, where Pillow too refuses by default: a small file can announce an image that fills the memory."""

_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"))
_DEPTHS = 8, 12, 16
_ONE, _8_BITS, _16_BITS = 1, 255, 65535  # the brightest value that a floating-point pixel may mean
_TURNED_BY_EXIF = frozenset((5, 6, 7, 8))  # orientations that swap height and width
_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 0x0100, 0x0101
_DECODE_FAULTS = (
    OSError,
    SyntaxError,  # what Pillow raises for a broken PNG chunk
    TypeError,  # … and for a number of another kind in a TIFF's directory
    RuntimeError,  # … and for a damaged AVIF
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """Height and width as seen upright, and 1 or 3 channels."""

    height: int
    width: int
    channels: int


class UnreadableImageError(PretaskError):
    """An image that cannot be opened or decoded; the message names it."""

    what: str = "an image"
    reason: str = ""


def unreadable(what: str, reason: object) -> UnreadableImageError:
    """Return the error for the image called `what`."""
    plain = _plain(reason, what)
    error = UnreadableImageError(
        f"cannot read {what} ({plain}): repair or remove it, or type --skip-bad to leave it out"
    )
    error.what, error.reason = what, plain
    return error


def or_fault(work: Callable[[int], T]) -> Callable[[int], T | UnreadableImageError]:
    """Return what does `work` and returns the fault where an image cannot be read."""

    def tried(i: int) -> T | UnreadableImageError:
        try:
            return work(i)
        except UnreadableImageError as fault:
            return fault

    return tried


def _plain(reason: object, what: str) -> str:
    if isinstance(reason, UnidentifiedImageError):  # Pillow's message holds a memory address
        return UNREAD.get(PurePath(what).suffix.lower(), "no known image format")
    return str(reason).split("\n", 1)[0].rstrip(". ") or type(reason).__name__


def read_file(path: Path, what: str) -> bytes:
    """Return the content of an image file.

    Raises:
        UnreadableImageError: no such file, one that is no regular file, or one of more than `MAX_BYTES`.
    """
    try:
        _check_file(path)
        return path.read_bytes()
    except (OSError, ValueError) as fault:  # ValueError: a path that no file can have
        raise unreadable(what, getattr(fault, "strerror", None) or fault) from fault


def read_header(source: Path | bytes, what: str) -> Header:
    """Return size and channels without decoding the pixels.

    Raises:
        UnreadableImageError: `source` is no image; the message names `what`.
    """
    stream: Path | BinaryIO = source if isinstance(source, Path) else io.BytesIO(source)
    try:
        if isinstance(source, Path):
            _check_file(source)
        with _open(stream) as image:
            width, height = _stored_size(image)
            if _orientation(image) in _TURNED_BY_EXIF:
                width, height = height, width
            return Header(height, width, _own_channels(image))
    except _DECODE_FAULTS as fault:
        raise unreadable(what, fault) from fault


def decode(encoded: bytes, channels: int | None, what: str, framing: Framing | None = None) -> Tensor:
    """Decode one image file.

    Args:
        encoded: a file's content, in one of `FORMATS`.
        channels: 1, 3, or None for the image's own (grey modes 1, everything else 3).
        what: how the image is called in an error.
        framing: how it is brought to a size; None leaves it at its own.

    Returns:
        uint8 tensor [C, H, W]: the first frame, turned upright as its EXIF data say, laid on white where it is
        transparent. Grey integers deeper than 8 bits are taken for 8, 12 or 16 bits, the least that holds the brightest
        of the image, or for as many as that needs; of these the upper 8 are kept. Floating-point pixels are taken for
        0 … 1, 0 … 255 or 0 … 65535, whichever holds them.

    Raises:
        UnreadableImageError: the bytes are no image, end too early, announce more than `MAX_PIXELS`, or hold values
            below 0 or of no known range.
    """
    try:
        with _open(io.BytesIO(encoded)) as image:
            return _to_tensor(image, channels, framing)
    except _DECODE_FAULTS as fault:
        raise unreadable(what, fault) from fault


def _check_file(path: Path) -> None:
    """Refuse what would never end, such as a pipe, or could fill the memory."""
    size = check_regular(path).st_size
    if size > MAX_BYTES:
        raise OSError(f"it has {size:,} bytes, more than {MAX_BYTES:,}")


def _open(stream: Path | BinaryIO) -> Image.Image:
    image: Image.Image
    try:
        image = Image.open(stream, formats=_BUILT_IN)
    except UnidentifiedImageError:
        if not _HEIF:
            raise
        image = _open_heif(stream)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise OSError(f"it has {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
    return image


def _open_heif(stream: Path | BinaryIO) -> Image.Image:
    import pillow_heif  # a tenth of a second, for those who have such images

    pillow_heif.register_heif_opener()
    if not isinstance(stream, Path):
        stream.seek(0)
    return Image.open(stream, formats=("HEIF",))


def _to_tensor(image: Image.Image, channels: int | None, framing: Framing | None) -> Tensor:
    wanted = channels or _own_channels(image)
    # Pillow's exif_transpose copies even an image that is upright.
    upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    plain = _on_white(_eight_bit(upright))
    mode = "L" if wanted == 1 else "RGB"
    shown = plain if plain.mode == mode else plain.convert(mode)
    pixels = np.array(shown if framing is None else framing.picture(shown))
    channels_first = pixels[None] if wanted == 1 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(channels_first))


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height before the image is turned upright; of a TIFF, Pillow's own are turned already."""
    if image.format != "TIFF":
        return image.size
    width, height = (int(image.tag_v2[tag]) for tag in (_TIFF_WIDTH, _TIFF_HEIGHT))  # type: ignore[attr-defined]
    return width, height


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that stands before the pixels, 1 where there is none."""
    if (
        image.format == "PNG" and "exif" not in image.info
    ):  # here Pillow would decode all pixels to look behind
        return 1
    return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale grey of more than 8 bits; Pillow's own conversion would clip it."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        grey = _float_to_eight_bit(values).astype(np.uint8)
    else:
        depth = _depth(image, int(values.min()), int(values.max()))
        grey = (values >> (depth - 8)).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = _8_BITS
    return Image.fromarray(grey)


def _depth(image: Image.Image, low: int, high: int) -> int:
    """Return the bits that the values of an image mean, where the file has room for more than it may use."""
    if low < 0:
        raise ValueError(f"pixels from {low} to {high} have no known range")
    if image.format == "PPM":  # which says its range, and is read at 16 bits
        return 16
    return next((bits for bits in _DEPTHS if high < 2**bits), high.bit_length())


def _float_to_eight_bit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    brightest = next((most for most in (_ONE, _8_BITS, _16_BITS) if 0 <= low <= high <= most), None)
    if brightest is None:
        raise ValueError(f"floating-point pixels from {low:.4g} to {high:.4g} have no known range")
    scaled: NDArray[np.float32] = (values * (_8_BITS / brightest)).round()
    return scaled


def _on_white(image: Image.Image) -> Image.Image:
    """Lay what is transparent on white, as most programs show it: the colours below may be any."""
    if not image.has_transparency_data:
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)


def _own_channels(image: Image.Image) -> int:
    return 1 if image.mode in _GREY_MODES else 3
