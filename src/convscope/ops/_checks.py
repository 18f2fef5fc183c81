"""What arguments have to satisfy, and the sentence that says so: shared by both sets of operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope.naming import unknown_name
from convscope.ops._arguments import Padding, Pair, Sides, integer, pair, sides
from convscope.ops.geometry import effective_kernel, output_size

IMAGES = "(N, C, H, W)"
KERNEL = "(O, C/groups, kh, kw)"
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Convolution:
    """A convolution's numbers in one form, checked against each other."""

    input_size: tuple[int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: Sides
    dilation: tuple[int, int]
    output_size: tuple[int, int]

    @property
    def padded_size(self) -> tuple[int, int]:
        """``(H, W)`` of the input with its padding."""
        (top, bottom), (left, right) = self.padding
        return top + self.input_size[0] + bottom, left + self.input_size[1] + right


def tensor(argument: str, value: Tensor, axes: str) -> None:
    """A floating-point tensor with these axes, written as in ``(N, C, H, W)``; only ``N`` may count nothing."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument} must be a tensor {axes}, got {type(value).__name__}; wrap it with torch.tensor")
    if not value.is_floating_point():
        raise TypeError(
            f"{argument} must be a floating-point tensor, got {value.dtype}; convert it with {argument}.float()"
        )
    if value.ndim != axes.count(",") + 1:
        raise ValueError(
            f"{argument} must have {axes.count(',') + 1} axes {axes}, got {value.ndim}: {tuple(value.shape)}"
        )
    batched = axes.startswith("(N")  # no images give no answers; no channels and no pixels are a slip
    if 0 in value.shape[batched:]:
        but = " but N" if batched else ""
        raise ValueError(f"{argument} must not be empty on any axis of {axes}{but}, got {tuple(value.shape)}")


def _autocast_unites(*tensors: Tensor) -> bool:
    """Whether PyTorch is about to bring these to one dtype by itself, as it does in ``torch.autocast``."""
    kind = tensors[0].device.type
    wanted = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return wanted and all(value.dtype != torch.float64 for value in tensors)  # which it leaves alone


def alike(argument: str, value: Tensor, other: str, reference: Tensor) -> None:
    """Two tensors that are multiplied are on one device and have one dtype."""
    if value.device != reference.device:
        raise ValueError(
            f"{argument} must be on the device of {other}, {reference.device}, got {value.device}; "
            f"move it with {argument}.to({other}.device)"
        )
    if value.dtype != reference.dtype and not _autocast_unites(value, reference):
        raise TypeError(
            f"{argument} must have the dtype of {other}, {reference.dtype}, got {value.dtype}; "
            f"convert it with {argument}.to({other}.dtype)"
        )


def shape(argument: str, value: Tensor, expected: tuple[int, ...]) -> None:
    """A tensor of exactly this shape."""
    if tuple(value.shape) != expected:
        raise ValueError(f"{argument} must have shape {expected}, got {tuple(value.shape)}")


def name(argument: str, value: str, known: tuple[str, ...]) -> None:
    """One of a few words."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be one of {', '.join(known)}, got {value!r}")
    if value not in known:
        raise unknown_name(argument, value, known)


def convolution(
    argument: str,
    input_size: Pair,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    padding_mode: str = "zeros",
) -> Convolution:
    """Sizes, stride, padding and dilation that fit each other; ``argument`` is where the kernel's size came from."""
    name("padding_mode", padding_mode, PADDING_MODES)
    lengths = pair("input_size", input_size, least=1)
    taps = pair(f"the size (H, W) of {argument}", kernel_size, least=1)
    strides, dilations = pair("stride", stride, least=1), pair("dilation", dilation, least=1)
    borders = sides("padding", padding)
    for axis, length, border in zip("HW", lengths, borders, strict=True):
        most = {"reflect": length - 1, "circular": length}.get(padding_mode)
        if most is not None and max(border) > most:
            raise ValueError(
                f"padding may be at most {most} on the {axis} axis with padding_mode {padding_mode!r} "
                f"and {length} pixels, got {max(border)}"
            )
    spans = effective_kernel(taps[0], dilations[0]), effective_kernel(taps[1], dilations[1])
    padded = sum(borders[0]) + lengths[0], sum(borders[1]) + lengths[1]
    if spans[0] > padded[0] or spans[1] > padded[1]:
        raise ValueError(
            f"{argument} must fit into the padded input of {padded} pixels (H, W), got a kernel that spans {spans}; "
            "add padding or take a smaller kernel"
        )
    size = output_size(lengths, taps, stride=strides, padding=borders, dilation=dilations)
    return Convolution(lengths, taps, strides, borders, dilations, size)


def divides(groups: int, K: Tensor) -> None:
    """``groups`` splits the output channels of ``K (O, C/groups, kh, kw)`` into equal parts."""
    integer("groups", groups, least=1)
    if K.shape[0] % groups:
        raise ValueError(f"groups must divide the output channels of K, {K.shape[0]}, got {groups}")


def channels(X: Tensor, K: Tensor, groups: int) -> None:
    """``K (O, C/groups, kh, kw)`` fits ``X (N, C, H, W)``."""
    divides(groups, K)
    C, D = X.shape[1], K.shape[1]
    if C % groups:
        raise ValueError(f"groups must divide the channels of X, {C}, got {groups}")
    if D * groups != C:
        raise ValueError(
            f"K must have {C // groups} input channels for X with {C} channels in {groups} group(s), "
            f"got {D}: X is {tuple(X.shape)}, K is {tuple(K.shape)}"
        )


