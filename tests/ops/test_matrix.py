"""A convolution is a matrix, and what its windows hold can be written down as columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F
from torch.testing import assert_close

from convscope.ops import fast, geometry, reference
from ops.cases import Conv, convolutions

BOTH = pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])


@given(convolutions())
def test_the_matrix_times_the_image_is_the_convolution(case: Conv) -> None:
    expected = case.by_torch(case.X, case.K)
    for which in (reference, fast):
        matrix = which.conv_as_matrix(case.K, case.input_size, **case.options)
        assert_close((case.X.flatten(1) @ matrix.T).reshape(expected.shape), expected, **case.tolerance)


@given(convolutions(symmetric=True, padding_modes=("zeros",)))
def test_columns_equal_torch_and_turn_a_convolution_into_a_product(case: Conv) -> None:
    (top, _), (left, _) = case.options["padding"]
    options = {"stride": case.options["stride"], "padding": (top, left), "dilation": case.options["dilation"]}
    kernel = torch.ones(2, case.X.shape[1], *case.kernel_size, dtype=case.X.dtype).cumsum(-1).cumsum(1)
    columns = F.unfold(case.X, case.kernel_size, **options)
    for which in (reference, fast):
        assert_close(which.unfold(case.X, case.kernel_size, **options), columns)
        product = kernel.flatten(1) @ columns  # O,Ckk times N,Ckk,L
        assert_close(product, which.cross_correlate(case.X, kernel, **options).flatten(2), **case.tolerance)
        back = F.fold(columns, case.input_size, case.kernel_size, **options)
        assert_close(which.fold(columns, case.input_size, case.kernel_size, **options), back, **case.tolerance)


@given(convolutions(symmetric=True, padding_modes=("zeros",)))
def test_folding_back_counts_the_windows_that_hold_a_pixel(case: Conv) -> None:
    (top, _), (left, _) = case.options["padding"]
    options = {"stride": case.options["stride"], "padding": (top, left), "dilation": case.options["dilation"]}
    size = case.kernel_size
    windows = geometry.output_size(case.input_size, size, **options)
    hits = torch.zeros(case.input_size)
    for i in range(windows[0]):
        for j in range(windows[1]):
            for a in range(size[0]):
                for b in range(size[1]):
                    r = i * options["stride"][0] + a * options["dilation"][0] - top
                    s = j * options["stride"][1] + b * options["dilation"][1] - left
                    if 0 <= r < case.input_size[0] and 0 <= s < case.input_size[1]:
                        hits[r, s] += 1
    ones = torch.ones(1, 2, *case.input_size)
    for which in (reference, fast):
        counts = which.fold(which.unfold(ones, size, **options), case.input_size, size, **options)
        assert torch.equal(counts, hits.expand(1, 2, -1, -1))


@BOTH
def test_the_matrix_is_doubly_block_toeplitz(which: object) -> None:
    K = torch.arange(1.0, 7.0).reshape(2, 3)
    matrix = which.conv_as_matrix(K, (4, 5)).reshape(3, 3, 4, 5)  # type: ignore[attr-defined]
    for i in range(3):
        for j in range(3):
            expected = torch.zeros(4, 5)
            expected[i : i + 2, j : j + 3] = K
            assert torch.equal(matrix[i, j], expected)


@BOTH
def test_circular_padding_makes_it_doubly_block_circulant(which: object) -> None:
    K = torch.arange(1.0, 7.0).reshape(2, 3)
    matrix = which.conv_as_matrix(  # type: ignore[attr-defined]
        K, (4, 5), padding=geometry.same_padding((2, 3)), padding_mode="circular"
    )
    first = matrix.reshape(4, 5, 4, 5)[0, 0]
    for i in range(4):
        for j in range(5):
            assert torch.equal(matrix.reshape(4, 5, 4, 5)[i, j], first.roll((i, j), (0, 1)))
    # A circulant matrix is diagonal in the basis of waves: its eigenvalues are the kernel's Fourier transform.
    eigenvalues = torch.linalg.eigvals(matrix.double())
    transform = torch.fft.fft2(first.double()).flatten()
    distance = (eigenvalues[:, None] - transform.conj()[None]).abs()
    assert distance.min(0).values.max() < 1e-10
    assert distance.min(1).values.max() < 1e-10


@BOTH
def test_groups_make_it_block_diagonal(which: object) -> None:
    matrix = which.conv_as_matrix(torch.ones(4, 1, 2, 2), (3, 3), groups=2)  # type: ignore[attr-defined]
    outputs, pixels = 2 * 4, 9
    assert matrix.shape == (2 * outputs, 2 * pixels)
    assert not matrix[:outputs, pixels:].any()
    assert not matrix[outputs:, :pixels].any()
    assert torch.equal(matrix[:outputs, :pixels], matrix[outputs:, pixels:])
    assert matrix[:outputs, :pixels].sum() == 8 * 4
