"""Which positions of its inputs every operator reads, axis by axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from convscope.measure.fields import Integers, Track, join, shares, spread, window
from convscope.measure.tracing.graph import Node

Field = tuple[Track, Track]
"""Along ``H`` and along ``W`` of the image."""
Shape = tuple[int, ...]


def each(field: Field, change: Callable[[Track], Track]) -> Field:
    """The same change on both axes of the image."""
    return change(field[0]), change(field[1])


def alike(field: Field) -> bool:
    """Whether both axes are known to see the same, because they share their numbers."""
    return field[0].first is field[1].first and field[0].last is field[1].last


def at(values: Any, axis: int, default: int) -> int:
    """A number for each axis, which may be given as one for all, or not at all."""
    if not values:
        return default
    return int(values[axis] if len(values) > 1 else values[0])


def combine(fields: Sequence[Field]) -> tuple[Field, bool]:
    """Branches that meet place by place; whether they are misaligned."""
    rows, a = join([f[0] for f in fields])
    if all(map(alike, fields)):
        dims = [f[1].dim for f in fields if f[1].dim is not None]
        return (rows, rows.at(dims[0] if dims else None)), a
    columns, b = join([f[1] for f in fields])
    return (rows, columns), a or b


def broadcast(field: Field, shape: Shape, out: Shape) -> Field:
    """The same field in a result with more or longer axes."""
    more = len(out) - len(shape)

    def move(track: Track) -> Track:
        if track.dim is None:
            return track
        if shape[track.dim] == 1 != out[track.dim + more]:
            return track.at(None)
        return track.at(track.dim + more)

    return each(field, move)


def along(field: Field, shape: Shape, out: Shape, table: Callable[[int, int, int], tuple[Integers, Fraction]]) -> Field:
    """Read the image axes through a table that depends on the axis: ``(axis of the kernel, length, units)``."""
    first = min((i for i in range(len(shape)) if i >= 2), default=0) if len(shape) > 2 else len(shape)

    def change(track: Track) -> Track:
        if track.dim is None or track.dim < first:
            return track
        positions, step = table(track.dim - first, shape[track.dim], out[track.dim])
        return track.read(positions, step)

    rows, columns = field
    if alike(field) and rows.dim is not None and columns.dim is not None and min(rows.dim, columns.dim) >= first:
        a, b = (table(t.dim - first, shape[t.dim], out[t.dim]) for t in (rows, columns) if t.dim is not None)
        if a[1] == b[1] and np.array_equal(a[0], b[0]):  # a square kernel on a square image: one answer for both
            both = rows.read(*a)
            return both, both.at(columns.dim)
    return each(field, change)


def convolution(node: Node, field: Field, shape: Shape, out: Shape, weight: Shape) -> Field:
    """Convolutions and transposed convolutions, grouped or not."""
    g = node.arguments
    stride, padding, dilation = g["stride"], g["padding"], g["dilation"]

    def table(axis: int, length: int, units: int) -> tuple[Integers, Fraction]:
        s, p, d, k = at(stride, axis, 1), at(padding, axis, 0), at(dilation, axis, 1), weight[2 + axis]
        if g["transposed"]:
            return spread(length, units, k, s, p, d), Fraction(1, s)
        return window(length, units, k, s, p, d), Fraction(s)

    return along(field, shape, out, table)


def pool(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Sliding max and average pools; in ceil mode the last window may reach beyond the padding."""
    g = node.arguments
    kernel = g["kernel_size"]

    def table(axis: int, length: int, units: int) -> tuple[Integers, Fraction]:
        k = at(kernel, axis, 1)
        s, p, d = at(g.get("stride"), axis, k), at(g.get("padding"), axis, 0), at(g.get("dilation"), axis, 1)
        return window(length, units, k, s, p, d), Fraction(s)

    return along(field, shape, out, table)


