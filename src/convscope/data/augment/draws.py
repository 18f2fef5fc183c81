"""Random numbers without a generator: each is a function of the seed, the epoch, the image and what it is for.

So a resumed run draws what the first one would have drawn, an image is changed in the same way in whatever batch and on
whatever process it comes, and turning one transform on leaves the draws of all others as they were.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum

import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = (  # splitmix64's constants as signed 64-bit numbers, which is what tensors hold
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_BITS = 24  # of a float32 in 0..1 that are all used


class Purpose(IntEnum):
    """What a number is drawn for. The commonest come first: a table of draws ends with the last one needed.

    The order decides what a seed means, so a new purpose goes to the end.
    """

    FLIP = 0
    SHIFT_DOWN = 1
    SHIFT_RIGHT = 2
    CUTOUT_DOWN = 3
    CUTOUT_RIGHT = 4
    CROP_AREA = 5
    CROP_ASPECT = 6
    CROP_DOWN = 7
    CROP_RIGHT = 8
    ANGLE = 9
    BRIGHTNESS = 10
    CONTRAST = 11
    SATURATION = 12
    ERASE = 13
    ERASE_AREA = 14
    ERASE_ASPECT = 15
    ERASE_DOWN = 16
    ERASE_RIGHT = 17
    TRIVIAL = 18
    TRIVIAL_STRENGTH = 19
    TRIVIAL_SIGN = 20


def key_of(*words: object) -> int:
    """A signed 64-bit number from whatever words, the same on every machine.

    Example:
        >>> key_of("augment", 0, 1)
        8792598656280310881
    """
    text = " ".join(map(str, words))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and let zeros in, as for unsigned numbers; tensors let the sign in."""
    return (x >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def _scrambled(x: Tensor) -> Tensor:
    """The finaliser of splitmix64: every bit of the result depends on every bit of ``x``. Changes ``x``.

    Source:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014; Stafford's variant 13.
    """
    x.bitwise_xor_(_shifted(x, 30)).mul_(_FIRST)  # products wrap around, which is what is wanted
    x.bitwise_xor_(_shifted(x, 27)).mul_(_SECOND)
    return x.bitwise_xor_(_shifted(x, 31))


def uniform(key: int, index: Tensor, count: int) -> Tensor:
    """A row of draws for every purpose, a column for every image.

    Args:
        key: Of the seed and the epoch, from ``key_of``.
        index: ``(N,)`` int64: which image each one is.
        count: Rows, ``K``.

    Returns:
        ``(K, N)`` float32 in 0 <= draw < 1, on the device of ``index``.

    Example:
        >>> uniform(7, torch.tensor([0, 1, 2]), 1)
        tensor([[0.5243, 0.7215, 0.5091]])
    """
    images = _scrambled((index * _GOLDEN).add_(key))
    rows = torch.arange(1, count + 1, device=index.device).mul_(_GOLDEN)[:, None]
    bits = _shifted(_scrambled(rows + images), 64 - _BITS)  # K,1 + N -> K,N
    return bits.float().mul_(2.0**-_BITS)


def between(draw: Tensor, low: float, high: float) -> Tensor:
    """Spread draws in 0..1 over ``low <= value < high``."""
    return draw * (high - low) + low


def whole(draw: Tensor, count: int | Tensor) -> Tensor:
    """Spread draws in 0..1 over the whole numbers ``0 .. count - 1``, int64."""
    return (draw * count).long()
