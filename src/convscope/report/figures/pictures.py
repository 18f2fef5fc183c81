"""Figures that are pictures: the images themselves, the mistakes, and what the first layer looks for."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from convscope.data import Dataset, ImageSet
from convscope.measure import Evaluation
from convscope.report.figures.style import (
    BLUE,
    INK,
    MUTED,
    SMALL,
    TEXT,
    VERMILION,
    WIDTH,
    bare,
    canvas,
    drawn_names,
    in_style,
    label_size,
    mean,
    mosaic,
    thumbnails,
)
from convscope.report.wording import percent

ROWS = 20  # classes up to which each has a row of its own in a contact sheet
SHEET = 60  # classes in the largest contact sheet
FILTERS = 64  # of a layer that are shown

DIVERGING = LinearSegmentedColormap.from_list("weights", [VERMILION, "#ffffff", BLUE])


@in_style
def mistakes(evaluation: Evaluation, images: ImageSet, *, most: int = 9) -> Figure | None:
    """The most confident mistakes as pictures, the worst first, row by row.

    Args:
        evaluation: Of these images.
        images: Those that were judged, in the same order.
        most: How many to show.

    Returns:
        A figure 3.9 inches wide; None when there is no mistake.

    Raises:
        ValueError: The evaluation is of other images.
    """
    if not torch.equal(evaluation.labels, images.labels):
        raise ValueError(
            f"the evaluation of {len(evaluation):,} images is not of these {len(images):,}: their labels differ"
        )
    worst = evaluation.mistakes(most)
    if not worst:
        return None
    columns = 3
    rows = math.ceil(len(worst) / columns)
    tiles = thumbnails(images.images[torch.tensor([mistake.index for mistake in worst])], 128).numpy()  # N,h,w,3
    height, width = tiles.shape[1:3]
    pitch = round(1.08 * width)
    down = height + round(0.56 * width)  # room for three lines of text
    cells = [divmod(i, columns) for i in range(len(worst))]
    sheet = mosaic(tiles, cells, rows=rows, columns=columns, pitch=(down, pitch))
    figure, axes = canvas(WIDTH * rows * down / (columns * pitch))
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    names = dict(zip(evaluation.classes, drawn_names(evaluation.classes, 12), strict=True))
    size = label_size([f"said {name}" for name, _ in names.values()], 84)
    for mistake, (row, column) in zip(worst, cells, strict=True):
        corner = (column * pitch - 0.5, row * down + height - 0.5)  # a pixel reaches half a unit around its place
        _caption(axes, corner, 1, "said", names[mistake.said], size=size, color=VERMILION)
        _caption(axes, corner, 2, "is", names[mistake.true], size=size, color=INK)
        _caption(axes, corner, 3, "sure:", (percent(mistake.confidence),) * 2, size=size, color=MUTED)
    return figure


def _caption(
    axes: Axes, corner: tuple[float, float], line: int, word: str, name: tuple[str, str], *, size: float, color: str
) -> None:
    """Write a line of text under a picture whose lower left corner is there."""
    text = axes.annotate(
        f"{word} {name[0]}", corner, xytext=(0, -2 - line * (size + 2)), textcoords="offset points", fontsize=size,
        color=color, parse_math=False, annotation_clip=False,
    )  # fmt: skip
    mean(text, f"{word} {name[1]}")


def first_convolution(model: nn.Module) -> Tensor | None:
    """``(out, in, h, w)`` of the first convolution that was declared, on the CPU; None when there is none."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach().float().cpu()
    return None


