"""What the book's chapter on convolutions and its readers' notebooks print, to the last digit.

Source:
    Zhang et al., "Dive into Deep Learning", sections 7.2 to 7.5, and two notebooks that follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from convscope import ops
from convscope.ops import fast, geometry, reference

BOTH = pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])

COUNT = torch.arange(9.0).reshape(3, 3)
KERNEL = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
DIFFERENCE = torch.tensor([[1.0, -1.0]])
TWO = torch.stack([COUNT, COUNT + 1])  # C,H,W
TWO_KERNELS = torch.stack([KERNEL, KERNEL + 1])
SIXTEEN = torch.arange(16.0).reshape(1, 1, 4, 4)


def edges() -> Tensor:
    """A white image with a black band."""
    image = torch.ones(6, 8)
    image[:, 2:6] = 0
    return image


@BOTH
def test_cross_correlation(which: object) -> None:
    corr2d = which.corr2d  # type: ignore[attr-defined]
    assert corr2d(COUNT, KERNEL).tolist() == [[19, 25], [37, 43]]
    assert corr2d(COUNT, DIFFERENCE).tolist() == [[-1, -1]] * 3
    assert corr2d(COUNT.t(), DIFFERENCE).tolist() == [[-3, -3]] * 3
    for height, width in ((3, 3), (5, 4), (8, 6)):
        for kernel in ((1, 1), (2, 3), (3, 2)):
            Y = corr2d(torch.ones(height, width), torch.ones(kernel))
            assert Y.shape == (height - kernel[0] + 1, width - kernel[1] + 1)


@BOTH
def test_edges(which: object) -> None:
    assert edges().tolist() == [[1, 1, 0, 0, 0, 0, 1, 1]] * 6
    found = which.corr2d(edges(), DIFFERENCE)  # type: ignore[attr-defined]
    assert found.tolist() == [[0, 1, 0, 0, 0, -1, 0]] * 6
    across = which.corr2d(edges().t(), DIFFERENCE)  # type: ignore[attr-defined]
    assert across.tolist() == [[0] * 5] * 8  # one of the notebooks shows a ninth row, which is not there


@BOTH
def test_convolution_turns_the_kernel(which: object) -> None:
    assert which.conv2d(COUNT, KERNEL).tolist() == [[5, 11], [23, 29]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])
def test_a_layer_made_of_it_can_be_trained(which: object) -> None:
    class Conv2D(nn.Module):
        def __init__(self, kernel_size: tuple[int, int]) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(kernel_size))
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, X: Tensor) -> Tensor:
            return which.corr2d(X, self.weight) + self.bias  # type: ignore[attr-defined]

    torch.manual_seed(0)
    layer, target = Conv2D((1, 2)), ops.corr2d(edges(), DIFFERENCE)
    K, bias = layer.weight.detach().clone().requires_grad_(), torch.zeros(1, requires_grad=True)
    ((layer(edges()) - target) ** 2).sum().backward()
    theirs = nn.functional.conv2d(edges()[None], K[None, None], bias)[0]
    ((theirs - target) ** 2).sum().backward()
    torch.testing.assert_close(layer.weight.grad, K.grad)
    torch.testing.assert_close(layer.bias.grad, bias.grad)

    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        loss = ((layer(edges()) - target) ** 2).sum()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-6
    torch.testing.assert_close(layer.weight.detach(), DIFFERENCE, atol=1e-3, rtol=0)


@dataclass
class LearnedKernel:
    """Learn ``DIFFERENCE`` from its answer by gradient descent on the sum of squared errors."""

    K: Tensor  # 1,1,1,2
    lr: float

    def steps(self, count: int, which: object = fast) -> list[float]:
        """The loss before each step."""
        X = edges()[None, None]
        target = ops.cross_correlate(X, DIFFERENCE[None, None])
        losses = []
        for _ in range(count):
            K = self.K.requires_grad_()
            loss = ((which.cross_correlate(X, K) - target) ** 2).sum()  # type: ignore[attr-defined]
            (gradient,) = torch.autograd.grad(loss, K)
            self.K = (K - self.lr * gradient).detach()
            losses.append(loss.item())
        return losses

    @property
    def error(self) -> Tensor:
        """How far the kernel is from the true one, along the two directions of the quadratic loss."""
        a, b = (self.K - DIFFERENCE).flatten().double()
        return torch.stack([a + b, a - b])


@BOTH
@pytest.mark.parametrize(
    ("start", "printed", "learned"),
    [
        ((0.43266, -0.64099), ["1.471", "0.348", "0.100", "0.034", "0.013"], [0.9835, -1.0058]),
        ((0.47249, 0.63784), ["17.597", "5.814", "2.148", "0.841", "0.338"], [1.0471, -0.9279]),
    ],
)
def test_learning_a_kernel(which: object, start: tuple[float, float], printed: list[str], learned: list[float]) -> None:
    """Each start is the one that the printed losses give away; every printed digit then follows."""
    run = LearnedKernel(torch.tensor(start).reshape(1, 1, 1, 2), lr=3e-2)
    losses = run.steps(10, which)
    assert [f"{loss:.3f}" for loss in losses[1::2]] == printed
    assert [round(weight, 4) for weight in run.K.flatten().tolist()] == learned


def test_each_step_multiplies_the_error_by_two_known_factors() -> None:
    """The loss is a quadratic bowl with curvatures 30 and 6: a step multiplies errors by 1 - 60 lr and 1 - 12 lr."""
    columns = ops.unfold(edges()[None, None], (1, 2))[0].double()
    curvatures = torch.linalg.eigvalsh(columns @ columns.T)
    assert curvatures.tolist() == pytest.approx([6, 30])
    for lr, expected in ((0.03, [-0.8, 0.64]), (1 / 36, [-2 / 3, 2 / 3]), (0.01, [0.4, 0.88])):
        run = LearnedKernel(torch.tensor([0.4, 0.7]).reshape(1, 1, 1, 2), lr=lr)
        before = run.error
        run.steps(1)
        assert (run.error / before).tolist() == pytest.approx(expected, abs=1e-5)


def test_it_diverges_above_one_thirtieth_and_is_fastest_at_one_thirty_sixth() -> None:
    def after(lr: float, steps: int = 60) -> float:
        run = LearnedKernel(torch.tensor([0.4, 0.7]).reshape(1, 1, 1, 2), lr=lr)
        run.steps(steps)
        return run.error.norm().item()

    start = LearnedKernel(torch.tensor([0.4, 0.7]).reshape(1, 1, 1, 2), lr=0.0).error.norm().item()
    assert after(0.034) > 4 * start
    assert after(1 / 30 * 0.99) < start
    assert after(1 / 30 * 1.01) > start
    rates = [n / 1000 for n in (20, 22, 24, 26, 27, 29, 30, 31, 32, 33)]
    best = after(1 / 36, steps=15)
    assert all(after(lr, steps=15) > best for lr in rates)
    assert best / start == pytest.approx((2 / 3) ** 15, rel=1e-2)


@BOTH
@pytest.mark.parametrize(
    ("kernel_size", "numbers", "size"),
    [
        ((3, 3), {"padding": 1}, (8, 8)),
        ((5, 3), {"padding": (2, 1)}, (8, 8)),
        ((3, 3), {"padding": 1, "stride": 2}, (4, 4)),
        ((3, 5), {"padding": (0, 1), "stride": (3, 4)}, (2, 2)),
    ],
)
def test_padding_and_stride(
    which: object, kernel_size: tuple[int, int], numbers: dict[str, int], size: tuple[int, int]
) -> None:
    Y = which.cross_correlate(torch.rand(1, 1, 8, 8), torch.rand(1, 1, *kernel_size), **numbers)  # type: ignore[attr-defined]
    assert Y.shape[2:] == size == geometry.output_size((8, 8), kernel_size, **numbers)


@BOTH
def test_the_padded_example(which: object) -> None:
    Y = which.cross_correlate(COUNT[None, None], KERNEL[None, None], padding=1)[0, 0]  # type: ignore[attr-defined]
    assert Y.tolist() == [[0, 3, 8, 4], [9, 19, 25, 10], [21, 37, 43, 16], [6, 7, 8, 0]]


@BOTH
def test_channels(which: object) -> None:
    assert which.corr2d_multi_in(TWO, TWO_KERNELS).tolist() == [[56, 72], [104, 120]]  # type: ignore[attr-defined]
    K = torch.stack([TWO_KERNELS, TWO_KERNELS + 1, TWO_KERNELS + 2])
    assert K.shape == (3, 2, 2, 2)
    assert which.corr2d_multi_in_out(TWO, K).tolist() == [  # type: ignore[attr-defined]
        [[56, 72], [104, 120]],
        [[76, 100], [148, 172]],
        [[96, 128], [192, 224]],
    ]


@BOTH
def test_a_kernel_of_one_pixel_is_a_matrix_product(which: object) -> None:
    torch.manual_seed(0)
    X, K = torch.normal(0, 1, (3, 3, 3)), torch.normal(0, 1, (2, 3, 1, 1))
    product = which.corr2d_multi_in_out_1x1(X, K)  # type: ignore[attr-defined]
    assert float((product - which.corr2d_multi_in_out(X, K)).abs().sum()) < 1e-6  # type: ignore[attr-defined]
    expected = torch.einsum("oc,chw->ohw", K[:, :, 0, 0].double(), X.double())
    torch.testing.assert_close(product.double(), expected, atol=1e-6, rtol=0)


@BOTH
def test_pooling(which: object) -> None:
    pool2d = which.pool2d  # type: ignore[attr-defined]
    assert pool2d(COUNT, (2, 2)).tolist() == pool2d(COUNT, (2, 2), "max").tolist() == [[4, 5], [7, 8]]
    assert pool2d(COUNT, (2, 2), "avg").tolist() == [[2, 3], [5, 6]]
    assert pool2d(SIXTEEN, 3, stride=3).tolist() == [[[[10]]]]
    assert pool2d(SIXTEEN, 3, padding=1, stride=2).tolist() == [[[[5, 7], [13, 15]]]]
    assert pool2d(SIXTEEN, (2, 3), stride=(2, 3), padding=(0, 1)).tolist() == [[[[5, 7], [13, 15]]]]
    both = torch.cat((SIXTEEN, SIXTEEN + 1), 1)
    assert pool2d(both, 3, padding=1, stride=2).tolist() == [[[[5, 7], [13, 15]], [[6, 8], [14, 16]]]]


def test_two_small_kernels_see_the_whole_image() -> None:
    two = geometry.receptive_field(2).then(geometry.receptive_field(2))
    assert two.region(0) == (0, 2)
    X = COUNT.clone()[None, None].requires_grad_()
    Y = ops.cross_correlate(ops.cross_correlate(X, KERNEL[None, None] + 1), KERNEL[None, None] + 1)
    assert Y.shape == (1, 1, 1, 1)
    (gradient,) = torch.autograd.grad(Y.sum(), X)
    assert int((gradient != 0).sum()) == 9
