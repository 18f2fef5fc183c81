"""Which positions of its inputs every operator reads, axis by axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from convscope.measure.field_windows import Integers, Sliding, shares, spread
from convscope.measure.fields import Number, Track, join
from convscope.measure.tracing.graph import Node

Field = tuple[Track, Track]
"""Along ``H`` and along ``W`` of the image."""
Shape = tuple[int, ...]


def each(field: Field, change: Callable[[Track], Track]) -> Field:
    """The same change on both axes of the image."""
    return change(field[0]), change(field[1])


def alike(field: Field) -> bool:
    """Whether both axes are known to see the same, because they share their numbers."""
    return field[0].alike(field[1])


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


Reads = Sliding | tuple[Integers, Number]
"""What units read of an axis: a sliding window, or a table of positions and the step between units."""


def _read(track: Track, reads: Reads) -> Track:
    return track.slide(reads) if isinstance(reads, Sliding) else track.read(*reads)


def along(field: Field, shape: Shape, out: Shape, how: Callable[[int, int, int], Reads]) -> Field:
    """Read the image axes in a way that depends on the axis: ``(axis of the kernel, length, units)``."""
    first = 2 if len(shape) > 2 else len(shape)

    def change(track: Track) -> Track:
        if track.dim is None or track.dim < first:
            return track
        return _read(track, how(track.dim - first, shape[track.dim], out[track.dim]))

    rows, columns = field
    if alike(field) and rows.dim is not None and columns.dim is not None and min(rows.dim, columns.dim) >= first:
        a, b = (how(t.dim - first, shape[t.dim], out[t.dim]) for t in (rows, columns) if t.dim is not None)
        if isinstance(a, Sliding) and a == b:  # a square kernel on a square image: one answer for both
            both = rows.slide(a)
            return both, both.at(columns.dim)
        return _read(rows, a), _read(columns, b)
    return each(field, change)


def convolution(node: Node, field: Field, shape: Shape, out: Shape, weight: Shape) -> Field:
    """Convolutions and transposed convolutions, grouped or not."""
    g = node.arguments
    stride, padding, dilation = g["stride"], g["padding"], g["dilation"]

    def how(axis: int, _: int, units: int) -> Reads:
        s, p, d, k = at(stride, axis, 1), at(padding, axis, 0), at(dilation, axis, 1), weight[2 + axis]
        window = Sliding(units, k, s, p, d)
        return (spread(window), Fraction(1, s)) if g["transposed"] else window

    if field[0].dim == 1 or field[1].dim == 1:  # an axis of the image stands where channels are: groups mix it
        groups = int(g["groups"])
        read = np.arange(shape[1]).reshape(groups, -1).repeat(out[1] // groups, 0)  # -> O,I/g
        field = each(field, lambda t: t.read(read, 1) if t.dim == 1 and groups > 1 else _mixed(t, 1, out[1]))
    return along(field, shape, out, how)


def _mixed(track: Track, dim: int, units: int) -> Track:
    """What all units of an axis see, each of which reads the whole axis."""
    return track.everything(units, dim) if track.dim == dim else track


def pool(node: Node, field: Field, shape: Shape, out: Shape) -> Field:
    """Sliding max and average pools; in ceil mode the last window may reach beyond the padding."""
    g = node.arguments
    kernel = g["kernel_size"]

    def how(axis: int, _: int, units: int) -> Reads:
        k = at(kernel, axis, 1)
        s, p, d = at(g.get("stride"), axis, k), at(g.get("padding"), axis, 0), at(g.get("dilation"), axis, 1)
        return Sliding(units, k, s, p, d)

    return along(field, shape, out, how)


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
        if kind == "constant":
            return track.slide(Sliding(units, 1, 1, before, 1))
        positions = np.arange(units) - before
        if kind == "reflection" and n > 1:
            positions = (n - 1) - np.abs((n - 1) - np.abs(positions))
        elif kind == "replication":
            positions = positions.clip(0, n - 1)
        return track.read(positions[:, None], 1)

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
    """Some positions of one axis, in this order."""
    step = abs(int(positions[1] - positions[0])) if len(positions) > 1 else 1
    return each(field, lambda t: t.take(positions, jump=t.jump * (step or 1)) if t.dim == dim else t)


def cut(field: Field, dim: int, start: int, units: int, step: int = 1) -> Field:
    """Every ``step``-th position of one axis, from ``start`` on."""
    window = Sliding(units, 1, step, -start, 1)
    return each(field, lambda t: t.slide(window) if t.dim == dim else t)


def concatenate(fields: Sequence[Field | None], shapes: Sequence[Shape], dim: int) -> tuple[Field | None, bool]:
    """Tensors one after the other: along an image axis their units stand in a row, elsewhere they meet."""
    known = [f for f in fields if f is not None]
    if not known:
        return None, False

    def chain(axis: int) -> tuple[Track, bool]:
        tracks = [f[axis] for f in known]
        if all(t.dim is None for t in tracks) and len(known) == len(fields) and _each_its_own(tracks):
            tracks = [t.take(np.zeros(shape[dim], int)).at(dim) for t, shape in zip(tracks, shapes, strict=True)]
        if all(t.dim != dim for t in tracks):
            return join(tracks)
        if len(known) < len(fields) or any(t.dim != dim for t in tracks):
            return join([t.everything() for t in tracks])
        seen = None if tracks[0].seen is None else np.concatenate([t.seen for t in tracks if t.seen is not None])
        first, last = np.concatenate([t.first for t in tracks]), np.concatenate([t.last for t in tracks])
        return Track(dim, first, last, tracks[0].jump, any(t.whole for t in tracks), seen), False

    (rows, a), (columns, b) = chain(0), chain(1)
    return (rows, columns), a or b


def _each_its_own(tracks: Sequence[Track]) -> bool:
    """Whether single rows or columns that were cut out stand in a line again, in the order of the image."""
    starts = [int(t.first[0]) for t in tracks]
    return not any(t.whole for t in tracks) and starts == sorted(starts) and len(set(starts)) == len(starts) > 1


def product(left: Field | None, right: Field | None, ndim: int) -> tuple[Field | None, bool]:
    """Matrix products: rows follow the left factor, columns the right one, the axis between is read whole."""
    sides = []
    if left is not None:
        sides.append(each(left, lambda t: t.everything() if t.dim == ndim - 1 else t))
    if right is not None:
        sides.append(each(right, lambda t: t.everything() if t.dim == ndim - 2 else t))
    return combine(sides) if sides else (None, False)
