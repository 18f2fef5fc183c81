"""Two modules, one set of names and signatures."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from convscope import ops
from convscope.ops import fast, reference


def test_both_offer_the_same_names_and_the_package_offers_the_fast_ones() -> None:
    assert sorted(reference.__all__) == sorted(fast.__all__)
    assert set(fast.__all__) | {"fast", "filters", "geometry", "reference"} == set(ops.__all__)
    for name in fast.__all__:
        assert getattr(ops, name) is getattr(fast, name)
        assert getattr(reference, name) is not getattr(fast, name)


@pytest.mark.parametrize("name", fast.__all__)
def test_signatures_are_the_same(name: str) -> None:
    assert inspect.signature(getattr(reference, name)) == inspect.signature(getattr(fast, name))


@pytest.mark.parametrize("name", fast.__all__)
def test_every_operator_explains_itself(name: str) -> None:
    text = inspect.getdoc(getattr(fast, name)) or ""
    for part in ("Args:", "Returns:", "Raises:", "Example:"):
        assert part in text
    assert inspect.getdoc(getattr(reference, name))


def _all(device: str, dtype: torch.dtype) -> list[Tensor]:
    """Every fast operator once."""
    X = torch.linspace(-1, 1, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6).to(device, dtype)
    K = torch.linspace(-1, 1, 4 * 2 * 3 * 3).reshape(4, 2, 3, 3).to(device, dtype)
    one, kernel = X[0, 0], K[0, 0]
    options = {"stride": 2, "padding": ((1, 2), (0, 1)), "groups": 2, "padding_mode": "reflect"}
    Y = ops.cross_correlate(X, K, **options)
    largest, indices = ops.max_pool2d_with_indices(X, 2, stride=2)
    columns = ops.unfold(X, 3)
    return [
        *(Y, ops.corr2d(one, kernel), ops.conv2d(one, kernel), ops.corr2d_multi_in(X[0, :2], K[0])),
        *(ops.corr2d_multi_in_out(X[0, :2], K), ops.corr2d_multi_in_out_1x1(X[0, :2], K[:, :, :1, :1])),
        *(ops.conv_transpose2d(X, K, stride=2, groups=2), ops.conv_as_matrix(kernel, (5, 5))),
        *(ops.cross_correlate_input_grad(Y, K, 6, **options), ops.cross_correlate_kernel_grad(Y, X, 3, **options)),
        *(columns, ops.fold(columns, (6, 6), 3), largest, ops.max_pool2d_backward_stashed(largest, indices, 6)),
        ops.max_pool2d_backward_recomputed(largest, X, 2, stride=2),
        *(ops.pool2d(X, 3, mode, padding=1) for mode in ("max", "avg", "min", "lp", "softmax")),
        *(ops.global_pool2d(X, mode) for mode in ("max", "avg", "min", "lp", "softmax")),
    ]


DEVICES = ["meta", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_results_stay_on_their_device_and_keep_their_type(device: str) -> None:
    for here, there in zip(_all("cpu", torch.float64), _all(device, torch.float64), strict=True):
        assert there.device.type == device
        assert (there.shape, there.dtype) == (here.shape, here.dtype)
        if device != "meta":
            torch.testing.assert_close(there.cpu(), here)


def test_half_precision_is_near() -> None:
    for exact, rough in zip(_all("cpu", torch.float32), _all("cpu", torch.bfloat16), strict=True):
        assert rough.dtype == torch.bfloat16
        torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.2)


def test_a_network_of_operators_can_be_exported() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, 18).reshape(2, 1, 3, 3))

        def forward(self, X: Tensor) -> Tensor:
            Y = ops.cross_correlate(X, self.weight, padding=1, padding_mode="circular")
            return ops.global_pool2d(ops.pool2d(Y, 2, "softmax", stride=2), "max")

    net, X = Net(), torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    torch.testing.assert_close(torch.export.export(net, (X,)).module()(X), net(X))


def test_sizes_may_stay_open_in_an_exported_network() -> None:
    """While exporting, sizes are symbols; a border that is padded by hand and a global window must take them."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, 18).reshape(2, 1, 3, 3))

        def forward(self, X: Tensor) -> Tensor:
            Y = ops.cross_correlate(X, self.weight, padding=1, padding_mode="circular")
            Y = ops.cross_correlate(Y, self.weight, padding=1, groups=2)
            return ops.global_pool2d(ops.pool2d(ops.pool2d(Y, 2, stride=2), 2, "softmax"), "avg")

    net, X = Net(), torch.linspace(0, 1, 128).reshape(2, 1, 8, 8)
    free = torch.export.Dim.AUTO
    program = torch.export.export(net, (X,), dynamic_shapes={"X": {0: free, 2: free, 3: free}}).module()
    for shape in ((2, 1, 8, 8), (5, 1, 10, 12)):
        X = torch.linspace(0, 1, shape[0] * shape[2] * shape[3]).reshape(shape)
        torch.testing.assert_close(program(X), net(X))
