"""Effective receptive fields: the exact law of stacked blurs, and what stays as it was."""

import math

import pytest
import torch
from torch import nn

from convscope import models
from convscope.measure import effective_receptive_field


def blurs(n):
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(n)))
    for conv in net:
        nn.init.constant_(conv.weight, 1 / 9)
    return net.double()


@pytest.mark.parametrize(("n", "sigma", "wide"), [(5, 1.83, 9), (10, 2.58, 13), (20, 3.65, 19), (40, 5.16, 25)])
def test_stacked_blurs_have_the_exact_width(n, sigma, wide):
    side = 2 * n + 5
    field = effective_receptive_field(blurs(n), torch.randn(2, 1, side, side, dtype=torch.float64))
    assert field.theory.size == (2 * n + 1, 2 * n + 1)
    assert field.sigma == pytest.approx((math.sqrt(2 * n / 3),) * 2, rel=1e-9)
    assert round(field.sigma[0], 2) == sigma
    line = field.influence.sum(0)
    assert int((line > 0.0455 * line.max()).sum()) == wide


def test_it_lies_inside_the_theoretical_field():
    torch.manual_seed(0)
    net = models.create("resnet20_cifar", image_size=32).double()
    field = effective_receptive_field(net, torch.randn(3, 3, 32, 32, dtype=torch.float64), "layer1")
    top, left, bottom, right = field.theory.region.box
    outside = field.influence.clone()
    outside[top : bottom + 1, left : right + 1] = 0
    assert not outside.any()
    assert 0.1 < field.share < 1


def test_the_network_is_left_as_it_was():
    net = models.create("bn_lenet").train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    effective_receptive_field(net, (1, 28, 28), count=3)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module._forward_hooks for module in net.modules())


def test_refusals():
    broken = blurs(3)
    with torch.no_grad():
        broken[1].weight[0, 0, 1, 1] = math.nan
    with pytest.raises(ValueError, match=r"weights hold NaN, so gradients say nothing: 1\.weight"):
        effective_receptive_field(broken, (1, 9, 9))
    with pytest.raises(ValueError, match="meta device and have no values"):
        effective_receptive_field(models.create("lenet", device="meta"), (1, 28, 28))
    dead = blurs(2)
    nn.init.zeros_(dead[1].weight)
    with pytest.raises(ValueError, match="its gradient is zero everywhere"):
        effective_receptive_field(dead, (1, 9, 9))
