"""What augmentation does: the same images again and again, as the network sees them."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from convscope.data import ImageSet, Preprocess
from convscope.data.augment import Augment
from convscope.report.figures.style import INK, SMALL, WIDTH, bare, canvas, in_style, label_size, mosaic, thumbnails

LEAST = 48  # pixels of a tile: smaller ones are repeated, so that a gap can be a fraction of a pixel of theirs


def _as_bytes(x: Tensor, preprocess: Preprocess) -> Tensor:
    """The inverse of ``Preprocess``, but for the size: ``(N, C, H, W)`` float32 to uint8."""
    mean, std = (torch.tensor(values, device=x.device).view(-1, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (x * std + mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8)


@in_style
def augmentation_grid(images: ImageSet, augment: Augment, *, epochs: int = 7) -> Figure:
    """Images as they are evaluated, and beside each what the network sees of it in the first epochs of training.

    The draws are those of a run whose training images begin with these. Mixed images show their partner from among
    these, too.

    Args:
        images: A few, one for each row.
        augment: What is done to them, and the preprocessing that is undone again for the picture.
        epochs: Columns beside the first.

    Returns:
        A figure 3.9 inches wide.

    Raises:
        ValueError: No images, or no epochs.
    """
    if not len(images) or epochs < 1:
        raise ValueError(f"expected at least one image and one epoch, got {len(images)} and {epochs}")
    index = torch.arange(len(images), device=images.images.device)
    columns = [augment.preprocess(images.images)]
    for epoch in range(epochs):
        x, _ = augment(images.images, images.labels, index, epoch=epoch, batch=0, classes=len(images.classes))
        columns.append(x)
    seen = _as_bytes(torch.stack(columns, 1).flatten(0, 1), augment.preprocess)  # N,K,C,H,W -> N*K,C,H,W
    times = -(-LEAST // max(seen.shape[2:]))
    tiles = thumbnails(F.interpolate(seen, scale_factor=times, mode="nearest"), 96).cpu().numpy()  # N*K,h,w,3
    height, width = tiles.shape[1:3]
    gap = max(2, round(0.08 * width))
    pitch = (height + gap, width + gap)
    cells = [(row, column) for row in range(len(images)) for column in range(epochs + 1)]
    sheet = mosaic(tiles, cells, rows=len(images), columns=epochs + 1, pitch=pitch)
    sheet = sheet[:-gap, :-gap]
    figure, axes = canvas((WIDTH - 0.1) * sheet.shape[0] / sheet.shape[1] + 0.3)
    bare(axes)
    axes.imshow(sheet, interpolation="none")
    headings = ["as it is", "epoch 1", *map(str, range(2, epochs + 1))]
    size = label_size(headings[:2], 72 * WIDTH / (epochs + 1))
    for column, heading in enumerate(headings):
        axes.annotate(
            heading, (column * pitch[1] + width / 2, -0.5), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", fontsize=min(SMALL, size), color=INK, annotation_clip=False,
        )  # fmt: skip
    return figure
