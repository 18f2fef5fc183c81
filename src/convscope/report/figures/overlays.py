"""Where in an image the evidence for its class is: drawn over the image itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from convscope.measure import GradCam, Occlusion
from convscope.report.figures.pictures import DIVERGING
from convscope.report.figures.style import (
    INK,
    MUTED,
    SMALL,
    WIDTH,
    Pixels,
    bare,
    canvas,
    drawn_names,
    in_style,
    label_size,
    mosaic,
    shorten,
    thumbnails,
)

MOST = 9
COLUMNS = 3
FRAME = (0xC4, 0xCB, 0xD3)
TILE = 112  # pixels that a picture is enlarged to
EVIDENCE = LinearSegmentedColormap.from_list("evidence", ["#000000", "#8a3a00", "#e67e00", "#ffe14d"])


def _enlarge(pictures: np.ndarray) -> np.ndarray:
    """``(N, h, w, ...)`` to ``(N, TILE, TILE', ...)`` by repeating pixels, sides kept in proportion."""
    height, width = pictures.shape[1:3]
    scale = TILE / max(height, width)
    rows = np.arange(max(1, round(height * scale))) * height // max(1, round(height * scale))
    columns = np.arange(max(1, round(width * scale))) * width // max(1, round(width * scale))
    return pictures[:, rows][:, :, columns]


def _sheet(
    images: Tensor, drawn: Pixels, captions: Sequence[str], *, colors: Colormap, norm: Normalize, unit: str
) -> Figure:
    """Pairs of pictures, the image and what is drawn over it, with a caption under each and a scale under all."""
    plain = thumbnails(images, TILE).numpy()  # N,h,w,3
    left, right = _enlarge(plain), _enlarge(drawn)
    for edge in (np.s_[:, :1], np.s_[:, -1:], np.s_[:, :, :1], np.s_[:, :, -1:]):  # white maps on white paper
        right[edge] = FRAME
    pairs = np.concatenate((left, np.full((len(left), left.shape[1], 3, 3), 255, np.uint8), right), 2)
    height, width = pairs.shape[1:3]
    down, across = round(height * 1.5), round(width * 1.06)
    columns = min(COLUMNS, len(pairs))
    cells = [divmod(i, columns) for i in range(len(pairs))]
    rows = math.ceil(len(pairs) / columns)
    sheet = mosaic(pairs, cells, rows=rows, columns=columns, pitch=(down, across))
    wide = WIDTH * columns / COLUMNS if columns < COLUMNS else WIDTH
    figure, axes = canvas(wide * sheet.shape[0] / sheet.shape[1] + 0.62)
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    size = label_size(captions, 72 * WIDTH / COLUMNS - 8)
    for caption, (row, column) in zip(captions, cells, strict=True):
        axes.annotate(
            caption, (column * across, row * down + height), xytext=(0, -size - 4), textcoords="offset points",
            fontsize=size, color=INK, parse_math=False, annotation_clip=False,
        )  # fmt: skip
    bar = figure.colorbar(ScalarMappable(norm, colors), ax=axes, location="bottom", aspect=40, pad=0.02, fraction=0.05)
    bar.set_label(unit, fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL, labelcolor=INK, color=MUTED)
    bar.outline.set_visible(False)
    return figure


def _names(targets: Tensor, classes: Sequence[str], most: int) -> list[str]:
    """The class of each image that has a picture, as short as ``most`` characters."""
    names = drawn_names(classes, most)
    return [names[int(target)][0] for target in targets[:MOST]]


def _said(targets: Tensor, classes: Sequence[str]) -> list[str]:
    return [f"said {name}" for name in _names(targets, classes, 14)]


def _mixed(images: Tensor, maps: Tensor, colors: Colormap, norm: Normalize) -> Pixels:
    """The image in faint grey, and over it the map: the stronger, the less of the image shows through."""
    grey = images.float().mean(1).numpy()  # N,H,W
    strength = np.abs(norm(maps.numpy()) - norm(0.0)) / max(1e-9, 1 - float(norm(0.0)))
    cover = 0.25 + 0.75 * np.clip(strength, 0, 1)[..., None]
    colored = 255 * colors(norm(maps.numpy()))[..., :3]
    mixed: Pixels = np.round(cover * colored + (1 - cover) * grey[..., None]).astype(np.uint8)
    return mixed


def _tinted(images: Tensor, maps: Tensor, norm: Normalize) -> Pixels:
    """A signed map with a shadow of the image under it, brighter pixels being darker, so that one sees where it is."""
    shadow = 1 - 0.18 * images.float().mean(1).numpy()[..., None] / 255  # N,H,W,1
    tinted: Pixels = np.round(255 * DIVERGING(norm(maps.numpy()))[..., :3] * shadow).astype(np.uint8)
    return tinted


@in_style
def grad_cam_overlay(images: Tensor, found: GradCam, classes: Sequence[str]) -> Figure:
    """Images beside the places whose features speak for the class that the network named.

    Args:
        images: ``(N, C, H, W)`` uint8, at the size that the network sees; the first nine are shown.
        found: By ``measure.grad_cam``, for these images.
        classes: The ``K`` names.

    Returns:
        A figure 3.9 inches wide.
    """
    size = images.shape[2], images.shape[3]
    maps, norm = found.enlarged(size)[:MOST], Normalize(0, 1)
    captions = _said(found.targets, classes)
    drawn = _mixed(images[:MOST], maps, EVIDENCE, norm)
    unit = f"evidence in {shorten(found.layer, 20)} (1 = most in this image)"
    return _sheet(images[:MOST], drawn, captions, colors=EVIDENCE, norm=norm, unit=unit)


@in_style
def gradient_map(images: Tensor, gradients: Tensor, targets: Tensor, classes: Sequence[str]) -> Figure:
    """Images beside the gradient of their class score with respect to each pixel.

    Args:
        images: ``(N, C, H, W)`` uint8, at the size that the network sees; the first nine are shown.
        gradients: ``(N, C, H, W)``, by ``measure.input_gradients``; channels are added up.
        targets: ``(N,)`` int64, the classes whose scores they are of.
        classes: The ``K`` names.

    Returns:
        A figure 3.9 inches wide: blue where a brighter pixel raises the score, vermilion where it lowers it.
    """
    maps = gradients[:MOST].sum(1)
    maps = maps / maps.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    norm = Normalize(-1, 1)
    drawn = _tinted(images[:MOST], maps, norm)
    unit = "gradient of the named class's score (1 = largest in this image)"
    return _sheet(images[:MOST], drawn, _said(targets, classes), colors=DIVERGING, norm=norm, unit=unit)


@in_style
def occlusion_map(images: Tensor, found: Occlusion, classes: Sequence[str]) -> Figure:
    """Images beside the probability that their class loses when a place is covered.

    Args:
        images: ``(N, C, H, W)`` uint8, at the size that the network sees; the first nine are shown.
        found: By ``measure.occlusion``, for these images.
        classes: The ``K`` names.

    Returns:
        A figure 3.9 inches wide: blue where covering costs, vermilion where it helps.
    """
    drop = found.drop[:MOST]
    limit = max(0.01, float(drop.abs().max()))
    norm = Normalize(-limit, limit)
    captions = [
        f"{name}, {100 * float(sure):.0f} % sure"
        for name, sure in zip(_names(found.targets, classes, 10), found.sure[:MOST], strict=True)
    ]
    drawn = _tinted(images[:MOST], drop, norm)
    unit = f"probability lost when {found.side}x{found.side} pixels are covered"
    return _sheet(images[:MOST], drawn, captions, colors=DIVERGING, norm=norm, unit=unit)
