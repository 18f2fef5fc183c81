"""How far a layer sees: what its centre could see, and what really moves it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from convscope.measure import EffectiveField
from convscope.report.figures.style import BLUE, GRID, INK, MUTED, SMALL, VERMILION, WIDTH, canvas, in_style

HEAT = LinearSegmentedColormap.from_list("influence", ["#ffffff", "#9ecae1", BLUE, "#08306b"])
GAMMA = 0.5  # the tail of the blob would be invisible on a linear scale


@in_style
def receptive_field_map(field: EffectiveField) -> Figure:
    """The influence of every pixel on the centre of a layer, with the box that the layer could see drawn over it.

    The dashed box is the exact receptive field, also where it lies on padding, which is hatched; the ring is at two
    standard deviations of the influence.

    Returns:
        A figure 3.9 inches wide.
    """
    region = field.theory.region
    (top, bottom), (left, right), (height, width) = region.rows, region.columns, region.image
    margin = max(2.0, 0.06 * max(height, width))
    view = (  # the image and the box around it, but of a huge box only so much that the image stays readable
        max(min(left, 0), -width // 2) - margin, min(max(right, width - 1), width + width // 2) + margin,
        max(min(top, 0), -height // 2) - margin, min(max(bottom, height - 1), height + height // 2) + margin,
    )  # fmt: skip
    figure, axes = canvas(WIDTH * (view[3] - view[2]) / (view[1] - view[0]) + 0.6)
    if min(top, left) < 0 or bottom >= height or right >= width:
        axes.add_patch(_box(top, left, bottom, right, facecolor="none", edgecolor=GRID, hatch="////", linewidth=0))
    share = (field.influence / field.influence.max()).numpy()
    axes.imshow(np.power(share, GAMMA), cmap=HEAT, vmin=0, vmax=1, interpolation="none", zorder=2)
    axes.add_patch(_box(0, 0, height - 1, width - 1, facecolor="none", edgecolor=MUTED, linewidth=0.8, zorder=3))
    axes.add_patch(
        _box(top, left, bottom, right, facecolor="none", edgecolor=VERMILION, linewidth=1.6, linestyle="--", zorder=4)
    )
    rows, columns = field.influence.sum(1).numpy(), field.influence.sum(0).numpy()
    centre = [float((np.arange(len(w)) * w).sum() / w.sum()) for w in (columns, rows)]
    ring = Ellipse((centre[0], centre[1]), 4 * field.sigma[1], 4 * field.sigma[0])
    ring.set(facecolor="none", edgecolor=INK, linewidth=1.2, zorder=5)
    axes.add_patch(ring)
    axes.set(xlim=view[:2], ylim=view[:1:-1], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.set_xticks([0, width - 1])
    axes.set_yticks([0, height - 1])
    seen = " x ".join(map(str, field.theory.size))
    axes.set_title(
        f"{field.theory.layer}: could see {seen} pixels (dashed);\n"
        f"{_inside(field, centre):.0%} of what moves it lies in the ring (2 sigma, {2 * field.sigma[0]:.1f} px)",
        fontsize=SMALL, color=INK, loc="left", parse_math=False,
    )  # fmt: skip
    return figure


def _inside(field: EffectiveField, centre: Sequence[float]) -> float:
    """Share of the influence within two standard deviations of its centre."""
    influence = field.influence.numpy()
    y, x = np.indices(influence.shape)
    distance = ((x - centre[0]) / (2 * field.sigma[1])) ** 2 + ((y - centre[1]) / (2 * field.sigma[0])) ** 2
    return float(influence[distance <= 1].sum() / influence.sum())


def _box(top: int, left: int, bottom: int, right: int, **look: object) -> Rectangle:
    """A rectangle around whole pixels."""
    return Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **look)  # type: ignore[arg-type]
