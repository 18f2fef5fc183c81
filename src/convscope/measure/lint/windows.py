"""Rules about sliding windows: what they read of the padding and of the map, and what they leave out."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import Axis, Network, Window, place
from convscope.measure.lint.registry import rule

ALSALLAKH = 'Alsallakh et al., "Mind the pad: CNNs can develop blind spots", 2021'


def _joined(said: dict[str, str]) -> str:
    """What is to say of rows and of columns; once when it is the same."""
    if len(said) == 2 and len(set(said.values())) == 1:
        return f"rows and columns: {said['rows']}"
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def _uneven(axis: Axis) -> bool:
    return axis.stride > 1 and axis.before != max(axis.end, 0)


def _even_everywhere(network: Network) -> int | None:
    """The side of square images, near this one, for which no padding is uneven; None where that cannot be said.

    With odd kernels whose padding is half of them, ``n`` pixels become ``(n - 1) / stride + 1`` without a remainder
    when ``n`` is a multiple of all strides together, plus 1.
    """
    axes = [axis for window in network.windows for _, axis in window.axes]
    if any(2 * axis.before + 1 != axis.span or axis.before != axis.after for axis in axes):
        return None
    fields = [network.fields.of[window.node.outputs[0]] for window in network.windows]
    step = max((math.ceil(t.jump) for field in fields if field for t in field if not t.whole), default=1)
    return max(1, round((max(network.trace.input_size[2:]) - 1) / step)) * step + 1


@rule(
    "uneven-padding",
    severity="warning",
    what="A window with a stride that reads more of the padding before the map than after it: "
    "`(n + 2p - k) % stride` is not 0.",
    why="Features shift by part of a pixel at every such layer, and small objects near two of the four borders are "
    "seen worse than near the other two",
    paper=ALSALLAKH,
    change="Choose an image size for which the stride divides `n + 2p - k`; with odd kernels and half of them as "
    "padding that is a multiple of all strides together, plus 1: 225 pixels, not 224, for a ResNet.",
)
def uneven_padding(network: Network) -> Iterator[Hit]:
    side = _even_everywhere(network)
    change = f"Use images of {side}x{side} pixels: then every window of this network reads as much of the padding " \
        "before as after." if side else None  # fmt: skip
    for window in network.windows:
        uneven = {
            name: f"{a.length} + {a.before + a.after} - {a.span} = {a.length + a.before + a.after - a.span} is no "
            f"multiple of the stride {a.stride}, so {a.before} px of padding are read before the map and "
            f"{max(a.end, 0)} after it"
            for name, a in window.axes
            if _uneven(a)
        }
        if uneven:
            yield Hit(place(window.node), f"{_joined(uneven)}.", change)


def _taken(axis: Axis) -> int:
    """How many of ``stride`` neighbouring pixels some window reads."""
    return len({axis.dilation * tap % axis.stride for tap in range(axis.taps)})


@rule(
    "skipped-pixels",
    severity="warning",
    what="A stride larger than the kernel, or dilated so that taps never meet what lies between them.",
    why="What the skipped pixels hold never reaches the layer, whatever it learns; not skipping them in the shortcuts "
    "of ResNet-50 alone raised its accuracy",
    paper='He et al., "Bag of tricks for image classification with convolutional neural networks", 2019',
    change="Average first and convolve then: `nn.AvgPool2d(2)` before a 1x1 convolution of stride 1, or use a kernel "
    "at least as large as the stride.",
)
def skipped_pixels(network: Network) -> Iterator[Hit]:
    skipping = [w for w in network.windows if any(_taken(axis) < axis.stride for _, axis in w.axes)]
    for window in skipping:
        all_pixels = window.rows.stride * window.columns.stride
        read = _taken(window.rows) * _taken(window.columns)
        stride = "x".join(str(axis.stride) for _, axis in window.axes)
        others = [w for w in network.windows if w.input == window.input and w not in skipping]
        beside = f"; {place(others[0].node)} reads them beside it" if others else ""
        what = f"a {window.size} kernel with stride {stride} reads {read} of {all_pixels} pixels{beside}."
        yield Hit(place(window.node), what, severity="info" if others else None)


@rule(
    "unread-border",
    severity="warning",
    what="A window whose last place is so far from the end that whole rows or columns are never read.",
    why="The same side of every image is thrown away at each such layer, and nothing near it can be recognised",
    paper=ALSALLAKH,
    change="Choose a size that fits, add `padding`, or use `ceil_mode=True` for a pool.",
)
def unread_border(network: Network) -> Iterator[Hit]:
    for window in network.windows:
        unread = {
            name: f"{a.length} with a window of {a.span} and stride {a.stride}, so the last {-a.end} "
            f"{'is' if a.end == -1 else 'are'} never read"
            for name, a in window.axes
            if a.end < 0 and _taken(a) == a.stride
        }
        if unread:
            yield Hit(place(window.node), f"{_joined(unread)}.")


@rule(
    "even-kernel-same",
    severity="warning",
    what='An even kernel with `padding="same"`, or with any padding that is wider on one side.',
    why="Every such layer moves what it sees by half a pixel in the same direction, and layers add up",
    paper='Wu et al., "Convolution with even-sized kernels and symmetric padding", 2019',
    change="Use an odd kernel, for example 3 in place of 2.",
)
def even_kernel_same(network: Network) -> Iterator[Hit]:
    for window in network.windows:
        shifted = [
            (name, axis)
            for name, axis in window.axes
            if window.learned and axis.stride == 1 and axis.taps % 2 == 0 and axis.before != axis.after
        ]
        if shifted:
            padding = " and ".join(f"{a.before} before and {a.after} after the {name}" for name, a in shifted)
            moved = " and ".join(f"{abs(a.after - a.before) / 2:g} px along {name}" for name, a in shifted)
            yield Hit(place(window.node), f"a {window.size} kernel with padding {padding} moves the map by {moved}.")


def _live(axis: Axis) -> int:
    """Taps that read the map at one place at least."""
    places = range(-axis.before, -axis.before + axis.units * axis.stride, axis.stride)
    return sum(any(0 <= p + axis.dilation * tap < axis.length for p in places) for tap in range(axis.taps))


@rule(
    "kernel-on-padding",
    severity="warning",
    what="A convolution on a map so small that some taps of its kernel only ever read padding.",
    why="Those weights multiply zeros, get no gradient and cost time: a 3x3 kernel on a 1x1 map is a 1x1 kernel",
    paper='Chen et al., "Rethinking atrous convolution for semantic image segmentation", 2017',
    change="Use larger images, fewer strides and pools before it, a smaller dilation, or a 1x1 kernel.",
)
def kernel_on_padding(network: Network) -> Iterator[Hit]:
    for window in network.windows:
        live, taps = (math.prod(each) for each in zip(*map(_counts, window.axes), strict=True))
        if window.learned and live < taps:
            map_size = f"{window.rows.length}x{window.columns.length}"
            dead = f"{taps - live} of the {taps} taps of a {window.size} kernel"
            what = f"{dead} only ever read padding around a {map_size} map."
            yield Hit(place(window.node), what)


def _counts(named: tuple[str, Axis]) -> tuple[int, int]:
    return _live(named[1]), named[1].taps


def is_spatial(window: Window) -> bool:
    """Whether it is a convolution that sees more than one pixel."""
    return window.learned and max(window.rows.taps, window.columns.taps) > 1
