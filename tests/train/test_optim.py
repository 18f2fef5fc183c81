import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convscope import models
from convscope.train import OptimizerConfig
from convscope.train.optim import build_optimizer, layers, set_rate

PLAIN = OptimizerConfig(opt="sgd", lr=0.1, momentum=0.9, weight_decay=0.01)


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3)
        self.second = nn.Conv2d(2, 2, 3)
        self.code = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.second(self.first(x)).mean((2, 3)) + self.code


def names_of(model):
    names = {id(p): name for name, p in model.named_parameters()}
    return [[names[id(p)] for p in layer] for layer in layers(model)]


def scales(model, optimizer):
    """The factor on the rate of each parameter, by name."""
    found = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


@pytest.mark.parametrize("opt", ["sgd", "adamw"])
def test_only_kernels_and_matrices_decay(opt):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(opt=opt, lr=0.1, momentum=0.0, weight_decay=0.5))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        expected = before[name] * (1 - 0.1 * 0.5) if p.ndim >= 2 else before[name]
        torch.testing.assert_close(p.detach(), expected)


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_an_error():
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    assert [len(g["params"]) for g in build_optimizer(model, OptimizerConfig()).param_groups] == [1]
    model.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="Linear has no trainable parameters"):
        build_optimizer(model, OptimizerConfig())


