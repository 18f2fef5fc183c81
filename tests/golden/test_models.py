"""Networks against the published tables: parameters, multiplications, and the shapes that the book prints."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope import models
from convscope.models.resnet import ResNet, stage
from convscope.nn import ConvNormAct, DenseBlock, Inception, NiNBlock, Residual, ResNeXtBlock, Transition, vgg_block

# torchvision's Weights.meta: parameters, 10^9 MACs ("_ops"), ImageNet top-1 of the first weights
IMAGENET = {
    "alexnet": (61_100_840, 0.714, 56.522),
    "vgg11": (132_863_336, 7.609, 69.020),
    "vgg11_bn": (132_868_840, 7.609, 70.370),
    "vgg13": (133_047_848, 11.308, 69.928),
    "vgg13_bn": (133_053_736, 11.308, 71.586),
    "vgg16": (138_357_544, 15.470, 71.592),
    "vgg16_bn": (138_365_992, 15.470, 73.360),
    "vgg19": (143_667_240, 19.632, 72.376),
    "vgg19_bn": (143_678_248, 19.632, 74.218),
    "googlenet": (6_624_904, 1.498, 69.778),
    "resnet18": (11_689_512, 1.814, 69.758),
    "resnet34": (21_797_672, 3.664, 73.314),
    "resnet50": (25_557_032, 4.089, 76.130),
    "resnet101": (44_549_160, 7.801, 77.374),
    "resnet152": (60_192_808, 11.514, 78.312),
    "wide_resnet50_2": (68_883_240, 11.398, 78.468),
    "resnext50_32x4d": (25_028_904, 4.230, 77.618),
    "resnext101_32x8d": (88_791_336, 16.414, 79.312),
    "densenet121": (7_978_856, 2.834, 74.434),
    "densenet161": (28_681_000, 7.728, 77.138),
    "densenet169": (14_149_480, 3.360, 75.600),
    "densenet201": (20_013_928, 4.291, 76.896),
    "regnet_x_400mf": (5_495_976, 0.414, 72.834),
    "regnet_x_800mf": (7_259_656, 0.800, 75.212),
    "regnet_x_1_6gf": (9_190_136, 1.603, 77.040),
    "regnet_x_3_2gf": (15_296_552, 3.177, 78.364),
}

# He et al. 2015, table 6: parameters by formula, 10^6 MACs, test error in per cent
CIFAR = {
    "resnet20_cifar": (269_722, 40.55, 8.75),
    "resnet32_cifar": (464_154, 68.9, 7.51),
    "resnet44_cifar": (658_586, 97.2, 7.17),
    "resnet56_cifar": (853_018, 125.5, 6.97),
    "resnet110_cifar": (1_727_962, 252.9, 6.43),
}


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def macs(net, *shape):
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


def output_shapes(layers, *shape):
    """The shape after each layer, for one image, as the book prints them."""
    x, shapes = torch.empty(1, *shape, device="meta"), []
    for layer in layers:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    return shapes


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks(name):
    count, giga_macs, top1 = IMAGENET[name]
    known = models.info(name)
    assert known.parameters == count
    assert round(known.macs / 1e9, 3) == giga_macs
    assert known.accuracy == models.Accuracy(top1, "ImageNet-1K", "torchvision IMAGENET1K_V1, single crop, 224 px")


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks(name):
    count, mega_macs, error = CIFAR[name]
    known = models.info(name)
    assert known.parameters == count
    assert known.macs / 1e6 == pytest.approx(mega_macs, rel=1e-3)
    assert known.accuracy.top1 == pytest.approx(100 - error)
    best = "; the best of five runs, whose mean error is 6.61 %" if name == "resnet110_cifar" else ""  # others ran once
    assert known.accuracy.source == f"He et al., Deep residual learning for image recognition, table 6{best}"


@pytest.mark.parametrize("name", CIFAR)
def test_option_b_adds_two_projections(name):
    a, b = (parameters(models.create(name, shortcut=option, device="meta")) for option in "AB")
    assert b - a == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64) == 2_752


def test_wide_networks_have_the_paper_s_size():
    # Zagoruyko and Komodakis 2016, tables 4 and 6: 36.5 M and 8.9 M parameters
    assert models.info("wrn_28_10").parameters == 36_479_194
    assert round(models.info("wrn_40_4").parameters / 1e6, 1) == 8.9


def test_lenet_of_the_notebook():
    net = models.create("lenet", device="meta")
    assert (parameters(net), macs(net, 1, 1, 28, 28)) == (61_706, 416_520)
    assert [parameters(m) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)] == [
        156,
        2_416,
        48_120,
        10_164,
        850,
    ]
    assert output_shapes([*net.features, *net.classifier], 1, 28, 28) == [
        *[(6, 28, 28)] * 2,
        (6, 14, 14),
        *[(16, 10, 10)] * 2,
        (16, 5, 5),
        (400,),
        *[(120,)] * 2,
        *[(84,)] * 2,
        (10,),
    ]


def test_lenet_with_batch_norms():
    net = models.create("bn_lenet", device="meta")
    assert (parameters(net), macs(net, 1, 1, 28, 28)) == (44_878, 281_640)


def test_vgg11_of_the_notebook():
    net = models.create("vgg11", in_channels=1, num_classes=10, device="meta")
    assert parameters(net) == 128_806_154
    assert round(macs(net, 1, 1, 224, 224) / 1e9, 3) == 7.547
    blocks = [vgg_block(n, c_in, c_out) for n, c_in, c_out in ((1, 1, 64), (1, 64, 128), (2, 128, 256))]
    blocks += [vgg_block(2, 256, 512), vgg_block(2, 512, 512)]
    assert output_shapes([block.to("meta") for block in blocks], 1, 224, 224) == [
        (64, 112, 112),
        (128, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (512, 7, 7),
    ]


def test_narrow_vgg_of_the_notebook():
    net = models.create("vgg11_narrow", device="meta")
    assert (parameters(net), round(macs(net, 1, 1, 224, 224) / 1e9, 3)) == (43_093_322, 0.512)
    assert round(parameters(net.classifier) / parameters(net), 3) == 0.987


def test_nin_of_the_book():
    net = models.create("nin", in_channels=1, num_classes=10, device="meta")
    assert (parameters(net), round(macs(net, 1, 1, 224, 224) / 1e6)) == (1_992_166, 762)
    assert output_shapes([*net.features, net.head], 1, 224, 224) == [
        (96, 54, 54),
        (96, 26, 26),
        (256, 26, 26),
        (256, 12, 12),
        (384, 12, 12),
        (384, 5, 5),
        (10, 5, 5),
    ]
    assert isinstance(net.head, NiNBlock)


def test_resnet18_of_the_notebook():
    net = models.create(
        "resnet18", in_channels=1, num_classes=10, image_size=96, bias=True, shortcut_norm=False, device="meta"
    )
    assert (parameters(net), round(macs(net, 1, 1, 96, 96) / 1e9, 4)) == (11_178_378, 0.3187)
    assert isinstance(net, ResNet)
    stem = nn.Sequential(net.conv1, net.bn1, net.act, net.maxpool)
    assert output_shapes([stem, net.layer1, net.layer2, net.layer3, net.layer4, net.avgpool], 1, 96, 96) == [
        (64, 24, 24),
        (64, 24, 24),
        (128, 12, 12),
        (256, 6, 6),
        (512, 3, 3),
        (512, 1, 1),
    ]


@pytest.mark.parametrize(
    ("block", "count", "shape_in", "shape_out"),
    [
        (partial(Residual, 3, 3), 180, (4, 3, 6, 6), (4, 3, 6, 6)),
        (partial(Residual, 3, 6, stride=2, shortcut_norm=False), 546, (4, 3, 6, 6), (4, 6, 3, 3)),
        (partial(ResNeXtBlock, 32, 32, groups=2, group_width=16), 6_944, (4, 32, 96, 96), (4, 32, 96, 96)),
        (partial(ResNeXtBlock, 32, 32, groups=16, group_width=2), 2_912, (4, 32, 96, 96), (4, 32, 96, 96)),
    ],
    ids=["residual", "residual that halves", "2 groups of 16: what the book builds", "16 groups of 2"],
)
def test_residual_blocks_of_the_notebook(block, count, shape_in, shape_out):
    net = block(bias=True)
    assert parameters(net) == count
    assert net(torch.randn(shape_in)).shape == shape_out


def test_googlenet_of_the_book():
    conv = partial(ConvNormAct, norm=None)
    table = [  # after which block a pool follows
        ((192, 64, (96, 128), (16, 32), 32), False),
        ((256, 128, (128, 192), (32, 96), 64), True),
        ((480, 192, (96, 208), (16, 48), 64), False),
        ((512, 160, (112, 224), (24, 64), 64), False),
        ((512, 128, (128, 256), (24, 64), 64), False),
        ((512, 112, (144, 288), (32, 64), 64), False),
        ((528, 256, (160, 320), (32, 128), 128), True),
        ((832, 256, (160, 320), (32, 128), 128), False),
        ((832, 384, (192, 384), (48, 128), 128), False),
    ]
    pool = partial(nn.MaxPool2d, kernel_size=3, stride=2, padding=1)
    layers = [conv(1, 64, 7, stride=2), pool(), conv(64, 64, 1), conv(64, 192, 3), pool()]
    for arguments, pool_follows in table:
        layers += [Inception(*arguments)] + [pool()] * pool_follows
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 10)).to("meta")
    assert (parameters(net), round(macs(net, 1, 1, 96, 96) / 1e6)) == (5_977_530, 276)


def test_densenet_of_the_book():
    layers = [nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for i in range(4):
        block = DenseBlock(4, channels, 32, bottleneck=0, bias=True)
        channels = block.out_channels
        layers.append(block)
        if i < 3:
            layers.append(Transition(channels, channels // 2, bias=True))
            channels //= 2
    head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    net = nn.Sequential(*layers, *head).to("meta")
    assert (parameters(net), round(macs(net, 1, 1, 96, 96) / 1e6)) == (758_226, 129)


def test_regnetx32_of_the_book():
    stem = ConvNormAct(1, 32, 3, stride=2, bias=True)

    def block(c_in, c_out, *, stride):
        return ResNeXtBlock(c_in, c_out, groups=c_out // 16, group_width=16, stride=stride, bias=True)

    stages = [stage(block, 4, 32, 32, stride=2), stage(block, 6, 32, 80, stride=2)]
    net = nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(80, 10)).to("meta")
    assert (parameters(net), round(macs(net, 1, 1, 96, 96) / 1e6)) == (179_290, 40)
    assert output_shapes(net[:3], 1, 96, 96) == [(32, 48, 48), (32, 24, 24), (80, 12, 12)]
