"""Every block: values against a formula or a second way to compute them, gradients, shapes, bad input."""

import re
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope import nn as ours

BLOCKS = {
    "ConvNormAct": partial(ours.ConvNormAct, 2, 4),
    "Residual": partial(ours.Residual, 2, 2),
    "Residual A": partial(ours.Residual, 2, 4, stride=2, shortcut="A"),
    "Residual B": partial(ours.Residual, 2, 4, stride=2, shortcut="B"),
    "Residual C": partial(ours.Residual, 2, 2, shortcut="C"),
    "Bottleneck": partial(ours.Bottleneck, 4, 8, stride=2),
    "ResNeXtBlock": partial(ours.ResNeXtBlock, 4, 4, groups=2, group_width=1),
    "PreActResidual": partial(ours.PreActResidual, 2, 4, stride=2),
    "PreActBottleneck": partial(ours.PreActBottleneck, 4, 4),
    "vgg_block": partial(ours.vgg_block, 2, 2, 3, norm=True),
    "NiNBlock": partial(ours.NiNBlock, 2, 3, 3, padding=1),
    "Inception": partial(ours.Inception, 2, 1, (1, 2), (1, 2), 1, norm=nn.BatchNorm2d),
    "DenseBlock": partial(ours.DenseBlock, 2, 2, 2),
    "Transition": partial(ours.Transition, 4, 2),
    "SqueezeExcitation": partial(ours.SqueezeExcitation, 3),
    "CReLU": ours.CReLU,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_of_input_and_weights(name):
    torch.manual_seed(0)
    block = BLOCKS[name]().double().train()
    first = next((p for p in block.parameters() if p.ndim == 4), None)
    channels = 3 if first is None else first.shape[1]
    channels = {"Transition": 4, "CReLU": 2, "SqueezeExcitation": 3}.get(name, channels)
    x = torch.randn(2, channels, 4, 4, dtype=torch.float64, requires_grad=True)
    keys = [key for key, _ in block.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(block, dict(zip(keys, weights, strict=True)), (x,))

    for module in block.modules():  # gradcheck calls again and again: running statistics stay out of it
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
    weights = [p.detach().clone().requires_grad_() for p in block.parameters()]
    assert torch.autograd.gradcheck(run, (x, *weights))


@pytest.mark.parametrize("name", BLOCKS)
def test_nothing_works_in_place_and_every_activation_runs_once(name):
    block = BLOCKS[name]()
    assert not [m for m in block.modules() if getattr(m, "inplace", False)]
    activations = [m for m in block.modules() if isinstance(m, nn.ReLU | nn.Sigmoid)]
    calls = []
    for module in activations:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    first = next((p for p in block.parameters() if p.ndim == 4), None)
    channels = {"Transition": 4, "CReLU": 2}.get(name, 2 if first is None else first.shape[1])
    x = torch.randn(2, channels, 8, 8)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)
    assert len(calls) == len(set(calls)) == len(activations)


def test_crelu_keeps_the_edge_that_averaging_loses():
    edges = torch.tensor([0.0, 1, 0, 0, 0, -1, 0]).reshape(1, 1, 1, 7)
    mean = nn.AdaptiveAvgPool2d(1)
    assert mean(edges).item() == 0
    assert mean(edges.abs()).item() == pytest.approx(2 / 7)
    assert mean(ours.CReLU()(edges)).flatten().tolist() == pytest.approx([1 / 7, 1 / 7])


def test_conv2d_from_scratch_has_pytorch_s_values_and_gradients():
    torch.manual_seed(0)
    layer = ours.Conv2D((2, 3))
    assert layer.weight.min() >= 0
    assert layer.weight.max() < 1
    assert layer.bias.item() == 0
    with torch.no_grad():
        layer.bias.fill_(0.5)
    x = torch.randn(5, 6, requires_grad=True)
    layer(x).square().sum().backward()
    weight, bias = layer.weight.detach().clone().requires_grad_(), layer.bias.detach().clone().requires_grad_()
    y = x.detach().clone().requires_grad_()
    expected = F.conv2d(y[None, None], weight[None, None], bias)[0, 0]
    expected.square().sum().backward()
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(layer.bias.grad, bias.grad)


def test_conv2d_from_scratch_learns_the_edge_kernel():
    """The notebooks' run with the layer of our own: from a known start to the printed weights."""
    image = torch.ones(6, 8)
    image[:, 2:6] = 0
    target = image[:, :-1] - image[:, 1:]
    layer, printed = ours.Conv2D((1, 2)), []
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.43266, -0.64099]]))
    for step in range(1, 11):
        loss = (layer(image) - target).square().sum()
        layer.zero_grad()
        loss.backward()
        with torch.no_grad():
            layer.weight -= 3e-2 * layer.weight.grad
        if step % 2 == 0:
            printed.append(round(loss.item(), 3))
    assert printed == [1.471, 0.348, 0.100, 0.034, 0.013]
    assert [round(w, 4) for w in layer.weight.flatten().tolist()] == [0.9835, -1.0058]


