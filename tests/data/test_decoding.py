"""Single pictures against plain Pillow and plain arithmetic."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, TiffImagePlugin

from convscope.data import decode
from convscope.data.decoding import MAX_PIXELS, survey
from convscope.errors import DataError

ORIENTATION = 0x0112


def saved(image: Image.Image, form: str = "PNG", **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def as_array(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


# geometry ---------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]))
def test_scaling_and_cropping_are_pillows_fit(h: int, w: int, height: int, width: int, channels: int) -> None:
    image = Image.fromarray(noise(h, w, channels, seed=h * 41 + w))
    expected = as_array(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)).astype(int)
    found = decode(saved(image), image_size=(height, width), channels=channels)
    assert found.shape == (channels, height, width)
    assert np.abs(found.numpy().astype(int) - expected).max() <= 1  # the boxes may differ in the last bit


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_right_size_is_passed_on_byte_for_byte(height: int, width: int) -> None:
    pixels = noise(height, width)
    found = decode(saved(Image.fromarray(pixels)), image_size=(height, width), channels=3)
    assert np.array_equal(found.numpy(), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(30, 10), (10, 30)])
def test_the_middle_is_kept(size: tuple[int, int]) -> None:
    image = Image.new("L", size, 0)
    image.paste(200, (size[0] // 2 - 5, size[1] // 2 - 5, size[0] // 2 + 5, size[1] // 2 + 5))
    assert (decode(saved(image), image_size=10, channels=1) == 200).all()
    image = Image.new("L", (31, 10), 0)
    image.paste(200, (0, 0, 10, 10))
    assert (decode(saved(image), image_size=10, channels=1) == 0).all()


def test_the_short_side_is_resized_then_the_rest_cut_off() -> None:
    """Away from the border, where the filter sees beyond the cut, this is resizing all and cutting out the middle."""
    smooth = Image.fromarray(noise(12, 20, seed=5)).resize((200, 120), Image.Resampling.BICUBIC)
    whole = np.asarray(smooth.resize((40, 24), Image.Resampling.BICUBIC))[:, 8:32].astype(int)  # 24x24 of 24x40
    found = decode(saved(smooth), image_size=24, channels=3).numpy().transpose(1, 2, 0).astype(int)
    assert np.abs(found - whole)[:, 2:-2].max() <= 1


def test_shrinking_averages_over_every_pixel() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    found = decode(saved(Image.fromarray(stripes)), image_size=8, channels=1)
    assert (found.int() - 127).abs().max() <= 5  # taking one pixel of eight would give 0 or 255


@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_jpeg_is_decoded_small_with_the_same_result(channels: int) -> None:
    image = Image.fromarray(noise(12, 9, seed=2)).resize((900, 1200), Image.Resampling.BICUBIC)
    file = saved(image, "JPEG", quality=95)
    full = ImageOps.fit(Image.open(file).convert("RGB"), (32, 32), Image.Resampling.BICUBIC)
    expected = as_array(full.convert("L") if channels == 1 else full).astype(int)
    found = decode(file, image_size=32, channels=channels).numpy().astype(int)
    assert np.abs(found - expected).mean() < 2.5  # a picture off by one pixel would differ by 20


def test_a_thread_of_pixels_is_not_blown_up_on_the_way() -> None:
    found = decode(
        saved(Image.new("L", (1, 60_000), 9)), image_size=256, channels=1
    )  # 15 million times 256 if scaled whole
    assert (found == 9).all()


# orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "tolerance"), [("PNG", 0), ("WEBP", 0), ("TIFF", 0), ("JPEG", 12)])
def test_exif_orientation_is_honoured(orientation: int, form: str, tolerance: int) -> None:
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:8, :8], upright[:8, 8:], upright[16:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    rows_columns = {  # how a camera stores an upright picture, by the EXIF definition of the 0th row and 0th column
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, object] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    file = saved(Image.fromarray(np.ascontiguousarray(rows_columns[orientation])), form, exif=exif, **options)
    found = decode(file, image_size=(24, 16), channels=3).numpy().transpose(1, 2, 0)
    assert np.abs(found.astype(int) - upright).max() <= tolerance


def test_a_large_sideways_jpeg_keeps_its_detail() -> None:
    upright = Image.fromarray(noise(30, 8, seed=4)).resize((160, 1200), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    expected = as_array(ImageOps.fit(upright, (40, 300), Image.Resampling.BICUBIC)).astype(int)
    found = decode(file, image_size=(300, 40), channels=3).numpy().astype(int)
    assert np.abs(found - expected).mean() < 2


def test_a_broken_exif_block_does_not_spoil_the_picture() -> None:
    image = Image.fromarray(noise(8, 8))
    file = saved(image, "PNG", exif=b"Exif\x00\x00XX\x00*this is no EXIF")
    assert np.array_equal(decode(file, image_size=8, channels=3).numpy(), as_array(image))


# modes ------------------------------------------------------------------------------------------------------------


def test_grey_and_colour_convert_to_each_other() -> None:
    grey, colour = Image.fromarray(noise(6, 6, 1)), Image.fromarray(noise(6, 6))
    assert np.array_equal(decode(saved(grey), image_size=6, channels=3).numpy(), np.repeat(as_array(grey), 3, 0))
    luma = np.asarray(colour) @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    assert np.abs(decode(saved(colour), image_size=6, channels=1).numpy()[0] - luma).max() <= 0.51


def test_black_and_white_become_0_and_255() -> None:
    bits = noise(6, 6, 1) > 127
    found = decode(saved(Image.fromarray(bits)), image_size=6, channels=1)
    assert np.array_equal(found.numpy()[0], bits * 255)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]], [[0, 0, 0, 51], [200, 0, 0, 255]]], np.uint8)
    found = decode(saved(Image.fromarray(rgba)), image_size=2, channels=3).numpy().transpose(1, 2, 0)
    assert found.tolist() == [[[10, 20, 30], [255, 255, 255]], [[204, 204, 204], [200, 0, 0]]]
    grey = np.array([[[90, 255], [90, 0]]], np.uint8)
    assert decode(saved(Image.fromarray(grey, "LA")), image_size=(1, 2), channels=1).tolist() == [[[90, 255]]]


def test_palettes_with_and_without_a_transparent_colour() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    image.putdata([0, 1, 2])
    opaque = decode(saved(image), image_size=(1, 3), channels=3)
    assert opaque[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [1, 2, 3]]
    clear = decode(saved(image, transparency=1), image_size=(1, 3), channels=3)
    assert clear[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [1, 2, 3]]
    partly = decode(saved(image, transparency=bytes([255, 255, 0])), image_size=(1, 3), channels=3)
    assert partly[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [255, 255, 255]]


def test_cmyk() -> None:
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 0))  # pure cyan ink takes away the red
    red, green, blue = decode(saved(image, "JPEG", quality=100), image_size=4, channels=3).float().mean((1, 2)).tolist()
    assert red < 5
    assert green > 250
    assert blue > 250
    assert decode(saved(Image.new("CMYK", (2, 2), (0, 0, 0, 255)), "TIFF"), image_size=2, channels=1).max() == 0


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        file = saved(frames[0], form, save_all=True, append_images=frames[1:], **options)
        assert decode(file, image_size=4, channels=3)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_lossless_formats_agree(form: str, tmp_path: Path) -> None:
    image = Image.fromarray(noise(5, 7, 1))
    image.save(tmp_path / "picture", form)
    assert np.array_equal(decode(tmp_path / "picture", image_size=(5, 7), channels=1).numpy(), as_array(image))
    assert np.array_equal(decode(str(tmp_path / "picture"), image_size=(5, 7), channels=1).numpy(), as_array(image))
    assert survey(tmp_path / "picture") == (True, 5)


# refused ----------------------------------------------------------------------------------------------------------


def bomb(side: int) -> io.BytesIO:
    """A PNG of a few dozen bytes that declares ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [9_500, 20_000])
