"""What layers answer to an image, what convolutions look for, and what makes a channel answer most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from convscope.measure import TopPatches
from convscope.report.figures.pictures import DIVERGING
from convscope.report.figures.style import (
    INK,
    MUTED,
    SMALL,
    TEXT,
    WIDTH,
    Pixels,
    bare,
    canvas,
    in_style,
    mosaic,
    shorten,
    thumbnails,
)
from convscope.report.wording import plural

CHANNELS = 8  # maps shown of a layer
SIDE = 72  # pixels that a tile is enlarged to
INKS = LinearSegmentedColormap.from_list("answers", ["#ffffff", "#9db4c6", "#3f6f96", "#06263f"])
OUTSIDE = (0xDD, 0xE2, 0xE8)  # what lies beyond the image


def _tiles(maps: Tensor) -> Pixels:
    """``(c, h, w)`` in 0..1 to ``(c, SIDE, SIDE, 3)`` bytes, pixels kept as squares."""
    scaled = F.interpolate(maps[:, None].float(), (SIDE, SIDE), mode="nearest")[:, 0].numpy()
    colored: Pixels = np.round(255 * INKS(scaled)[..., :3]).astype(np.uint8)
    return _framed(colored)


def _framed(tiles: Pixels) -> Pixels:
    """``(N, h, w, 3)`` with a thin edge around each: some are white, and so is the paper."""
    for edge in (np.s_[:, :1], np.s_[:, -1:], np.s_[:, :, :1], np.s_[:, :, -1:]):
        tiles[edge] = OUTSIDE
    return tiles


def _in_row(tiles: Pixels, columns: int) -> Pixels:
    gap = round(0.08 * SIDE)
    cells = [(0, i) for i in range(len(tiles))]
    return mosaic(tiles, cells, rows=1, columns=columns, pitch=(SIDE, SIDE + gap))


def _stacked(figure: Figure, rows: Sequence[Pixels], labels: Sequence[tuple[str, str]]) -> None:
    """One picture under the other, each with a name and a smaller line on its left."""
    grid = figure.add_gridspec(len(rows), 1, hspace=0.12)
    for place, (row, (name, under)) in enumerate(zip(rows, labels, strict=True)):
        axes = figure.add_subplot(grid[place])
        bare(axes)
        axes.imshow(row, interpolation="none")
        axes.set_anchor("W")  # where its label is measured from; in the middle, the layout gives it too little room
        for text, rise, size, color, align in ((name, 1, SMALL, INK, "bottom"), (under, -1, SMALL - 1, MUTED, "top")):
            axes.annotate(
                text, (0, 0.5), xycoords="axes fraction", xytext=(-6, rise), textcoords="offset points", ha="right",
                va=align, fontsize=size, color=color, parse_math=False, annotation_clip=False,
            )  # fmt: skip


@in_style
def activation_sheet(image: Tensor, answers: Mapping[str, Tensor]) -> Figure:
    """What each layer answers to one image: its first eight maps, or all its numbers where it has no positions.

    In each row white is the smallest and dark the largest value of that row, so shades compare within a row only.

    Args:
        image: ``(C, h, w)`` uint8.
        answers: ``{layer: (c, h, w) or (d,)}`` for that image.

    Returns:
        A figure 3.9 inches wide with a row for the image and one for each layer.
    """
    rows = [_in_row(np.stack([_enlarged(image)]), CHANNELS)]
    labels = [("image", "x".join(map(str, image.shape)))]
    for layer, value in answers.items():
        low, high = float(value.min()), float(value.max())
        scaled = (value.float() - low) / ((high - low) or 1.0)
        if value.ndim == 3:
            rows.append(_in_row(_tiles(scaled[:CHANNELS]), CHANNELS))
        else:
            rows.append(_strip(scaled.flatten()))
        labels.append((shorten(layer or "(whole network)", 16), "x".join(map(str, value.shape))))
    figure, axes = canvas(0.2 + 0.42 * len(rows))
    axes.remove()
    _stacked(figure, rows, labels)
    figure.supxlabel(
        f"first {CHANNELS} channels; white: smallest of the row, dark: largest", fontsize=SMALL, color=MUTED
    )
    return figure


def _enlarged(image: Tensor) -> Pixels:
    """``(C, h, w)`` bytes as an RGB square of ``SIDE`` pixels."""
    small = thumbnails(image[None], SIDE)[0]  # -> h,w,3
    rows = torch.arange(SIDE) * small.shape[0] // SIDE
    columns = torch.arange(SIDE) * small.shape[1] // SIDE
    picture: Pixels = small[rows][:, columns].numpy()
    return picture


def _strip(values: Tensor) -> Pixels:
    """``(d,)`` in 0..1 as one row of cells as wide as the mosaics."""
    wide = CHANNELS * (SIDE + round(0.08 * SIDE))
    places = torch.arange(wide) * len(values) // wide
    strip = np.zeros((SIDE, wide, 4), np.uint8)  # transparent above and below
    band = np.round(255 * INKS(values[places].numpy()))
    inner = strip[SIDE // 4 : -(SIDE // 4)]
    inner[:] = band
    inner[[0, -1]] = inner[:, [0, -1]] = (*OUTSIDE, 255)  # the smallest value is white, and so is the paper
    return strip


@in_style
def filter_sheet(weights: Tensor, *, layer: str = "", most: int = 16) -> Figure:
    """The weights of a convolution: output channels along one axis, input channels along the other, the longer across.

    Args:
        weights: ``(C_out, C_in / groups, k_h, k_w)``.
        layer: Its path, for the title.
        most: Channels shown along each axis.

    Returns:
        A figure 3.9 inches wide; white is zero, blue positive, vermilion negative.
    """
    shown = weights[:most, :most].float()
    outs, ins = shown.shape[:2]
    limit = float(shown.abs().max()) or 1.0
    wraps = ins == 1  # one input channel: a row of its own for each filter would waste the page
    names = ("input channel", "filter (output channel)")
    if not wraps and outs > ins:
        shown, names = shown.transpose(0, 1), names[::-1]  # -> in,out,h,w
    down, across = shown.shape[:2]
    columns = min(outs, 8 if outs > 6 else 6) if wraps else across
    tiles = np.round(255 * DIVERGING(Normalize(-limit, limit)(shown.flatten(0, 1).numpy()))[..., :3]).astype(np.uint8)
    scale = math.ceil(24 / max(tiles.shape[1:3]))
    tiles = tiles.repeat(scale, 1).repeat(scale, 2)
    framed = np.full((len(tiles), tiles.shape[1] + 2, tiles.shape[2] + 2, 3), 0x9A, np.uint8)
    framed[:, 1:-1, 1:-1] = tiles  # a frame, because white is zero and the paper is white too
    cells = [divmod(i, columns) for i in range(len(tiles))]
    rows = math.ceil(len(tiles) / columns)
    pitch = framed.shape[1] + 4, framed.shape[2] + 4
    sheet = mosaic(framed, cells, rows=rows, columns=columns, pitch=pitch)
    drawn = (WIDTH - 0.7) * min(1.0, 0.25 + 0.13 * columns)
    figure, axes = canvas(
        drawn * sheet.shape[0] / sheet.shape[1] + (1.0 if wraps else 1.45) + 0.15 * (weights.numel() > shown.numel())
    )
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    title = f"{shorten(layer, 22)}: {weights.shape[0]} filters of {'x'.join(map(str, weights.shape[1:]))}"
    cut = f"\n(the first {outs} of them, {plural(ins, 'channel')} of each)" if weights.numel() > shown.numel() else ""
    axes.set_title(title + cut, fontsize=SMALL + 0.5, color=INK, loc="left", parse_math=False)
    if not wraps:
        axes.set_xlabel(names[0], fontsize=TEXT)
        axes.set_ylabel(names[1], fontsize=TEXT)
        for place, count, step in ((axes.set_xticks, across, pitch[1]), (axes.set_yticks, down, pitch[0])):
            shown_at = range(0, count, max(1, math.ceil(count / 8)))
            place([(i + 0.45) * step for i in shown_at], list(map(str, shown_at)), fontsize=SMALL)
        axes.tick_params(length=0)
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), DIVERGING), ax=axes, location="bottom", aspect=40, pad=0.03,
        fraction=0.05,
    )  # fmt: skip
    bar.set_label("weight (no unit)", fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK, color=MUTED)
    bar.outline.set_visible(False)
    return figure


@in_style
def patch_sheet(found: TopPatches, images: Tensor) -> Figure:
    """The places that channels answer most to, cut out of the images as far as a unit sees.

    Args:
        found: By ``measure.top_patches``.
        images: ``(N, C, H, W)`` uint8, the same images at the size that the network sees.

    Returns:
        A figure 3.9 inches wide: a row for each channel, its strongest place first; grey lies beyond the image.
    """
    columns = max(len(row) for row in found.patches)
    tall = max(p.box[2] - p.box[0] for row in found.patches for p in row)
    wide = max(p.box[3] - p.box[1] for row in found.patches for p in row)
    side = max(tall, wide)
    rows, labels = [], []
    for channel, patches in zip(found.channels, found.patches, strict=True):
        cut = np.stack([_cut(images[patch.image], patch.box, side) for patch in patches])
        rows.append(_in_row(cut, columns))
        labels.append((f"channel {channel}", f"{patches[0].value:.2f} to {patches[-1].value:.2f}"))
    figure, axes = canvas(0.55 + (WIDTH - 1.0) / columns * len(rows) * 1.04)
    axes.remove()
    _stacked(figure, rows, labels)
    title = f"{shorten(found.layer, 24)}: what channels answer most to"
    figure.suptitle(title, x=0.02, ha="left", fontsize=SMALL + 0.5, color=INK, parse_math=False)
    figure.supxlabel(f"each {tall}x{wide} pixels; strongest first; grey: beyond the image", fontsize=SMALL, color=MUTED)
    return figure


def _cut(image: Tensor, box: tuple[int, int, int, int], side: int) -> Pixels:
    """The box out of ``(C, H, W)``, in the corner of a grey square of that side, as ``(SIDE, SIDE, 3)``."""
    top, left, bottom, right = box
    picture = thumbnails(image[None], max(image.shape[1:]))[0].numpy()  # -> H,W,3
    square = np.empty((side, side, 3), np.uint8)
    square[:] = OUTSIDE
    inside = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    down, across = max(-top, 0), max(-left, 0)
    square[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    places = np.arange(SIDE) * side // SIDE
    cut: Pixels = square[places][:, places]
    framed: Pixels = _framed(cut[None])[0]
    return framed
