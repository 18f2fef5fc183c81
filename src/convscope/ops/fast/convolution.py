"""Cross-correlation and convolution, one image or a batch: thin names over PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.ops import _checks as checks
from convscope.ops._arguments import Padding, Pair, pair, plain

# What PyTorch raises when arguments do not fit it, and lists and arrays when they are taken for tensors.
REFUSALS = (AttributeError, IndexError, RuntimeError, TypeError)


def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Cross-correlate one image with one kernel: slide, multiply, add up. ``torch.conv2d`` does the work.

    Args:
        X: ``(H, W)``.
        K: ``(kh, kw)``, no larger than ``X``.

    Returns:
        ``(H - kh + 1, W - kw + 1)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype.
        ValueError: Another number of axes, or a kernel larger than the image.

    Example:
        >>> corr2d(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        tensor([[19., 25.],
                [37., 43.]])

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.2.
    """
    try:
        if X.ndim == 2 and X.is_floating_point():
            return torch.conv2d(X[None], K[None, None])[0]  # 1,H,W with 1,1,kh,kw -> 1,H',W'
    except REFUSALS:
        pass  # explained below
    checks.image_and_kernel(X, K, "(H, W)", "(kh, kw)")
    return torch.conv2d(X[None], K[None, None])[0]


def conv2d(X: Tensor, K: Tensor) -> Tensor:
    """Convolve one image with one kernel as mathematics means it: ``corr2d`` with the kernel turned by 180 degrees.

    What deep learning calls convolution is cross-correlation; a learned kernel does not care which.

    Args:
        X: ``(H, W)``.
        K: ``(kh, kw)``, no larger than ``X``.

    Returns:
        ``(H - kh + 1, W - kw + 1)``: the "valid" part, where the kernel lies wholly on the image.

    Raises:
        TypeError: Not floating-point tensors of one dtype.
        ValueError: Another number of axes, or a kernel larger than the image.

    Example:
        >>> conv2d(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        tensor([[ 5., 11.],
                [23., 29.]])
    """
    if not isinstance(K, Tensor) or K.ndim != 2:
        checks.image_and_kernel(X, K, "(H, W)", "(kh, kw)")
    return corr2d(X, K.flip(0, 1))


def corr2d_multi_in(X: Tensor, K: Tensor) -> Tensor:
    """Cross-correlate every channel with its own kernel and add the answers up. ``torch.conv2d`` does the work.

    Args:
        X: ``(C, H, W)``.
        K: ``(C, kh, kw)``.

    Returns:
        ``(H - kh + 1, W - kw + 1)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype.
        ValueError: Another number of axes, unequal channels, or a kernel larger than the image.

    Example:
        >>> X, K = torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> corr2d_multi_in(torch.stack([X, X + 1]), torch.stack([K, K + 1]))
        tensor([[ 56.,  72.],
                [104., 120.]])

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.4.
    """
    try:
        if X.ndim == 3 and X.is_floating_point() and K.numel():
            return torch.conv2d(X, K[None])[0]  # C,H,W with 1,C,kh,kw -> 1,H',W'
    except REFUSALS:
        pass  # explained below
    checks.image_and_kernel(X, K, "(C, H, W)", "(C, kh, kw)")
    return torch.conv2d(X, K[None])[0]


def corr2d_multi_in_out(X: Tensor, K: Tensor) -> Tensor:
    """One ``corr2d_multi_in`` for each output channel. ``torch.conv2d`` does the work.

    Args:
        X: ``(C, H, W)``.
        K: ``(O, C, kh, kw)``.

    Returns:
        ``(O, H - kh + 1, W - kw + 1)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype.
        ValueError: Another number of axes, unequal channels, or a kernel larger than the image.

    Example:
        >>> corr2d_multi_in_out(torch.ones(2, 3, 3), torch.ones(4, 2, 2, 2)).shape
        torch.Size([4, 2, 2])

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.4.
    """
    try:
        if X.ndim == 3 and X.is_floating_point() and K.numel():
            return torch.conv2d(X, K)
    except REFUSALS:
        pass  # explained below
    checks.image_and_kernel(X, K, "(C, H, W)", "(O, C, kh, kw)")
    return torch.conv2d(X, K)


def corr2d_multi_in_out_1x1(X: Tensor, K: Tensor) -> Tensor:
    """Mix channels with a kernel of one pixel: a matrix product, the same dense layer at every pixel.

    Args:
        X: ``(C, H, W)``.
        K: ``(O, C, 1, 1)``.

    Returns:
        ``(O, H, W)``.

    Raises:
        TypeError: Not floating-point tensors of one dtype.
        ValueError: Another number of axes, unequal channels, or a kernel larger than a pixel.

    Example:
        >>> grey = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
        >>> corr2d_multi_in_out_1x1(torch.ones(3, 1, 2), grey)
        tensor([[[1., 1.]]])

    Source:
        Lin, Chen and Yan, "Network in network", 2013.
    """
    checks.pointwise(X, K)
    Y = K.flatten(1) @ X.flatten(1)  # O,C times C,HW -> O,HW
    return Y.reshape(-1, *X.shape[1:])


