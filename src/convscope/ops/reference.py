"""Every operator as its definition: loops that can be read aloud, nothing else.

Read it from the top. ``convscope.ops.fast`` has the same names with the same arguments, explained there one by
one, and must give the same numbers.

``X`` is the input, ``K`` the kernel, ``Y`` the output, ``Z`` the input with its padding, ``G`` a gradient of the
output, ``dX`` and ``dK`` those of input and kernel. ``N`` counts images, ``C`` channels in, ``O`` channels out, ``D``
the channels that one output channel sees, and ``i, j`` walk over the output. Windows are ordinary slices, so PyTorch
can differentiate all of this; the gradients are also written out.

Each function first has its arguments checked. What comes back, ``conv`` or ``pool``, holds the same numbers in one
form: pairs ``(H, W)``. The rest of the bookkeeping has names of its own, each a few lines in ``ops/_windows.py``:

``positions(shape)``         every index into such a tensor, in reading order: loops within loops, written as one
``pad``, ``unpad``           put a border around the image; give what fell on the border back to where it came from
``window(conv, i, j)``       the rows and columns that output ``i, j`` looks at, as slices with gaps
``channels_seen(o, K, g)``   the input channels that output channel ``o`` looks at, as a slice
``pool_window``              the window of a pooling, cut off where the image ends
"""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.ops import _checks as checks
from convscope.ops import _pool_checks as pool_checks
from convscope.ops._arguments import Padding, Pair
from convscope.ops._windows import channels_seen, pad, planes, pool_area, pool_window, positions, source, unpad, window

__all__ = [
    "conv2d",
    "conv_as_matrix",
    "conv_transpose2d",
    "corr2d",
    "corr2d_multi_in",
    "corr2d_multi_in_out",
    "corr2d_multi_in_out_1x1",
    "cross_correlate",
    "cross_correlate_input_grad",
    "cross_correlate_kernel_grad",
    "fold",
    "global_pool2d",
    "max_pool2d_backward_recomputed",
    "max_pool2d_backward_stashed",
    "max_pool2d_with_indices",
    "pool2d",
    "unfold",
]


# One image, one kernel ------------------------------------------------------------------------------------------------


