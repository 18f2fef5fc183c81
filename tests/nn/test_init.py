import pytest
import torch
from torch import nn

from convscope.nn import Bottleneck, PreActResidual, Residual, dirac, kaiming, xavier_uniform, zero_last_norm


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 64, 3, groups=2), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(400, 300))


def test_xavier_fills_the_stated_range_and_leaves_biases(net):
    biases = net[0].bias.clone(), net[3].bias.clone()
    assert xavier_uniform(net) is net
    for layer, fan_in, fan_out in ((net[0], 4 * 9, 64 * 9), (net[3], 400, 300)):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert torch.equal(net[0].bias, biases[0])
    assert torch.equal(net[3].bias, biases[1])


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 4 * 9), ("fan_out", 64 * 9)])
def test_kaiming_has_he_s_deviation(net, mode, fan):
    dense = net[3].weight.clone()
    net[1].weight.data.fill_(7)
    assert kaiming(net, mode=mode) is net
    assert net[0].weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)
    assert not net[0].bias.any()
    assert torch.equal(net[1].weight, torch.ones(64))
    assert not net[1].bias.any()
    assert torch.equal(net[3].weight, dense)


def test_kaiming_draws_dense_layers_when_told_how(net):
    kaiming(net, linear_std=0.01)
    assert net[3].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not net[3].bias.any()


def test_kaiming_keeps_the_signal_through_twenty_layers():
    """What it is for: with He's weights the size of activations stays; with PyTorch's own it fades."""
    torch.manual_seed(0)
    layers = [
        layer for _ in range(20) for layer in (nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular"), nn.ReLU())
    ]
    net, x = nn.Sequential(*layers), torch.randn(2, 64, 8, 8)
    with torch.no_grad():
        faded = net(x).std()
        kept = kaiming(net)(x).std()
    assert faded < 0.1
    assert 0.3 < kept < 3


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_is_the_identity(groups):
    conv = dirac(nn.Conv2d(4, 4, 3, padding=1, groups=groups))
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(conv(x), x)


@pytest.mark.parametrize("initialise", [xavier_uniform, kaiming, dirac, zero_last_norm])
def test_lazy_layers_are_refused_before_anything_changes(initialise):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LazyConv2d(6, 5))
    before = net[0].weight.clone()
    with pytest.raises(
        ValueError, match=r"layer '1' \(LazyConv2d\) is lazy and has no weights to initialise yet; run one"
    ):
        initialise(net)
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize("block", [Residual(4, 4), Bottleneck(4, 4)], ids=["basic", "bottleneck"])
def test_a_zeroed_block_is_the_relu_of_its_input(block):
    x = torch.randn(2, 4, 6, 6)
    zero_last_norm(nn.Sequential(block))
    assert torch.equal(block.train()(x), x.relu())
    assert torch.equal(block.eval()(x), x.relu())
    assert not torch.equal(block(x), x)  # the identity only where x >= 0
    assert torch.equal(block(x.abs()), x.abs())


def test_a_zeroed_block_can_still_learn():
    block, x = zero_last_norm(Residual(4, 4)), torch.randn(2, 4, 6, 6)
    block(x).square().sum().backward()
    assert block.bn2.weight.grad.abs().max() > 0


def test_zeroing_needs_a_norm_at_the_end():
    with pytest.raises(
        ValueError, match="expected residual blocks that end in a norm, found none in PreActResidual; pre-act"
    ):
        zero_last_norm(PreActResidual(4, 4))