@pytest.mark.parametrize(
    ("config", "peer"),
    [
        (PLAIN, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
        (
            OptimizerConfig(opt="sgd", lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
        ),
        (
            OptimizerConfig(lr=0.1, weight_decay=0.01),
            lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.999), weight_decay=0.01, foreach=False),
        ),
    ],
)
def test_steps_equal_the_plain_optimizers(config, peer):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizers = build_optimizer(ours, config), peer(theirs.parameters())
    for _ in range(5):
        x = torch.randn(4, 3)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_each_layer_has_its_rate_and_the_shifts_of_norms_theirs():
    """Every weight moves by the rate times its own factor, worked out by hand."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten()),
        nn.Linear(2, 2),
    )
    optimizer = build_optimizer(
        model, OptimizerConfig(opt="sgd", momentum=0.0, weight_decay=0.0, layer_decay=0.5, norm_bias_lr=64)
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    set_rate(optimizer, 0.25)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    expected = {
        "0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.25, "1.bias": 16.0,
        "3.0.weight": 0.5, "3.0.bias": 0.5, "4.weight": 1.0, "4.bias": 1.0,
    }  # fmt: skip
    assert scales(model, optimizer) == expected
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - 0.25 * expected[name])


def test_equal_numbers_make_one_group_and_the_order_is_the_same_again():
    model = models.create("resnet18")
    plain = build_optimizer(model, PLAIN)
    assert [len(g["params"]) for g in plain.param_groups] == [21, 41]  # 20 kernels and a matrix; 40 of norms and a bias
    assert len(build_optimizer(model, OptimizerConfig(weight_decay=0)).param_groups) == 1
    assert [g["scale"] for g in build_optimizer(model, OptimizerConfig(norm_bias_lr=4)).param_groups] == [4, 1, 1]
    config = OptimizerConfig(layer_decay=0.75, norm_bias_lr=2)
    names = {id(p): name for name, p in model.named_parameters()}
    again = copy.deepcopy(model)
    names |= {id(p): name for name, p in again.named_parameters()}
    groups = [
        [([names[id(p)] for p in g["params"]], g["scale"], g["weight_decay"]) for g in optimizer.param_groups]
        for optimizer in (build_optimizer(model, config), build_optimizer(again, config))
    ]
    assert groups[0] == groups[1]
    assert len(groups[0]) == 3 * 10 - 1, "kernels, biases and scales, shifts of ten layers; the head has no norm"


def test_layers_of_registered_networks():
    assert names_of(models.create("lenet")) == [
        [f"{layer}.weight", f"{layer}.bias"] for layer in
        ("features.0", "features.3", "classifier.1", "classifier.3", "classifier.5")
    ]  # fmt: skip
    layers_of_resnet = names_of(models.create("resnet18"))
    assert len(layers_of_resnet) == 10  # stem, eight blocks, head
    assert layers_of_resnet[0] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert all(name.startswith("layer2.1.") for name in layers_of_resnet[4])
    assert layers_of_resnet[-1] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", models.names())
def test_layers_hold_every_parameter_once_and_end_with_the_head(name):
    with torch.device("meta"):
        model = models.create(name)
    found = [p for layer in layers(model) for p in layer]
    assert len(found) == len({id(p) for p in found}) == len(list(model.parameters()))
    assert layers(model)[-1][0].shape[0] == model.spec.arguments["num_classes"]


def test_wrappers_bodies_and_loose_parameters():
    pair = nn.ModuleDict({"body": Body(), "head": nn.Linear(2, 3)})
    assert names_of(pair) == [
        ["body.code", "body.first.weight", "body.first.bias"],
        ["body.second.weight", "body.second.bias"],
        ["head.weight", "head.bias"],
    ]
    wrapper = nn.Module()
    wrapper.inner = models.create("lenet")
    assert [len(layer) for layer in layers(wrapper)] == [2] * 5
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert names_of(tied) == [["0.weight", "0.bias"], ["1.bias"]]
    assert names_of(nn.Linear(1, 1)) == [["weight", "bias"]]
    assert layers(nn.ReLU()) == [[]]
    norm_first = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1), nn.LayerNorm(1))
    assert [len(layer) for layer in layers(norm_first)] == [2, 4]


@pytest.mark.parametrize("opt", ["sgd", "adamw"])
def test_a_saved_optimizer_goes_on_to_the_same_bits(opt):
    config = OptimizerConfig(opt=opt, lr=0.1, layer_decay=0.8, norm_bias_lr=3)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    optimizer = build_optimizer(model, config)

    def steps(model, optimizer, count, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.randn(5, 1, 4, 4, generator=generator)).square().mean().backward()
            optimizer.step()

    steps(model, optimizer, 3, seed=1)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], file)
    steps(model, optimizer, 3, seed=2)

    file.seek(0)
    saved_model, saved_optimizer = torch.load(file, weights_only=True)
    again = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    again.load_state_dict(saved_model)
    resumed = build_optimizer(again, config)
    resumed.load_state_dict(saved_optimizer)
    assert [g["scale"] for g in resumed.param_groups] == [g["scale"] for g in optimizer.param_groups]
    steps(again, resumed, 3, seed=2)
    for ours, theirs in zip(again.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("opt", ["sgd", "adamw"])
def test_state_saved_in_another_memory_format_meets_the_right_weights(opt):
    """The CPU's fused kernels do not look at strides: what is loaded must lie as the parameter does."""
    config = OptimizerConfig(opt=opt, lr=0.1)
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    gradients = [torch.randn_like(plain.weight) for _ in range(2)]

    def step(model, optimizer, gradient):
        model.weight.grad = torch.empty_like(model.weight).copy_(gradient)
        optimizer.step()

    first = build_optimizer(plain, config)
    step(plain, first, gradients[0])
    last.load_state_dict(plain.state_dict())
    resumed = build_optimizer(last, config)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    step(plain, first, gradients[1])
    step(last, resumed, gradients[1])
    assert last.weight.stride() != plain.weight.stride()
    torch.testing.assert_close(last.weight.contiguous(), plain.weight.detach())


def test_a_parameter_frozen_later_stands_still():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = build_optimizer(model, OptimizerConfig(opt="sgd", lr=0.1, weight_decay=0.5))
    before = model[0].weight.detach().clone()
    model[0].requires_grad_(False)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


@given(
    decay=st.floats(0.1, 1), bias=st.floats(0, 100), depth=st.integers(1, 6), weight_decay=st.sampled_from([0.0, 0.1])
)
def test_factors_are_powers_and_groups_are_as_few_as_numbers(decay, bias, depth, weight_decay):
    model = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)) for _ in range(depth)])
    config = OptimizerConfig(layer_decay=decay, norm_bias_lr=bias, weight_decay=weight_decay)
    optimizer = build_optimizer(model, config)
    for name, scale in scales(model, optimizer).items():
        after = depth - 1 - int(name.split(".")[0])
        assert scale == pytest.approx(decay**after * (bias if name.endswith("1.bias") else 1.0))
    numbers = [(group["scale"], group["weight_decay"]) for group in optimizer.param_groups]
    assert len(numbers) == len(set(numbers))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4 * depth
