"""Random networks whose weights are positive, so that nothing a pixel does can cancel, and what moves their units."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

SPIKE = 1e8  # a pixel of this size wins every max and outweighs every average


@dataclass(frozen=True)
class Layer:
    """One value of the network: what it is made of, and how."""

    make: Callable[..., Tensor]
    sources: tuple[int, ...]
    name: str

    def __repr__(self) -> str:
        return f"{self.name}{list(self.sources)}"


class Dag(nn.Module):
    """Every layer may read any earlier one; the last is what it returns."""

    def __init__(self, layers: tuple[Layer, ...], weights: list[Tensor]) -> None:
        super().__init__()
        self.layers = layers
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for layer in self.layers:
            values.append(layer.make(self, *(values[i] for i in layer.sources)))
        return values[-1]

    def extra_repr(self) -> str:
        return " ".join(map(repr, self.layers))


def _conv(draw, shape, weights, transposed):
    """A convolution of any geometry, forwards or transposed."""
    channels = shape[0]
    groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
    stride, dilation = (
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
    )
    stride = stride if draw(st.booleans()) else (1, 1)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(draw(st.integers(0, (span - 1) // 2)) for span in spans)
    out = 2 * groups
    i = len(weights)
    if transposed:
        weights.append(torch.rand(channels, out // groups, *kernel).double() + 0.5)
        return (
            lambda net, x: F.conv_transpose2d(
                x, net.weights[i], None, stride, padding, groups=groups, dilation=dilation
            ),
            f"deconv k{kernel} s{stride} p{padding} d{dilation} g{groups}",
        )
    weights.append(torch.rand(out, channels // groups, *kernel).double() + 0.5)
    return (
        lambda net, x: F.conv2d(x, net.weights[i], None, stride, padding, dilation, groups),
        f"conv k{kernel} s{stride} p{padding} d{dilation} g{groups}",
    )


def _pool(draw, average):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.integers(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    ceil = draw(st.booleans())
    if average:
        return lambda net, x: F.avg_pool2d(
            x, kernel, stride, padding, ceil
        ), f"avg k{kernel} s{stride} p{padding} c{ceil}"
    dilation = draw(st.integers(1, 2))
    return (
        lambda net, x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil),
        f"max k{kernel} s{stride} p{padding} d{dilation} c{ceil}",
    )


def _padded_by_hand(x, sides):
    """Zeros around, by writing into a part of them."""
    left, right, top, bottom = sides
    n, c, h, w = x.shape
    out = x.new_zeros(n, c, h + top + bottom, w + left + right)
    out[:, :, top : top + h, left : left + w] = x
    return out


def _other(draw):
    """Resizing, padding, cropping, and what changes nothing."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    start, step = draw(st.integers(0, 1)), draw(st.integers(1, 2))
    sides = draw(st.tuples(*(st.integers(0, 1),) * 4))
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    corners = draw(st.booleans())
    return draw(
        st.sampled_from([
            (lambda net, x: F.relu(x), "relu"),
            (lambda net, x: F.pad(x, sides, mode=mode), f"pad {sides} {mode}"),
            (lambda net, x: F.pad(x, sides, mode="circular"), f"circular {sides}"),
            (lambda net, x: _padded_by_hand(x, sides), f"pad by hand {sides}"),
            (lambda net, x: x[:, :, start:, ::step], f"crop {start} {step}"),
            (lambda net, x: x.flip(3), "flip"),
            (lambda net, x: x.transpose(2, 3).relu().transpose(2, 3), "transposes"),
            (lambda net, x: F.adaptive_avg_pool2d(x, size), f"adaptive avg {size}"),
            (lambda net, x: F.adaptive_max_pool2d(x, size), f"adaptive max {size}"),
            (lambda net, x: F.interpolate(x, size, mode="nearest"), f"nearest {size}"),
            (
                lambda net, x: F.interpolate(x, size, mode="bilinear", align_corners=corners),
                f"bilinear {size} {corners}",
            ),
            (lambda net, x: F.pixel_unshuffle(F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), 2), "both shuffles"),
            (lambda net, x: F.pixel_shuffle(x.sum(1, keepdim=True).repeat(1, 8, 1, 1), 2), "pixel shuffle"),
            (lambda net, x: x.mean(3, keepdim=True), "mean over columns"),
        ])
    )  # fmt: skip


@st.composite
def dags(draw, *, largest=6):
    """A network and the size of its images."""
    torch.manual_seed(draw(st.integers(0, 999)))
    shape = (2, draw(st.integers(3, 11)), draw(st.integers(3, 11)))
    values, layers, weights = [torch.ones(1, *shape, dtype=torch.float64)], [], []
    for _ in range(draw(st.integers(1, largest))):
        source = draw(st.integers(max(0, len(values) - 3), len(values) - 1))
        kind = draw(st.sampled_from(["conv"] * 4 + ["deconv", "avg", "max", "other", "other"]))
        if kind in ("conv", "deconv"):
            make, name = _conv(draw, values[source].shape[1:], weights, kind == "deconv")
        else:
            make, name = _pool(draw, kind == "avg") if kind in ("avg", "max") else _other(draw)
        _try(Layer(make, (source,), name), layers, values, weights)
        same = [i for i, value in enumerate(values[:-1]) if value.shape[2:] == values[-1].shape[2:]]
        if same and draw(st.booleans()):
            other = draw(st.sampled_from(same))
            if values[other].shape == values[-1].shape and draw(st.booleans()):
                joined = Layer(lambda net, x, y: x + y, (other, len(values) - 1), "add")
            else:
                joined = Layer(lambda net, x, y: torch.cat([x, y], 1), (other, len(values) - 1), "cat")
            _try(joined, layers, values, weights)
    return Dag(tuple(layers), weights).double(), shape


@torch.no_grad()
def _try(layer, layers, values, weights):
    """Add a layer if PyTorch takes it and what it makes is neither empty nor large.

    A unit is zero exactly when it sees nothing but padding. Such units are not joined with others: what a place sees
    along one axis then depends on its place along the other, and a region is told axis by axis.
    """
    sources = [values[i] for i in layer.sources]
    if len(sources) > 1 and any(source.min() <= 0 for source in sources):
        return
    try:
        out = layer.make(Dag((), weights), *sources)
    except (RuntimeError, ValueError):
        return
    if out.numel() and max(out.shape[2:]) <= 24 and out.shape[1] <= 16:
        layers.append(layer)
        values.append(out)


@torch.no_grad()
def moved(net: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """Which units each pixel moves when it becomes huge: ``(H, W, units down, units across)`` bool."""
    height, width = shape[1:]
    base = torch.ones(1, *shape, dtype=torch.float64)
    spikes = base.repeat(height * width, 1, 1, 1)
    pixels = torch.arange(height * width)
    spikes[pixels, :, pixels // width, pixels % width] = SPIKE
    changed = (net(spikes) - net(base)).abs().amax(1) > 1e-3  # N,C,h,w -> N,h,w
    return changed.reshape(height, width, *changed.shape[1:])


def gradient_support(net: nn.Module, shape: tuple[int, int, int], unit: tuple[int, int]) -> Tensor:
    """Where the gradient of one unit, all its channels added up, is not zero: ``(H, W)`` bool."""
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, :, unit[0], unit[1]].sum(), x)
    return (gradient[0] != 0).any(0)
