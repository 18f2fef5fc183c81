"""Which positions of its input a view reads: other axes over the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from convscope.measure.field_rules import Field, Shape, each
from convscope.measure.field_windows import Integers, Sliding
from convscope.measure.fields import Number, Track, blank, join, written


def _groups(old: Shape, new: Shape) -> list[tuple[range, range]]:
    """The smallest runs of axes of equal size that a view turns into each other."""
    runs, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        a, b = i, j
        left, right = (old[i] if i < len(old) else 1), (new[j] if j < len(new) else 1)
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while left != right:
            if left < right:
                left *= old[i]
                i += 1
            else:
                right *= new[j]
                j += 1
        runs.append((range(a, i), range(b, j)))
    return runs


LARGEST = 4_000_000
"""Units of a flattened axis up to which each is followed; beyond, all are said to see everything."""


def view(field: Field, shape: Shape, out: Shape) -> Field:
    """Other axes over the same numbers in the same order."""
    if math.prod(shape) == 0:
        return each(field, lambda t: t.everything())
    runs = _groups(shape, out)

    def change(track: Track) -> Track:
        if track.dim is None:
            return track
        old, new = next((o, n) for o, n in runs if track.dim in o)
        if len(new) == 1 and all(shape[d] == 1 for d in old if d != track.dim):
            return track.at(new[0])
        sizes, count = [shape[d] for d in old], math.prod(shape[d] for d in old)
        if not new or count > LARGEST:
            return track.everything() if len(track) > 1 else track.at(None)
        if len(track) == 1:
            return track.at(None)
        place = track.dim - old[0]
        inner = math.prod(sizes[place + 1 :])
        unit = np.arange(count) // inner % sizes[place]  # which of the old units each number belongs to
        return _regroup(track, unit.reshape([out[d] for d in new]), new)

    return each(field, change)


def _regroup(track: Track, unit: Integers, dims: range) -> Track:
    """Units that were numbered are laid out on several axes: follow the one along which they see least at once."""
    long = [axis for axis in range(unit.ndim) if unit.shape[axis] > 1]
    first, last = track.first[unit], track.last[unit]

    def seen_at_once(axis: int) -> tuple[int, int]:
        others = tuple(a for a in range(unit.ndim) if a != axis)
        return int((last.max(others) - first.min(others)).sum()) // unit.shape[axis], -unit.shape[axis]

    axis = min(long, key=seen_at_once)
    rows = np.moveaxis(unit, axis, 0).reshape(unit.shape[axis], -1)
    if rows.shape[1] > 1:
        distinct = [np.unique(row) for row in rows]
        width = max(map(len, distinct))
        rows = np.stack([np.resize(row, width) for row in distinct])
    moved = track.take(rows[:, 0]) if rows.shape[1] == 1 else track.read(rows, 1)
    jump = _step(moved, track.jump, rows[:, 0])
    return Track(dims[axis], moved.first, moved.last, jump, moved.whole, moved.seen)


def _step(moved: Track, jump: Number, units: Integers) -> Number:
    """From what one unit sees to what the next sees, when the units have been laid out anew."""
    steps = np.diff(moved.first)
    if (steps == steps[0]).all() and steps[0]:
        return abs(int(steps[0]))
    if (np.diff(units) >= 0).all() and units[-1] > units[0]:  # repeated or taken apart, but still in order
        return jump * Fraction(int(units[-1] - units[0]) + 1, len(units))
    return jump


def write(before: Field | None, part: Field, place: Sequence[tuple[int, int]], shape: Shape) -> Field:
    """A tensor into a slice of which another was written, as padding by hand and circular padding do.

    Args:
        before: What the units of the whole tensor saw; None when they depended on no image.
        part: What the units of the slice see now.
        place: First position and step of the slice, on every axis.
        shape: Of the whole tensor.
    """

    def change(axis: int) -> Track:
        track = part[axis]
        if track.dim is None:
            return track if before is None else join([track, before[axis]])[0]
        old = before[axis] if before is not None else None
        if old is None or old.dim != track.dim:
            old = blank(shape[track.dim], track) if old is None else join([blank(shape[track.dim], track), old])[0]
        start, step = place[track.dim]
        return written(old, track, start + step * np.arange(len(track)))

    return change(0), change(1)


def shuffle(field: Field, factor: int, *, up: bool) -> Field:
    """Channels become a block of ``factor`` x ``factor`` pixels; or such blocks become channels."""

    def change(track: Track) -> Track:
        if track.dim is None:
            return track
        if up:
            return track.read((np.arange(len(track) * factor) // factor)[:, None], Fraction(1, factor))
        return track.slide(Sliding(len(track) // factor, factor, factor, 0, 1))

    return each(field, change)


def repeated(field: Field, shape: Shape, out: Shape) -> Field:
    """The tensor several times, one copy after the other."""
    more = len(out) - len(shape)

    def change(track: Track) -> Track:
        if track.dim is None or shape[track.dim] == out[track.dim + more] == 1:
            return track.at(None)
        copies = out[track.dim + more] // shape[track.dim]
        return track.take(np.tile(np.arange(len(track)), copies)).at(track.dim + more)

    return each(field, change)
