"""The definition, the fast form and PyTorch agree, in values and in gradients; and so do the laws they must obey."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from convscope import ops
from convscope.ops import fast, geometry, reference
from ops.cases import Conv, convolutions, gradients

BOTH = pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])


@given(convolutions())
def test_values_and_both_gradients_equal_torch(case: Conv) -> None:
    expected = case.by_torch(case.X, case.K)
    expected_gradients = case.torch_gradients()
    for which in (reference, fast):
        X, K = case.X.clone().requires_grad_(), case.K.clone().requires_grad_()
        Y = which.cross_correlate(X, K, **case.options)
        assert_close(Y, expected, **case.tolerance)
        assert_close(gradients(Y, (X, K), case.G), expected_gradients, **case.tolerance)


@given(convolutions())
def test_the_written_out_gradients_equal_autograd(case: Conv) -> None:
    dX, dK = case.torch_gradients()
    for which in (reference, fast):
        given_dX = which.cross_correlate_input_grad(case.G, case.K, case.input_size, **case.options)
        given_dK = which.cross_correlate_kernel_grad(case.G, case.X, case.kernel_size, **case.options)
        assert_close(given_dX, dX, **case.tolerance)
        assert_close(given_dK, dK, **case.tolerance)


@given(convolutions())
def test_output_size_is_the_real_shape(case: Conv) -> None:
    numbers = {name: case.options[name] for name in ("stride", "padding", "dilation")}
    size = geometry.output_size(case.input_size, case.kernel_size, **numbers)
    assert size == tuple(case.by_torch(case.X, case.K).shape[2:])


@given(convolutions(symmetric=True))
def test_equal_sides_are_what_a_torch_layer_does(case: Conv) -> None:
    (top, _), (left, _) = case.options["padding"]
    options = {**case.options, "padding": (top, left)}
    O, C = len(case.K), case.X.shape[1]  # noqa: E741
    layer = torch.nn.Conv2d(C, O, case.kernel_size, bias=False, dtype=case.X.dtype, **options)
    layer.load_state_dict({"weight": case.K})
    assert_close(fast.cross_correlate(case.X, case.K, **options), layer(case.X).detach(), **case.tolerance)


def _input_size(case: Conv, extra: tuple[int, int]) -> tuple[int, ...]:
    """The size that a transposed convolution of the output gives."""
    return tuple(
        (out - 1) * stride + gap * (taps - 1) + 1 - sum(border) + more
        for out, stride, gap, taps, border, more in zip(
            case.G.shape[2:],
            case.options["stride"],
            case.options["dilation"],
            case.kernel_size,
            case.options["padding"],
            extra,
            strict=True,
        )
    )


@given(convolutions(symmetric=True, padding_modes=("zeros",)), st.data())
def test_the_transpose_equals_torch_in_values_and_gradients(case: Conv, data: st.DataObject) -> None:
    (top, _), (left, _) = case.options["padding"]
    reach = zip(case.options["stride"], case.options["dilation"], strict=True)
    options = {
        "stride": case.options["stride"],
        "padding": (top, left),
        "output_padding": tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in reach),
        "dilation": case.options["dilation"],
        "groups": case.options["groups"],
    }

    size = _input_size(case, options["output_padding"])
    assume(min(size) >= 1)

    def run(transpose: object) -> tuple[torch.Tensor, ...]:
        Y, K = case.G.clone().requires_grad_(), case.K.clone().requires_grad_()
        Z = transpose(Y, K, **options)  # type: ignore[operator]
        weights = torch.linspace(-1, 1, Z.numel(), dtype=Z.dtype).reshape(Z.shape)
        return (Z, *gradients(Z, (Y, K), weights))

    expected = run(F.conv_transpose2d)
    assert tuple(expected[0].shape[2:]) == size
    for which in (reference, fast):
        assert_close(run(which.conv_transpose2d), expected, **case.tolerance)


@given(convolutions(symmetric=True, padding_modes=("zeros",)))
def test_convolution_and_its_transpose_are_adjoint(case: Conv) -> None:
    (top, _), (left, _) = case.options["padding"]
    options = {name: case.options[name] for name in ("stride", "dilation", "groups")} | {"padding": (top, left)}
    X, K, G = case.X.double(), case.K.double(), case.G.double()
    missing = tuple(
        n - m for n, m in zip(case.input_size, _input_size(case, (0, 0)), strict=True)
    )  # lost to the stride
    for which in (reference, fast):
        back = which.conv_transpose2d(G, K, output_padding=missing, **options)
        there = which.cross_correlate(X, K, **options)
        assert_close((there * G).sum(), (X * back).sum(), rtol=1e-10, atol=1e-10)


@given(convolutions(), st.floats(-3, 3), st.floats(-3, 3))
def test_it_is_linear_in_the_image_and_in_the_kernel(case: Conv, a: float, b: float) -> None:
    X, K = case.X.double(), case.K.double()
    other_X, other_K = X.flip(-1).cos(), K.flip(-1).sin()
    for which in (reference, fast):
        conv = which.cross_correlate
        in_X = conv(a * X + b * other_X, K, **case.options)
        in_K = conv(X, a * K + b * other_K, **case.options)
        once = conv(X, K, **case.options)
        assert_close(in_X, a * once + b * conv(other_X, K, **case.options), rtol=1e-10, atol=1e-10)
        assert_close(in_K, a * once + b * conv(X, other_K, **case.options), rtol=1e-10, atol=1e-10)


@given(convolutions(stride=1), st.integers(-2, 2), st.integers(-2, 2))
def test_a_shifted_image_gives_a_shifted_answer_inside(case: Conv, down: int, right: int) -> None:
    frame = 4  # of zeros, wider than any shift and any kernel's reach beyond it
    X, K = F.pad(case.X.double(), (frame,) * 4), case.K.double()
    options = {**case.options, "padding": 0, "padding_mode": "zeros"}
    for which in (reference, fast):
        before = which.cross_correlate(X, K, **options)
        after = which.cross_correlate(X.roll((down, right), (2, 3)), K, **options)
        height, width = before.shape[2:]
        inside = before[:, :, 2 : height - 2, 2 : width - 2]
        moved = after[:, :, 2 + down : height - 2 + down, 2 + right : width - 2 + right]
        assert_close(moved, inside, rtol=1e-12, atol=1e-12)


@given(convolutions(padding_modes=("circular",), stride=1), st.integers(-4, 4), st.integers(-4, 4))
def test_with_circular_padding_the_shift_holds_everywhere(case: Conv, down: int, right: int) -> None:
    taps, gaps = case.kernel_size, case.options["dilation"]
    padding = geometry.same_padding(taps, dilation=gaps)
    if any(max(sides) > n for sides, n in zip(padding, case.input_size, strict=True)):
        taps, gaps, padding = (1, 1), (1, 1), 0
    options = {**case.options, "padding": padding, "dilation": gaps}
    X, K = case.X.double(), case.K.double()[:, :, : taps[0], : taps[1]]
    shift = {"shifts": (down, right), "dims": (2, 3)}
    there = fast.cross_correlate(X.roll(**shift), K, **options)
    assert_close(there, fast.cross_correlate(X, K, **options).roll(**shift), rtol=1e-12, atol=1e-12)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_single_images_equal_scipy(H: int, W: int, h: int, w: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    h, w = min(h, H), min(w, W)
    X = torch.randn(H, W, dtype=torch.float64, generator=random)
    K = torch.randn(h, w, dtype=torch.float64, generator=random)
    correlation = torch.from_numpy(scipy.signal.correlate2d(X.numpy(), K.numpy(), mode="valid"))
    convolution = torch.from_numpy(scipy.signal.convolve2d(X.numpy(), K.numpy(), mode="valid"))
    for which in (reference, fast):
        assert_close(which.corr2d(X, K), correlation, rtol=1e-12, atol=1e-12)
        assert_close(which.conv2d(X, K), convolution, rtol=1e-12, atol=1e-12)


@BOTH
@pytest.mark.parametrize(
    ("mode", "theirs"), [("zeros", "constant"), ("reflect", "mirror"), ("replicate", "nearest"), ("circular", "wrap")]
)
def test_padding_modes_equal_scipy(which: object, mode: str, theirs: str) -> None:
    random = np.random.default_rng(0)
    X, K = random.normal(size=(6, 7)), random.normal(size=(5, 3))
    Y = which.cross_correlate(  # type: ignore[attr-defined]
        torch.from_numpy(X)[None, None], torch.from_numpy(K)[None, None], padding=(2, 1), padding_mode=mode
    )
    expected = scipy.ndimage.correlate(X, K, mode=theirs)
    np.testing.assert_allclose(Y[0, 0].numpy(), expected, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_channels_add_up_and_stand_side_by_side(C: int, O: int, k: int, seed: int) -> None:  # noqa: E741
    random = torch.Generator().manual_seed(seed)
    X = torch.randn(C, 4, 3, dtype=torch.float64, generator=random)
    K = torch.randn(O, C, k, k, dtype=torch.float64, generator=random)
    expected = F.conv2d(X[None], K)[0]
    for which in (reference, fast):
        assert_close(which.corr2d_multi_in_out(X, K), expected)
        assert_close(which.corr2d_multi_in(X, K[0]), expected[0])
        assert_close(which.corr2d_multi_in_out_1x1(X, K[:, :, :1, :1]), F.conv2d(X[None], K[:, :, :1, :1])[0])


@BOTH
def test_no_images_give_no_outputs(which: object) -> None:
    Y = which.cross_correlate(torch.zeros(0, 2, 5, 5), torch.zeros(3, 2, 3, 3))  # type: ignore[attr-defined]
    assert Y.shape == (0, 3, 3, 3)


@BOTH
def test_no_images_give_no_gradient_to_the_kernel(which: object) -> None:
    X, G = torch.zeros(0, 4, 5, 5), torch.zeros(0, 6, 3, 3)
    dK = which.cross_correlate_kernel_grad(G, X, 3, groups=2)  # type: ignore[attr-defined]
    assert_close(dK, torch.zeros(6, 2, 3, 3))
    assert which.fold(torch.zeros(0, 8, 16), 5, 2).shape == (0, 2, 5, 5)  # type: ignore[attr-defined]


@given(st.integers(3, 7), st.integers(3, 7), st.integers(0, 2**32))
def test_two_small_kernels_are_a_large_one_inside_and_not_on_the_border(H: int, W: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    X = torch.randn(1, 1, H, W, dtype=torch.float64, generator=random)
    A, B = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64, generator=random)
    large = torch.from_numpy(scipy.signal.convolve2d(A[0, 0].numpy(), B[0, 0].numpy()))[None, None]
    assert large.shape == (1, 1, 5, 5)
    for conv in (reference.cross_correlate, fast.cross_correlate):
        stacked, single = conv(conv(X, A, padding=1), B, padding=1), conv(X, large, padding=2)
        difference = (stacked - single).abs()
        assert difference[:, :, 1:-1, 1:-1].max() < 1e-12
        border = difference.clone()
        border[:, :, 1:-1, 1:-1] = 0
        assert border.max() > 1e-6  # the first layer's answers beyond the border were replaced by zeros


@BOTH
@pytest.mark.parametrize(
    "call",
    [
        lambda m, X, K: m.cross_correlate(X, K),
        lambda m, X, K: m.cross_correlate(X, K, padding=1, padding_mode="circular"),
        lambda m, X, K: m.cross_correlate(X, K, padding=((1, 0), (0, 2))),
        lambda m, X, K: m.conv_transpose2d(X, K),
        lambda m, X, K: m.corr2d(X[0, 0], K[0, 0]),
        lambda m, X, K: m.corr2d_multi_in_out(X[0], K),
        lambda m, X, K: m.corr2d_multi_in_out_1x1(X[0], K[:, :, :1, :1]),
        lambda m, X, K: m.cross_correlate_input_grad(X, K, 7),
        lambda m, X, K: m.cross_correlate_kernel_grad(K.transpose(0, 1)[:, :, :2, :2], X[:2], 4),
    ],
    ids=["plain", "circular", "per side", "transpose", "plane", "channels", "1x1", "input grad", "kernel grad"],
)
def test_autocast_unites_dtypes(which: object, call: object) -> None:
    """Images that a layer before has made bfloat16, and weights that have stayed float32."""
    random = torch.Generator().manual_seed(0)
    X, K = torch.randn(2, 2, 5, 5, generator=random).bfloat16(), torch.randn(2, 2, 3, 3, generator=random)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Y = call(which, X, K)  # type: ignore[operator]
    assert_close(Y.float(), call(reference, X.float(), K), rtol=0.03, atol=0.1)  # type: ignore[operator]
    with pytest.raises(TypeError, match="must have the dtype of"):
        call(which, X, K)  # type: ignore[operator]
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError, match="must have the dtype of"):
        call(which, X, K.double())  # type: ignore[operator]


def _differentiable() -> dict[str, tuple[object, tuple[tuple[int, ...], ...]]]:
    some = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    uneven = {"stride": 2, "padding": ((1, 0), (0, 2)), "padding_mode": "reflect"}
    return {
        "corr2d": (ops.corr2d, ((4, 5), (2, 3))),
        "conv2d": (ops.conv2d, ((4, 5), (2, 3))),
        "corr2d_multi_in": (ops.corr2d_multi_in, ((2, 4, 3), (2, 2, 2))),
        "corr2d_multi_in_out": (ops.corr2d_multi_in_out, ((2, 4, 3), (3, 2, 2, 2))),
        "corr2d_multi_in_out_1x1": (ops.corr2d_multi_in_out_1x1, ((2, 2, 3), (3, 2, 1, 1))),
        "cross_correlate": (lambda X, K: ops.cross_correlate(X, K, **some), ((2, 4, 4, 4), (2, 2, 3, 2))),
        "cross_correlate padded": (lambda X, K: ops.cross_correlate(X, K, **uneven), ((1, 2, 3, 4), (2, 2, 2, 2))),
        "conv_transpose2d": (lambda X, K: ops.conv_transpose2d(X, K, **some), ((1, 2, 3, 4), (2, 2, 3, 2))),
        "input_grad": (
            lambda G, K: ops.cross_correlate_input_grad(G, K, (3, 4), **uneven),
            ((1, 2, 2, 3), (2, 2, 2, 2)),
        ),
        "kernel_grad": (lambda G, X: ops.cross_correlate_kernel_grad(G, X, 2, **uneven), ((1, 2, 2, 3), (1, 2, 3, 4))),
        "unfold": (lambda X: ops.unfold(X, 2, stride=2, padding=1), ((1, 2, 3, 3),)),
        "fold": (lambda columns: ops.fold(columns, (3, 3), 2), ((1, 8, 4),)),
        "conv_as_matrix": (lambda K: ops.conv_as_matrix(K, (3, 3), padding=1), ((2, 1, 2, 2),)),
    }


@pytest.mark.parametrize("name", _differentiable())
def test_gradcheck(name: str) -> None:
    function, shapes = _differentiable()[name]
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, generator=random).requires_grad_() for shape in shapes]
    assert gradcheck(function, inputs)
