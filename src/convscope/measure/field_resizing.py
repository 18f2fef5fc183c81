"""Which positions of its input every kind of interpolation reads, as PyTorch works them out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from convscope.measure.field_rules import Field, Shape, along, each
from convscope.measure.field_windows import NOWHERE, Integers
from convscope.measure.fields import Number
from convscope.measure.tracing.graph import Node

REACH = {"nearest": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}
"""Positions on either side of a unit that it reads."""
TINY = 1e-6  # so close to a position, a neighbour's weight is rounding and no more


def resize(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Interpolation: the nearest position, or 2 or 4 around it on each axis; with antialiasing, as many as are merged.

    A ``scale_factor`` is what places are computed from, unless ``recompute_scale_factor`` or ``align_corners`` says
    otherwise: 7 pixels scaled by 1.5 become 10, and lie 1 / 1.5 apart, not 7 / 10.
    """
    name = node.operator
    kind = next((word for word in ("bicubic", "trilinear", "bilinear", "linear", "nearest") if word in name), None)
    if kind is None or len(shape) < 3:
        return each(field, lambda t: t if t.dim is None else t.everything(out[t.dim], t.dim))
    corners = bool(node.arguments.get("align_corners")) and kind != "nearest"
    scales = _scales(node, len(shape) - 2)

    def how(axis: int, n: int, m: int) -> tuple[Integers, Number]:
        scale = scales[axis]
        step = n / m if not scale or scale <= 0 else 1 / scale
        if corners:
            step = (n - 1) / (m - 1) if m > 1 else 0.0
        jump = Fraction(n, m) if not scale or corners else Fraction(step).limit_denominator(1000)
        if kind == "nearest":
            return _nearest(n, m, scale, centred="exact" in name)[:, None], jump
        if "_aa" in name:
            return _merged(n, m, step, REACH[kind]), jump
        return _around(n, m, step, REACH[kind], corners=corners), jump

    return along(field, shape, out, how)


def _scales(node: Node, axes: int) -> list[float | None]:
    """What was given as ``scale_factor`` for each axis; None where places follow from the sizes alone."""
    if axes == 1:
        return [node.arguments.get("scales")]
    return [node.arguments.get(f"scales_{letter}") for letter in "dhw"[-axes:]]


def _nearest(n: int, m: int, scale: float | None, *, centred: bool) -> Integers:
    """One position for each unit, in the single precision in which PyTorch computes it."""
    units = np.arange(m)
    if not centred and m == n:
        return units
    if not centred and m == 2 * n:
        return units // 2
    step = np.float32(1 / scale) if scale else np.float32(n) / np.float32(m)
    places = (units.astype(np.float32) + np.float32(0.5 if centred else 0)) * step
    positions: Integers = np.floor(places).astype(np.int64).clip(0, n - 1)
    return positions


def _around(n: int, m: int, step: float, reach: int, *, corners: bool) -> Integers:
    """The 2 or 4 positions around each unit's place; only the one there is where it lies on one."""
    units = np.arange(m, dtype=np.float64)
    if m == n:  # then PyTorch copies, whatever the scale was
        return np.arange(n)[:, None]
    places = units * step if corners else (units + 0.5) * step - 0.5
    if reach == 1:
        places = np.maximum(places, 0)
    whole = np.round(places)
    exact = np.abs(places - whole) < TINY
    low = np.where(exact, whole, np.floor(places)).astype(np.int64)
    offsets = np.arange(1 - reach, reach + 1)
    read = np.where(exact[:, None], low[:, None], low[:, None] + offsets[None])
    return read.clip(0, n - 1)


def _merged(n: int, m: int, step: float, reach: int) -> Integers:
    """All positions under a filter that is as much wider as the image becomes smaller."""
    centres = (np.arange(m, dtype=np.float64) + 0.5) * step  # also where corners are aligned
    away = np.abs(np.arange(n) + 0.5 - centres[:, None]) / max(step, 1.0)  # -> m,n
    zero = (away >= reach - TINY) | ((np.abs(away - np.round(away)) < TINY) & (away > 0.5))
    read = np.where(zero, NOWHERE, np.arange(n))
    empty = zero.all(1)
    read[empty] = np.floor(centres[empty]).astype(np.int64).clip(0, n - 1)[:, None]
    return read
