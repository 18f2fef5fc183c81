"""Rules about how far layers see, and how large the last map is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import Network, Window, place
from convscope.measure.lint.registry import rule
from convscope.measure.lint.windows import is_spatial
from convscope.measure.tracing import Node

GLOBAL = frozenset(["mean", "_adaptive_avg_pool2d", "adaptive_max_pool2d", "amax"])


def _sees_it_all(network: Network, window: Window) -> bool:
    """Whether every unit that a window reads looks further than the image is large, on both axes."""
    field = network.fields.of[window.input]
    if field is None:
        return False
    pairs = list(zip(field, network.trace.input_size[2:], strict=True))
    return all(track.size > side and not track.whole for track, side in pairs)


@rule(
    "field-beyond-image",
    severity="info",
    what="Convolutions that read units which could already see the whole image (border layers).",
    why="There is nothing new around such a unit, so these layers add parameters and time and hardly accuracy",
    paper='Richter, Schöning and Krumnack, "Should you go deeper? Optimizing convolutional neural network '
    'architectures without training by receptive field analysis", 2021',
    change='Use larger images, remove strides and pools near the beginning (`stem="small"` in this package), or '
    "leave these layers out.",
)
def field_beyond_image(network: Network) -> Iterator[Hit]:
    spatial = [window for window in network.windows if is_spatial(window)]
    beyond = [window for window in spatial if _sees_it_all(network, window)]
    if not beyond:
        return
    first, field = beyond[0], network.fields.of[beyond[0].input]
    height, width = network.trace.input_size[2:]
    seen = f"{field[0].size}x{field[1].size}" if field else ""
    more = f"; it is the first of {len(beyond)}, the last is {place(beyond[-1].node)}" if len(beyond) > 1 else ""
    yield Hit(
        place(first.node),
        f"what it reads sees {seen} pixels already, of an image of {height}x{width}{more}, "
        f"of {len(spatial)} convolutions wider than 1x1.",
    )


def _resized(network: Network, node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """``(H, W)`` before and after a pool that takes whatever it gets."""
    value = node.inputs[0][1] if node.inputs else None
    if node.operator not in GLOBAL or value is None or not network.sees_images(value):
        return None
    before, after = network.shape(value), network.shape(node.outputs[0])
    if len(before) != 4:
        return None
    if node.operator in ("mean", "amax"):
        dims = {d % 4 for d in (node.arguments.get("dim") or range(4))}
        return (before[2:], (1, 1)) if dims == {2, 3} else None
    return before[2:], after[2:]


@rule(
    "small-final-map",
    severity="warning",
    what="A global pool over a single pixel, or an adaptive pool that gives more pixels than it gets.",
    why="The last layers work on one place in which the whole image is mixed, and copies of it teach a dense layer "
    "nothing: images are too small for this many strides",
    paper='Richter et al., "Input size matters for CNN classifiers", 2021',
    change='Use larger images, or remove strides and pools near the beginning (`stem="small"` in this package).',
)
def small_final_map(network: Network) -> Iterator[Hit]:
    for node in network.trace.nodes:
        sizes = _resized(network, node)
        if sizes is None:
            continue
        before, after = ("x".join(map(str, size)) for size in sizes)
        if math.prod(sizes[1]) > math.prod(sizes[0]):
            yield Hit(place(node), f"a pool makes {after} pixels of {before}: copies, which a dense layer weighs anew.")
        elif math.prod(sizes[0]) == 1:
            yield Hit(place(node), "a global pool gets a map of 1x1 pixels: there is nothing to pool.")
