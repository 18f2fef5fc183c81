"""Convolution seen as a matrix: windows as columns, and the whole operator as one matrix."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.ops import _checks as checks
from convscope.ops._arguments import Padding, Pair, plain
from convscope.ops.fast.convolution import REFUSALS, cross_correlate


def unfold(X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> Tensor:
    """Write every window as a column ("im2col"), so that a convolution is one matrix product. ``F.unfold`` does it.

    Args:
        X: ``(N, C, H, W)``.
        size: ``(kh, kw)`` of the windows.
        stride: Pixels from one window to the next.
        padding: Zeros added on each side; one number or ``(H, W)``.
        dilation: Pixels between neighbours in a window.

    Returns:
        ``(N, C kh kw, L)``, with ``L`` windows in reading order.

    Raises:
        TypeError: Not a floating-point tensor, or numbers that are not integers.
        ValueError: Not four axes, or a window that does not fit.

    Example:
        >>> unfold(torch.arange(9.0).reshape(1, 1, 3, 3), 2)
        tensor([[[0., 1., 3., 4.],
                 [1., 2., 4., 5.],
                 [3., 4., 6., 7.],
                 [4., 5., 7., 8.]]])
    """
    try:
        if plain(size, stride, padding, dilation) and X.ndim == 4 and X.is_floating_point():
            return F.unfold(X, size, dilation, padding, stride)
    except REFUSALS:
        pass  # explained below
    conv = checks.windows(X, size, stride=stride, padding=padding, dilation=dilation)
    (top, _), (left, _) = conv.padding
    return F.unfold(X, conv.kernel_size, conv.dilation, (top, left), conv.stride)


def fold(
    columns: Tensor,
    output_size: Pair,
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """Lay columns back where their windows were and add up what overlaps ("col2im"). ``F.fold`` does it.

    It is the transpose of ``unfold``, not its inverse: each pixel comes back as often as windows hold it.

    Args:
        columns: ``(N, C kh kw, L)``.
        output_size: ``(H, W)`` of the images.
        size: ``(kh, kw)`` of the windows.
        stride: Pixels from one window to the next.
        padding: Zeros that were added on each side.
        dilation: Pixels between neighbours in a window.

    Returns:
        ``(N, C, H, W)``.

    Raises:
        TypeError: Not a floating-point tensor, or numbers that are not integers.
        ValueError: Columns whose number or length does not fit.

    Example:
        >>> fold(unfold(torch.ones(1, 1, 3, 3), 2), (3, 3), 2)
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """
    try:
        if plain(output_size, size, stride, padding, dilation) and columns.ndim == 3 and columns.is_floating_point():
            return F.fold(columns, output_size, size, dilation, padding, stride)
    except REFUSALS:
        pass  # explained below
    conv = checks.columns(columns, output_size, size, stride=stride, padding=padding, dilation=dilation)
    (top, _), (left, _) = conv.padding
    return F.fold(columns, conv.input_size, conv.kernel_size, conv.dilation, (top, left), conv.stride)


def conv_as_matrix(
    K: Tensor,
    input_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Write a small convolution as the matrix that it is: ``matrix @ x.flatten()`` is its output, flattened.

    At stride 1 the matrix is doubly block Toeplitz: blocks repeat along diagonals, and so do numbers inside a block.
    With ``padding_mode="circular"`` and a size that stays the same it is doubly block circulant. Groups make it
    block diagonal. The matrix has ``O H' W'`` times ``C H W`` numbers, so this is for looking, not for computing.

    Args:
        K: ``(O, C/groups, kh, kw)``, or ``(kh, kw)`` for one channel in and out.
        input_size: ``(H, W)`` of the image.
        stride: As in ``cross_correlate``; so are the others.
        padding: Pixels.
        dilation: Pixels.
        groups: Parts.
        padding_mode: What stands in the padding.

    Returns:
        ``(O H' W', C H W)``: a row for each output, a column for each input.

    Raises:
        TypeError: Not a floating-point tensor, or numbers that are not integers.
        ValueError: Axes, groups or sizes that do not fit each other, or an unknown ``padding_mode``.

    Example:
        >>> conv_as_matrix(torch.tensor([[1.0, 2.0]]), (1, 4))
        tensor([[1., 2., 0., 0.],
                [0., 1., 2., 0.],
                [0., 0., 1., 2.]])
    """
    conv, K = checks.kernel_alone(
        K, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    shape = (K.shape[1] * groups, *conv.input_size)  # C,H,W
    pixels = torch.eye(shape[0] * shape[1] * shape[2], dtype=K.dtype, device=K.device)
    answers = cross_correlate(  # to each pixel alone: CHW,C,H,W -> CHW,O,H',W'
        pixels.reshape(-1, *shape),
        K,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
    )
    return answers.flatten(1).T
