"""PyTorch's own optimisers are the oracle; that the compiler stays away is seen in a process of its own."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from convscope.train.lean import LeanAdamW, LeanSGD

PAIRS = [
    (LeanSGD, SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "foreach": True}),
    (LeanSGD, SGD, {"lr": 0.1, "fused": True}),
    (LeanAdamW, AdamW, {"lr": 0.01, "weight_decay": 0.1, "foreach": True}),
    (LeanAdamW, AdamW, {"lr": 0.01, "betas": (0.8, 0.99), "fused": True}),
]


def groups(model):
    return [{"params": [model[0].weight], "weight_decay": 0.3}, {"params": [model[0].bias, *model[1].parameters()]}]


def steps(model, optimizer, count):
    random = torch.Generator().manual_seed(3)
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(4, 3, generator=random)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(("lean", "theirs", "numbers"), PAIRS)
def test_steps_and_states_are_those_of_torch(lean, theirs, numbers):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    other = copy.deepcopy(model)
    ours, oracle = lean(groups(model), **numbers), theirs(groups(other), **numbers)
    steps(model, ours, 3)
    steps(other, oracle, 3)
    again = lean(groups(model), **numbers)
    again.load_state_dict(copy.deepcopy(oracle.state_dict()))
    torch.testing.assert_close(again.state_dict(), ours.state_dict(), rtol=0, atol=0)
    steps(model, again, 2)
    steps(other, oracle, 2)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_a_step_keeps_gradients_on_and_leaves_no_graph():
    weight = nn.Parameter(torch.ones(2))
    optimizer = LeanAdamW([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    assert torch.is_grad_enabled()
    assert weight.is_leaf


def test_hooks_around_a_step_are_called():
    weight, heard = nn.Parameter(torch.ones(2)), []
    optimizer = LeanSGD([weight], lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: heard.append("before"))
    optimizer.register_step_post_hook(lambda *_: heard.append("after"))
    weight.sum().backward()
    optimizer.step()
    assert heard == ["before", "after"]


PROGRAM = """
import sys, torch
from convscope import data, models
from convscope.train import OptimizerConfig, TrainConfig, Trainer
for opt in ("sgd", "adamw"):
    config = TrainConfig(epochs=0.2, image_size=28, optimizer=OptimizerConfig(opt=opt, ema=0.9, clip_grad=1.0))
    Trainer(config).fit(models.create("lenet"), data.load("digits"), out=f"{out}/{{opt}}")
sys.exit("torch._dynamo" in sys.modules)
"""


def test_a_training_does_not_wait_for_the_compiler(tmp_path):
    program = PROGRAM.format(out=tmp_path)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