def image_and_kernel(X: Tensor, K: Tensor, axes: str, kernel_axes: str) -> None:
    """An image without a batch axis, and a kernel that fits onto it."""
    tensor("X", X, axes)
    tensor("K", K, kernel_axes)
    alike("K", K, "X", X)
    if X.ndim == 3 and K.shape[-3] != X.shape[0]:
        raise ValueError(
            f"K must have as many input channels as X, {X.shape[0]}, got {K.shape[-3]}: "
            f"X is {tuple(X.shape)}, K is {tuple(K.shape)}"
        )
    convolution("K", size_of(X), size_of(K))


def batch_and_kernel(X: Tensor, K: Tensor, *, groups: int, padding_mode: str, **numbers: Any) -> Convolution:
    """``X (N, C, H, W)`` and ``K (O, C/groups, kh, kw)`` that fit each other."""
    tensor("X", X, IMAGES)
    tensor("K", K, KERNEL)
    alike("K", K, "X", X)
    channels(X, K, groups)
    return convolution("K", size_of(X), size_of(K), padding_mode=padding_mode, **numbers)


def pointwise(X: Tensor, K: Tensor) -> None:
    """An image and a kernel of one pixel."""
    image_and_kernel(X, K, "(C, H, W)", "(O, C, 1, 1)")
    shape("K", K, (K.shape[0], X.shape[0], 1, 1))


def output_and_kernel(
    G: Tensor, K: Tensor, input_size: Pair, *, groups: int, padding_mode: str, **numbers: Any
) -> Convolution:
    """A gradient ``G (N, O, H', W')`` of what ``K (O, C/groups, kh, kw)`` makes of images of ``input_size``."""
    tensor("G", G, "(N, O, H', W')")
    tensor("K", K, KERNEL)
    alike("K", K, "G", G)
    divides(groups, K)
    conv = convolution("K", input_size, size_of(K), padding_mode=padding_mode, **numbers)
    shape("G", G, (G.shape[0], K.shape[0], *conv.output_size))
    return conv


def output_and_input(
    G: Tensor, X: Tensor, kernel_size: Pair, *, groups: int, padding_mode: str, **numbers: Any
) -> Convolution:
    """A gradient ``G (N, O, H', W')`` of what a kernel of ``kernel_size`` makes of ``X (N, C, H, W)``."""
    tensor("G", G, "(N, O, H', W')")
    tensor("X", X, IMAGES)
    alike("X", X, "G", G)
    integer("groups", groups, least=1)
    if X.shape[1] % groups or G.shape[1] % groups:
        raise ValueError(f"groups must divide the channels of X and of G, {X.shape[1]} and {G.shape[1]}, got {groups}")
    conv = convolution("kernel_size", size_of(X), kernel_size, padding_mode=padding_mode, **numbers)
    shape("G", G, (X.shape[0], G.shape[1], *conv.output_size))
    return conv


def transposed(
    X: Tensor, K: Tensor, *, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int
) -> Convolution:
    """The convolution whose output has the shape of ``X``; its input is what the transposed one makes."""
    tensor("X", X, IMAGES)
    tensor("K", K, KERNEL)
    alike("K", K, "X", X)
    divides(groups, K)
    if X.shape[1] != K.shape[0]:
        raise ValueError(f"X must have as many channels as K has outputs, {K.shape[0]}, got {X.shape[1]}")
    taps = pair("the size (H, W) of K", size_of(K), least=1)
    strides, dilations = pair("stride", stride, least=1), pair("dilation", dilation, least=1)
    borders, extra = pair("padding", padding, least=0), pair("output_padding", output_padding, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ValueError(f"output_padding must be smaller than stride {strides} or dilation {dilations}, got {extra}")
    height, width = (
        (n - 1) * s - 2 * b + effective_kernel(k, d) + e
        for n, s, b, k, d, e in zip(size_of(X), strides, borders, taps, dilations, extra, strict=True)
    )
    if min(height, width) < 1:
        raise ValueError(f"padding {borders} leaves nothing of the output, which would be {height} x {width} pixels")
    around = (borders[0], borders[0]), (borders[1], borders[1])
    return Convolution((height, width), taps, strides, around, dilations, size_of(X))


def windows(X: Tensor, size: Pair, *, padding: Pair, **numbers: Any) -> Convolution:
    """Images and windows that fit onto them."""
    tensor("X", X, IMAGES)
    return convolution("size", size_of(X), size, padding=pair("padding", padding, least=0), **numbers)


def columns(values: Tensor, image_size: Pair, size: Pair, *, padding: Pair, **numbers: Any) -> Convolution:
    """Columns that are windows of images of ``image_size``."""
    tensor("columns", values, "(N, C kh kw, L)")
    conv = convolution("size", image_size, size, padding=pair("padding", padding, least=0), **numbers)
    area, count = conv.kernel_size[0] * conv.kernel_size[1], conv.output_size[0] * conv.output_size[1]
    if values.shape[1] % area or values.shape[2] != count:
        raise ValueError(
            f"columns must be (N, a multiple of {area}, {count}) for {conv.output_size} windows of {conv.kernel_size}, "
            f"got {tuple(values.shape)}"
        )
    return conv


def kernel_alone(
    K: Tensor, input_size: Pair, *, groups: int, padding_mode: str, **numbers: Any
) -> tuple[Convolution, Tensor]:
    """A kernel for images of ``input_size``; ``(kh, kw)`` stands for one channel in and out."""
    if isinstance(K, Tensor) and K.ndim == 2:
        K = K[None, None]  # kh,kw -> 1,1,kh,kw
    tensor("K", K, KERNEL)
    divides(groups, K)
    return convolution("K", input_size, size_of(K), padding_mode=padding_mode, **numbers), K


def size_of(X: Tensor) -> tuple[int, int]:
    """``(H, W)`` of a tensor that ends in these axes."""
    return X.shape[-2], X.shape[-1]
