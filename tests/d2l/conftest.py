"""Programs of readers, a folder of their own for each test, and small images in the place of Fashion-MNIST."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from convscope import data
from convscope.d2l import fashion
from convscope.d2l import torch as d2l_torch

HERE = Path(__file__).parent


@pytest.fixture
def d2l() -> ModuleType:
    return d2l_torch


@pytest.fixture(scope="session")
def programs() -> ModuleType:
    """By its path: the folder is called as the book's package is."""
    spec = importlib.util.spec_from_file_location("programs_of_readers", HERE / "programs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny_fashion(monkeypatch, programs) -> data.Dataset:
    """300 images to learn from and 100 to be judged by; a class is a grey level."""
    dataset = programs.tiny_fashion()
    monkeypatch.setattr(fashion, "_load", lambda root, environment: dataset)
    return dataset


@pytest.fixture
def net(d2l) -> type:
    """A class of classifiers without lazy layers, quick and quiet; the first one has the same weights each time."""

    class Net(d2l.Classifier):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, 10))
            self.board.display = False

    torch.manual_seed(1)
    return Net


@pytest.fixture
def make(net) -> Callable[..., nn.Module]:
    """Makes one of these with some methods replaced, always with the same weights."""

    def build(**replaced):
        torch.manual_seed(1)
        return type("Net", (net,), replaced)()

    return build
