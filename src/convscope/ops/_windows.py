"""Where a window lies, which channels it sees and what stands in the padding: the bookkeeping of the definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from torch import Tensor

from convscope.ops._checks import Convolution
from convscope.ops._pool_checks import Pooling


def positions(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every index into a tensor of this shape, in reading order.

    Example:
        >>> list(positions((2, 2)))
        [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return product(*map(range, shape))


def source(position: int, length: int, padding_mode: str) -> int | None:
    """The pixel that stands at ``position`` on an axis of ``length`` pixels; outside, the mode decides.

    Example:
        >>> for mode in ("zeros", "replicate", "circular", "reflect"):
        ...     print(mode, [source(position, 3, mode) for position in range(-2, 5)])
        zeros [None, None, 0, 1, 2, None, None]
        replicate [0, 0, 0, 1, 2, 2, 2]
        circular [1, 2, 0, 1, 2, 0, 1]
        reflect [2, 1, 0, 1, 2, 1, 0]
    """
    if 0 <= position < length:
        return position
    if padding_mode == "replicate":
        return 0 if position < 0 else length - 1
    if padding_mode == "circular":
        return position % length
    if padding_mode == "reflect":
        return -position if position < 0 else 2 * (length - 1) - position
    return None  # nothing stands there, which counts as zero


def padded(conv: Convolution, padding_mode: str) -> Iterator[tuple[int, int, int, int]]:
    """Each place ``i, j`` of the padded image and the pixel ``r, s`` that stands there, if one does."""
    (top, _), (left, _) = conv.padding
    for i, j in positions(conv.padded_size):
        r = source(i - top, conv.input_size[0], padding_mode)
        s = source(j - left, conv.input_size[1], padding_mode)
        if r is not None and s is not None:
            yield i, j, r, s


def pad(X: Tensor, conv: Convolution, padding_mode: str) -> Tensor:
    """``(N, C, H, W)`` with a border around it."""
    Z = X.new_zeros(*X.shape[:2], *conv.padded_size)
    for i, j, r, s in padded(conv, padding_mode):
        Z[:, :, i, j] = X[:, :, r, s]
    return Z


def unpad(dZ: Tensor, conv: Convolution, padding_mode: str) -> Tensor:
    """The gradient of ``pad``: a pixel collects from every place where it stood."""
    dX = dZ.new_zeros(*dZ.shape[:2], *conv.input_size)
    for i, j, r, s in padded(conv, padding_mode):
        dX[:, :, r, s] += dZ[:, :, i, j]
    return dX


def window(conv: Convolution, i: int, j: int) -> tuple[slice, slice]:
    """The rows and columns of the padded image that output ``i, j`` looks at."""
    rows, columns = (
        slice(place * step, place * step + gap * (taps - 1) + 1, gap)
        for place, step, gap, taps in zip((i, j), conv.stride, conv.dilation, conv.kernel_size, strict=True)
    )
    return rows, columns


def channels_seen(o: int, K: Tensor, groups: int) -> slice:
    """The input channels of the group that output channel ``o`` belongs to; ``K`` is ``(O, C/groups, kh, kw)``."""
    outputs_in_group, seen = K.shape[0] // groups, K.shape[1]
    group = o // outputs_in_group
    return slice(group * seen, (group + 1) * seen)


def planes(X: Tensor) -> Tensor:
    """Images and channels in one row: ``(..., H, W)`` to ``(M, H, W)``."""
    return X.reshape(math.prod(X.shape[:-2]), *X.shape[-2:])


def pool_window(pool: Pooling, i: int, j: int) -> tuple[slice, slice]:
    """The rows and columns of the image itself that output ``i, j`` summarises: the padding is cut off."""
    rows, columns = (
        slice(max(place * step - border, 0), place * step - border + taps)  # a slice ends at the image by itself
        for place, step, border, taps in zip((i, j), pool.stride, pool.padding, pool.size, strict=True)
    )
    return rows, columns


def pool_area(pool: Pooling, i: int, j: int, input_size: tuple[int, int]) -> int:
    """The places of output ``i, j``'s window in the padded image: an incomplete last window has fewer."""
    area = 1
    for place, step, border, taps, length in zip((i, j), pool.stride, pool.padding, pool.size, input_size, strict=True):
        start = place * step - border
        area *= min(start + taps, length + border) - start
    return area
