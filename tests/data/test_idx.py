import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from convscope.data.idx import parse_idx, parse_idx_pair
from convscope.errors import DataError


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">i", size) for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)))
def test_what_is_written_is_read(values: np.ndarray) -> None:
    found = parse_idx(idx(values), dimensions=values.ndim, name="x")
    assert found.shape == values.shape
    assert np.array_equal(found, values)


@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=5)), st.data())
def test_no_cut_or_longer_file_is_accepted(values: np.ndarray, data: st.DataObject) -> None:
    whole = idx(values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError, match="x is cut short"):
        parse_idx(whole[:cut], dimensions=3, name="x")
    with pytest.raises(DataError, match="x has bytes left over"):
        parse_idx(whole + bytes(1 + cut), dimensions=3, name="x")


def test_the_message_counts_bytes() -> None:
    with pytest.raises(DataError, match=r"train-labels is cut short: 5 values need 13 bytes, the file has 12"):
        parse_idx(idx(np.zeros(5))[:-1], dimensions=1, name="train-labels")


@pytest.mark.parametrize("magic", [0x00000801, 0x00000D03, 0x03080000, 0x89504E47])
def test_another_magic_number_is_refused(magic: int) -> None:
    damaged = struct.pack(">I", magic) + idx(np.zeros((2, 3, 3)))[4:]
    with pytest.raises(DataError, match=rf"expected the magic number 0x00000803, got {magic:#010x}"):
        parse_idx(damaged, dimensions=3, name="x")


def test_a_header_that_declares_more_than_any_memory_is_refused() -> None:
    with pytest.raises(DataError, match="79,228,162,458,924,105,385,300,197,391 bytes"):
        parse_idx(struct.pack(">4I", 0x803, *[2**32 - 1] * 3), dimensions=3, name="x")


def test_a_pair_fits_together() -> None:
    pixels, labels = np.arange(18).reshape(2, 3, 3), np.array([4, 0])
    found = parse_idx_pair(idx(pixels), idx(labels), num_classes=5, names=("i", "l"))
    assert np.array_equal(found[0], pixels)
    assert np.array_equal(found[1], labels)
    with pytest.raises(DataError, match="i has 2 images but l has 3 labels"):
        parse_idx_pair(idx(pixels), idx(np.zeros(3)), num_classes=5, names=("i", "l"))
    with pytest.raises(DataError, match=r"l is damaged: expected labels in 0..3, got 4 at position 0"):
        parse_idx_pair(idx(pixels), idx(labels), num_classes=4, names=("i", "l"))
