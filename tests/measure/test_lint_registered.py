"""What lint says of every registered network: what is known of it, and nothing that would make people stop reading."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope import models
from convscope.measure.lint import RULES, lint
from convscope.measure.lint.weights import as_pytorch_draws

RESNET = {"uneven-padding", "skipped-pixels", "field-beyond-image"}
FAMILIES = {  # at the published size; the first pattern that fits
    r"lenet|alexnet": {"dense-share"},
    r"bn_lenet": {"dense-share", "bias-before-norm"},
    r"vgg\d+(_narrow)?": {"dense-share"},
    r"vgg\d+_bn": {"dense-share", "bias-before-norm"},
    r"nin": {"unread-border"},
    r"convscope_s": {"uneven-padding", "unread-border"},
    r"convscope_(m|l|x+l)": {"unread-border", "field-beyond-image"},
    r"densenet\d+|googlenet|resnet\d+_cifar": {"uneven-padding", "field-beyond-image"},
    r"resnext29_32x4d": {"uneven-padding", "skipped-pixels"},
    r"(wide_|preact_)?resnet\d+(_2)?|resnext\d+_32x\dd|regnet_x_\w+|wrn_\d+_\d+": RESNET,
}
ALSO = {"alexnet": {"uneven-padding"}}


def look(name, size=None, **options):
    info = models.info(name)
    size = size or info.image_size
    model = models.create(name, image_size=size, device="meta", **options)
    found = lint(model, (options.get("in_channels", info.in_channels), size, size))
    return [finding for finding in found if finding.rule != "not-applied"]  # weights on meta have no values


def rules(findings):
    return {finding.rule for finding in findings}


@pytest.mark.parametrize("name", models.names())
def test_every_registered_network_at_its_published_size(name):
    family = next(expected for pattern, expected in FAMILIES.items() if re.fullmatch(pattern, name))
    assert rules(look(name)) == family | ALSO.get(name, set())


@pytest.mark.parametrize(
    ("name", "size", "advised"), [("resnet20_cifar", 32, 33), ("wrn_16_4", 32, 33), ("regnet_x_400mf", 200, 193)]
)
def test_the_advised_size_is_even_everywhere(name, size, advised):
    uneven = [f for f in look(name, size) if f.rule == "uneven-padding"]
    assert uneven
    assert all(f.change.startswith(f"Use images of {advised}x{advised} pixels") for f in uneven)
    assert "uneven-padding" not in rules(look(name, advised))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_is_uneven_at_224_and_even_at_225(name):
    uneven = [f for f in look(name, 224) if f.rule == "uneven-padding"]
    inner = "conv2" if name == "resnet50" else "conv1"
    assert [f.where for f in uneven] == ["conv1", "maxpool", *(f"layer{i}.0.{inner}" for i in (2, 3, 4))]
    for finding, (length, kernel, padding) in zip(
        uneven, [(224, 7, 3), (112, 3, 1), (56, 3, 1), (28, 3, 1), (14, 3, 1)], strict=True
    ):
        rest = length + 2 * padding - kernel
        assert finding.what == (
            f"rows and columns: {length} + {2 * padding} - {kernel} = {rest} is no multiple of the stride 2, "
            f"so {padding} px of padding are read before the map and {padding - 1} after it."
        )
        assert finding.change.startswith("Use images of 225x225 pixels")
    assert "uneven-padding" not in rules(look(name, 225))


def test_resnet50_skips_pixels_in_its_shortcuts_only():
    skipping = {f.where: f for f in look("resnet50") if f.rule == "skipped-pixels"}
    assert list(skipping) == [f"layer{i}.0.downsample.0" for i in (2, 3, 4)]
    shortcut = skipping["layer2.0.downsample.0"]
    assert shortcut.what == ("a 1x1 kernel with stride 2x2 reads 1 of 4 pixels; layer2.0.conv1 reads them beside it.")
    assert shortcut.severity == "info"


def test_where_the_field_of_resnet50_passes_the_image():
    (finding,) = (f for f in look("resnet50") if f.rule == "field-beyond-image")
    assert finding.where == "layer3.5.conv2"  # stage 3 ends at 267, and each of its blocks adds 32
    assert finding.what == (
        "what it reads sees 235x235 pixels already, of an image of 224x224; it is the first of 4, "
        "the last is layer4.2.conv2, of 17 convolutions wider than 1x1."
    )


def test_the_dense_share_of_vgg11_is_the_published_one():
    (finding,) = look("vgg11", in_channels=1, num_classes=10)
    assert (finding.rule, finding.where) == ("dense-share", "classifier.0")
    assert "of 128,806,154 parameters (92.8%) and do 1.6% of the MACs" in finding.what


def test_the_book_resnet_has_biases_before_its_norms():
    findings = look("resnet18", 96, bias=True, shortcut_norm=False, in_channels=1, num_classes=10)
    useless = [f for f in findings if f.rule == "bias-before-norm"]
    assert len(useless) == 17  # the stem and two in each of eight blocks; its shortcuts have no norm
    assert (useless[0].where, useless[0].what) == ("conv1", "its 64 biases are cancelled by bn1.")
    assert "missing-nonlinearity" not in rules(findings)


def test_a_network_for_photographs_on_28_pixels():
    findings = look("resnet50", 28, stem="imagenet")
    assert {"small-final-map", "kernel-on-padding"} <= rules(findings)


@pytest.mark.parametrize("name", ["lenet", "resnet20_cifar", "preact_resnet18", "nin", "vgg11_narrow"])
def test_values_of_fresh_networks_are_as_they_should_be(name):
    """No finding about weights or activations where an initialiser was applied."""
    torch.manual_seed(0)
    info = models.info(name)
    model = models.create(name, image_size=28, num_classes=10)
    of_values = [r.name for r in RULES.values() if r.needs != "shapes"]
    assert len(of_values) == 4
    assert lint(model, (info.in_channels, 28, 28), only=of_values) == []


def test_lenet_whose_initialiser_was_never_applied():
    torch.manual_seed(0)
    model = models.create("lenet")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    found = lint(model, (1, 28, 28), only=["default-weights"])
    assert [f.where for f in found] == ["features.0", "features.3", "classifier.1", "classifier.3"]
    assert all("and a sigmoid follows" in f.what for f in found)


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (16, 6, 5, 5), (64, 64, 3, 3), (120, 400), (50, 20)])
def test_draws_of_pytorch_are_told_from_others(shape):
    layer = nn.Conv2d(shape[1], shape[0], shape[2]) if len(shape) == 4 else nn.Linear(shape[1], shape[0])
    weight = layer.weight.detach()
    generator = torch.Generator().manual_seed(0)
    bound = 1 / math.sqrt(weight[0].numel())
    for _ in range(100):
        assert as_pytorch_draws(weight.uniform_(-bound, bound, generator=generator))
        for draw in (
            nn.init.xavier_uniform_,
            nn.init.xavier_normal_,
            nn.init.kaiming_uniform_,
            nn.init.kaiming_normal_,
        ):
            assert not as_pytorch_draws(draw(weight, generator=generator)), draw
        assert as_pytorch_draws(weight.uniform_(-bound, bound, generator=generator).mul_(1.3)) is False


def test_where_xavier_draws_the_same_nothing_is_said():
    """With five times as many outputs as inputs both bounds are equal."""
    assert as_pytorch_draws(nn.Linear(20, 100).weight.detach()) is None


HANDBOOK = Path(__file__).parents[2] / "docs" / "lint.md"


def test_the_handbook_is_what_the_rules_say():
    text = HANDBOOK.read_text(encoding="utf-8")
    _, *sections = re.split(r"(?m)^(?=## )", text)
    assert [section.strip() for section in sections] == [each.entry().strip() for each in RULES.values()]
