"""Sizes and positions against PyTorch's own layers and against published tables."""

from __future__ import annotations

import warnings
from functools import reduce

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from convscope.ops import filters, geometry
from convscope.ops.geometry import ReceptiveField, receptive_field

LENGTHS, TAPS, STEPS = st.integers(1, 40), st.integers(1, 8), st.integers(1, 5)
FIELDS = st.builds(ReceptiveField, st.integers(1, 9), st.integers(1, 4), st.integers(0, 4))


@given(LENGTHS, TAPS, STEPS, st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_a_convolution_has_this_length(n: int, k: int, s: int, before: int, after: int, d: int) -> None:
    assume(geometry.effective_kernel(k, d) <= before + n + after)
    Y = F.conv1d(F.pad(torch.zeros(1, 1, n), (before, after)), torch.zeros(1, 1, k), stride=s, dilation=d)
    assert geometry.output_length(n, k, stride=s, padding=(before, after), dilation=d) == Y.shape[-1]


@given(LENGTHS, TAPS, STEPS, st.integers(0, 4), st.integers(1, 3), st.booleans())
def test_a_pooling_has_this_length(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> None:
    layer = torch.nn.MaxPool1d(k, stride=s, padding=min(p, k // 2), dilation=d, ceil_mode=ceil_mode)
    numbers = {"stride": s, "padding": min(p, k // 2), "dilation": d, "ceil_mode": ceil_mode}
    try:
        expected = layer(torch.zeros(1, 1, n)).shape[-1]
    except RuntimeError:
        with pytest.raises(ValueError, match="more than the padded input has"):
            geometry.output_length(n, k, **numbers)
    else:
        assert geometry.output_length(n, k, **numbers) == expected


@given(LENGTHS, TAPS, STEPS, st.integers(0, 3))
def test_the_book_counts_total_padding_and_means_the_same(n: int, k: int, s: int, p: int) -> None:
    assume(k <= n + 2 * p)
    assert geometry.output_length(n, k, stride=s, padding=p) == (n - k + 2 * p + s) // s


@given(TAPS, TAPS, STEPS, STEPS)
def test_same_padding_is_where_torch_puts_it(h: int, w: int, dilation_h: int, dilation_w: int) -> None:
    sides = geometry.same_padding((h, w), dilation=(dilation_h, dilation_w))
    assert geometry.output_size((9, 9), (h, w), padding=sides, dilation=(dilation_h, dilation_w)) == (9, 9)
    X, K = torch.randn(1, 1, 9, 9, dtype=torch.float64), torch.randn(1, 1, h, w, dtype=torch.float64)
    (top, bottom), (left, right) = sides
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an uneven padding costs a copy
        expected = F.conv2d(X, K, padding="same", dilation=(dilation_h, dilation_w))
    ours = F.conv2d(F.pad(X, (left, right, top, bottom)), K, dilation=(dilation_h, dilation_w))
    torch.testing.assert_close(ours, expected)
    assert bottom - top in (0, 1)
    assert right - left in (0, 1)


@given(FIELDS, FIELDS, FIELDS)
def test_layers_compose_in_any_grouping(a: ReceptiveField, b: ReceptiveField, c: ReceptiveField) -> None:
    assert a.then(b).then(c) == a.then(b.then(c))
    assert ReceptiveField().then(a) == a == a.then(ReceptiveField())


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)), max_size=4))
def test_a_field_is_what_gradients_reach(layers: list[tuple[int, int, int, int]]) -> None:
    field = reduce(
        ReceptiveField.then,
        (receptive_field(k, stride=s, padding=p, dilation=d) for k, s, p, d in layers),
        ReceptiveField(),
    )
    x = torch.ones(1, 1, 60, dtype=torch.float64, requires_grad=True)
    y = x
    for k, s, p, d in layers:
        assume(y.shape[-1] + 2 * p >= geometry.effective_kernel(k, d))
        y = F.conv1d(y, torch.ones(1, 1, k, dtype=torch.float64), stride=s, padding=p, dilation=d)
    for unit in {0, y.shape[-1] // 2, y.shape[-1] - 1}:
        (gradient,) = torch.autograd.grad(y[0, 0, unit], x, retain_graph=True)
        seen = gradient[0, 0].nonzero().flatten().tolist()
        first, last = field.region(unit)
        inside = [pixel for pixel in seen if first <= pixel <= last]
        assert seen == inside
        if first >= 0 and last < 60 and all(d == 1 and k >= s for k, s, _, d in layers):  # no holes, no padding
            assert seen == list(range(first, last + 1))


def field(*layers: tuple[int, ...]) -> tuple[int, int, int]:
    """Size, jump and padding of a chain of (kernel, stride, padding)."""
    chain = [receptive_field(k, stride=s, padding=p) for k, s, p in layers]
    whole = reduce(ReceptiveField.then, chain, ReceptiveField())
    return whole.size, whole.jump, whole.padding


C3, POOL, LENET = (3, 1, 1), (2, 2, 0), [(5, 1, 2), (2, 2, 0), (5, 1, 0), (2, 2, 0)]
ALEXNET = [(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), C3, C3, C3, (3, 2, 0)]


def vgg(*counts: int) -> list[tuple[int, int, int]]:
    return [layer for count in counts for layer in [C3] * count + [POOL]]


def resnet(*counts: int, bottleneck: bool = False, stride_in_3x3: bool = True) -> list[tuple[int, int, int]]:
    """The longest path: the one through every convolution."""
    layers = [(7, 2, 3), (3, 2, 1)]
    for stage, count in enumerate(counts):
        for block in range(count):
            stride = 2 if stage and not block else 1
            if bottleneck:
                one, three = (1, stride) if stride_in_3x3 else (stride, 1)
                layers += [(1, one, 0), (3, three, 1), (1, 1, 0)]
            else:
                layers += [(3, stride, 1), C3]
    return layers


def test_receptive_fields_of_known_networks() -> None:
    """Starred in Araujo, Norris and Sim, Distill 2019: AlexNet 195, VGG-16 212, ResNet-50/101/152 483/1027/1507."""
    assert [field(*LENET[:n]) for n in (1, 2, 3, 4)] == [(5, 1, 2), (6, 2, 2), (14, 2, 2), (16, 4, 2)]
    assert field(*LENET, (5, 1, 0))[0] == 32  # the first dense layer sees the whole padded image
    sizes = [field(*ALEXNET[:n])[0] for n in range(1, 9)]
    assert sizes == [11, 19, 51, 67, 99, 131, 163, 195]
    assert field(*ALEXNET)[1] == 32
    assert field(*vgg(2, 2, 3, 3, 3)) == (212, 32, 90)
    assert field(*vgg(2, 2, 3, 3, 3)[:-1]) == (196, 16, 90)
    assert field(*vgg(2, 2, 3, 3, 3), (7, 1, 0))[0] == 404
    assert [field(*vgg(*n))[0] for n in ((1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 4, 4, 4))] == [150, 156, 268]
    assert [field(*resnet(*(2,) * n))[0] for n in (1, 2, 3, 4)] == [43, 99, 211, 435]
    assert [field(*resnet(*(3, 4, 6, 3)[:n]))[0] for n in (1, 2, 3, 4)] == [59, 179, 547, 899]
    for counts, new, old in (((3, 4, 6, 3), 427, 483), ((3, 4, 23, 3), 971, 1027), ((3, 8, 36, 3), 1451, 1507)):
        assert field(*resnet(*counts, bottleneck=True))[0] == new
        assert field(*resnet(*counts, bottleneck=True, stride_in_3x3=False))[0] == old
    assert [field(*resnet(*(3, 4, 6, 3)[:n], bottleneck=True))[0] for n in (1, 2, 3)] == [35, 91, 267]


@pytest.mark.parametrize(("depth", "size"), [(20, 81), (32, 137), (44, 193), (56, 249), (110, 501)])
def test_receptive_fields_of_the_cifar_residual_networks(depth: int, size: int) -> None:
    blocks = (depth - 2) // 6
    layers = [C3] + [
        layer for stage in range(3) for b in range(blocks) for layer in ((3, 2 if stage and not b else 1, 1), C3)
    ]
    assert field(*layers)[0] == size
    if depth == 20:
        assert field(*layers[: 1 + 4 * blocks])[0] == 37  # stage 2 already sees more than the image has


def test_joined_branches_see_what_any_of_them_sees() -> None:
    branches = [receptive_field(1), receptive_field(3, padding=1), receptive_field(5, padding=2)]
    joined = reduce(ReceptiveField.union, branches)
    assert joined == receptive_field(5, padding=2)
    assert {branch.centre for branch in branches} == {0.0}
    assert receptive_field(2).union(receptive_field(2, padding=1)) == ReceptiveField(size=3, jump=1, padding=1)
    assert ReceptiveField().start == 0


def test_the_ladder_from_dense_to_convolution() -> None:
    units, dense, shared, local = geometry.parameters_dense_to_conv(delta=9)
    assert (units.weights, units.biases) == (10**9, 10**3)
    assert (dense.weights, dense.biases) == (10**12, 10**6)
    assert (shared.weights, shared.approximation, shared.biases) == (3_996_001, 4_000_000, 1)
    assert (local.weights, local.approximation) == (361, 324)
    assert geometry.parameters_dense_to_conv(delta=1)[3].weights == 9
    assert geometry.parameters_dense_to_conv(delta=1)[3].approximation == 4


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))
def test_the_ladder_counts_real_layers(h: int, w: int, c: int, o: int, delta: int) -> None:
    units, dense, shared, local = geometry.parameters_dense_to_conv(
        h, w, delta=delta, hidden_units=5, in_channels=c, out_channels=o
    )
    assert torch.nn.Linear(c * h * w, 5).weight.numel() == units.weights
    layer = torch.nn.Linear(c * h * w, o * h * w)
    assert (layer.weight.numel(), layer.bias.numel()) == (dense.weights, dense.biases)
    offsets = {(i - r, j - s) for i in range(h) for j in range(w) for r in range(h) for s in range(w)}
    assert c * o * len(offsets) == shared.weights
    conv = torch.nn.Conv2d(c, o, 2 * delta + 1)
    assert (conv.weight.numel(), conv.bias.numel()) == (local.weights, local.biases)


def test_ten_layers_of_five_take_a_third_of_the_pixels() -> None:
    side = reduce(lambda n, _: geometry.output_length(n, 5), range(10), 240)
    assert side == 200
    assert round(100 * (1 - side**2 / 240**2), 1) == 30.6


def test_filters_fit_their_own_padding() -> None:
    for name in filters.names():
        taps = tuple(filters.get(name).shape)
        assert geometry.output_size((20, 20), taps, padding=geometry.same_padding(taps)) == (20, 20)
