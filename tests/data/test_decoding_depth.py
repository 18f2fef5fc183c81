"""Pictures of more than eight bits: which value becomes white."""

import io

import numpy as np
import pytest
from PIL import Image

from convscope.data import decode
from convscope.errors import DataError


def saved(image: Image.Image, form: str = "PNG") -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form)
    return file


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    values = np.array([[0, 257, 25_700], [32_768, 65_278, 65_535]], np.uint16)
    found = decode(saved(Image.fromarray(values), form), image_size=(2, 3), channels=1)
    assert found[0].tolist() == [[0, 1, 100], [128, 254, 255]]
    assert decode(saved(Image.fromarray(values), form), image_size=(2, 3), channels=3)[2].tolist() == found[0].tolist()


def test_16_bit_big_endian_tiff() -> None:
    values = np.array([[0, 257], [25_700, 65_535]], ">u2")
    file = saved(Image.frombytes("I;16B", (2, 2), values.tobytes()), "TIFF")
    assert decode(file, image_size=2, channels=1)[0].tolist() == [[0, 1], [100, 255]]


def test_floats_keep_0_to_1_and_0_to_255_and_stretch_the_rest() -> None:
    for values, expected in (
        ([[0.0, 0.5], [0.25, 1.0]], [[0, 128], [64, 255]]),
        ([[0.0, 7.0], [200.0, 255.0]], [[0, 7], [200, 255]]),
        ([[-1.0, 0.0], [0.0, 1.0]], [[0, 128], [128, 255]]),
        ([[5e9, 5e9], [5e9, 5e9]], [[0, 0], [0, 0]]),
    ):
        file = saved(Image.fromarray(np.array(values, np.float32)), "TIFF")
        assert decode(file, image_size=2, channels=1)[0].tolist() == expected
    with pytest.raises(DataError, match="NaN"):
        decode(saved(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"), image_size=2, channels=1)


def test_wide_integers_keep_0_to_255_and_0_to_65535() -> None:
    for values, expected in (
        ([[0, 7], [200, 255]], [[0, 7], [200, 255]]),
        ([[0, 257], [25_700, 65_535]], [[0, 1], [100, 255]]),
        ([[0, 0], [256, 65_535]], [[0, 0], [1, 255]]),
    ):
        file = saved(Image.fromarray(np.array(values, np.int32)), "TIFF")
        assert Image.open(file).mode == "I"
        assert decode(file, image_size=2, channels=1)[0].tolist() == expected
    dark = np.array([[0, 100], [128, 255]], np.uint16)  # 16 bits say what white is
    assert decode(saved(Image.fromarray(dark), "TIFF"), image_size=2, channels=1)[0].tolist() == [[0, 0], [0, 1]]


def test_other_wide_integers_are_stretched() -> None:
    values = np.array([[-1000, 0], [500, 1000]], np.int32)
    assert decode(saved(Image.fromarray(values), "TIFF"), image_size=2, channels=1)[0].tolist() == [
        [0, 128],
        [191, 255],
    ]
