"""How far a layer sees, exactly: from its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import nn

from convscope.measure.field_rules import Field
from convscope.measure.following import follow
from convscope.measure.tracing import Trace, trace
from convscope.naming import unknown_name

Pair = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """What one unit sees of the image; pixels are counted from 0, and both ends belong to it.

    Args:
        unit: Row and column of the unit in its layer.
        rows: First and last row, the padding as if the image went on: outside ``0 .. H - 1`` lies padding.
        columns: First and last column, likewise.
        image: ``(H, W)`` in pixels.
        seen_rows: The rows of the image that can really change the unit; a dilated kernel leaves some out.
        seen_columns: The columns, likewise.
    """

    unit: Pair
    rows: Pair
    columns: Pair
    image: Pair
    seen_rows: tuple[int, ...]
    seen_columns: tuple[int, ...]

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """``(top, left, bottom, right)`` of what can change the unit; None when nothing can."""
        if not self.seen_rows or not self.seen_columns:
            return None
        return self.seen_rows[0], self.seen_columns[0], self.seen_rows[-1], self.seen_columns[-1]

    @property
    def on_padding(self) -> tuple[int, int, int, int]:
        """Pixels of the region that lie outside the image: ``(above, left, below, right)``."""
        (top, bottom), (left, right), (height, width) = self.rows, self.columns, self.image
        return max(0, -top), max(0, -left), max(0, bottom - height + 1), max(0, right - width + 1)

    @property
    def padding_share(self) -> float:
        """Share of the region's area that lies on padding."""
        (top, bottom), (left, right), (height, width) = self.rows, self.columns, self.image
        inside = max(0, min(bottom, height - 1) - max(top, 0) + 1) * max(0, min(right, width - 1) - max(left, 0) + 1)
        return 1 - inside / ((bottom - top + 1) * (right - left + 1))


@dataclass(frozen=True)
class LayerField:
    """The receptive field of a layer, along ``(H, W)``, and of one of its units.

    Args:
        layer: Path of the module.
        units: ``(H, W)`` of its output; 1 where all units see the same.
        size: Pixels that a unit sees.
        jump: Pixels between what two neighbouring units see.
        padding: Pixels by which the first unit's region begins before the image.
        whole: Whether a layer in between looked at everything there was.
        misaligned: Whether branches meet, in it or before, whose units have different centres or steps.
        region: What the chosen unit sees.
    """

    layer: str
    units: Pair
    size: Pair
    jump: tuple[Fraction, Fraction]
    padding: Pair
    whole: tuple[bool, bool]
    misaligned: bool
    region: Region


def receptive_field(
    model: nn.Module, input_size: Sequence[int], layer: str | None = None, unit: Pair | None = None
) -> LayerField:
    """How far a layer of any network sees, and what exactly one of its units sees.

    Channels are not told apart: a unit is a place, and it sees what any of its channels sees. Nor is a region anything
    but rows times columns: where a cross of a tall and a wide kernel meet, it is the rectangle around them.

    Args:
        model: Any module that takes one batch of images; it is left as it was.
        input_size: ``(C, H, W)`` in pixels.
        layer: Path of a module, ``"layer4.1"``. Default: the last one before a layer that looks at everything.
        unit: Row and column in the layer's output. Default: the centre.

    Raises:
        ValueError: No such layer, a layer that did not run or does not depend on the image, or no such unit.

    Example:
        >>> three = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)))
        >>> field = receptive_field(three, (1, 8, 8), unit=(0, 4))
        >>> field.size, field.region.rows, field.region.box, field.region.on_padding
        ((7, 7), (-3, 3), (0, 1, 3, 7), (3, 0, 0, 0))

    Source:
        Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill, 2019.
    """
    seen = trace(model, input_size)
    fields = follow(seen, exact=True)
    if layer is None:
        layer = _last_local(seen, fields.of)
    value = _output_of(seen, layer)
    field = fields.of[value]
    if field is None:
        raise ValueError(f"what layer {layer!r} gives does not depend on the image, so it has no receptive field")
    shape = seen.values[value].shape
    units = _units(field, shape)
    place = unit if unit is not None else (units[0] // 2, units[1] // 2)
    if not all(0 <= u < n for u, n in zip(place, units, strict=True)):
        raise ValueError(f"unit {place} does not exist: {layer or seen.model} gives {units[0]}x{units[1]} units")
    region = _region(field, place, _axes(field, shape), (seen.input_size[2], seen.input_size[3]))
    before = {node.index for node in seen.nodes if node.index <= max(_makers(seen, value), default=-1)}
    return LayerField(
        layer,
        units,
        (field[0].size, field[1].size),
        (Fraction(field[0].jump), Fraction(field[1].jump)),
        (field[0].padding, field[1].padding),
        (field[0].whole, field[1].whole),
        bool(fields.misaligned & before),
        region,
    )


def _makers(seen: Trace, value: int) -> list[int]:
    return [node.index for node in seen.nodes if value in node.outputs]


def _axes(field: Field, shape: tuple[int, ...]) -> tuple[int | None, int | None]:
    """Which number of a unit, the first or the second, says where it lies along ``H`` and along ``W`` of the image.

    On a map ``(N, C, h, w)`` a unit is a row and a column of the map, which may have been turned. Elsewhere it is a
    place along the axis that follows ``H``, and one along that which follows ``W``.
    """
    rows, columns = (t.dim for t in field)
    if len(shape) == 4 and {rows, columns} <= {2, 3, None}:
        return None if rows is None else rows - 2, None if columns is None else columns - 2
    if rows is not None and rows == columns:  # the map was flattened: one number for both
        return 0, 0
    return None if rows is None else 0, None if columns is None else 1


def _units(field: Field, shape: tuple[int, ...]) -> Pair:
    """How many units there are; 1 where all units see the same."""
    if len(shape) == 4 and {t.dim for t in field} <= {2, 3, None}:
        return shape[2], shape[3]
    rows, columns = (len(t) if t.dim is not None else 1 for t in field)
    return rows, 1 if field[0].dim == field[1].dim else columns


def _region(field: Field, unit: Pair, axes: tuple[int | None, int | None], image: Pair) -> Region:
    rows, columns = field
    i, j = (0 if axis is None else unit[axis] for axis in axes)
    seen = [np.flatnonzero(t.seen[k]).tolist() if t.seen is not None else [] for t, k in ((rows, i), (columns, j))]
    return Region(
        unit,
        (int(rows.first[i]), int(rows.last[i])),
        (int(columns.first[j]), int(columns.last[j])),
        image,
        tuple(seen[0]),
        tuple(seen[1]),
    )


def _last_local(seen: Trace, of: Sequence[Field | None]) -> str:
    """The last module whose units see less than everything; the network itself when there is none."""
    found = ""
    for call in seen.calls:
        field = of[call.outputs[0]] if call.outputs else None
        if field and call.path and len(seen.values[call.outputs[0]].shape) == 4 and not all(t.whole for t in field):
            found = call.path
    return found


def _output_of(seen: Trace, layer: str) -> int:
    if layer not in seen.modules:
        raise unknown_name("layer", layer, [path for path in seen.modules if path], hint="convscope summary")
    call = seen.last_calls.get(layer)
    if call is None or not call.outputs:
        raise ValueError(f"layer {layer!r} did not run in the forward pass, or returned no tensor")
    return call.outputs[0]