def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Lay the kernel on the image, multiply what lies on each other, add up; move on by one pixel and do it again.

    ``Y[i, j]`` is the sum over ``a, b`` of ``X[i + a, j + b] K[a, b]``.

    Example:
        >>> corr2d(torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        tensor([[19., 25.],
                [37., 43.]])
    """
    checks.image_and_kernel(X, K, "(H, W)", "(kh, kw)")
    (H, W), (h, w) = X.shape, K.shape
    Y = X.new_zeros(H - h + 1, W - w + 1)
    for i, j in positions(Y.shape):
        Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


def conv2d(X: Tensor, K: Tensor) -> Tensor:
    """Convolution as mathematics means it: the kernel is turned by 180 degrees first, so that ``a`` counts down."""
    checks.image_and_kernel(X, K, "(H, W)", "(kh, kw)")
    return corr2d(X, K.flip(0, 1))


def corr2d_multi_in(X: Tensor, K: Tensor) -> Tensor:
    """Each channel has its own kernel, and the answers add up: ``(C, H, W)`` becomes ``(H', W')``."""
    checks.image_and_kernel(X, K, "(C, H, W)", "(C, kh, kw)")
    return torch.stack([corr2d(x, k) for x, k in zip(X, K, strict=True)]).sum(0)


def corr2d_multi_in_out(X: Tensor, K: Tensor) -> Tensor:
    """Each output channel has its own stack of kernels: ``(C, H, W)`` becomes ``(O, H', W')``."""
    checks.image_and_kernel(X, K, "(C, H, W)", "(O, C, kh, kw)")
    return torch.stack([corr2d_multi_in(X, k) for k in K])


def corr2d_multi_in_out_1x1(X: Tensor, K: Tensor) -> Tensor:
    """A kernel of one pixel mixes channels and nothing else: the same matrix ``(O, C)`` at every pixel."""
    checks.pointwise(X, K)
    Y = X.new_zeros(K.shape[0], *X.shape[1:])
    for i, j in positions(X.shape[1:]):
        Y[:, i, j] = K[:, :, 0, 0] @ X[:, i, j]  # O,C times C -> O
    return Y


# Batches, with stride, padding, dilation and groups -------------------------------------------------------------------


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
    """Like ``corr2d``, but windows advance by the stride and have gaps, and each group of channels is on its own."""
    conv = checks.batch_and_kernel(
        X, K, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    Z = pad(X, conv, padding_mode)
    Y = X.new_zeros(len(X), len(K), *conv.output_size)  # N,O,H',W'
    for n, o, i, j in positions(Y.shape):
        Y[n, o, i, j] = (Z[n, channels_seen(o, K, groups), *window(conv, i, j)] * K[o]).sum()
    return Y


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
    """Each output saw a window through the kernel: it gives its gradient back to that window, through the kernel."""
    conv = checks.output_and_kernel(
        G, K, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    dZ = G.new_zeros(len(G), K.shape[1] * groups, *conv.padded_size)
    for n, o, i, j in positions(G.shape):
        dZ[n, channels_seen(o, K, groups), *window(conv, i, j)] += G[n, o, i, j] * K[o]
    return unpad(dZ, conv, padding_mode)


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
    """Each output saw the kernel through a window: it gives its gradient back to the kernel, through that window."""
    conv = checks.output_and_input(
        G, X, kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    Z = pad(X, conv, padding_mode)
    dK = X.new_zeros(G.shape[1], X.shape[1] // groups, *conv.kernel_size)  # O,C/groups,kh,kw
    for n, o, i, j in positions(G.shape):
        dK[o] += G[n, o, i, j] * Z[n, channels_seen(o, dK, groups), *window(conv, i, j)]
    return dK


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
    """Every input pixel stamps the kernel, times its value, onto the output; stamps that overlap add up."""
    conv = checks.transposed(
        X, K, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups
    )
    Z = X.new_zeros(len(X), K.shape[1] * groups, *conv.padded_size)
    for n, o, i, j in positions(X.shape):
        Z[n, channels_seen(o, K, groups), *window(conv, i, j)] += X[n, o, i, j] * K[o]
    return unpad(Z, conv, "zeros")


# Convolution as a matrix ----------------------------------------------------------------------------------------------


def unfold(X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> Tensor:
    """Every window becomes a column: ``(N, C, H, W)`` becomes ``(N, C kh kw, L)`` with ``L`` windows."""
    conv = checks.windows(X, size, stride=stride, padding=padding, dilation=dilation)
    Z = pad(X, conv, "zeros")
    return torch.stack([Z[..., *window(conv, i, j)].flatten(1) for i, j in positions(conv.output_size)], dim=-1)


def fold(
    columns: Tensor,
    output_size: Pair,
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """Every column is laid back where its window was; where windows overlap, values add up."""
    conv = checks.columns(columns, output_size, size, stride=stride, padding=padding, dilation=dilation)
    h, w = conv.kernel_size
    N, rows, _ = columns.shape
    Z = columns.new_zeros(N, rows // (h * w), *conv.padded_size)
    for column, (i, j) in enumerate(positions(conv.output_size)):
        Z[..., *window(conv, i, j)] += columns[:, :, column].reshape(N, rows // (h * w), h, w)
    return unpad(Z, conv, "zeros")


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
    """One row for each output, one column for each input, and in the crossing the weight that connects them."""
    conv, K = checks.kernel_alone(
        K, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode
    )
    (D, h, w), (H, W) = K.shape[1:], conv.input_size
    M = K.new_zeros(len(K), *conv.output_size, D * groups, H, W)
    for o, i, j in positions(M.shape[:3]):
        first = channels_seen(o, K, groups).start
        for c, a, b in positions((D, h, w)):  # tap a, b of the kernel lies on row r, column s of the image
            r = source(i * conv.stride[0] + a * conv.dilation[0] - conv.padding[0][0], H, padding_mode)
            s = source(j * conv.stride[1] + b * conv.dilation[1] - conv.padding[1][0], W, padding_mode)
            if r is not None and s is not None:
                M[o, i, j, first + c, r, s] += K[o, c, a, b]
    return M.flatten(3).flatten(0, 2)  # O,H',W',C,H,W -> O H' W',C H W


# Pooling --------------------------------------------------------------------------------------------------------------


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
    """Sum up every window in one number. Padding only makes room for windows; of the modes, ``avg`` alone counts it."""
    pool = pool_checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    pool_checks.pool_mode(mode, p, temperature)
    P, (H, W) = planes(X), X.shape[-2:]  # ...,H,W -> M,H,W
    Y = X.new_zeros(len(P), *pool.output_size)
    for m, i, j in positions(Y.shape):
        patch = P[m][pool_window(pool, i, j)].flatten()
        if mode == "max":
            Y[m, i, j] = patch[patch.argmax()]
        elif mode == "min":
            Y[m, i, j] = patch[patch.argmin()]
        elif mode == "avg":
            Y[m, i, j] = patch.sum() / pool_area(pool, i, j, (H, W))
        elif mode == "lp":
            Y[m, i, j] = torch.linalg.vector_norm(patch, p)  # (sum of |x|^p)^(1/p)
        else:
            weights = ((patch - patch.max()) / temperature).softmax(0)  # less the maximum: no temperature overflows
            Y[m, i, j] = (patch.where(weights > 0, 0) * weights).sum()  # -inf weighs 0 and counts 0, not 0 * inf
    return Y.reshape(*X.shape[:-2], *pool.output_size)


def global_pool2d(X: Tensor, mode: str = "avg", *, p: float = 2.0, temperature: float = 1.0) -> Tensor:
    """One window, as large as the image: ``(N, C, H, W)`` becomes ``(N, C)``."""
    pool_checks.images(X)
    return pool2d(X, (X.shape[-2], X.shape[-1]), mode, p=p, temperature=temperature)[..., 0, 0]


def max_pool2d_with_indices(
    X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """The largest value of every window, and where in the plane it stood; of equals, the first in reading order.

    A NaN is larger than any number.
    """
    pool = pool_checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    P, (H, W) = planes(X), X.shape[-2:]
    numbers = torch.arange(H * W, device=X.device).reshape(H, W)  # of the pixels, row by row
    Y = X.new_zeros(len(P), *pool.output_size)
    indices = Y.to(torch.int64)
    for m, i, j in positions(Y.shape):
        here = pool_window(pool, i, j)
        indices[m, i, j] = numbers[here].flatten()[P[m][here].argmax()]
        Y[m, i, j] = P[m].flatten()[indices[m, i, j]]
    shape = (*X.shape[:-2], *pool.output_size)
    return Y.reshape(shape), indices.reshape(shape)


def max_pool2d_backward_stashed(G: Tensor, indices: Tensor, input_size: Pair) -> Tensor:
    """Whoever was the largest gets the whole gradient. The forward pass has kept note of who that was."""
    H, W = pool_checks.stash(G, indices, input_size)
    gradients, winners = planes(G), planes(indices)
    dX = G.new_zeros(len(gradients), H * W)
    for m, i, j in positions(gradients.shape):
        dX[m, winners[m, i, j]] += gradients[m, i, j]
    return dX.reshape(*G.shape[:-2], H, W)


def max_pool2d_backward_recomputed(
    G: Tensor, X: Tensor, size: Pair, *, stride: Pair = 1, padding: Pair = 0, ceil_mode: bool = False
) -> Tensor:
    """Whoever was the largest gets the whole gradient. The input was kept instead, so look again who that was."""
    pool_checks.gradient(G, X, pool_checks.pooling(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode))
    _, indices = max_pool2d_with_indices(X, size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return max_pool2d_backward_stashed(G, indices, (X.shape[-2], X.shape[-1]))
