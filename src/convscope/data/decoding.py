"""One picture file to one small square of bytes: the same in packing a folder and in predicting a photograph."""

from __future__ import annotations

import functools
import math
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from convscope.errors import DataError

MAX_PIXELS = 89_478_485  # Pillow's own limit for suspicion: a quarter gibibyte as 24-bit colour
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")  # none runs a program
GREY_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)


def decode(source: str | Path | BinaryIO, *, image_size: int | tuple[int, int], channels: int) -> Tensor:
    """Read a picture as bytes of a fixed size.

    The EXIF orientation is applied, the picture scaled until it covers the size, and the rest cut off evenly on both
    sides. Scaling is bicubic and averages over every source pixel. Transparent pixels are laid on white. 16-bit grey
    is scaled to 8 bits, not clipped; 32-bit whole numbers in 0..255 or 0..65535 and floating-point values in 0..1 or
    0..255 keep that range, any other range is stretched. Colours are taken as stored: embedded colour profiles are
    not applied. Of an animation the first frame is read.

    Args:
        source: A file name, or a file open for reading bytes.
        image_size: Side of a square, or ``(H, W)``, in pixels.
        channels: 1 for grey (ITU-R 601 luma), 3 for colour.

    Returns:
        ``(C, H, W)``, uint8.

    Raises:
        ValueError: ``image_size`` or ``channels`` is out of range.
        DataError: The file is missing, truncated, no picture, or larger than 89,478,485 pixels.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (40, 20), (255, 0, 0)).save(file, "PNG")
        >>> decode(file, image_size=2, channels=1).tolist()
        [[[76, 76], [76, 76]]]
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1:
        raise ValueError(f"image_size must be positive, got {image_size}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    try:
        with pillow_warnings():
            small = _read(source, width, height, channels)
    except DataError as error:
        raise DataError(f"{_name(source)} {error}") from error
    except Exception as error:  # a hostile file can make a decoder raise anything; for the caller it is one thing
        raise DataError(f"{_name(source)} cannot be read as a picture: {_reason(error)}") from error
    values = np.array(small).reshape(height, width, channels)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))  # -> C,H,W in this thread alone


def survey(source: str | Path | BinaryIO) -> tuple[bool, int]:
    """Read only the header of a picture: whether it is grey, and its short side in pixels.

    Raises:
        DataError: As ``decode``, as far as the header shows it.
    """
    try:
        with pillow_warnings(), _open(source) as picture:
            return picture.mode in GREY_MODES or _has_grey_palette(picture), min(picture.size)
    except DataError as error:
        raise DataError(f"{_name(source)} {error}") from error
    except Exception as error:  # as in decode
        raise DataError(f"{_name(source)} cannot be read as a picture: {_reason(error)}") from error


@contextmanager
def pillow_warnings() -> Iterator[None]:
    """Make suspicion of a bomb an error, and drop remarks on broken notes inside readable pictures."""
    if threading.current_thread() is not threading.main_thread():
        yield  # filters belong to the whole process, and two threads would restore each other's
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _has_grey_palette(picture: Image.Image) -> bool:
    if picture.mode != "P":
        return False
    levels = picture.getpalette("RGB") or []
    return levels[0::3] == levels[1::3] == levels[2::3]


def _read(source: str | Path | BinaryIO, width: int, height: int, channels: int) -> Image.Image:
    with _open(source) as picture:
        # JPEG decodes at 1/2, 1/4 or 1/8 for much less work; half as much again is left for the good filter.
        spare = math.ceil(1.5 * width), math.ceil(1.5 * height)
        picture.draft(None, spare[::-1] if _orientation(picture) in SIDEWAYS else spare)
        picture.load()
        flat = _flatten(picture, channels)
        turn = TURNS.get(_orientation(picture))  # asked again: Pillow has by now turned a TIFF itself
    if turn is not None:
        flat = flat.transpose(turn)
    return flat.resize((width, height), Image.Resampling.BICUBIC, box=_crop(flat.size, width, height))


def _crop(size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """The largest centred part with the wanted aspect; only this part is scaled, however long the rest is."""
    scale = min(size[0] / width, size[1] / height)
    left, top = max(0.0, (size[0] - width * scale) / 2), max(0.0, (size[1] - height * scale) / 2)
    return left, top, size[0] - left, size[1] - top


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # a Pillow may be built without some


def _open(source: str | Path | BinaryIO) -> Image.Image:
    too_large = f"is larger than {MAX_PIXELS:,} pixels: refused, it may be a decompression bomb"
    try:
        picture = Image.open(source, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(too_large) from error
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise DataError(too_large)
    return picture


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1  # a broken note about the picture does not make the picture unreadable
    return value if isinstance(value, int) else 1


def _flatten(picture: Image.Image, channels: int) -> Image.Image:
    """Any mode to L or RGB."""
    image = picture
    if picture.mode.startswith("I") or picture.mode == "F":
        image = Image.fromarray(_eight_bit(np.asarray(picture)))
    elif picture.has_transparency_data:
        image = Image.new("RGBA", picture.size, "white")
        image.alpha_composite(picture.convert("RGBA"))
    if channels == 1 and image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode != "RGB":  # otherwise it would be copied
        image = image.convert("RGB")
    return image.convert("L") if channels == 1 else image


def _eight_bit(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """``(H, W)`` of wide integers or floats to 0..255."""
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise DataError("cannot be read as a picture: it holds NaN or infinite values")
    low, high = wide.min(), wide.max()
    if not np.issubdtype(values.dtype, np.integer):
        whites: tuple[int, ...] = (1, 255)
    else:
        whites = (65_535,) if values.dtype.itemsize == 2 else (255, 65_535)
    white = next((value for value in whites if low >= 0 and high <= value), None)  # None: no usual range
    wide = (wide - low) * (255 / ((high - low) or 1)) if white is None else wide * (255 / white)
    return np.rint(wide).astype(np.uint8)


def _name(source: str | Path | BinaryIO) -> str:
    return str(source) if isinstance(source, (str, Path)) else str(getattr(source, "name", "the picture"))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its contents are in no known picture format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
