"""Which positions of its input an operator reads that rolls, sorts, picks, cuts into patches or puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from convscope.measure.field_rules import Field, Shape, at, each
from convscope.measure.field_windows import Sliding, spread
from convscope.measure.fields import Track

UNSURE = frozenset({"index", "index_select", "gather", "grid_sampler_2d", "grid_sampler_3d", "scatter", "index_put"})
"""Operators that read at positions which another tensor holds: along these axes all is said to be seen."""


def roll(field: Field, shape: Shape, shifts: Sequence[int], dims: Sequence[int]) -> Field:
    """What leaves at one end comes back at the other; without axes, the numbers are one long row."""
    if not dims:
        return each(field, lambda t: t if t.dim is None else t.everything(shape[t.dim], t.dim))
    for shift, dim in zip(shifts, dims, strict=True):
        axis = dim % len(shape)
        order = (np.arange(shape[axis]) - shift) % max(shape[axis], 1)
        field = each(field, lambda t, a=axis, o=order: t.take(o) if t.dim == a else t)  # type: ignore[misc]
    return field


def unfold(field: Field, out: Shape, dim: int, size: int, step: int) -> Field:
    """``Tensor.unfold``: windows along one axis; what lies in a window becomes a last axis, which is not told apart."""
    axis = dim % (len(out) - 1)
    window = Sliding(out[axis], size, step, 0, 1)
    return each(field, lambda t: t.slide(window) if t.dim == axis else t)


def halves(field: Field, shape: Shape, dim: int) -> Field:
    """A gate: every unit reads its place in the first half of an axis and in the second."""
    axis = dim % len(shape)
    half = shape[axis] // 2
    table = np.arange(half)[:, None] + np.array([0, half])
    return each(field, lambda t: t.read(table, 1) if t.dim == axis else t)


def across(field: Field, shape: Shape, out: Shape, dims: Sequence[int]) -> Field:
    """Sorting, transforming or picking along axes: every unit there may depend on all of them.

    An axis that is no longer there is gone with what it told apart.
    """
    read = {d % max(len(shape), 1) for d in dims}
    gone = read if len(out) < len(shape) else set()

    def change(track: Track) -> Track:
        if track.dim is None:
            return track
        left = track.dim - sum(d < track.dim for d in gone)
        if track.dim in gone:
            return track.everything()
        return track.everything(out[left], left) if track.dim in read else track.at(left)

    return each(field, change)


def picked(field: Field, shape: Shape, out: Shape, indices: Sequence[object]) -> Field:
    """``x[:, :, positions]``: one axis read in any order; with several index tensors, nothing is told apart."""
    given = [axis for axis, index in enumerate(indices) if index is not None]
    if len(given) == 1 and len(out) == len(shape):
        return across(field, shape, out, given)
    return each(field, lambda t: t.everything())


def _windows(arguments: Mapping[str, Any], size: Sequence[int], axis: int) -> tuple[int, Sliding]:
    """How many patches there are along an axis, and the window that cuts them out of ``size`` pixels."""
    k, s, p, d = (at(arguments[name], axis, 1) for name in ("kernel_size", "stride", "padding", "dilation"))
    units = (size[axis] + 2 * p - d * (k - 1) - 1) // s + 1
    return units, Sliding(units, k, s, p, d)


def patches(field: Field, shape: Shape, arguments: Mapping[str, Any]) -> Field:
    """``nn.Unfold``: ``N,C,H,W -> N,C*k*k,L`` with the patches one after the other, row by row."""
    (down, tall), (right, wide) = (_windows(arguments, shape[-2:], axis) for axis in (0, 1))
    if any(t.dim not in (None, len(shape) - 2 + axis) for axis, t in enumerate(field)):
        return each(field, lambda t: t.everything())
    order = np.repeat(np.arange(down), right), np.tile(np.arange(right), down)

    def change(axis: int, window: Sliding) -> Track:
        track = field[axis]
        return track if track.dim is None else track.slide(window).take(order[axis]).at(len(shape) - 2)

    return change(0, tall), change(1, wide)


def put_together(field: Field, shape: Shape, out: Shape, arguments: Mapping[str, Any]) -> Field:
    """``nn.Fold``: every pixel is the sum of what the patches over it hold."""
    (down, _), (right, _) = (_windows(arguments, out[-2:], axis) for axis in (0, 1))
    number = np.arange(down * right).reshape(down, right)

    def change(axis: int) -> Track:
        track = field[axis]
        if track.dim != len(shape) - 1:
            return track if track.dim is None else track.everything()
        lines = track.read(number if axis == 0 else number.T, right if axis == 0 else 1)
        k, s, p, d = (at(arguments[name], axis, 1) for name in ("kernel_size", "stride", "padding", "dilation"))
        window = Sliding(out[len(out) - 2 + axis], k, s, p, d)
        return lines.read(spread(window), Fraction(1, s)).at(len(out) - 2 + axis)

    return change(0), change(1)
