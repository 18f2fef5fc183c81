"""The two gradients of a cross-correlation, written with convolutions themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.ops import _checks as checks
from convscope.ops._arguments import Padding, Pair


def cross_correlate_input_grad(
    G: Tensor,
    K: Tensor,
    input_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """The gradient with respect to the input: a transposed convolution, then the padding folded back.

    Args:
        G: ``(N, O, H', W')``: the gradient with respect to ``cross_correlate``'s output.
        K: ``(O, C/groups, kh, kw)``.
        input_size: ``(H, W)`` of the input, which a stride above 1 does not let one guess.
        stride: As in ``cross_correlate``; so are the others.
        padding: Pixels.
        dilation: Pixels.
        groups: Parts.
        padding_mode: What stood in the padding.

    Returns:
        ``(N, C, H, W)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype, or numbers that are not integers.
        ValueError: Axes, channels, groups or sizes that do not fit each other, or an unknown ``padding_mode``.

    Example:
        >>> cross_correlate_input_grad(torch.ones(1, 1, 1, 2), torch.tensor([[[[1.0, -1.0]]]]), (1, 3))
        tensor([[[[ 1.,  0., -1.]]]])
    """
    conv = checks.output_and_kernel(
        G, K, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    dZ = torch.conv_transpose2d(G, K, None, conv.stride, 0, 0, groups, conv.dilation)  # N,C,: what windows reached
    rest = conv.padded_size[0] - dZ.shape[2], conv.padded_size[1] - dZ.shape[3]  # rows and columns no window reached
    dZ = F.pad(dZ, (0, rest[1], 0, rest[0]))
    for axis, (length, (before, after)) in enumerate(zip(conv.input_size, conv.padding, strict=True), start=2):
        dZ = _fold_back(dZ, axis, length, before, after, padding_mode)
    return dZ


def _fold_back(dZ: Tensor, axis: int, length: int, before: int, after: int, padding_mode: str) -> Tensor:
    """Undo a padding on one axis: add each gradient that fell into the padding to the pixel that stood there."""
    inside = dZ.narrow(axis, before, length)
    if padding_mode == "zeros" or before == after == 0:
        return inside
    place = torch.arange(-before, length + after, device=dZ.device)
    if padding_mode == "circular":
        pixel = place % length
    elif padding_mode == "replicate":
        pixel = place.clamp(0, length - 1)
    else:  # reflect: first at the left border, then at the right
        pixel = place.abs()
        pixel = torch.where(pixel < length, pixel, 2 * (length - 1) - pixel)
    return torch.zeros_like(inside).index_add(axis, pixel, dZ)


def cross_correlate_kernel_grad(
    G: Tensor,
    X: Tensor,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """The gradient with respect to the kernel: the input cross-correlated with ``G``.

    ``G`` takes the place of the kernel. Stride and dilation change places, and so do images and channels, because
    the kernel's gradient adds up over images where the output added up over channels.

    Args:
        G: ``(N, O, H', W')``: the gradient with respect to ``cross_correlate``'s output.
        X: ``(N, C, H, W)``.
        kernel_size: ``(kh, kw)``.
        stride: As in ``cross_correlate``; so are the others.
        padding: Pixels.
        dilation: Pixels.
        groups: Parts.
        padding_mode: What stood in the padding.

    Returns:
        ``(O, C/groups, kh, kw)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype, or numbers that are not integers.
        ValueError: Axes, channels, groups or sizes that do not fit each other, or an unknown ``padding_mode``.

    Example:
        >>> X = torch.tensor([[[[1.0, 2.0, 4.0]]]])
        >>> cross_correlate_kernel_grad(torch.ones(1, 1, 1, 2), X, (1, 2))
        tensor([[[[3., 6.]]]])
    """
    conv = checks.output_and_input(
        G, X, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    if not len(X):  # PyTorch takes no images for no channels, since the two change places below
        return X.new_zeros(G.shape[1], X.shape[1] // groups, *conv.kernel_size)
    (top, bottom), (left, right) = conv.padding
    Z = F.pad(X, (left, right, top, bottom), mode="constant" if padding_mode == "zeros" else padding_mode)
    Z = torch.stack(Z.chunk(groups, dim=1)).permute(2, 0, 1, 3, 4).flatten(1, 2)  # N,gD,H,W -> g,N,D,H,W -> D,gN,H,W
    dK = torch.conv2d(Z, G.transpose(0, 1), None, conv.dilation, 0, conv.stride, groups)  # D,O,kh or more,kw or more
    height, width = conv.kernel_size
    return dK[:, :, :height, :width].transpose(0, 1)  # the rest lies where no window began
