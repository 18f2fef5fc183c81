"""What is wrong, what was expected, what came: the same sentence from both forms of an operator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.ops import fast, filters, geometry, reference

X, K = torch.ones(2, 4, 6, 6), torch.ones(4, 4, 3, 3)
PLANE, SMALL, IMAGE = torch.ones(6, 6), torch.ones(3, 3), torch.ones(4, 6, 6)
G = torch.ones(2, 4, 4, 4)
POSITIONS = torch.zeros(3, 3, dtype=torch.int64)

Call = Callable[..., object]
BAD: dict[str, tuple[Call, type[Exception], str]] = {
    # rank and dtype
    "integers": (
        lambda m: m.corr2d(PLANE.long(), SMALL),
        TypeError,
        r"X must be a floating-point tensor, got torch.int64; convert it with X.float\(\)",
    ),
    "integer kernel": (lambda m: m.conv2d(PLANE, SMALL.int()), TypeError, r"K must be a floating.* got torch.int32"),
    "both integers": (lambda m: m.cross_correlate(X.int(), K.int()), TypeError, r"X must be a floating.*X.float\(\)"),
    "integer pooling": (
        lambda m: m.pool2d(PLANE.long(), 2, "avg"),
        TypeError,
        r"X must be a floating.* got torch.int64",
    ),
    "integer channels": (lambda m: m.corr2d_multi_in(IMAGE.long(), K[0]), TypeError, "X must be a floating"),
    "integer 1x1": (lambda m: m.corr2d_multi_in_out_1x1(IMAGE.long(), K[:, :, :1, :1]), TypeError, "X must be a float"),
    "integer transpose": (lambda m: m.conv_transpose2d(X.int(), K.int()), TypeError, "X must be a floating"),
    "integer windows": (lambda m: m.unfold(X.int(), 2), TypeError, "X must be a floating"),
    "integer columns": (lambda m: m.fold(torch.ones(1, 4, 4).int(), 3, 2), TypeError, "columns must be a floating"),
    "integer matrix": (lambda m: m.conv_as_matrix(SMALL.int(), 5), TypeError, "K must be a floating"),
    "a list": (lambda m: m.corr2d([[1.0]], SMALL), TypeError, r"X must be a tensor \(H, W\), got list"),
    "a list for K": (lambda m: m.conv2d(PLANE, [[1.0]]), TypeError, r"K must be a tensor \(kh, kw\), got list"),
    "an array": (
        lambda m: m.cross_correlate(X.numpy(), K),
        TypeError,
        r"X must be a tensor \(N, C, H, W\), got ndarray",
    ),
    "a pooled list": (lambda m: m.pool2d([[1.0]], 1), TypeError, r"X must be a tensor .*, got list"),
    "two dtypes": (
        lambda m: m.cross_correlate(X, K.double()),
        TypeError,
        r"K must have the dtype of X, torch.float32, got torch.float64; convert it with K.to\(X.dtype\)",
    ),
    "two dtypes, G": (
        lambda m: m.cross_correlate_kernel_grad(G.double(), X, 3),
        TypeError,
        "X must have the dtype of G",
    ),
    "rank of X": (lambda m: m.corr2d(IMAGE, SMALL), ValueError, r"X must have 2 axes \(H, W\), got 3: \(4, 6, 6\)"),
    "rank of K": (lambda m: m.corr2d(PLANE, K), ValueError, r"K must have 2 axes \(kh, kw\), got 4: \(4, 4, 3, 3\)"),
    "no batch": (lambda m: m.cross_correlate(IMAGE, K), ValueError, r"X must have 4 axes \(N, C, H, W\), got 3"),
    "rank of K, batch": (
        lambda m: m.cross_correlate(X, K[0]),
        ValueError,
        r"K must have 4 axes \(O, C/groups, kh, kw\)",
    ),
    "rank of a pooling": (
        lambda m: m.pool2d(torch.ones(5), 2),
        ValueError,
        r"X must be \(H, W\) or .* got 1 axes: \(5,\)",
    ),
    "rank of columns": (
        lambda m: m.fold(PLANE, 3, 2),
        ValueError,
        r"columns must have 3 axes \(N, C kh kw, L\), got 2",
    ),
    # channels and groups
    "channels": (
        lambda m: m.cross_correlate(X, K[:, :3]),
        ValueError,
        r"K must have 4 input channels for X with 4 channels in 1 group\(s\), got 3: X is \(2, 4, 6, 6\), K is",
    ),
    "channels, one image": (
        lambda m: m.corr2d_multi_in(IMAGE, K[0, :2]),
        ValueError,
        "as many input channels as X, 4, got 2",
    ),
    "channels, many out": (
        lambda m: m.corr2d_multi_in_out(IMAGE, K[:, :1]),
        ValueError,
        "input channels as X, 4, got 1",
    ),
    "channels, 1x1": (
        lambda m: m.corr2d_multi_in_out_1x1(IMAGE, K[:, :2, :1, :1]),
        ValueError,
        "channels as X, 4, got 2",
    ),
    "not 1x1": (lambda m: m.corr2d_multi_in_out_1x1(IMAGE, K), ValueError, r"K must have shape \(4, 4, 1, 1\), got"),
    "channels, transpose": (
        lambda m: m.conv_transpose2d(X[:, :2], K),
        ValueError,
        "channels as K has outputs, 4, got 2",
    ),
    "groups and K": (
        lambda m: m.cross_correlate(X, K[:, :1], groups=3),
        ValueError,
        "groups must divide the output channels of K, 4, got 3",
    ),
    "groups and X": (
        lambda m: m.cross_correlate(X, torch.ones(6, 1, 3, 3), groups=3),
        ValueError,
        "groups must divide the channels of X, 4, got 3",
    ),
    "groups and G": (
        lambda m: m.cross_correlate_kernel_grad(G, X, 3, groups=3),
        ValueError,
        "groups must divide the channels of X and of G, 4 and 4, got 3",
    ),
    "no groups": (lambda m: m.cross_correlate(X, K, groups=0), ValueError, "groups must be at least 1, got 0"),
    "half a group": (lambda m: m.cross_correlate(X, K, groups=1.5), TypeError, "groups must be an integer, got 1.5"),
    # sizes
    "large kernel": (
        lambda m: m.corr2d(SMALL, PLANE),
        ValueError,
        r"K must fit into the padded input of \(3, 3\) pixels \(H, W\), got a kernel that spans \(6, 6\); add padding",
    ),
    "large dilated kernel": (
        lambda m: m.cross_correlate(X, K, dilation=(1, 4), padding=1),
        ValueError,
        r"padded input of \(8, 8\) pixels .* spans \(3, 9\)",
    ),
    "large window": (lambda m: m.pool2d(PLANE, 7), ValueError, r"size must fit into .*\(6, 6\) pixels.*got \(7, 7\)"),
    "large column": (lambda m: m.unfold(X, 7), ValueError, r"size must fit into .*\(6, 6\) pixels.*spans \(7, 7\)"),
    "empty kernel": (
        lambda m: m.corr2d(PLANE, SMALL[:0]),
        ValueError,
        r"K must not be empty on any axis of \(kh, kw\), got \(0, 3\)",
    ),
    "empty kernel, batch": (lambda m: m.cross_correlate(X, K[..., :0]), ValueError, "K must not be empty on any"),
    "no outputs": (
        lambda m: m.cross_correlate(X, K[:0]),
        ValueError,
        r"K must not be empty on any axis of \(O, C/groups, kh, kw\), got \(0, 4, 3, 3\)",
    ),
    "no channels": (
        lambda m: m.cross_correlate(X[:, :0], K[:, :0]),
        ValueError,
        r"X must not be empty on any axis of \(N, C, H, W\) but N, got \(2, 0, 6, 6\)",
    ),
    "no channels, border": (
        lambda m: m.cross_correlate(X[:, :0], K[:, :0], padding=1, padding_mode="circular"),
        ValueError,
        r"X must not be empty on any axis of \(N, C, H, W\) but N, got \(2, 0, 6, 6\)",
    ),
    "no images nor channels": (lambda m: m.cross_correlate(X[:0, :0], K[:, :0]), ValueError, "X must not be empty"),
    "no kernel channels": (lambda m: m.cross_correlate(X, K[:, :0]), ValueError, "K must not be empty on any axis"),
    "no channels, one image": (
        lambda m: m.corr2d_multi_in(IMAGE[:0], K[0, :0]),
        ValueError,
        r"X must not be empty on any axis of \(C, H, W\), got \(0, 6, 6\)",
    ),
    "no channels, many out": (
        lambda m: m.corr2d_multi_in_out(IMAGE[:0], K[:, :0]),
        ValueError,
        "X must not be empty on any axis",
    ),
    "no outputs, many out": (lambda m: m.corr2d_multi_in_out(IMAGE, K[:0]), ValueError, "K must not be empty on any"),
    "no channels, 1x1": (
        lambda m: m.corr2d_multi_in_out_1x1(IMAGE[:0], K[:, :0, :1, :1]),
        ValueError,
        "X must not be empty on any axis",
    ),
    "no outputs, 1x1": (
        lambda m: m.corr2d_multi_in_out_1x1(IMAGE, K[:0, :, :1, :1]),
        ValueError,
        "K must not be empty on any axis",
    ),
    "no channels, transpose": (
        lambda m: m.conv_transpose2d(X[:, :0], K[:0]),
        ValueError,
        "X must not be empty on any axis",
    ),
    "no outputs, transpose": (
        lambda m: m.conv_transpose2d(X, K[:, :0]),
        ValueError,
        "K must not be empty on any axis",
    ),
    "no channels, input gradient": (
        lambda m: m.cross_correlate_input_grad(G, K[:, :0], 6),
        ValueError,
        "K must not be empty on any axis",
    ),
    "no outputs, kernel gradient": (
        lambda m: m.cross_correlate_kernel_grad(G[:, :0], X, 3),
        ValueError,
        r"G must not be empty on any axis of \(N, O, H', W'\) but N, got \(2, 0, 4, 4\)",
    ),
    "no channels, windows": (lambda m: m.unfold(X[:, :0], 2), ValueError, "X must not be empty on any axis"),
    "no columns": (
        lambda m: m.fold(torch.ones(1, 0, 4), 3, 2),
        ValueError,
        r"columns must not be empty .* \(1, 0, 4\)",
    ),
    "no matrix": (lambda m: m.conv_as_matrix(K[:0], 5), ValueError, "K must not be empty on any axis"),
    "no channels to pool": (
        lambda m: m.pool2d(X[:, :0], 2),
        ValueError,
        r"X must not be empty on any axis of \(N, C, H, W\) but N, got \(2, 0, 6, 6\)",
    ),
    "no channels to average": (
        lambda m: m.pool2d(IMAGE[:0], 2, "avg"),
        ValueError,
        r"X must not be empty .* \(C, H, W\)",
    ),
    "no channels to weigh": (lambda m: m.pool2d(X[:, :0], 2, "softmax"), ValueError, "X must not be empty on any"),
    "no channels, everywhere": (lambda m: m.global_pool2d(X[:, :0]), ValueError, "X must not be empty on any axis"),
    "no channels, positions": (
        lambda m: m.max_pool2d_with_indices(X[:, :0], 2),
        ValueError,
        "X must not be empty on any axis",
    ),
    "empty image": (
        lambda m: m.corr2d(PLANE[:0], SMALL),
        ValueError,
        r"X must not be empty on any axis of \(H, W\), got \(0, 6\)",
    ),
    "empty pooling": (
        lambda m: m.pool2d(PLANE[:, :0], 1),
        ValueError,
        r"X must not be empty .* \(H, W\), got \(6, 0\)",
    ),
    "window of nothing": (lambda m: m.pool2d(PLANE, 0), ValueError, "size must be at least 1, got 0"),
    "three sizes": (lambda m: m.pool2d(PLANE, (2, 2, 2)), TypeError, r"size must be an integer or a pair of integers"),
    "no stride": (lambda m: m.cross_correlate(X, K, stride=0), ValueError, "stride must be at least 1, got 0"),
    "half a stride": (
        lambda m: m.cross_correlate(X, K, stride=1.5),
        TypeError,
        r"stride must be an integer or .* got 1.5",
    ),
    "true stride": (lambda m: m.cross_correlate(X, K, stride=True), TypeError, "stride must be an integer .* got True"),
    "no pool stride": (lambda m: m.pool2d(PLANE, 2, stride=0), ValueError, "stride must be at least 1, got 0"),
    "stride of nothing": (
        lambda m: m.pool2d(PLANE, 2, stride=None),
        TypeError,
        r"stride must be an integer or a pair of integers \(H, W\), got None",
    ),
    "average, stride of nothing": (lambda m: m.pool2d(PLANE, 2, "avg", stride=None), TypeError, "stride .* got None"),
    "positions, stride of nothing": (
        lambda m: m.max_pool2d_with_indices(PLANE, 2, stride=None),
        TypeError,
        "stride must be .* got None",
    ),
    "empty stride": (lambda m: m.pool2d(PLANE, 2, stride=()), TypeError, r"stride must be .* got \(\)"),
    "one stride": (lambda m: m.pool2d(PLANE, 2, stride=(1,)), TypeError, r"stride must be .* got \(1,\)"),
    "one stride in a list": (lambda m: m.pool2d(PLANE, 2, stride=[1]), TypeError, r"stride must be .* got \[1\]"),
    "one size": (lambda m: m.pool2d(PLANE, (2,)), TypeError, r"size must be .* got \(2,\)"),
    "one padding": (lambda m: m.pool2d(PLANE, 2, padding=(1,)), TypeError, r"padding must be .* got \(1,\)"),
    "one stride, batch": (lambda m: m.cross_correlate(X, K, stride=(1,)), TypeError, r"stride must be .* got \(1,\)"),
    "one padding, batch": (
        lambda m: m.cross_correlate(X, K, padding=(1,)),
        TypeError,
        r"padding must be .* got \(1,\)",
    ),
    "one dilation": (lambda m: m.cross_correlate(X, K, dilation=[1]), TypeError, r"dilation must be .* got \[1\]"),
    "one extra": (
        lambda m: m.conv_transpose2d(X, K, stride=2, output_padding=(1,)),
        TypeError,
        r"output_padding must be .* got \(1,\)",
    ),
    "groups in a tensor": (
        lambda m: m.cross_correlate(X, K, groups=torch.tensor(1)),
        TypeError,
        r"groups must be an integer, got tensor\(1\)",
    ),
    "stride in a tensor": (
        lambda m: m.pool2d(PLANE, 2, stride=torch.tensor(1)),
        TypeError,
        r"stride must be an integer or .* got tensor\(1\)",
    ),
    "word for ceil_mode": (
        lambda m: m.pool2d(PLANE, 2, ceil_mode="no"),
        TypeError,
        "ceil_mode must be True or False, got 'no'",
    ),
    "number for ceil_mode": (
        lambda m: m.max_pool2d_with_indices(PLANE, 2, ceil_mode=1),
        TypeError,
        "ceil_mode must be True or False, got 1",
    ),
    "no dilation": (
        lambda m: m.cross_correlate(X, K, dilation=(1, 0)),
        ValueError,
        r"dilation must be .* 1, got \(1, 0\)",
    ),
    # padding
    "negative padding": (
        lambda m: m.cross_correlate(X, K, padding=-1),
        ValueError,
        "padding must be at least 0, got -1",
    ),
    "padding by name": (
        lambda m: m.cross_correlate(X, K, padding="same"),
        TypeError,
        r"padding must be an integer, .* got 'same'; see geometry.same_padding",
    ),
    "four paddings": (
        lambda m: m.cross_correlate(X, K, padding=(1, 1, 1, 1)),
        TypeError,
        r"\(\(top, bottom\), \(left, right\)\)",
    ),
    "unknown mode of padding": (
        lambda m: m.cross_correlate(X, K, padding_mode="reflet"),
        ValueError,
        "unknown padding_mode 'reflet'; did you mean 'reflect'",
    ),
    "mode of padding": (
        lambda m: m.cross_correlate(X, K, padding_mode=0),
        TypeError,
        "padding_mode must be one of zeros",
    ),
    "reflecting too far": (
        lambda m: m.cross_correlate(X, K, padding=6, padding_mode="reflect"),
        ValueError,
        "padding may be at most 5 on the H axis with padding_mode 'reflect' and 6 pixels, got 6",
    ),
    "circling too far": (
        lambda m: m.conv_as_matrix(SMALL, (9, 3), padding=(0, 4), padding_mode="circular"),
        ValueError,
        "padding may be at most 3 on the W axis with padding_mode 'circular'",
    ),
    "pool padding": (
        lambda m: m.pool2d(PLANE, 2, padding=2),
        ValueError,
        r"padding must be at most half of size \(2, 2\)",
    ),
    "cut away": (lambda m: m.conv_transpose2d(G[..., :1, :1], K, padding=2), ValueError, r"leaves nothing .* -1 x -1"),
    "output padding": (
        lambda m: m.conv_transpose2d(X, K, stride=2, output_padding=2),
        ValueError,
        r"output_padding must be smaller than stride \(2, 2\) or dilation \(1, 1\), got \(2, 2\)",
    ),
    # modes and numbers of poolings
    "mode": (lambda m: m.pool2d(PLANE, 2, "maxx"), ValueError, "unknown mode 'maxx'; did you mean 'max'"),
    "global mode": (lambda m: m.global_pool2d(X, "mean"), ValueError, "unknown mode 'mean'; expected one of: max, avg"),
    "not a mode": (
        lambda m: m.pool2d(PLANE, 2, None),
        TypeError,
        "mode must be one of max, avg, min, lp, softmax, got None",
    ),
    "p": (lambda m: m.pool2d(PLANE, 2, "lp", p=0), ValueError, "p must be positive, got 0"),
    "temperature": (
        lambda m: m.global_pool2d(X, "softmax", temperature=-1.0),
        ValueError,
        "temperature must be positive",
    ),
    "no p": (lambda m: m.pool2d(PLANE, 2, p=None), TypeError, "p must be a number, got None"),
    "word for p": (lambda m: m.pool2d(PLANE, 2, "lp", p="2"), TypeError, "p must be a number, got '2'"),
    "p that is no number": (lambda m: m.pool2d(PLANE, 2, p=float("nan")), ValueError, "p must be positive, got nan"),
    "no temperature": (
        lambda m: m.global_pool2d(X, "softmax", temperature=None),
        TypeError,
        "temperature must be a number, got None",
    ),
    "unused p": (lambda m: m.pool2d(PLANE, 2, "max", p=-1), ValueError, "p must be positive, got -1"),
    # gradients
    "shape of G": (
        lambda m: m.cross_correlate_input_grad(G, K, (7, 6)),
        ValueError,
        r"G must have shape \(2, 4, 5, 4\), got \(2, 4, 4, 4\)",
    ),
    "shape of G, kernel": (
        lambda m: m.cross_correlate_kernel_grad(G, X, 2),
        ValueError,
        r"G must have shape \(2, 4, 5, 5\)",
    ),
    "shape of G, pooling": (
        lambda m: m.max_pool2d_backward_recomputed(SMALL, PLANE, 2),
        ValueError,
        r"G must have shape \(5, 5\), got \(3, 3\)",
    ),
    "indices": (
        lambda m: m.max_pool2d_backward_stashed(SMALL, SMALL, 6),
        TypeError,
        "indices must be an int64 tensor, got torch.float32",
    ),
    "shape of indices": (
        lambda m: m.max_pool2d_backward_stashed(SMALL, POSITIONS[:2], 6),
        ValueError,
        r"indices must have shape \(3, 3\), got \(2, 3\)",
    ),
    "range of indices": (
        lambda m: m.max_pool2d_backward_stashed(SMALL, POSITIONS + 36, (6, 6)),
        ValueError,
        r"indices must lie in 0..35 for an input of \(6, 6\) pixels \(H, W\), got 36..36",
    ),
    "columns": (
        lambda m: m.fold(torch.ones(1, 5, 4), (3, 3), 2),
        ValueError,
        r"columns must be \(N, a multiple of 4, 4\) for \(2, 2\) windows of \(2, 2\), got \(1, 5, 4\)",
    ),
}


@pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(which: object, name: str) -> None:
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call(which)


@pytest.mark.parametrize("name", BAD)
def test_both_forms_say_the_same(name: str) -> None:
    call, error, _ = BAD[name]
    sentences = []
    for which in (reference, fast):
        with pytest.raises(error) as caught:
            call(which)
        sentences.append(str(caught.value))
    assert sentences[0] == sentences[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: geometry.output_length(4, 5), ValueError, "spans 5 pixels, more than the padded input has: 0 + 4 + 0"),
        (lambda: geometry.output_length(0, 1), ValueError, "length must be at least 1, got 0"),
        (lambda: geometry.output_size((8, 8), 2.0), TypeError, "kernel_size must be an integer or a pair"),
        (
            lambda: geometry.output_length(5, 2, ceil_mode="no"),
            TypeError,
            "ceil_mode must be True or False, got 'no'",
        ),
        (lambda: geometry.effective_kernel(3, 0), ValueError, "dilation must be at least 1, got 0"),
        (lambda: geometry.same_padding(0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: geometry.receptive_field(3, padding=-1), ValueError, "padding must be at least 0, got -1"),
        (lambda: geometry.ReceptiveField(size=0), ValueError, "size must be at least 1, got 0"),
        (
            lambda: geometry.receptive_field(1, stride=2).union(geometry.receptive_field(3)),
            ValueError,
            "branches must have the same jump to be joined, got 2 and 1; give both the same total stride",
        ),
        (lambda: geometry.parameters_dense_to_conv(0), ValueError, "height must be at least 1, got 0"),
        (lambda: geometry.parameters_dense_to_conv(delta=-1), ValueError, "delta must be at least 0, got -1"),
        (lambda: filters.get("sobelx"), ValueError, "unknown filter 'sobelx'; did you mean 'sobel_x'"),
        (
            lambda: filters.get("sobel_x", dtype=torch.int64),
            TypeError,
            "dtype must be a floating-point type such as torch.float32, got torch.int64",
        ),
        (lambda: filters.get("sobel_x", dtype="float32"), TypeError, "dtype must be a floating-point type"),
        (
            lambda: filters.info(None),
            TypeError,
            "expected the name of a filter, a string, got None. See: convscope.ops",
        ),
        (lambda: filters.get(["sobel_x"]), TypeError, "expected the name of a filter, a string, got ['sobel_x']"),
        (lambda: filters.gaussian(5, "1"), TypeError, "sigma must be a number, got '1'"),
        (lambda: filters.gabor(5, angle=float("nan")), ValueError, "angle must be a finite number of degrees, got nan"),
        (lambda: filters.gaussian(4), ValueError, "size must be odd, so that the kernel has a centre, got 4"),
        (lambda: filters.gaussian(5, 0.0), ValueError, "sigma must be positive, got 0.0"),
        (lambda: filters.gabor(5, wavelength=-1), ValueError, "wavelength must be positive, got -1"),
        (lambda: filters.box(0), ValueError, "size must be at least 1, got 0"),
        (lambda: filters.gabor_bank(0), ValueError, "orientations must be at least 1, got 0"),
    ],
)
def test_geometry_and_filters_name_what_is_wrong(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize("which", [reference, fast], ids=["reference", "fast"])
def test_two_devices_are_named(which: Any) -> None:
    """The kernel that is a matrix is always looked at; elsewhere PyTorch looks first."""
    message = r"K must be on the device of X, cpu, got meta; move it with K.to\(X.device\)"
    with pytest.raises(ValueError, match=message):
        which.corr2d_multi_in_out_1x1(IMAGE, K[:, :, :1, :1].to("meta"))


NUMBERS = [1, 2, (2, 1), [1, 2], np.int64(2), (np.int32(1), 2), 0, -1, (1,), [2], (), None, True, (1, True), 1.0]
NUMBERS += [(1, 2.0), "1", "same", (1, 1, 1), torch.tensor(1), ((0, 1), (1, 0)), torch.Size((1, 2)), np.array([1, 2])]
ANY = st.sampled_from(NUMBERS)
OPERATORS: dict[str, Call] = {
    "cross_correlate": lambda m, **o: m.cross_correlate(X, K, **o),
    "conv_transpose2d": lambda m, output_padding, **o: m.conv_transpose2d(X, K, output_padding=output_padding, **o),
    "unfold": lambda m, size, **o: m.unfold(X, size, **o),
    "pool2d": lambda m, size, **o: m.pool2d(X, size, **o),
    "max_pool2d_with_indices": lambda m, size, **o: m.max_pool2d_with_indices(X, size, **o)[1],
}
WORDS = {
    "cross_correlate": ("stride", "padding", "dilation", "groups"),
    "conv_transpose2d": ("stride", "padding", "dilation", "groups", "output_padding"),
    "unfold": ("size", "stride", "padding", "dilation"),
    "pool2d": ("size", "stride", "padding", "ceil_mode", "mode", "p"),
    "max_pool2d_with_indices": ("size", "stride", "padding", "ceil_mode"),
}
FINE = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0, "size": 2, "mode": "avg", "p": 2.0}


@given(st.sampled_from(sorted(OPERATORS)), st.data())
def test_both_forms_take_and_refuse_the_same_numbers(name: str, data: st.DataObject) -> None:
    """Whatever PyTorch makes of a number: the two forms give one answer, or raise one sentence."""
    options = {word: FINE[word] for word in WORDS[name] if word in FINE}
    for word in data.draw(st.lists(st.sampled_from(WORDS[name]), min_size=1, max_size=2, unique=True)):
        options[word] = data.draw(ANY)
    outcomes = []
    for which in (reference, fast):
        try:
            outcomes.append(OPERATORS[name](which, **options))
        except (TypeError, ValueError) as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    if isinstance(outcomes[0], str) or isinstance(outcomes[1], str):
        assert outcomes[0] == outcomes[1]
    else:
        torch.testing.assert_close(outcomes[0], outcomes[1])
