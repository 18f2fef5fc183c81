"""Random convolutions and poolings whose numbers fit each other, small enough for loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convscope.ops import geometry

TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float64: {"rtol": 1e-11, "atol": 1e-11},
}


def gradients(Y: Tensor, inputs: tuple[Tensor, ...], G: Tensor) -> tuple[Tensor, ...]:
    """Of the inputs. Loops over no images touch nothing, which autograd calls an error and is a gradient of zero."""
    if not Y.requires_grad and not Y.numel():
        return tuple(torch.zeros_like(value) for value in inputs)
    return torch.autograd.grad(Y, inputs, G)


@dataclass(frozen=True)
class Conv:
    X: Tensor
    K: Tensor
    options: dict[str, Any]  # of cross_correlate
    G: Tensor  # a gradient of the output

    @property
    def tolerance(self) -> dict[str, float]:
        return TOLERANCE[self.X.dtype]

    @property
    def input_size(self) -> tuple[int, int]:
        return self.X.shape[2], self.X.shape[3]

    @property
    def kernel_size(self) -> tuple[int, int]:
        return self.K.shape[2], self.K.shape[3]

    def by_torch(self, X: Tensor, K: Tensor) -> Tensor:
        """Pad on all four sides, then the plainest convolution that PyTorch has."""
        (top, bottom), (left, right) = self.options["padding"]
        mode = self.options["padding_mode"]
        Z = F.pad(X, (left, right, top, bottom), mode="constant" if mode == "zeros" else mode)
        return F.conv2d(Z, K, None, self.options["stride"], 0, self.options["dilation"], self.options["groups"])

    def torch_gradients(self) -> tuple[Tensor, Tensor]:
        X, K = self.X.clone().requires_grad_(), self.K.clone().requires_grad_()
        return torch.autograd.grad(self.by_torch(X, K), (X, K), self.G)


@st.composite
def convolutions(
    draw: st.DrawFn, *, symmetric: bool = False, padding_modes: tuple[str, ...] | None = None, stride: int = 3
) -> Conv:
    """Any ``cross_correlate``; ``symmetric`` keeps to what a transposed convolution can undo."""
    mode = draw(st.sampled_from(padding_modes or ("zeros", "reflect", "replicate", "circular")))
    sizes, paddings, kernels, strides, dilations = [], [], [], [], []
    for _ in range(2):
        length = draw(st.integers(1, 5))
        most = min(2, {"reflect": length - 1, "circular": length}.get(mode, 2))
        before = draw(st.integers(0, most))
        after = before if symmetric else draw(st.integers(0, most))
        dilation = draw(st.integers(1, 3))
        taps = draw(st.integers(1, min(3, (before + length + after - 1) // dilation + 1)))
        sizes.append(length)
        paddings.append((before, after))
        dilations.append(dilation)
        kernels.append(taps)
        strides.append(draw(st.integers(1, stride)))
    groups = draw(st.integers(1, 3))
    seen = draw(st.integers(1, 2))
    N, O = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2))  # noqa: E741
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    X = torch.randn(N, groups * seen, *sizes, dtype=dtype, generator=random)
    K = torch.randn(O, seen, *kernels, dtype=dtype, generator=random)
    options = {
        "stride": tuple(strides),
        "padding": tuple(paddings),
        "dilation": tuple(dilations),
        "groups": groups,
        "padding_mode": mode,
    }
    shape = geometry.output_size(
        tuple(sizes), tuple(kernels), stride=tuple(strides), padding=tuple(paddings), dilation=tuple(dilations)
    )
    return Conv(X, K, options, torch.randn(N, O, *shape, dtype=dtype, generator=random))


@dataclass(frozen=True)
class Pool:
    X: Tensor
    size: tuple[int, int]
    options: dict[str, Any]  # of pool2d
    G: Tensor

    @property
    def tolerance(self) -> dict[str, float]:
        return TOLERANCE[self.X.dtype]


@st.composite
def poolings(draw: st.DrawFn, *, padded: bool = True, ceil_modes: tuple[bool, ...] = (False, True)) -> Pool:
    """Any ``pool2d``, on smooth numbers or on few different ones, where windows have ties."""
    sizes, windows, strides, paddings = [], [], [], []
    for _ in range(2):
        length, window = draw(st.integers(1, 6)), draw(st.integers(1, 4))
        padding = draw(st.integers(0, window // 2)) if padded else 0
        sizes.append(max(length, window - 2 * padding))
        windows.append(window)
        strides.append(draw(st.integers(1, 4)))
        paddings.append(padding)
    ceil_mode = draw(st.sampled_from(ceil_modes))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    lead = draw(st.sampled_from([(), (2,), (2, 2), (0, 2)]))
    X = torch.randn(*lead, *sizes, dtype=dtype, generator=random)
    if draw(st.booleans()):
        X = X.round()
    options = {"stride": tuple(strides), "padding": tuple(paddings), "ceil_mode": ceil_mode}
    shape = geometry.output_size(tuple(sizes), tuple(windows), **options)
    return Pool(X, tuple(windows), options, torch.randn(*lead, *shape, dtype=dtype, generator=random))
