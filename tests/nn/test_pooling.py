import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope.nn import AdaptivePolyphaseSampling, BlurPool

STRIP = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])


def image(strip):
    """A strip as an image whose rows are all alike."""
    return strip.expand(1, 1, 8, 8)


def row(result):
    assert torch.equal(result[0, 0], result[0, 0, :1].expand_as(result[0, 0]))
    return result[0, 0, 0].tolist()


def max_stride_1(x):
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="circular"), kernel_size=2, stride=1)


def test_what_a_shift_does_to_each_way_of_halving():
    """The known strip: 00110011 and the same one step further."""
    strip, shifted = image(STRIP), image(STRIP.roll(-1))
    assert row(F.max_pool2d(strip, 2)) == [0, 1, 0, 1]
    assert row(F.max_pool2d(shifted, 2)) == [1, 1, 1, 1]
    blur = BlurPool(1, padding_mode="circular")
    assert row(blur(max_stride_1(strip))) == [0.5, 1, 0.5, 1]
    assert row(blur(max_stride_1(shifted))) == [0.75] * 4
    sample = AdaptivePolyphaseSampling()
    ours, theirs = row(sample(strip)), row(sample(shifted))
    assert sorted(ours) == sorted(theirs) == [0, 0, 1, 1]


@pytest.mark.parametrize(("taps", "line"), [(1, [1]), (2, [1, 1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
def test_blur_kernel_is_binomial(taps, line):
    kernel = BlurPool(2, taps=taps).kernel
    line = torch.tensor(line) / sum(line)
    assert torch.allclose(kernel, torch.outer(line, line).expand(2, 1, taps, taps))
    assert "kernel" not in BlurPool(2).state_dict()


@given(
    h=st.integers(5, 12),
    w=st.integers(5, 12),
    taps=st.integers(1, 6),
    stride=st.integers(1, 3),
    mode=st.sampled_from(["reflect", "replicate", "circular", "zeros"]),
)
def test_blur_is_subsampling_of_a_blurred_image(h, w, taps, stride, mode):
    x = torch.randn(2, 3, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(h * w))
    pool = BlurPool(3, taps=taps, stride=stride, padding_mode=mode).double()
    out = pool(x)
    assert out.shape == (2, 3, math.ceil(h / stride), math.ceil(w / stride))
    blurred = BlurPool(3, taps=taps, stride=1, padding_mode=mode).double()(x)
    torch.testing.assert_close(out, blurred[..., ::stride, ::stride])
    if mode != "zeros":
        ones = torch.ones(1, 3, h, w, dtype=torch.float64)
        torch.testing.assert_close(pool(ones), torch.ones_like(pool(ones)))  # brightness stays


@given(
    n=st.integers(1, 3),
    c=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    stride=st.integers(1, 3),
    dy=st.integers(-7, 7),
    dx=st.integers(-7, 7),
    order=st.sampled_from([1.0, 2.0]),
)
def test_sampling_commutes_with_every_circular_shift(n, c, rows, columns, stride, dy, dx, order):
    """The same values come out, only turned round: for each image there is a shift that maps one on the other."""
    g = torch.Generator().manual_seed(rows * 100 + columns)
    x = torch.randn(n, c, rows * stride, columns * stride, generator=g)
    sample = AdaptivePolyphaseSampling(stride=stride, order=order)
    still, moved = sample(x), sample(x.roll((dy, dx), dims=(2, 3)))
    for a, b in zip(still, moved, strict=True):
        turned = [a.roll((i, j), dims=(1, 2)) for i in range(rows) for j in range(columns)]
        assert any(torch.equal(t, b) for t in turned)


def consistency(down):
    """Share of all 16x16 circular shifts of 20 images that leave the class of a random network as it was."""
    torch.manual_seed(0)
    first, second = (nn.Conv2d(c_in, 32, 3, padding=1, padding_mode="circular") for c_in in (1, 32))
    means = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(32, track_running_stats=False)]
    net = nn.Sequential(first, nn.ReLU(), down(), second, nn.ReLU(), down(), *means, nn.Linear(32, 10)).double()
    x = torch.randn(20, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        classes = [net(x.roll((i, j), dims=(2, 3))).argmax(1) for i in range(16) for j in range(16)]
    return float((torch.stack(classes) == classes[0]).double().mean())


def test_sampling_makes_an_untrained_network_wholly_consistent():
    assert consistency(AdaptivePolyphaseSampling) == 1.0
    assert consistency(lambda: nn.MaxPool2d(2)) < 0.95  # so the test can fail


def test_each_image_takes_its_own_grid():
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[:, ::2, ::2], b[:, 1::2, ::2] = 3, 5
    out = AdaptivePolyphaseSampling()(torch.stack([a, b]))
    assert torch.equal(out, torch.stack([torch.full((1, 2, 2), 3.0), torch.full((1, 2, 2), 5.0)]))


@pytest.mark.parametrize("pool", [BlurPool(2, taps=3), BlurPool(2, taps=2, stride=3), AdaptivePolyphaseSampling()])
def test_gradients(pool):
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pool.double(), x)