@given(
    c_in=st.integers(1, 6),
    extra=st.integers(0, 6),
    stride=st.integers(1, 3),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    option=st.sampled_from("ABC"),
)
def test_shortcuts_have_the_shape_of_their_branch(c_in, extra, stride, h, w, option):
    c_out = c_in + extra
    x = torch.randn(2, c_in, h, w)
    for block in (ours.Residual, ours.PreActResidual):
        net = block(c_in, c_out, stride=stride, shortcut=option).eval()
        out = net(x)
        assert out.shape == (2, c_out, -(-h // stride), -(-w // stride))
        kind = type(net.downsample)
        if option == "C":
            assert kind is nn.Sequential
        elif c_in == c_out and stride == 1:
            assert kind is nn.Identity
        else:
            assert kind is (ours.ZeroPadShortcut if option == "A" else nn.Sequential)


def test_zero_padded_shortcut_has_no_weights_and_keeps_values():
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    shortcut = ours.make_shortcut(2, 5, stride=2, option="A")
    assert not list(shortcut.parameters())
    out = shortcut(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2])
    assert not out[:, 2:].any()


def test_residual_is_branch_plus_shortcut():
    torch.manual_seed(0)
    block, x = ours.Residual(3, 6, stride=2).eval(), torch.randn(2, 3, 8, 8)
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    way_round = F.batch_norm(F.conv2d(x, block.downsample[0].weight, stride=2), torch.zeros(6), torch.ones(6), eps=1e-5)
    torch.testing.assert_close(block(x), F.relu(branch + way_round))


def test_preactivation_leaves_the_identity_alone():
    """With the last convolution at zero the block *is* the identity, negative values and all."""
    for block in (ours.PreActResidual(4, 4), ours.PreActBottleneck(4, 4)):
        last = [m for m in block.modules() if isinstance(m, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        x = torch.randn(2, 4, 5, 5)
        assert torch.equal(block(x), x)


def test_preactivation_projects_the_activated_input():
    torch.manual_seed(0)
    block, x = ours.PreActResidual(3, 6, stride=2).eval(), torch.randn(2, 3, 6, 6)
    activated = F.relu(block.bn1(x))
    branch = block.conv2(F.relu(block.bn2(block.conv1(activated))))
    torch.testing.assert_close(block(x), branch + F.conv2d(activated, block.downsample[0].weight, stride=2))


def test_dropout_sits_between_the_convolutions_of_a_wide_block():
    torch.manual_seed(0)
    block, x = ours.PreActResidual(4, 4, dropout=0.5), torch.randn(2, 4, 6, 6)
    assert not torch.equal(block.train()(x), block(x))
    assert torch.equal(block.eval()(x), block(x))


@given(groups=st.integers(1, 8), group_width=st.integers(1, 8), c_in=st.integers(1, 6), c_out=st.integers(1, 6))
def test_groups_and_their_width_are_two_things(groups, group_width, c_in, c_out):
    block, mid = ours.ResNeXtBlock(c_in, c_out, groups=groups, group_width=group_width), groups * group_width
    assert block.conv2.groups == groups
    assert block.conv2.weight.shape == (mid, group_width, 3, 3)
    shortcut = 0 if c_in == c_out else c_in * c_out + 2 * c_out
    expected = c_in * mid + 9 * mid * group_width + mid * c_out + 2 * (2 * mid + c_out) + shortcut
    assert sum(p.numel() for p in block.parameters()) == expected


def test_groups_do_not_see_each_other():
    block = ours.ResNeXtBlock(4, 4, groups=2, group_width=3).eval()
    x = torch.randn(1, 6, 5, 5, requires_grad=True)
    block.conv2(x)[:, :3].sum().backward()
    assert x.grad[:, :3].abs().max() > 0
    assert not x.grad[:, 3:].any()


def test_inception_joins_four_ways():
    torch.manual_seed(0)
    block, x = ours.Inception(3, 2, (1, 4), (2, 5), 6), torch.randn(2, 3, 7, 7)
    assert block.branch3[1].conv.kernel_size == (5, 5)
    one, two, three, four = block.branch1, block.branch2, block.branch3, block.branch4
    expected = [
        F.relu(F.conv2d(x, one.conv.weight, one.conv.bias)),
        F.relu(two[1].conv(F.relu(two[0].conv(x)))),
        F.relu(three[1].conv(F.relu(three[0].conv(x)))),
        F.relu(four[1].conv(F.max_pool2d(x, 3, 1, 1))),
    ]
    assert block.out_channels == 2 + 4 + 5 + 6
    torch.testing.assert_close(block(x), torch.cat(expected, 1))


@pytest.mark.parametrize("bottleneck", [0, 4])
def test_dense_block_hands_on_its_input_first(bottleneck):
    block, x = ours.DenseBlock(3, 5, 7, bottleneck=bottleneck).eval(), torch.randn(2, 5, 6, 6)
    out = block(x)
    assert out.shape == (2, 5 + 3 * 7, 6, 6)
    assert block.out_channels == 26
    assert torch.equal(out[:, :5], x)
    torch.testing.assert_close(out[:, 5:12], block[0](x))
    torch.testing.assert_close(out[:, 12:19], block[1](out[:, :12]))
    assert block[2].norm1.num_features == 19


def test_the_book_s_dense_block_and_transition():
    out = ours.DenseBlock(2, 3, 10, bottleneck=0)(torch.randn(4, 3, 8, 8))
    assert out.shape == (4, 23, 8, 8)
    assert ours.Transition(23, 10)(out).shape == (4, 10, 4, 4)


def test_squeeze_excitation_scales_whole_channels():
    torch.manual_seed(0)
    block, x = ours.SqueezeExcitation(32), torch.randn(2, 32, 5, 5)
    assert block.fc1.out_channels == 2
    mean = x.mean((2, 3))
    hidden = F.relu(F.linear(mean, block.fc1.weight.flatten(1), block.fc1.bias))
    scale = torch.sigmoid(F.linear(hidden, block.fc2.weight.flatten(1), block.fc2.bias))
    torch.testing.assert_close(block(x), x * scale[:, :, None, None])


@given(kernel=st.sampled_from([1, 3, 5, 7]), dilation=st.integers(1, 3), h=st.integers(1, 12))
def test_conv_norm_act_keeps_the_size_by_default(kernel, dilation, h):
    assert ours.ConvNormAct(2, 3, kernel, dilation=dilation).eval()(torch.randn(1, 2, h, 9)).shape == (1, 3, h, 9)


def test_conv_norm_act_has_a_bias_only_without_a_norm():
    assert ours.ConvNormAct(1, 2)[0].bias is None
    assert ours.ConvNormAct(1, 2, norm=None)[0].bias is not None
    assert ours.ConvNormAct(1, 2, bias=True)[0].bias is not None
    assert [type(m).__name__ for m in ours.ConvNormAct(1, 2, act=None)] == ["Conv2d", "BatchNorm2d"]
    assert list(ours.ConvNormAct(1, 2, names=("conv", "bn", "act"))._modules) == ["conv", "bn", "act"]


def count(argument, value):
    return f"{argument} must be at least 1, got {value}"


def whole(argument, value):
    return f"{argument} must be an integer, got {value!r}"


IMAGES = torch.zeros(1, 3, 4, 4)
BAD = [
    (lambda: ours.ConvNormAct(1, 1, 2), "expected padding to be given, for kernel_size=2 with dilation=1"),
    (lambda: ours.ConvNormAct(0, 1), count("in_channels", 0)),
    (lambda: ours.ConvNormAct(1, 1, 0), count("kernel_size", 0)),
    (lambda: ours.ConvNormAct(1, 1, stride=0), count("stride", 0)),
    (lambda: ours.ConvNormAct(1, 1, dilation=0), count("dilation", 0)),
    (lambda: ours.ConvNormAct(4, 6, groups=4), "groups must divide out_channels, 6, got 4"),
    (lambda: ours.ConvNormAct(4, 4, groups=0), count("groups", 0)),
    (lambda: ours.ConvNormAct(1, 1, padding=-1), "padding must be at least 0, got -1"),
    (lambda: ours.ConvNormAct(1, 1, 3.0), whole("kernel_size", 3.0)),
    (lambda: ours.Conv2D((0, 2)), r"kernel_size must be at least 1, got (0, 2)"),
    (lambda: ours.Conv2D((2,)), "kernel_size must be an integer or a pair of integers (H, W), got (2,)"),
    (lambda: ours.vgg_block(0, 1, 1), count("num_convs", 0)),
    (lambda: ours.vgg_block(1, 0, 4), count("in_channels", 0)),
    (lambda: ours.vgg_block(1, 4, 0), count("out_channels", 0)),
    (lambda: ours.NiNBlock(1, 1, 0), count("kernel_size", 0)),
    (lambda: ours.NiNBlock(1, 1, 3, stride=0), count("stride", 0)),
    (lambda: ours.NiNBlock(1, 1, 3, padding=-1), "padding must be at least 0, got -1"),
    (lambda: ours.Inception(0, 1, (1, 1), (1, 1), 1), count("in_channels", 0)),
    (lambda: ours.Inception(1, 0, (1, 1), (1, 1), 1), count("b1", 0)),
    (lambda: ours.Inception(1, 1, (1, 0), (1, 1), 1), count("b2[1]", 0)),
    (lambda: ours.Inception(1, 1, (1, 1), (0, 1), 1), count("b3[0]", 0)),
    (lambda: ours.Inception(1, 1, (1, 1), 4, 1), "b3 must be two numbers of channels, got 4"),
    (
        lambda: ours.ZeroPadShortcut(4, 3),
        "a zero-padded shortcut cannot take channels away: expected out_channels >= 4",
    ),
    (lambda: ours.ZeroPadShortcut(1, 1, stride=0), count("stride", 0)),
    (lambda: ours.make_shortcut(0, 1), count("in_channels", 0)),
    (lambda: ours.make_shortcut(1, 1, option=["B"]), "shortcut must be 'A' (zero-pad), 'B' (project on change) or 'C'"),
    (lambda: ours.Residual(1, 1, shortcut="D"), "shortcut must be 'A' (zero-pad), 'B' (project on change) or 'C'"),
    (lambda: ours.Residual(0, 4), count("in_channels", 0)),
    (lambda: ours.Residual(4, -1), count("out_channels", -1)),
    (lambda: ours.Residual(4, 4, stride=0), count("stride", 0)),
    (lambda: ours.Residual(4, 4, stride=True), whole("stride", True)),
    (lambda: ours.Bottleneck(8, 8, mid_channels=4, groups=3), "groups must divide mid_channels, 4, got 3"),
    (lambda: ours.Bottleneck(8, 8, groups=0), count("groups", 0)),
    (lambda: ours.Bottleneck(8, 8, mid_channels=0), count("mid_channels", 0)),
    (lambda: ours.Bottleneck(8, 3), "mid_channels must be given for fewer than 4 out_channels, got 3"),
    (lambda: ours.Bottleneck(8, 8, stride=0), count("stride", 0)),
    (lambda: ours.ResNeXtBlock(8, 8, groups=0, group_width=4), count("groups", 0)),
    (lambda: ours.ResNeXtBlock(8, 8, groups=4, group_width=0), count("group_width", 0)),
    (lambda: ours.PreActResidual(0, 4), count("in_channels", 0)),
    (lambda: ours.PreActResidual(4, 4, stride=0), count("stride", 0)),
    (lambda: ours.PreActResidual(4, 4, dropout=1.5), "dropout must be a number from 0 to 1, got 1.5"),
    (lambda: ours.PreActResidual(4, 4, dropout="a"), "dropout must be a number from 0 to 1, got 'a'"),
    (lambda: ours.PreActBottleneck(4, 3), "mid_channels must be given for fewer than 4 out_channels, got 3"),
    (lambda: ours.PreActBottleneck(4, 4, mid_channels=0), count("mid_channels", 0)),
    (lambda: ours.PreActBottleneck(4, 4, stride=0), count("stride", 0)),
    (lambda: ours.DenseLayer(0, 3), count("in_channels", 0)),
    (lambda: ours.DenseBlock(2, 3, 0), count("growth", 0)),
    (lambda: ours.DenseBlock(-1, 3, 4), count("num_layers", -1)),
    (lambda: ours.DenseBlock(2, 3, 4, bottleneck=-1), "bottleneck must be at least 0, got -1"),
    (lambda: ours.DenseBlock(2, 3, 4, dropout=-0.1), "dropout must be a number from 0 to 1, got -0.1"),
    (lambda: ours.Transition(4, 0), count("out_channels", 0)),
    (lambda: ours.SqueezeExcitation(0), count("channels", 0)),
    (lambda: ours.SqueezeExcitation(4, 0), count("squeezed", 0)),
    (lambda: ours.SqueezeExcitation(4, 1.5), whole("squeezed", 1.5)),
    (lambda: ours.BlurPool(0), count("channels", 0)),
    (lambda: ours.BlurPool(1.0), whole("channels", 1.0)),
    (lambda: ours.BlurPool(1, taps=0), count("taps", 0)),
    (lambda: ours.BlurPool(1, stride=0), count("stride", 0)),
    (
        lambda: ours.BlurPool(1, padding_mode="mirror"),
        "padding_mode must be one of reflect, replicate, circular, zeros",
    ),
    (lambda: ours.BlurPool(3)(IMAGES[0]), "expected images (N, C, H, W), got 3 axes: (3, 4, 4)"),
    (lambda: ours.BlurPool(2)(IMAGES), "expected images with 2 channels (N, C, H, W), got (1, 3, 4, 4)"),
    (
        lambda: ours.BlurPool(3, taps=9)(IMAGES),
        "expected H and W of at least 5 for taps=9 with padding_mode='reflect', got 4x4; use padding_mode='replicate'",
    ),
    (
        lambda: ours.BlurPool(3, taps=11, padding_mode="circular")(IMAGES),
        "expected H and W of at least 5 for taps=11 with padding_mode='circular', got 4x4",
    ),
    (lambda: ours.AdaptivePolyphaseSampling(stride=0), count("stride", 0)),
    (lambda: ours.AdaptivePolyphaseSampling(order=0.5), "order must be at least 1, got 0.5"),
    (lambda: ours.AdaptivePolyphaseSampling(order="2"), "order must be a number, got '2'"),
    (lambda: ours.AdaptivePolyphaseSampling()(IMAGES[0]), "expected images (N, C, H, W), got 3 axes: (3, 4, 4)"),
    (
        lambda: ours.AdaptivePolyphaseSampling()(IMAGES[..., :3]),
        "expected H and W that stride=2 divides, got 4x3; pad or resize the images first",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_numbers_are_named(make, message):
    kind = TypeError if "an integer" in message or re.search(r"got '(a|2)'|two numbers", message) else ValueError
    with pytest.raises(kind, match="^" + re.escape(message)):
        make()


def test_the_smallest_images_that_a_blur_takes():
    assert ours.BlurPool(3, taps=9)(torch.zeros(1, 3, 5, 5)).shape == (1, 3, 3, 3)
    assert ours.BlurPool(3, taps=11, padding_mode="circular")(torch.zeros(1, 3, 5, 5)).shape == (1, 3, 3, 3)
