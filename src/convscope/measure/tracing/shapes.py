"""What the commonest operators make, without asking PyTorch.

PyTorch computes shapes of ``meta`` tensors by general rules in Python, which take milliseconds for a batch norm.
These few take microseconds. Each answers only the plain case, and None for everything else: then PyTorch is asked,
which also finds the words for what is wrong. A test compares every rule with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Rule = Callable[..., Any]


def _new(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _same(x: Tensor) -> Tensor:
    """Another tensor of the same shape, dtype and layout."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _dense(x: Tensor) -> bool:
    """Whether the memory has no gaps, so that an elementwise result has the same layout."""
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def _elementwise(x: Tensor, *_: Any, **options: Any) -> Tensor | None:
    if options or not x.is_floating_point() or not _dense(x):
        return None
    return _same(x)


def _binary(x: Tensor, y: Any, *_: Any, **options: Any) -> Tensor | None:
    if options or not isinstance(y, Tensor) or x.dtype != y.dtype or x.shape != y.shape or x.stride() != y.stride():
        return None
    return _same(x) if _dense(x) else None


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int,
) -> Tensor | None:  # fmt: skip
    if transposed or x.ndim != 4 or weight.ndim != 4 or not x.is_contiguous() or not weight.is_contiguous():
        return None
    out_channels, in_channels, *taps = weight.shape
    if x.dtype != weight.dtype or x.shape[1] != in_channels * groups or out_channels % groups:
        return None
    if min(len(stride), len(padding), len(dilation)) < 2 or min(stride) < 1 or min(padding) < 0:
        return None
    if bias is not None and (bias.shape != (out_channels,) or bias.dtype != x.dtype):
        return None
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x.shape[2:], taps, stride, padding, dilation, strict=True)]  # fmt: skip
    return _new(x, (x.shape[0], out_channels, *size)) if min(size) >= 1 and x.shape[0] else None


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None,
    training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:  # fmt: skip
    channels = x.shape[1] if x.ndim > 1 else -1
    if not _dense(x) or any(t is not None and t.shape != (channels,) for t in (weight, bias, mean, variance)):
        return None
    if any(t is not None and t.dtype != x.dtype for t in (weight, mean)):
        return None
    kept = channels if training else 0
    return _same(x), _new(x, (kept,)), _new(x, (kept,))


def _addmm(bias: Tensor, x: Tensor, y: Tensor, **options: Any) -> Tensor | None:
    if options or x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0] or bias.shape != (y.shape[1],):
        return None
    return _new(x, (x.shape[0], y.shape[1])) if x.dtype == y.dtype == bias.dtype else None


def _mm(x: Tensor, y: Tensor, **options: Any) -> Tensor | None:
    if options or x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0] or x.dtype != y.dtype:
        return None
    return _new(x, (x.shape[0], y.shape[1]))


def _average(x: Tensor, dims: list[int] | None, keepdim: bool = False, **options: Any) -> Tensor | None:
    """The mean over the last two axes: what a global average pool becomes."""
    if options or not dims or not keepdim or x.ndim != 4 or not x.is_floating_point() or not x.is_contiguous():
        return None
    if sorted(d % 4 for d in dims) != [2, 3]:
        return None
    return _new(x, (*x.shape[:2], 1, 1))


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if not 0 <= dim < first.ndim or not all(t.is_contiguous() and t.dtype == first.dtype for t in tensors):
        return None
    rest = (*first.shape[:dim], *first.shape[dim + 1 :])
    if any(t.ndim != first.ndim or (*t.shape[:dim], *t.shape[dim + 1 :]) != rest for t in tensors):
        return None
    return _new(first, (*first.shape[:dim], sum(t.shape[dim] for t in tensors), *first.shape[dim + 1 :]))


def _pooled(x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil: bool,
            dtype: torch.dtype) -> Tensor | None:  # fmt: skip
    if x.ndim != 4 or not x.is_contiguous() or not x.is_floating_point() or min(x.shape) < 1:
        return None
    size = []
    for axis in (0, 1):
        k, s, p, d = ((v[axis] if len(v) > 1 else v[0]) for v in (kernel, stride or kernel, padding, dilation))
        n, span = x.shape[2 + axis], d * (k - 1) + 1
        if s < 1 or p < 0 or 2 * p > span or n + 2 * p < span:
            return None
        count = (n + 2 * p - span + (s - 1 if ceil else 0)) // s + 1
        size.append(count - 1 if ceil and (count - 1) * s >= n + p else count)
    return torch.empty((*x.shape[:2], *size), dtype=dtype, device="meta")


def _average_pool(x: Tensor, kernel: list[int], stride: list[int] = [], padding: list[int] = [0], ceil: bool = False,  # noqa: B006
                  *_: Any) -> Tensor | None:  # fmt: skip
    return _pooled(x, kernel, stride, padding, [1], ceil, x.dtype)


def _max_pool(x: Tensor, kernel: list[int], stride: list[int] = [], padding: list[int] = [0], dilation: list[int] = [1],  # noqa: B006
              ceil: bool = False) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    out = _pooled(x, kernel, stride, padding, dilation, ceil, x.dtype)
    return None if out is None else (out, torch.empty(out.shape, dtype=torch.int64, device="meta"))


RULES: dict[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.relu.default: _elementwise,
    aten.sigmoid.default: _elementwise,
    aten.tanh.default: _elementwise,
    aten.silu.default: _elementwise,
    aten.gelu.default: lambda x, **options: _elementwise(x),
    aten.add.Tensor: _binary,
    aten.mul.Tensor: _binary,
    aten.addmm.default: _addmm,
    aten.mm.default: _mm,
    aten.mean.dim: _average,
    aten.cat.default: _cat,
    aten.avg_pool2d.default: _average_pool,
    aten.max_pool2d_with_indices.default: _max_pool,
}
"""By operator; called with the operator's own arguments."""
