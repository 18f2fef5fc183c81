"""IDX, the file format of MNIST and its relatives: a magic number, the sizes, then one byte per value."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from convscope.errors import DataError

UNSIGNED_BYTES = 0x08  # the third byte of the magic number names the type of the values; the fourth counts dimensions


def parse_idx(contents: bytes, *, dimensions: int, name: str) -> npt.NDArray[np.uint8]:
    """Read an IDX file of bytes and refuse anything that is not exactly one.

    Args:
        contents: The whole file, decompressed.
        dimensions: How many the file must have: 3 for images (N, H, W), 1 for labels (N,).
        name: The file's name, for messages.

    Returns:
        The values, read-only, in the shape that the header declares.

    Raises:
        DataError: Another magic number, or more or fewer bytes than the header declares.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), dimensions=1, name="labels").tolist()
        [7, 9]

    Source:
        LeCun, Cortes and Burges, "The MNIST database", section "File formats".
    """
    header = 4 * (1 + dimensions)
    if len(contents) < header:
        raise DataError(f"{name} is cut short: an IDX header has {header} bytes, the file only {len(contents)}")
    magic = (UNSIGNED_BYTES << 8) + dimensions
    found, *shape = struct.unpack_from(f">{1 + dimensions}I", contents)
    if found != magic:
        raise DataError(
            f"{name} is not an IDX file with {dimensions} dimension{'s' * (dimensions > 1)}: "
            f"expected the magic number {magic:#010x}, got {found:#010x}"
        )
    expected = header + int(np.prod(shape, dtype=object))  # exact: a damaged header may declare more than 2^64
    if len(contents) != expected:
        sizes = " x ".join(map(str, shape))
        fault = "is cut short" if len(contents) < expected else "has bytes left over"
        raise DataError(f"{name} {fault}: {sizes} values need {expected:,} bytes, the file has {len(contents):,}")
    return np.frombuffer(contents, np.uint8, offset=header).reshape(shape)


def parse_idx_pair(
    images: bytes, labels: bytes, *, num_classes: int, names: tuple[str, str]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read images and the labels that belong to them.

    Args:
        images: An IDX file (N, H, W).
        labels: An IDX file (N,).
        num_classes: Labels must be below it.
        names: The two files' names, for messages.

    Returns:
        ``(N, H, W)`` and ``(N,)``, both uint8.

    Raises:
        DataError: Either file is damaged, their numbers differ, or a label is out of range.
    """
    pixels = parse_idx(images, dimensions=3, name=names[0])  # N,H,W
    targets = parse_idx(labels, dimensions=1, name=names[1])  # N
    if len(pixels) != len(targets):
        raise DataError(
            f"{names[0]} has {len(pixels):,} images but {names[1]} has {len(targets):,} labels; "
            "they do not belong together"
        )
    if len(targets) and int(targets.max()) >= num_classes:
        place = int(targets.argmax())
        raise DataError(
            f"{names[1]} is damaged: expected labels in 0..{num_classes - 1}, got {targets[place]} at position {place}"
        )
    return pixels, targets
