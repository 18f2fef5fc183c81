"""Pooling: many pixels summed up in one number; and its gradient, remembered or found again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.ops import _pool_checks as checks
from convscope.ops._arguments import Pair, plain
from convscope.ops.fast.convolution import REFUSALS


def pool2d(
    X: Tensor,
    size: Pair,
    mode: str = "max",
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    ceil_mode: bool = False,
    p: float = 2.0,
    temperature: float = 1.0,
) -> Tensor:
    """Sum up every window in one number. ``F.max_pool2d`` and ``F.avg_pool2d`` do the work for max, min and avg.

    Windows advance by one pixel unless told otherwise, as a kernel does; ``torch.nn.MaxPool2d`` advances by its own
    size. Padding makes room for windows and is never chosen; only ``"avg"`` counts it, as zeros, as PyTorch does.

    Args:
        X: ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)``.
        size: ``(H, W)`` of the windows in pixels, or one number.
        mode: ``"max"``, ``"avg"``, ``"min"``, ``"lp"`` (the p-norm, ``(sum |x|^p)^(1/p)``) or ``"softmax"`` (the mean
            weighted by ``softmax(x / temperature)``: between the mean and the maximum; a pixel of ``-inf`` counts 0, a
            window of nothing else and one with ``+inf`` have no weights and give NaN).
        stride: Pixels from one window to the next.
        padding: Pixels added on each side; at most half of ``size``.
        ceil_mode: Keep a last, incomplete window.
        p: Of ``"lp"`` alone. 1 adds magnitudes up, 2 is the Euclidean length.
        temperature: Of ``"softmax"`` alone. Near 0 it picks the maximum, far above the values it takes the mean.

    Returns:
        ``X``'s leading axes and ``(H', W')``. Of equal extremes, the first in reading order gets the gradient. A window
        with a NaN gives NaN, in every mode.

    Raises:
        TypeError: Not a floating-point tensor, or numbers that are not integers.
        ValueError: Axes or sizes that do not fit, or an unknown ``mode``.

    Example:
        >>> X = torch.arange(9.0).reshape(3, 3)
        >>> pool2d(X, (2, 2)), pool2d(X, (2, 2), "avg")
        (tensor([[4., 5.],
                [7., 8.]]), tensor([[2., 3.],
                [5., 6.]]))

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.5. Lp: Sermanet, Chintala and LeCun, "Convolutional neural
        networks applied to house numbers digit classification", 2012. Softmax: Stergiou, Poppe and Kalliatakis,
        "Refining activation downsampling with SoftPool", 2021.
    """
    if mode in ("max", "min", "avg"):
        try:
            if (
                (size.__class__ is stride.__class__ is padding.__class__ is int or plain(size, stride, padding))
                and p.__class__ is temperature.__class__ is float
                and p > 0
                and temperature > 0
                and X.is_floating_point()
            ):
                if mode == "min" or X.ndim == 2:
                    return _pool_by_torch(X, size, mode, stride, padding, ceil_mode)
                if mode == "max":  # at once, for on the smallest images one more call would be felt
                    return torch.max_pool2d(X, size, stride, padding, 1, ceil_mode)
                return F.avg_pool2d(X, size, stride, padding, ceil_mode)
        except REFUSALS:
            pass  # explained below
    pool = checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    checks.pool_mode(mode, p, temperature)
    if mode == "lp":
        return _norm(_windows(X, pool, 0.0).flatten(-2), p)
    if mode == "softmax":
        return _soft_mean(_windows(X, pool, -torch.inf).flatten(-2), temperature)  # padding weighs nothing
    return _pool_by_torch(X, pool.size, mode, pool.stride, pool.padding, ceil_mode)


def _pool_by_torch(X: Tensor, size: Pair, mode: str, stride: Pair, padding: Pair, ceil_mode: bool) -> Tensor:
    if X.ndim == 2:
        return _pool_by_torch(X[None], size, mode, stride, padding, ceil_mode)[0]
    if mode == "max":  # torch.max_pool2d is what F.max_pool2d calls
        return torch.max_pool2d(X, size, stride, padding, 1, ceil_mode)
    if mode == "avg":
        return F.avg_pool2d(X, size, stride, padding, ceil_mode)
    return -torch.max_pool2d(-X, size, stride, padding, 1, ceil_mode)


def _norm(X: Tensor, p: float) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(X, p, dim=-1)  # its gradient is 0, not NaN, where all is 0
    return norm


def _soft_mean(X: Tensor, temperature: float) -> Tensor:
    """``(..., L)`` to ``(...)``: the mean weighted by ``softmax(x / temperature)``; what weighs 0 counts 0."""
    weights = ((X - X.detach().amax(-1, keepdim=True)) / temperature).softmax(-1)  # less the maximum: no overflow
    return (X.masked_fill(weights == 0, 0.0) * weights).sum(-1)


def _windows(X: Tensor, pool: checks.Pooling, fill: float) -> Tensor:
    """``(..., H, W)`` to ``(..., H', W', h, w)``: a view of the image with ``fill`` around it."""
    borders: list[int] = []
    for length, size, stride, padding, count in zip(
        X.shape[-2:], pool.size, pool.stride, pool.padding, pool.output_size, strict=True
    ):
        reach = (count - 1) * stride + size  # where the last window ends, counted from where the first begins
        borders = [padding, reach - padding - length, *borders]  # negative: pixels that no window reaches
    Z = F.pad(X, borders, value=fill)
    return Z.unfold(-2, pool.size[0], pool.stride[0]).unfold(-2, pool.size[1], pool.stride[1])


def global_pool2d(X: Tensor, mode: str = "avg", *, p: float = 2.0, temperature: float = 1.0) -> Tensor:
    """One window as large as the image: one number for each channel.

    Args:
        X: ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)``.
        mode: As in ``pool2d``.
        p: Of ``"lp"`` alone.
        temperature: Of ``"softmax"`` alone.

    Returns:
        ``X``'s leading axes: ``(N, C)``, ``(C,)`` or ``()``.

    Raises:
        TypeError: Not a floating-point tensor.
        ValueError: Another number of axes, or an unknown ``mode``.

    Example:
        >>> global_pool2d(torch.arange(8.0).reshape(1, 2, 2, 2))
        tensor([[1.5000, 5.5000]])

    Source:
        Lin, Chen and Yan, "Network in network", 2013.
    """
    checks.images(X)
    checks.pool_mode(mode, p, temperature)
    pixels = X.flatten(-2)
    if mode == "avg":
        return pixels.mean(-1)
    if mode == "lp":
        return _norm(pixels, p)
    if mode == "softmax":
        return _soft_mean(pixels, temperature)
    return pixels.max(-1).values if mode == "max" else pixels.min(-1).values


def max_pool2d_with_indices(
    X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """Max pooling that also tells where each maximum stood. ``F.max_pool2d`` does the work.

    A NaN counts as larger than any number, so a window with one gives NaN, and the position is that of a NaN; of
    several it may be any, for PyTorch's own forms differ there. ``-inf`` is an ordinary number: where a window holds
    nothing else, its first pixel wins. Padding is no pixel and never wins.

    Args:
        X: ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)``.
        size: ``(H, W)`` of the windows in pixels, or one number.
        stride: Pixels from one window to the next.
        padding: Pixels added on each side, never chosen; at most half of ``size``.
        ceil_mode: Keep a last, incomplete window.

    Returns:
        The maxima, and int64 of the same shape: ``row * W + column``; of equals, the first in reading order.

    Raises:
        TypeError: Not a floating-point tensor, or numbers that are not integers.
        ValueError: Axes or sizes that do not fit.

    Example:
        >>> Y, where = max_pool2d_with_indices(torch.arange(16.0).reshape(4, 4), 2, stride=2)
        >>> where
        tensor([[ 5,  7],
                [13, 15]])
    """
    try:
        if plain(size, stride, padding) and X.is_floating_point():
            return _positions_by_torch(X, size, stride, padding, ceil_mode)
    except REFUSALS:
        pass  # explained below
    pool = checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return _positions_by_torch(X, pool.size, pool.stride, pool.padding, ceil_mode)


def _positions_by_torch(X: Tensor, size: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    planes = X[None] if X.ndim == 2 else X
    Y, indices = F.max_pool2d(planes, size, stride, padding, 1, ceil_mode, return_indices=True)
    return (Y[0], indices[0]) if X.ndim == 2 else (Y, indices)


def max_pool2d_backward_stashed(G: Tensor, indices: Tensor, input_size: Pair) -> Tensor:
    """The gradient of max pooling, when the forward pass kept the positions of the maxima.

    It costs eight bytes for each output, and the input may be forgotten.

    Args:
        G: ``(..., H', W')``: the gradient with respect to the output.
        indices: int64, of the shape of ``G``: what ``max_pool2d_with_indices`` gave.
        input_size: ``(H, W)`` of the input.

    Returns:
        ``(..., H, W)``: a pixel that won in several windows gets the sum of their gradients.

    Raises:
        TypeError: ``G`` is not a floating-point tensor, or ``indices`` are not int64.
        ValueError: Shapes that differ, or a position outside the image.

    Example:
        >>> max_pool2d_backward_stashed(torch.tensor([[1.0, 2.0]]), torch.tensor([[0, 3]]), (2, 2))
        tensor([[1., 0.],
                [0., 2.]])
    """
    height, width = checks.stash(G, indices, input_size)
    dX = G.new_zeros(*G.shape[:-2], height * width)
    dX = dX.scatter_add(-1, indices.flatten(-2), G.flatten(-2))
    return dX.reshape(*G.shape[:-2], height, width)


def max_pool2d_backward_recomputed(
    G: Tensor, X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, ceil_mode: bool = False
) -> Tensor:
    """The gradient of max pooling, when the forward pass kept nothing but its input: the maxima are found again.

    It costs a second look at every window and no memory of its own, as the input is often kept anyway. The winner
    must be found by the same rule for ties; ``x == max`` would pay every one of the equals in full.

    Args:
        G: ``(..., H', W')``: the gradient with respect to the output.
        X: ``(..., H, W)``: the input.
        size: As in ``max_pool2d_with_indices``; so are the others.
        stride: Pixels.
        padding: Pixels.
        ceil_mode: Keep a last, incomplete window.

    Returns:
        ``(..., H, W)``.

    Raises:
        TypeError: Not floating-point tensors, or numbers that are not integers.
        ValueError: Axes or sizes that do not fit.

    Example:
        >>> max_pool2d_backward_recomputed(torch.tensor([[1.0]]), torch.tensor([[3.0, 4.0], [4.0, 0.0]]), 2)
        tensor([[0., 1.],
                [0., 0.]])
    """
    checks.gradient(G, X, checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode))
    _, indices = max_pool2d_with_indices(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return max_pool2d_backward_stashed(G, indices, (X.shape[-2], X.shape[-1]))
