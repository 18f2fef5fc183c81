"""Programs of readers, a folder of their own for each test, and small images in the place of Fashion-MNIST."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

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
def tiny_fashion(monkeypatch) -> data.Dataset:
    """300 images to learn from and 100 to be judged by; a class is a grey level."""
    generator = torch.Generator().manual_seed(0)
    sets = []
    for count in (300, 100):
        labels = torch.randint(0, 10, (count,), generator=generator)
        images = torch.randint(0, 25, (count, 1, 28, 28), generator=generator) + labels.view(-1, 1, 1, 1) * 25
        sets.append(data.ImageSet(images.to(torch.uint8), labels, tuple("abcdefghij")))
    dataset = data.Dataset("fashion-mnist", *sets, (0.5,), (0.25,), {"name_or_folder": "fashion-mnist"})
    monkeypatch.setattr(fashion, "_load", lambda root, environment: dataset)
    return dataset