def _in_color(weight: Tensor) -> np.ndarray:
    """``(N, 3, h, w)`` weights to ``(N, h, w, 3)`` bytes, each filter to its own largest weight, zero to grey."""
    largest = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return (255 * (0.5 + 0.5 * weight / largest)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@in_style
def first_layer_filters(model: nn.Module) -> Figure | None:
    """The weights of the first convolution as pictures; of many filters the first 64.

    Filters that see three channels are shown as colours, each scaled to its own largest weight. All others are shown
    one channel at a time: white is zero, blue positive, vermilion negative.

    Returns:
        A figure 3.9 inches wide; None when the model has no ``Conv2d``.
    """
    weight = first_convolution(model)
    if weight is None:
        return None
    colored = weight.shape[1] == 3
    if not colored:
        weight = weight.flatten(0, 1)[:, None]  # out,in,h,w -> out*in,1,h,w
    weight = weight[:FILTERS]
    limit = float(weight.abs().max()) or 1.0
    if colored:
        tiles = _in_color(weight)
    else:
        tiles = np.round(255 * DIVERGING(Normalize(-limit, limit)(weight[:, 0].numpy()))[..., :3]).astype(np.uint8)
    count = len(tiles)
    columns = count if count <= 3 else round(math.sqrt(count))  # about as high as wide
    rows = math.ceil(count / columns)
    scale = math.ceil(24 / max(tiles.shape[1:3]))  # so that a gap can be a fraction of a weight
    tiles = tiles.repeat(scale, 1).repeat(scale, 2)
    pitch = tuple(side + max(2, round(0.08 * max(tiles.shape[1:3]))) for side in tiles.shape[1:3])
    cells = [divmod(i, columns) for i in range(count)]
    sheet = mosaic(tiles, cells, rows=rows, columns=columns, pitch=(pitch[0], pitch[1]))
    drawn = (WIDTH - 0.2) * min(1.0, 0.3 + 0.25 * columns)  # a single filter need not fill the page
    figure, axes = canvas(drawn * sheet.shape[0] / sheet.shape[1] + (0.1 if colored else 0.6))
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    axes.set(xlim=(-1.5, sheet.shape[1] + 0.5), ylim=(sheet.shape[0] + 0.5, -1.5))
    for row, column in cells:  # a frame, because white is zero and the paper is white too
        axes.add_patch(
            Rectangle(
                (column * pitch[1] - 0.5, row * pitch[0] - 0.5), tiles.shape[2], tiles.shape[1],
                facecolor="none", edgecolor=MUTED, linewidth=0.5,
            )
        )  # fmt: skip
    if not colored:
        scale_of = ScalarMappable(Normalize(-limit, limit), DIVERGING)
        bar = figure.colorbar(scale_of, ax=axes, location="bottom", aspect=40, pad=0.03, fraction=0.05)
        bar.set_label("weight (no unit)", fontsize=SMALL, color=INK)
        bar.ax.tick_params(labelsize=SMALL, labelcolor=INK, color=MUTED)
        bar.outline.set_visible(False)
    return figure


def _examples(images: ImageSet, label: int, most: int) -> list[int]:
    """Positions of images of a class, spread over all of them: neighbours in a folder are often alike."""
    where = (images.labels == label).nonzero().squeeze(1)
    chosen = torch.linspace(0, len(where) - 1, min(most, len(where))).round().long()
    return where[chosen].tolist()


def _label_rows(axes: Axes, names: list[tuple[str, str]], counts: list[int], *, down: int, height: int) -> None:
    """The name of each class beside its row, and under it how many training images it has."""
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        middle = (0, row * down + height / 2)
        for text, rise, size, color, align in (
            (name[0], 0.5, TEXT, INK, "bottom"),
            (f"{count:,}", -1, SMALL, MUTED, "top"),
        ):
            label = axes.annotate(
                text, middle, xytext=(-6, rise), textcoords="offset points", fontsize=size, color=color,
                ha="right", va=align, parse_math=False, annotation_clip=False,
            )  # fmt: skip
            if align == "bottom":
                mean(label, name[1])


def _label_tiles(
    axes: Axes, names: list[tuple[str, str]], *, columns: int, down: int, across: int, height: int
) -> None:
    """The name of each class under its image."""
    size = label_size([name for name, _ in names], 42)
    for label, (shown, name) in enumerate(names):
        row, column = divmod(label, columns)
        corner = (column * across - 0.5, row * down + height - 0.5)
        text = axes.annotate(
            shown, corner, xytext=(0, -size - 1), textcoords="offset points",
            fontsize=size, parse_math=False, annotation_clip=False,
        )  # fmt: skip
        mean(text, name)


@in_style
def contact_sheet(dataset: Dataset, *, per_class: int = 8) -> Figure:
    """Training images of every class with its name and how many there are.

    Up to 20 classes each has a row. More classes share rows, one image each, and 60 of them at most are shown.

    Args:
        dataset: What to show.
        per_class: Images in a row, up to 20 classes.

    Returns:
        A figure 3.9 inches wide.
    """
    images, counts = dataset.train, dataset.train.counts()[:SHEET]
    in_rows = len(dataset.classes) <= ROWS
    names = drawn_names(dataset.classes, 14 if in_rows else 10)[:SHEET]
    columns = min(per_class, max(counts)) if in_rows else 6
    places = [
        (index, (label, column) if in_rows else divmod(label, columns))
        for label in range(len(names))
        for column, index in enumerate(_examples(images, label, per_class if in_rows else 1))
    ]
    tiles = thumbnails(images.images[torch.tensor([index for index, _ in places])], 96).numpy()  # N,h,w,3
    height, width = tiles.shape[1:3]
    gap = max(1, round(0.06 * width))
    down = height + (gap if in_rows else round(0.42 * width))
    rows = len(names) if in_rows else math.ceil(len(names) / columns)
    sheet = mosaic(tiles, [cell for _, cell in places], rows=rows, columns=columns, pitch=(down, width + gap))
    figure, axes = canvas(WIDTH)
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    axes.set_anchor("W")  # close to its labels, which the layout makes room for
    beside = 0.0
    if in_rows:
        _label_rows(axes, names, counts, down=down, height=height)
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        beside = 0.1 + max(label.get_window_extent(renderer).width for label in axes.texts) / figure.dpi
    else:
        _label_tiles(axes, names, columns=columns, down=down, across=width + gap, height=height)
    figure.set_size_inches(WIDTH, (WIDTH - beside - 0.14) * sheet.shape[0] / sheet.shape[1] + 0.1)
    return figure