def adaptive_pool(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Adaptive pools: shares of the axis, whole when there is one."""

    def change(track: Track) -> Track:
        if track.dim is None or (track.dim < len(shape) - 2 and len(shape) > 3):
            return track
        n, m = shape[track.dim], out[track.dim]
        if m == 1:
            return track.everything(1, track.dim)
        return track.read(shares(n, m), Fraction(n, m))

    return each(field, change)


def resize(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Interpolation: the nearest position, or 2 or 4 around it on each axis."""
    reach = {"nearest": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}
    kind = next((r for name, r in reach.items() if f"_{name}" in node.operator), 2)
    if "_aa" in node.operator:
        return each(field, lambda t: t if t.dim is None else t.everything(out[t.dim], t.dim))
    corners = bool(node.arguments.get("align_corners"))

    def table(axis: int, n: int, m: int) -> tuple[Integers, Fraction]:
        units = np.arange(m)
        if kind == 0:
            return (units * n // m)[:, None], Fraction(n, m)
        if corners:
            numerator, denominator = units * (n - 1), max(m - 1, 1)
        else:
            numerator, denominator = (2 * units + 1) * n - m, 2 * m
            if kind == 1:
                numerator = np.maximum(numerator, 0)
        low = numerator // denominator
        exact = numerator % denominator == 0  # then the neighbour after it has weight zero
        offsets = np.arange(1 - kind, kind + 1)
        positions = low[:, None] + offsets[None]
        positions = np.where(exact[:, None] & (offsets != 0)[None], low[:, None], positions)
        return positions.clip(0, n - 1), Fraction(n, m)

    return along(field, shape, out, table)


def pad(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Constant padding and cropping, mirrors and repeated borders."""
    amounts = node.arguments.get("pad") or node.arguments.get("padding") or ()
    kind = node.operator.split("_")[0]

    def change(track: Track) -> Track:
        if track.dim is None:
            return track
        place = 2 * (len(shape) - 1 - track.dim)
        before = int(amounts[place]) if place < len(amounts) else 0
        n, units = shape[track.dim], out[track.dim]
        positions = np.arange(units) - before
        if kind == "reflection" and n > 1:
            positions = (n - 1) - np.abs((n - 1) - np.abs(positions))
        elif kind == "replication":
            positions = positions.clip(0, n - 1)
        return track.read(positions[:, None], Fraction(1))

    return each(field, change)


def reduce(field: Field, shape: Shape, out: Shape, dims: Sequence[int], *, keep: bool) -> Field:
    """Sums, means, maxima over axes: whoever reads a whole axis sees all that it saw."""
    gone = {d % max(len(shape), 1) for d in dims} if dims else set(range(len(shape)))

    def change(track: Track) -> Track:
        if track.dim is None:
            return track
        if track.dim in gone:
            return track.everything(1, track.dim) if keep else track.everything()
        return track if keep else track.at(track.dim - sum(d < track.dim for d in gone))

    return each(field, change)


def over(field: Field, shape: Shape, dims: Sequence[int]) -> Field:
    """Norms and softmax: the shape stays, and every unit depends on all of the given axes."""
    across = {d % max(len(shape), 1) for d in dims}
    return each(field, lambda t: t.everything(shape[t.dim], t.dim) if t.dim in across and t.dim is not None else t)


def permute(field: Field, order: Sequence[int]) -> Field:
    """Axes in another order."""
    places = [d % len(order) for d in order]
    return each(field, lambda t: t if t.dim is None else t.at(places.index(t.dim)))


def select(field: Field, positions: Integers, dim: int) -> Field:
    """Some positions of one axis."""
    step = Fraction(int(positions[1] - positions[0])) if len(positions) > 1 else Fraction(1)
    jump = step if step else Fraction(1)
    return each(field, lambda t: t.take(positions, jump=t.jump * jump) if t.dim == dim else t)


def concatenate(fields: Sequence[Field | None], shapes: Sequence[Shape], dim: int) -> tuple[Field | None, bool]:
    """Tensors one after the other: along an image axis their units stand in a row, elsewhere they meet."""
    known = [f for f in fields if f is not None]
    if not known:
        return None, False

    def chain(axis: int) -> tuple[Track, bool]:
        tracks = [f[axis] for f in known]
        if all(t.dim != dim for t in tracks):
            return join(tracks)
        if len(known) < len(fields) or any(t.dim != dim for t in tracks):
            return join([t.everything() for t in tracks])
        seen = None if tracks[0].seen is None else np.concatenate([t.seen for t in tracks if t.seen is not None])
        first, last = np.concatenate([t.first for t in tracks]), np.concatenate([t.last for t in tracks])
        return Track(dim, first, last, tracks[0].jump, any(t.whole for t in tracks), seen), False

    (rows, a), (columns, b) = chain(0), chain(1)
    return (rows, columns), a or b


def product(left: Field | None, right: Field | None, ndim: int) -> tuple[Field | None, bool]:
    """Matrix products: rows follow the left factor, columns the right one, the axis between is read whole."""
    sides = []
    if left is not None:
        sides.append(each(left, lambda t: t.everything() if t.dim == ndim - 1 else t))
    if right is not None:
        sides.append(each(right, lambda t: t.everything() if t.dim == ndim - 2 else t))
    return combine(sides) if sides else (None, False)
