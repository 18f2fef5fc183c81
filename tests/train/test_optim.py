import pytest
import torch
from torch import nn

from convscope.train import OptimizerConfig
from convscope.train.optim import build_optimizer


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
    ("opt", "peer"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.999), weight_decay=0.01)),
    ],
)
def test_steps_equal_the_plain_optimizers(opt, peer):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizers = build_optimizer(ours, OptimizerConfig(opt=opt, lr=0.1, weight_decay=0.01)), peer(theirs.parameters())
    for _ in range(5):
        x = torch.randn(4, 3)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
