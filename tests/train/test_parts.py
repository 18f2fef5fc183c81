"""How a network is judged: every image once, also where memory is short."""

import pytest
import torch
from torch import nn

from convscope.data import Loader, Preprocess
from convscope.errors import RunError
from convscope.train.objective import Classification
from convscope.train.parts import evaluate
from train.conftest import stripes


class Narrow(nn.Module):
    """As on a device on which so many images fit."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits, self.sizes = fits, []
        torch.manual_seed(0)
        self.head = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.fits:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return self.head(x.flatten(1))


def loader(batch_size: int) -> Loader:
    return Loader(stripes(90, 2), Preprocess((8, 8), (0.2,), (0.2,)), batch_size=batch_size)


def test_a_batch_that_does_not_fit_is_judged_in_parts():
    whole, narrow = (evaluate(Classification(), Narrow(fits), loader(40)) for fits in (1000, 7))
    assert narrow.count == whole.count == 90
    assert narrow.means()["accuracy"] == whole.means()["accuracy"]
    assert narrow.means()["loss"] == pytest.approx(whole.means()["loss"], rel=1e-6)


def test_what_did_not_fit_is_not_tried_again():
    net = Narrow(10)
    evaluate(Classification(), net, loader(40))
    assert net.sizes == [40, 20, 10, 10, 10, 10] + [10] * 5


def test_one_image_that_does_not_fit_says_what_to_lower():
    said = (
        r"judging 1 image \(1, 8, 8\) does not fit in the memory of cpu: lower --image-size, or take a smaller --model"
    )
    with pytest.raises(RunError, match=said):
        evaluate(Classification(), Narrow(0), loader(40))


def test_another_error_is_not_taken_for_it():
    net = nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate(Classification(), net, loader(40))
