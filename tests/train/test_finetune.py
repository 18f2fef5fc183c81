"""The head is found, the body stands still, and everything is as before afterwards."""

import copy

import pytest
import torch
from torch import nn

from convscope import models
from convscope.nn import FlipAverage
from convscope.train import OptimizerConfig
from convscope.train.finetune import frozen_body, head_of
from convscope.train.optim import build_optimizer


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.InstanceNorm2d(4, affine=True), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


class HeadFirst(nn.Module):
    """Registers its head before its body."""

    def __init__(self, width: int):
        super().__init__()
        self.head = nn.Linear(width, 3)
        self.body = nn.Conv2d(1, width, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("name", models.names())
def test_the_head_of_every_registered_network(name):
    with torch.device("meta"):
        model = models.create(name, num_classes=7)
    found, head = head_of(model, 7)
    assert model.get_submodule(found) is head
    ends = {"nin": ("head.4",), "alexnet": ("classifier.6",), "lenet": ("classifier.5",), "bn_lenet": ("classifier.7",)}
    assert found in ends.get(name, ("fc", "classifier", "classifier.6")), found


@pytest.mark.parametrize("name", ["lenet", "nin", "resnet18", "densenet121"])
def test_running_and_registration_agree(name):
    arguments = {"in_channels": 1, "num_classes": 7, "image_size": 32}
    model = models.create(name, **arguments)
    modes = [module.training for module in model.modules()]
    state, buffers = torch.get_rng_state(), copy.deepcopy(list(model.buffers()))
    assert head_of(model, 7, torch.randn(2, 1, 32, 32, generator=torch.Generator()))[0] == head_of(model, 7)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert not any(module._forward_hooks for module in model.modules())


def test_the_last_to_run_beats_the_last_to_be_registered():
    assert head_of(HeadFirst(5), 3)[0] == "head", "the only one with three outputs"
    assert head_of(HeadFirst(3), 3)[0] == "body", "without running it nobody can know better"
    assert head_of(HeadFirst(3), 3, torch.randn(1, 1, 4, 4))[0] == "head"
    assert head_of(FlipAverage(HeadFirst(3)), 3, torch.randn(1, 1, 4, 4))[0] == "model.head"


def test_no_head_is_said():
    with pytest.raises(
        ValueError, match="no layer of Sequential has 10 outputs, one for each class; the last layer with weights, '6'"
    ):
        head_of(network(), 10)
    with pytest.raises(ValueError, match="no layer of ReLU has 10 outputs, one for each class: freezing needs a head"):
        head_of(nn.ReLU(), 10)
    several = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 4))
    with pytest.raises(ValueError, match="the 3 class scores is not plain: '0', '1' have as many outputs, and none of"):
        head_of(several, 3)


def test_only_the_head_moves_while_the_body_is_frozen():
    model = network().train()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.1, weight_decay=0.5))
    x = 3 + torch.randn(8, 1, 4, 4)
    model(x).sum().backward()  # a gradient and a state from before
    optimizer.step()
    before = copy.deepcopy(model.state_dict())
    with frozen_body(model, model[6]):
        assert [module.training for module in model] == [True, False, True, True, True, True, True]
        for _ in range(3):
            model(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("6.")), name
    model(x).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])


def test_flags_and_modes_come_back_whatever_happens():
    model = network().train()
    model[0].bias.requires_grad_(False)
    model[1].eval()
    flags = [p.requires_grad for p in model.parameters()]
    modes = [m.training for m in model.modules()]

    def interrupt():
        with frozen_body(model, model[6]):
            assert [p.requires_grad for p in model.parameters()] == [False] * 6 + [True] * 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert [p.requires_grad for p in model.parameters()] == flags
    assert [m.training for m in model.modules()] == modes


def test_a_frozen_head_stays_frozen_and_a_stranger_is_refused():
    model = network()
    model[6].bias.requires_grad_(False)
    with frozen_body(model, model[6]):
        assert not model[6].bias.requires_grad
    with (
        pytest.raises(ValueError, match="the head, Linear, is no part of Sequential"),
        frozen_body(model, nn.Linear(1, 1)),
    ):
        pass
