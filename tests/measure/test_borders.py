"""Ways through a stack by gradients, known numbers and a known sequence; weights of pixels by a linear model."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope.measure import border_effect, path_counts, ring_means


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.sampled_from([1, 3, 5]), st.booleans()
)  # fmt: skip
@settings(max_examples=60)
def test_counts_are_gradients_of_a_stack_of_ones(height, width, depth, kernel_size, padded):
    if not padded and min(height, width) <= depth * (kernel_size - 1):
        with pytest.raises(ValueError, match="leave nothing of"):
            path_counts(height, width, depth, kernel_size=kernel_size, padded=padded)
        return
    x = torch.zeros(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    y = x
    weight = torch.ones(1, 1, kernel_size, kernel_size, dtype=torch.float64)
    for _ in range(depth):
        y = nn.functional.conv2d(y, weight, padding=kernel_size // 2 if padded else 0)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    counts = path_counts(height, width, depth, kernel_size=kernel_size, padded=padded)
    assert gradient[0, 0].long().tolist() == [list(row) for row in counts]


@pytest.mark.parametrize(("depth", "corner"), [(1, 0.444), (2, 0.309), (3, 0.232), (4, 0.187), (6, 0.134), (8, 0.105)])
def test_a_padded_corner_relative_to_the_middle(depth, corner):
    counts = path_counts(41, 41, depth)
    assert round(counts[0][0] / counts[20][20], 3) == corner
    assert counts[20][20] == 9**depth


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_without_padding_a_corner_has_one_way(depth):
    counts = path_counts(41, 41, depth, padded=False)
    assert counts[0][0] == 1
    assert counts[20][20] == 9**depth


def test_ways_along_a_border_are_a_known_sequence():
    ends = [path_counts(1, 61, depth)[0][0] for depth in range(1, 7)]
    assert ends == [2, 5, 13, 35, 96, 267]
    assert path_counts(200, 200, 90)[100][100] == 9**90  # more than any machine number holds


@pytest.mark.parametrize("arguments", [(0, 3, 1), (3, 3, 0)])
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1 and an odd kernel_size"):
        path_counts(*arguments)
    with pytest.raises(ValueError, match="odd kernel_size"):
        path_counts(5, 5, 1, kernel_size=4)


def test_weights_of_pixels_are_those_of_a_linear_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 30, 3))
    x = torch.rand(20, 2, 5, 6)
    said = model(x).argmax(1)
    expected = model[1].weight.detach()[said].abs().view(20, 2, 5, 6).sum(1)  # N,H,W
    found = border_effect(model, x, batch_size=7)
    torch.testing.assert_close(found.map, expected.mean(0))
    edge = torch.ones(5, 6, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    share = expected[:, edge].mean(1) / expected.mean((1, 2))
    assert len(found.rings) == 3
    assert found.rings[0].value == pytest.approx(share.mean().item(), rel=1e-5)
    assert found.rings[0].total == 20


def test_a_stack_of_ones_weighs_its_pixels_by_the_ways():
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(3)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    found = border_effect(model, torch.rand(2, 1, 9, 9))
    counts = torch.tensor(path_counts(9, 9, 3)).double()
    assert [ring.value for ring in found.rings] == pytest.approx(ring_means(counts), rel=1e-5)


def test_a_network_that_sees_nothing_gives_every_pixel_an_even_share():
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 2))
    nn.init.zeros_(model[1].weight)
    assert [ring.value for ring in border_effect(model, torch.rand(3, 1, 5, 5)).rings] == [1, 1, 1]
