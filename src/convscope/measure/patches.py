"""What makes a channel answer most: the places of real images that do, cut out as far as the channel sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from convscope.data import Preprocess
from convscope.measure.attribution import last_convolution
from convscope.measure.features import collect_from, find_layer
from convscope.measure.fields import Track
from convscope.measure.following import follow
from convscope.measure.tracing import trace
from convscope.measure.undisturbed import batches, check_images

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Patch:
    """A place of an image that a channel answers to.

    Args:
        image: Position of the image.
        row: Of the unit in the feature map.
        column: Of the unit in the feature map.
        value: What the unit gives.
        box: ``(top, left, bottom, right)`` in pixels of the network's input, the last two past the end: the unit's
            receptive field. It reaches beyond the image where the unit sees padding.
    """

    image: int
    row: int
    column: int
    value: float
    box: Box


@dataclass(frozen=True)
class TopPatches:
    """The strongest places of some channels; see ``top_patches``.

    Args:
        layer: Its path.
        channels: Which, in this order.
        patches: For each channel the strongest first.
    """

    layer: str
    channels: tuple[int, ...]
    patches: tuple[tuple[Patch, ...], ...]


def top_patches(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    layer: str | None = None,
    *,
    channels: Sequence[int] | None = None,
    most: int = 9,
    batch_size: int = 256,
) -> TopPatches:
    """Find, for each channel of a layer, the images and places to which it gives its largest values.

    An image gives at most one place to a channel, so that a row of patches shows many images.

    Args:
        model: Used where it is, in eval mode, and left as it was.
        images: ``(N, C, h, w)`` uint8.
        preprocess: What the model was trained with. Boxes are in pixels of the size that the network sees.
        layer: Path of a module that gives ``(N, c, h, w)``; None takes the last convolution that runs. Of a module
            that runs several times the last run counts, for values and for boxes.
        channels: Which to look at; None takes the first eight.
        most: Places for each channel.
        batch_size: Images at a time.

    Raises:
        ValueError: No images, no convolution, an unknown layer or channel, ``most`` below 1, or a layer that gives no
            feature maps.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(72, 2))
        >>> _ = nn.init.ones_(net[0].weight)
        >>> images = torch.zeros(4, 1, 6, 6, dtype=torch.uint8)
        >>> images[2, 0, 1, 1] = 255
        >>> best = top_patches(net, images, Preprocess((6, 6), (0.0,), (1.0,)), most=1).patches[0][0]
        >>> best.image, best.box
        (2, (-1, -1, 2, 2))

    Source:
        Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    check_images(images)
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    layer = last_convolution(model, preprocess(images[:1])) if layer is None else layer
    find_layer(model, layer)
    inputs = batches(images, preprocess, batch_size=batch_size)
    runs = collect_from(model, inputs, [layer], reduce=partial(_peaks, layer=layer))
    values, rows, columns = list(runs.values())[-1].unbind(2)  # N,c each
    chosen = tuple(range(min(8, values.shape[1])) if channels is None else channels)
    outside = [channel for channel in chosen if not 0 <= channel < values.shape[1]]
    if outside:
        raise ValueError(f"layer {layer!r} has channels 0..{values.shape[1] - 1}, got {outside[0]}")
    strongest = values.topk(min(most, len(images)), dim=0).indices  # -> most,c
    picks = {channel: strongest[:, channel].tolist() for channel in chosen}
    units = {(image, c): (int(rows[image, c]), int(columns[image, c])) for c in chosen for image in picks[c]}
    boxes = _boxes(model, layer, preprocess, sorted(set(units.values())))
    return TopPatches(
        layer,
        chosen,
        tuple(
            tuple(Patch(image, *units[image, c], float(values[image, c]), boxes[units[image, c]]) for image in picks[c])
            for c in chosen
        ),
    )


def _peaks(maps: Tensor, *, layer: str) -> Tensor:
    """``(N, c, 3)`` float64: the largest value of each map, its row and its column."""
    if maps.ndim != 4:
        raise ValueError(f"layer {layer!r} gives no feature maps (N, c, h, w), but shape {tuple(maps.shape)}")
    if not bool(maps.isfinite().all()):
        raise ValueError(f"layer {layer!r} gives NaN or infinity, so no place is the strongest")
    values, places = (best.cpu() for best in maps.flatten(2).max(2))  # N,c,h,w -> N,c
    return torch.stack((values.double(), places // maps.shape[3], places % maps.shape[3]), 2)


def _boxes(
    model: nn.Module, layer: str, preprocess: Preprocess, units: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Box]:
    """What each unit sees, at the layer's last run: rows hang on a unit's row alone, and columns on its column."""
    seen = trace(model, (preprocess.channels, *preprocess.image_size))
    call = seen.last_calls.get(layer)
    field = follow(seen).of[call.outputs[0]] if call and call.outputs else None
    if field is None:
        raise ValueError(f"what layer {layer!r} gives does not depend on the image, so it has no receptive field")
    boxes = {}
    for row, column in units:
        (top, bottom), (left, right) = _seen(field[0], row), _seen(field[1], column)
        boxes[row, column] = (top, left, bottom, right)
    return boxes


def _seen(along: Track, place: int) -> tuple[int, int]:
    """The first pixel that a unit sees along an axis, and the one past the last."""
    place = 0 if along.dim is None else place  # all units see the same
    return int(along.first[place]), int(along.last[place]) + 1
