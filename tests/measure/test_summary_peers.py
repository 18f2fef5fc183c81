"""torchinfo 1.8.0 and fvcore as further judges, with what they count otherwise written down and tested."""

import warnings

import pytest
import torch
from torch import nn

from convscope import models
from convscope.measure import Summary, summary
from measure.oracles import nets

NAMES = ["lenet", "bn_lenet", "resnet18", "resnet20_cifar", "googlenet", "vgg11_narrow"]


def prepared(name) -> tuple[nn.Module, tuple[int, ...], Summary]:
    info = models.info(name)
    side = min(info.image_size, 64)
    net = models.create(name, image_size=side, num_classes=10).eval()
    size = (info.in_channels, side, side)
    return net, size, summary(net, size, training=False)


def layers(net: nn.Module, result: Summary, *kinds: type):
    for row in result.rows:
        if row.kind != "operator" and isinstance(module := net.get_submodule(row.path), kinds):
            yield module, row


@pytest.mark.parametrize("name", NAMES)
def test_torchinfo_agrees_but_for_biases_and_norms(name):
    """It takes every bias as a multiplication, and of a batch norm counts its parameters, whatever the image."""
    torchinfo = pytest.importorskip("torchinfo")
    net, size, ours = prepared(name)
    theirs = torchinfo.summary(net, (1, *size), verbose=0, device="cpu")
    more = 0
    for module, row in layers(net, ours, nn.Conv2d, nn.Linear):
        if module.bias is not None:
            more += len(module.bias) * torch.Size(row.outputs[0][2:]).numel()
    more += sum(2 * module.num_features for module, _ in layers(net, ours, nn.BatchNorm2d, nn.BatchNorm1d))
    assert theirs.total_mult_adds == ours.total.macs + more
    assert theirs.total_params == ours.total.parameters


def test_torchinfo_does_not_see_what_is_no_module():
    """Convolutions and products in ``forward`` are nothing to it, and a dense layer on tokens counts one token."""
    torchinfo = pytest.importorskip("torchinfo")
    net = nets.Functional()
    assert torchinfo.summary(net, (1, 3, 8, 8), verbose=0, device="cpu").total_mult_adds < 200
    assert summary(net, (3, 8, 8)).total.macs == 8 * 8 * 4 * 27 + 20
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 5, bias=False))
    assert torchinfo.summary(tokens, (1, 3, 4, 4), verbose=0, device="cpu").total_mult_adds == 80
    assert summary(tokens, (3, 4, 4)).total.macs == 3 * 80


@pytest.mark.parametrize("name", NAMES)
def test_fvcore_agrees_but_for_norms_and_global_pools(name):
    """What it calls a flop is a MAC; to these it adds 2 for each value of a norm and 1 for each of an adaptive pool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fvcore = pytest.importorskip("fvcore.nn")
        net, size, ours = prepared(name)
        analysis = fvcore.FlopCountAnalysis(net, torch.zeros(1, *size)).unsupported_ops_warnings(False)
        theirs = analysis.by_operator()
        by_module = analysis.by_module()
    assert theirs["conv"] + theirs["linear"] == ours.total.macs
    values = {row.path: torch.Size(row.outputs[0]).numel() for row in ours.rows if row.outputs}
    norms = [row for _, row in layers(net, ours, nn.BatchNorm2d, nn.BatchNorm1d)]
    assert theirs["batch_norm"] == sum(2 * values[row.path] for row in norms)
    for _, row in layers(net, ours, nn.Conv2d, nn.Linear):
        assert by_module[row.path] == row.macs
