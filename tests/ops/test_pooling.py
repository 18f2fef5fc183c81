"""Pooling against PyTorch, in values and gradients; ties included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from convscope import ops
from convscope.ops import fast, geometry, reference
from ops.cases import Pool, gradients, poolings

BOTH = pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])
MODES = ("max", "avg", "min", "lp", "softmax")


def in_four_axes(X: torch.Tensor) -> torch.Tensor:
    return X.reshape(*(1,) * (4 - X.ndim), *X.shape)


def by_torch(case: Pool, X: torch.Tensor, mode: str) -> torch.Tensor:
    numbers = {**case.options, "kernel_size": case.size}
    planes = in_four_axes(X)
    if mode == "avg":
        Y = torch.nn.AvgPool2d(**numbers)(planes)
    elif mode == "max":
        Y = torch.nn.MaxPool2d(**numbers)(planes)
    else:
        Y = -torch.nn.MaxPool2d(**numbers)(-planes)
    return Y.reshape(*X.shape[:-2], *Y.shape[-2:])


@given(poolings(), st.sampled_from(["max", "avg", "min"]))
def test_values_and_gradients_equal_torch(case: Pool, mode: str) -> None:
    X = case.X.clone().requires_grad_()
    expected = by_torch(case, X, mode)
    (gradient,) = torch.autograd.grad(expected, X, case.G)
    for which in (reference, fast):
        X = case.X.clone().requires_grad_()
        Y = which.pool2d(X, case.size, mode, **case.options)
        assert_close(Y, expected, **case.tolerance)
        assert_close(gradients(Y, (X,), case.G)[0], gradient, **case.tolerance)


@given(poolings(), st.sampled_from(["lp", "softmax"]), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_the_two_forms_agree_where_torch_has_none(case: Pool, mode: str, number: float) -> None:
    answers = []
    for which in (reference, fast):
        X = case.X.clone().requires_grad_()
        Y = which.pool2d(X, case.size, mode, p=number, temperature=number, **case.options)
        answers.append((Y, *gradients(Y, (X,), case.G)))
    assert_close(answers[0], answers[1], **case.tolerance)
    assert all(torch.isfinite(tensor).all() for tensor in answers[1])


@given(poolings())
def test_output_size_is_the_real_shape(case: Pool) -> None:
    size = geometry.output_size(case.X.shape[-2:], case.size, **case.options)
    assert size == tuple(by_torch(case, case.X, "max").shape[-2:])


@given(poolings(padded=False, ceil_modes=(False,)))
def test_lp_equals_torch_on_whole_windows(case: Pool) -> None:
    planes = in_four_axes(case.X.abs())  # torch takes x^p without the magnitude
    for p in (1.0, 2.0, 3.0):
        expected = F.lp_pool2d(planes, p, case.size, case.options["stride"])
        for which in (reference, fast):
            Y = which.pool2d(case.X, case.size, "lp", p=p, **case.options)
            assert_close(Y.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


@given(poolings())
def test_softmax_lies_between_its_limits(case: Pool) -> None:
    X = case.X.double()
    for which in (reference, fast):
        soft = which.pool2d(X, case.size, "softmax", **case.options)
        largest = which.pool2d(X, case.size, "max", **case.options)
        assert (soft <= largest + 1e-12).all()
        assert (soft >= which.pool2d(X, case.size, "min", **case.options) - 1e-12).all()
        coldest = which.pool2d(X, case.size, "softmax", temperature=1e-9, **case.options)
        assert_close(coldest, largest, rtol=1e-6, atol=1e-6)


@given(poolings(padded=False, ceil_modes=(False,)))
def test_hot_softmax_is_the_mean(case: Pool) -> None:
    X = case.X.double()
    for which in (reference, fast):
        hot = which.pool2d(X, case.size, "softmax", temperature=1e9, **case.options)
        assert_close(hot, which.pool2d(X, case.size, "avg", **case.options), rtol=1e-6, atol=1e-6)


@given(poolings())
def test_positions_and_both_ways_back(case: Pool) -> None:
    X = case.X.clone().requires_grad_()
    planes = in_four_axes(X)
    Y, where = F.max_pool2d(planes, case.size, dilation=1, return_indices=True, **case.options)
    (gradient,) = torch.autograd.grad(Y, X, case.G.reshape(Y.shape))
    for which in (reference, fast):
        values, indices = which.max_pool2d_with_indices(case.X, case.size, **case.options)
        assert_close(values, Y.reshape(case.G.shape))
        assert torch.equal(indices, where.reshape(case.G.shape))
        stashed = which.max_pool2d_backward_stashed(case.G, indices, case.X.shape[-2:])
        recomputed = which.max_pool2d_backward_recomputed(case.G, case.X, case.size, **case.options)
        assert_close(stashed, gradient, **case.tolerance)
        assert torch.equal(recomputed, stashed)


@given(poolings(), st.sampled_from(MODES))
def test_a_global_window_is_one_window(case: Pool, mode: str) -> None:
    answers = []
    for which in (reference, fast):
        X = case.X.clone().requires_grad_()
        Y = which.global_pool2d(X, mode)
        answers.append((Y, *gradients(Y, (X,), torch.ones_like(Y))))
    assert answers[0][0].shape == case.X.shape[:-2]
    assert_close(answers[0], answers[1], **case.tolerance)
    axes = (-2, -1)
    if mode in ("max", "avg", "min"):
        expected = {"max": case.X.amax(axes), "avg": case.X.mean(axes), "min": case.X.amin(axes)}[mode]
        assert_close(answers[1][0], expected, **case.tolerance)


@BOTH
def test_the_largest_gets_the_gradient(which: object) -> None:
    X = torch.arange(16.0).reshape(4, 4)
    _, indices = which.max_pool2d_with_indices(X, 2, stride=2)  # type: ignore[attr-defined]
    assert indices.tolist() == [[5, 7], [13, 15]]
    dX = which.max_pool2d_backward_stashed(torch.ones(2, 2), indices, (4, 4))  # type: ignore[attr-defined]
    assert dX.flatten().nonzero().flatten().tolist() == [5, 7, 13, 15]
    assert dX.sum() == 4


@BOTH
def test_of_equals_the_first_gets_it_and_only_once(which: object) -> None:
    X, G = torch.tensor([[1.0, 2.0], [2.0, 2.0]]), torch.ones(1, 1)
    dX = which.max_pool2d_backward_recomputed(G, X, 2)  # type: ignore[attr-defined]
    assert dX.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode: str) -> None:
    random = torch.Generator().manual_seed(0)
    X = torch.randn(1, 2, 5, 4, dtype=torch.float64, generator=random).requires_grad_()
    options = {"stride": (2, 1), "padding": 1, "ceil_mode": True, "p": 3.0, "temperature": 0.5}
    assert gradcheck(lambda X: ops.pool2d(X, (3, 2), mode, **options), (X,))
    assert gradcheck(lambda X: ops.global_pool2d(X, mode, p=3.0, temperature=0.5), (X,))


def test_gradcheck_of_the_positions_and_of_the_ways_back() -> None:
    random = torch.Generator().manual_seed(0)
    X = torch.randn(2, 5, 4, dtype=torch.float64, generator=random).requires_grad_()
    assert gradcheck(lambda X: ops.max_pool2d_with_indices(X, 2, stride=2)[0], (X,))
    _, indices = ops.max_pool2d_with_indices(X, 2, stride=2)
    G = torch.randn(2, 2, 2, dtype=torch.float64, generator=random).requires_grad_()
    assert gradcheck(lambda G: ops.max_pool2d_backward_stashed(G, indices, (5, 4)), (G,))
    assert gradcheck(lambda G: ops.max_pool2d_backward_recomputed(G, X.detach(), 2, stride=2), (G,))


@BOTH
def test_minus_infinity_weighs_nothing(which: object) -> None:
    """A mask of -inf leaves the weighted mean of the rest, and every gradient finite."""
    X = torch.tensor([[1.0, -torch.inf], [3.0, -torch.inf]]).requires_grad_()
    weights = torch.tensor([1.0, 3.0]).softmax(0)
    expected = (torch.tensor([1.0, 3.0]) * weights).sum()
    for Y in (which.pool2d(X, 2, "softmax"), which.global_pool2d(X, "softmax")):  # type: ignore[attr-defined]
        assert_close(Y.squeeze(), expected)
        (dX,) = torch.autograd.grad(Y.sum(), X)
        assert_close(dX[:, 0], weights * (1 + torch.tensor([1.0, 3.0]) - expected))
        assert not dX[:, 1].any()


@BOTH
def test_no_temperature_is_too_low(which: object) -> None:
    X = torch.tensor([[3e38, 1.0], [2.0, 0.0]])
    assert which.pool2d(X, 2, "softmax", temperature=1e-30).item() == X.max()  # type: ignore[attr-defined]


@BOTH
@pytest.mark.parametrize("mode", MODES)
def test_a_window_with_nan_gives_nan(which: object, mode: str) -> None:
    X = torch.tensor([[1.0, torch.nan, 0.0, 2.0]] * 2)
    Y = which.pool2d(X, 2, mode, stride=2)  # type: ignore[attr-defined]
    assert Y.isnan().tolist() == [[True, False]]


@BOTH
def test_nan_is_the_largest_and_infinity_an_ordinary_number(which: object) -> None:
    nan, low = torch.nan, -torch.inf
    X = torch.tensor([[1.0, 9.0, low, low], [nan, 2.0, low, low]])
    Y, indices = which.max_pool2d_with_indices(X, 2, stride=2)  # type: ignore[attr-defined]
    assert Y[0, 0].isnan()
    assert Y[0, 1] == low
    assert indices.tolist() == [[4, 2]]
    _, padded = which.max_pool2d_with_indices(X[:, 2:], 2, padding=1)  # type: ignore[attr-defined]
    assert padded.tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]  # never the padding


def test_channels_last_stays_channels_last() -> None:
    X = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    assert ops.pool2d(X, 2, "max").is_contiguous(memory_format=torch.channels_last)
