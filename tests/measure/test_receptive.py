"""Receptive fields against what pixels really move, against gradients, and against published tables."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convscope import models
from convscope.measure import receptive_field
from convscope.ops import geometry
from measure.oracles.networks import dags, gradient_support, moved

FEW = settings(max_examples=120, deadline=None)


def projections(support):
    return tuple(np.flatnonzero(support.any(1)).tolist()), tuple(np.flatnonzero(support.any(0)).tolist())


@FEW
@given(dags(), st.data())
def test_the_predicted_region_is_what_pixels_really_move(made, data):
    net, shape = made
    truth = moved(net, shape)  # H,W,h,w
    unit = tuple(data.draw(st.integers(0, n - 1)) for n in truth.shape[2:])
    support = truth[:, :, unit[0], unit[1]].numpy()
    assume(support.any())
    region = receptive_field(net, shape, "", unit).region
    assert (region.seen_rows, region.seen_columns) == projections(support)
    top, left, bottom, right = region.box
    assert not support[:top].any()
    assert support[top].any()
    assert not support[bottom + 1 :].any()
    assert not support[:, right + 1 :].any()
    assert support[:, left].any()


@FEW
@given(dags(), st.data())
def test_the_predicted_region_is_the_support_of_the_gradient(made, data):
    net, shape = made
    assume(not any("max" in layer.name for layer in net.layers))  # a max passes its gradient to one pixel only
    with torch.no_grad():
        units = net(torch.ones(1, *shape, dtype=torch.float64)).shape[2:]
    unit = tuple(data.draw(st.integers(0, n - 1)) for n in units)
    support = gradient_support(net, shape, unit).numpy()
    assume(support.any())
    region = receptive_field(net, shape, "", unit).region
    assert (region.seen_rows, region.seen_columns) == projections(support)
    if not any(len(layer.sources) > 1 for layer in net.layers):  # without branches it is a product, holes and all
        expected = np.zeros_like(support)
        expected[np.ix_(region.seen_rows, region.seen_columns)] = True
        assert (support == expected).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)), max_size=5))
def test_chains_agree_with_the_algebra_of_geometry(layers):
    net, expected = nn.Sequential(nn.Identity()), geometry.ReceptiveField()
    for kernel, stride, padding, dilation in layers:
        net.append(nn.Conv2d(1, 1, kernel, stride, padding, dilation))
        expected = expected.then(geometry.receptive_field(kernel, stride=stride, padding=padding, dilation=dilation))
    try:
        field = receptive_field(net, (1, 120, 90), "")
    except ValueError:
        assume(False)
    assert (field.size[0], field.jump[0], field.padding[0]) == (expected.size, expected.jump, expected.padding)
    assert field.region.rows == expected.region(field.region.unit[0])
    assert field.region.columns == expected.region(field.region.unit[1])


ARAUJO = [  # network, options, layer, size, jump, left padding
    ("lenet", {}, "features.0", 5, 1, 2),
    ("lenet", {}, "features.2", 6, 2, 2),
    ("lenet", {}, "features.3", 14, 2, 2),
    ("lenet", {}, "features.5", 16, 4, 2),
    ("lenet", {}, "classifier.1", 32, None, 2),
    ("alexnet", {}, "features.0", 11, 4, 2),
    ("alexnet", {}, "features.2", 19, 8, 2),
    ("alexnet", {}, "features.3", 51, 8, 18),
    ("alexnet", {}, "features.5", 67, 16, 18),
    ("alexnet", {}, "features.6", 99, 16, 34),
    ("alexnet", {}, "features.8", 131, 16, 50),
    ("alexnet", {}, "features.10", 163, 16, 66),
    ("alexnet", {}, "features.12", 195, 32, 66),
    ("alexnet", {}, "classifier.1", 355, None, 66),
    ("vgg11", {}, "features", 150, 32, None),
    ("vgg13", {}, "features", 156, 32, None),
    ("vgg16", {}, "features.28", 196, 16, 90),
    ("vgg16", {}, "features", 212, 32, 90),
    ("vgg16", {}, "classifier.0", 404, None, 90),
    ("vgg19", {}, "features", 268, 32, None),
    *(("resnet18", {}, f"layer{i}", r, 2**(i + 1), None) for i, r in enumerate((43, 99, 211, 435), 1)),
    *(("resnet34", {}, f"layer{i}", r, 2**(i + 1), None) for i, r in enumerate((59, 179, 547, 899), 1)),
    *(("resnet50", {}, f"layer{i}", r, 2**(i + 1), None) for i, r in enumerate((35, 91, 267, 427), 1)),
    ("resnet101", {}, "layer4", 971, 32, None),
    ("resnet152", {}, "layer4", 1451, 32, None),
    *((f"resnet{n}_cifar", {}, None, r, 4, None) for n, r in ((20, 81), (32, 137), (44, 193), (56, 249), (110, 501))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "layer", "size", "jump", "padding"), ARAUJO)
def test_published_receptive_fields(name, options, layer, size, jump, padding):
    info = models.info(name)
    net = models.create(name, device="meta", **options)
    field = receptive_field(net, (info.in_channels, info.image_size, info.image_size), layer)
    assert field.size == (size, size)
    assert not field.misaligned
    if jump is None:
        assert field.whole == (True, True)
    else:
        assert field.jump == (jump, jump)
        assert field.whole == (False, False)
    if padding is not None:
        assert field.padding == (padding, padding)


def test_resnet50_of_the_paper_strides_in_its_first_convolution():
    def bottleneck(stride):
        return nn.Sequential(nn.Conv2d(1, 1, 1, stride), nn.Conv2d(1, 1, 3, 1, 1), nn.Conv2d(1, 1, 1))

    stages = [bottleneck(1 if block or stage == 0 else 2) for stage, n in enumerate((3, 4, 6, 3)) for block in range(n)]
    net = nn.Sequential(nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1), *stages)
    assert receptive_field(net, (1, 224, 224), "").size == (483, 483)


def test_the_part_on_padding_is_shown():
    net = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), nn.Conv2d(1, 1, (3, 5), padding=(1, 2)))
    region = receptive_field(net, (1, 10, 6), "1", unit=(9, 0)).region
    assert (region.rows, region.columns) == ((6, 12), (-4, 4))
    assert region.on_padding == (0, 4, 3, 0)
    assert region.box == (6, 0, 9, 4)
    assert region.padding_share == pytest.approx(1 - 4 * 5 / (7 * 9))


class Branches(nn.Module):
    def __init__(self, *branches, joined="add"):
        super().__init__()
        self.branches, self.joined = nn.ModuleList(branches), joined

    def forward(self, x):
        outs = [branch(x) for branch in self.branches]
        return sum(outs) if self.joined == "add" else torch.cat(outs, 1)


@pytest.mark.parametrize(
    ("branches", "misaligned"),
    [
        ((nn.Conv2d(1, 1, 3, padding=1), nn.Identity()), False),
        ((nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 1, 2)), False),
        ((nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=2), nn.MaxPool2d(3, 1, 1)), False),
        ((nn.Conv2d(1, 1, 2, padding="same"), nn.Identity()), True),  # half a pixel to the right
        ((nn.Conv2d(1, 1, 2, 2), nn.Conv2d(1, 1, 1, 2)), True),
        ((nn.Conv2d(1, 1, 3, padding=2, dilation=1), nn.ZeroPad2d(1)), False),
        ((nn.Conv2d(1, 1, 3), nn.ZeroPad2d((-2, 0, -2, 0))), True),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("joined", ["add", "cat"])
def test_misaligned_branches_are_flagged(branches, misaligned, joined):
    assert receptive_field(Branches(*branches, joined=joined), (1, 12, 12), "").misaligned == misaligned


def test_layers_that_look_at_everything():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)

        def forward(self, x):
            x = self.conv(x)
            return x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()

    for net in (Gated(), nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.GroupNorm(1, 2))):
        field = receptive_field(net, (2, 9, 7), "")
        assert field.whole == (True, True)
        assert field.region.box == (0, 0, 8, 6)
        assert gradient_support(net.double(), (2, 9, 7), field.region.unit).all()


def test_circular_padding_sees_the_other_side():
    net = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    middle, corner = (receptive_field(net, (1, 8, 8), "", unit) for unit in ((4, 4), (0, 7)))
    assert (middle.size, middle.whole) == ((3, 3), (False, False))
    assert middle.region.box == (3, 3, 5, 5)
    assert (corner.region.seen_rows, corner.region.seen_columns) == ((0, 1, 7), (0, 6, 7))


def test_transposed_convolutions_halve_the_jump():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 4, 2, 1), nn.ConvTranspose2d(1, 1, 2, 2))
    field = receptive_field(net, (1, 16, 16), "2")
    assert field.units == (32, 32)
    assert field.jump == (Fraction(1, 2), Fraction(1, 2))


def test_tokens_keep_their_place():
    class Tokens(nn.Module):
        """A patch embedding, a dense layer for each token, back to an image."""

        def __init__(self):
            super().__init__()
            self.patch, self.norm, self.mix = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x):
            x = self.patch(x)
            n, c, h, w = x.shape
            x = self.mix(self.norm(x.flatten(2).transpose(1, 2)))  # -> N,hw,C
            return x.transpose(1, 2).reshape(n, c, h, w)

    field = receptive_field(Tokens(), (3, 16, 12), "", unit=(2, 1))
    assert (field.size, field.units) == ((4, 4), (4, 3))
    assert field.region.box == (8, 4, 11, 7)


@pytest.mark.parametrize(
    ("layer", "unit", "said"),
    [
        ("conv9", None, "unknown layer 'conv9'; did you mean 'conv1'"),
        ("layer1", (24, 0), "unit (24, 0) does not exist: layer1 gives 24x24 units"),
    ],
)
def test_wrong_questions(layer, unit, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        receptive_field(models.create("resnet18", device="meta"), (3, 96, 96), layer, unit)