@pytest.mark.filterwarnings("error", "ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(DataError, match="larger than 89,478,485 pixels"):
        decode(bomb(side), image_size=8, channels=1)
    with pytest.raises(DataError, match="larger than 89,478,485 pixels"):
        survey(bomb(side))


def test_a_bomb_is_refused_also_when_pillow_raises_its_warning() -> None:
    with pytest.raises(DataError, match="larger than 89,478,485 pixels"):
        decode(bomb(9_500), image_size=8, channels=1)


def test_pillow_says_nothing_beside_our_error() -> None:
    for look in (lambda file: decode(file, image_size=8, channels=1), survey):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with pytest.raises(DataError, match="larger than 89,478,485 pixels"):
                look(bomb(9_500))
        assert said == []


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    cases = {"text.png": b"hello, I am not a picture", "empty.png": b""}
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        raw = saved(Image.fromarray(noise(40, 40)), form).getvalue()
        cases[f"truncated.{form.lower()}"] = raw[: len(raw) // 2]
    for name, raw in cases.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(DataError, match=f"{name} cannot be read as a picture"):
            decode(tmp_path / name, image_size=8, channels=3)
    with pytest.raises(DataError, match=r"no\.png cannot be read as a picture: No such file"):
        decode(tmp_path / "no.png", image_size=8, channels=3)
    with pytest.raises(DataError, match="Is a directory"):
        decode(tmp_path, image_size=8, channels=3)


@settings(max_examples=150)
@given(st.data())
def test_any_damage_gives_a_picture_or_a_data_error(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF"]))
    raw = bytearray(saved(Image.fromarray(noise(9, 9)), form).getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(io.BytesIO(raw), image_size=4, channels=3)
    except DataError:
        return
    assert found.shape == (3, 4, 4)
    assert found.dtype == torch.uint8


def test_postscript_is_never_run() -> None:
    with pytest.raises(DataError, match="in no known picture format"):
        decode(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"), image_size=8, channels=3)


def test_sizes_and_channels_are_checked() -> None:
    file = saved(Image.new("L", (4, 4)))
    with pytest.raises(ValueError, match="image_size must be positive, got 0"):
        decode(file, image_size=0, channels=1)
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3 \(colour\), got 4"):
        decode(file, image_size=4, channels=4)


def test_the_tag_is_the_one_of_the_standard() -> None:
    assert TiffImagePlugin.TiffTags.TAGS_V2[ORIENTATION].name == "Orientation"