def cross_correlate(
    X: Tensor,
    K: Tensor,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """The convolution of deep learning, without bias. ``torch.conv2d`` does the work, after ``F.pad`` where
    the padding is not one of zeros and alike on opposite sides.

    Args:
        X: ``(N, C, H, W)``.
        K: ``(O, C/groups, kh, kw)``.
        stride: Pixels from one window to the next; one number or ``(H, W)``.
        padding: Pixels added around the image; one number, ``(H, W)``, or ``((top, bottom), (left, right))``.
        dilation: Pixels from one tap of the kernel to the next.
        groups: Into how many parts the channels are split; each output channel sees only its own part.
        padding_mode: What stands in the padding: ``"zeros"``, ``"reflect"`` (mirrored, the edge pixel not repeated),
            ``"replicate"`` (the edge pixel) or ``"circular"`` (the opposite side).

    Returns:
        ``(N, O, H', W')``; ``geometry.output_size`` tells how large.

    Raises:
        TypeError: Not floating-point tensors of one dtype, or numbers that are not integers.
        ValueError: Axes, channels, groups or sizes that do not fit each other, or an unknown ``padding_mode``.

    Example:
        >>> X, K = torch.ones(1, 4, 8, 8), torch.ones(6, 2, 3, 3)
        >>> cross_correlate(X, K, stride=2, padding=1, groups=2).shape
        torch.Size([1, 6, 4, 4])
    """
    try:
        if padding_mode == "zeros" and X.ndim == 4 and X.is_floating_point() and K.numel():
            if stride.__class__ is padding.__class__ is dilation.__class__ is groups.__class__ is int:
                if stride == dilation == groups == 1:  # each argument that PyTorch need not read is time saved
                    return torch.conv2d(X, K, None, 1, padding)
                return torch.conv2d(X, K, None, stride, padding, dilation, groups)
            if plain(stride, padding, dilation, groups):
                return torch.conv2d(X, K, None, stride, padding, dilation, groups)  # type: ignore[arg-type]
    except REFUSALS:
        pass  # a padding that PyTorch does not know, which is done below, or a mistake, which is explained below
    conv = checks.batch_and_kernel(
        X, K, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    (top, bottom), (left, right) = conv.padding
    mode = "constant" if padding_mode == "zeros" else padding_mode
    Z = F.pad(X, (left, right, top, bottom), mode=mode)
    return torch.conv2d(Z, K, None, conv.stride, 0, conv.dilation, groups)


def conv_transpose2d(
    X: Tensor,
    K: Tensor,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Run a convolution backwards: not its inverse but its transpose. ``torch.conv_transpose2d`` does the work.

    With the same kernel, stride, padding and dilation, ``sum(cross_correlate(x, K) * y)`` equals
    ``sum(x * conv_transpose2d(y, K))``.

    Args:
        X: ``(N, O, H, W)``: what ``cross_correlate`` gives with this kernel.
        K: ``(O, C/groups, kh, kw)``.
        stride: Pixels between neighbouring stamps; above 1 the image grows.
        padding: Pixels cut off on each side; one number or ``(H, W)``.
        output_padding: Rows and columns added at the bottom and right. A stride forgets the size it came from, and
            this chooses among the possible ones. Smaller than ``stride`` or ``dilation``.
        dilation: Pixels from one tap of the kernel to the next.
        groups: Into how many parts the channels are split.

    Returns:
        ``(N, C, H', W')`` with ``H' = (H - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding``.

    Raises:
        TypeError: Not floating-point tensors of one dtype, or numbers that are not integers.
        ValueError: Axes, channels, groups or sizes that do not fit each other.

    Example:
        >>> conv_transpose2d(torch.tensor([[[[1.0, 10.0]]]]), torch.tensor([[[[1.0, 2.0, 3.0]]]]), stride=2)
        tensor([[[[ 1.,  2., 13., 20., 30.]]]])

    Source:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    try:
        if (
            (
                stride.__class__ is padding.__class__ is output_padding.__class__ is dilation.__class__ is int
                or plain(stride, padding, output_padding, dilation)
            )
            and groups.__class__ is int
            and X.ndim == 4
            and X.is_floating_point()
            and K.numel()
        ):
            return torch.conv_transpose2d(X, K, None, stride, padding, output_padding, groups, dilation)
    except REFUSALS:
        pass  # explained below
    conv = checks.transposed(
        X, K, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups
    )
    (top, _), (left, _) = conv.padding
    extra = pair("output_padding", output_padding, least=0)
    return torch.conv_transpose2d(X, K, None, conv.stride, (top, left), extra, groups, conv.dilation)
