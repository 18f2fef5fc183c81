"""What the arguments of a pooling have to satisfy, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.ops._arguments import Pair, flag, number, pair
from convscope.ops._checks import name, shape, size_of, tensor
from convscope.ops.geometry import output_size

POOL_MODES = ("max", "avg", "min", "lp", "softmax")

_AXES = {2: "(H, W)", 3: "(C, H, W)", 4: "(N, C, H, W)"}


@dataclass(frozen=True)
class Pooling:
    """A pooling's numbers in one form, checked against each other."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    output_size: tuple[int, int]


def images(X: Tensor) -> None:
    """``(H, W)``, ``(C, H, W)`` or ``(N, C, H, W)``."""
    axes = X.ndim if isinstance(X, Tensor) else 4
    if axes not in _AXES:
        raise ValueError(f"X must be {' or '.join(_AXES.values())}, got {axes} axes: {tuple(X.shape)}")
    tensor("X", X, _AXES[axes])


def pooling(X: Tensor, size: Pair, *, stride: Pair, padding: Pair, ceil_mode: bool) -> Pooling:
    """Images and windows that fit each other."""
    images(X)
    flag("ceil_mode", ceil_mode)
    windows, strides = pair("size", size, least=1), pair("stride", stride, least=1)
    borders = pair("padding", padding, least=0)
    if borders[0] > windows[0] // 2 or borders[1] > windows[1] // 2:
        raise ValueError(f"padding must be at most half of size {windows}, got {borders}: no window may miss the image")
    try:
        count = output_size(size_of(X), windows, stride=strides, padding=borders, ceil_mode=ceil_mode)
    except ValueError as error:
        padded = X.shape[-2] + 2 * borders[0], X.shape[-1] + 2 * borders[1]
        raise ValueError(
            f"size must fit into the padded input of {padded} pixels (H, W), got {windows}; "
            "add padding or take a smaller window"
        ) from error
    return Pooling(windows, strides, borders, count)


def pool_mode(mode: str, p: float, temperature: float) -> None:
    """A pooling mode that exists, with numbers that it can work with."""
    name("mode", mode, POOL_MODES)
    number("p", p)
    number("temperature", temperature)


def gradient(G: Tensor, X: Tensor, pool: Pooling) -> None:
    """A gradient of what the pooling makes of ``X``."""
    tensor("G", G, _AXES[X.ndim])
    shape("G", G, (*X.shape[:-2], *pool.output_size))


def stash(G: Tensor, indices: Tensor, input_size: Pair) -> tuple[int, int]:
    """Positions in a plane of ``input_size``, one for each element of ``G``; gives ``(H, W)``."""
    axes = G.ndim if isinstance(G, Tensor) and G.ndim in _AXES else 4
    tensor("G", G, _AXES[axes])
    height, width = pair("input_size", input_size, least=1)
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64:
        raise TypeError(f"indices must be an int64 tensor, got {getattr(indices, 'dtype', type(indices).__name__)}")
    shape("indices", indices, tuple(G.shape))
    if indices.is_meta or not indices.numel():
        return height, width  # no numbers to look at
    if not 0 <= int(indices.min()) <= int(indices.max()) < height * width:
        raise ValueError(
            f"indices must lie in 0..{height * width - 1} for an input of {(height, width)} pixels (H, W), "
            f"got {int(indices.min())}..{int(indices.max())}"
        )
    return height, width
