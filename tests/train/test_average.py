"""The average is what a loop over the weights gives, and leaves no trace when it is swapped in."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convscope import models
from convscope.train.average import WeightAverage


class Restless(nn.Module):
    """Puts a new tensor in the place of its buffer at every forward pass, and has buffers of every kind."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("hidden", torch.ones(2), persistent=False)

    def forward(self, x):
        self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
        self.count += 1
        return x @ self.weight.T + self.mask


def moved(model, seed):
    """Other weights and buffers, as after a step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator))
    model.train()(torch.randn(4, *model.shape, generator=generator))


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    model.shape = (1, 4, 4)
    return model


@given(decay=st.floats(0, 0.9999), steps=st.integers(1, 30))
def test_it_is_the_recurrence_written_out(decay, steps):
    model = nn.Linear(1, 1, bias=False).double()
    values = torch.randn(steps + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(steps)).tolist()
    model.weight.data.fill_(values[0])
    average, expected = WeightAverage(model, decay), values[0]
    for t, value in enumerate(values[1:]):
        model.weight.data.fill_(value)
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * value
    with average.swapped():
        assert model.weight.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_tensorflows_published_numbers():
    """The example that TensorFlow's documentation of the same rise works through: 0, then 5 gives 4.5."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.99)
    nn.init.constant_(model.weight, 5)
    average.update()
    average.updates = 10_000
    nn.init.constant_(model.weight, 10)
    average.write()
    assert model.weight.item() == 4.5
    nn.init.constant_(model.weight, 10)
    average.update()
    average.write()
    assert model.weight.item() == pytest.approx(4.555)


def test_it_is_pytorchs_average_once_the_decay_has_risen():
    model = network()
    ours, theirs = WeightAverage(model, 0.9), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.use_buffers = True
    theirs.update_parameters(model)  # the first call copies
    ours.updates = 1_000
    for seed in range(5):
        moved(model, seed)
        ours.update()
        theirs.update_parameters(model)
    with ours.swapped():
        for name, value in theirs.module.state_dict().items():
            mine = model.state_dict()[name]
            if value.is_floating_point():
                torch.testing.assert_close(mine, value)


def test_every_kind_of_tensor():
    model = Restless()
    model.shape = (3,)
    average = WeightAverage(model, 0.9)
    mean = model.mean.clone()
    for t in range(4):
        moved(model, t)
        average.update()
        mean = mean + (1 - (1 + t) / (10 + t)) * (model.mean - mean)
    held = model.mean
    with average.swapped():
        torch.testing.assert_close(model.mean, mean)
        assert model.count == 4
        assert model.mask.tolist() == [0.0, -torch.inf]
        assert model.hidden.tolist() == [1, 1]
    assert model.mean is held


@pytest.mark.parametrize("name", ["bn_lenet", "resnet18"])
def test_swapping_leaves_no_trace(name):
    model = models.create(name, num_classes=3).to(memory_format=torch.channels_last)
    average = WeightAverage(model, 0.99)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    average.update()
    tensors = [*model.parameters(), *model.buffers()]
    before = [(t.data_ptr(), t.stride(), t.detach().clone(), t.requires_grad) for t in tensors]
    averages = {key: value.clone() for key, value in average.state()["tensors"].items()}

    def fail_inside():
        with average.swapped():
            assert not torch.equal(tensors[0], before[0][2])
            assert tensors[0].stride() == before[0][1]
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    for tensor, (address, stride, value, grad) in zip(tensors, before, strict=True):
        assert (tensor.data_ptr(), tensor.stride(), tensor.requires_grad) == (address, stride, grad)
        assert torch.equal(tensor, value)
    for key, value in average.state()["tensors"].items():
        assert torch.equal(value, averages[key])


def test_a_saved_average_goes_on_to_the_same_bits():
    for make in (network, Restless):
        model = make()
        model.shape = getattr(model, "shape", (3,))
        average = WeightAverage(model, 0.95)
        for seed in range(3):
            moved(model, seed)
            average.update()
        file = io.BytesIO()
        torch.save([model.state_dict(), average.state()], file)
        for seed in range(3, 6):
            moved(model, seed)
            average.update()

        file.seek(0)
        weights, saved = torch.load(file, weights_only=True)
        again = make()
        again.shape = model.shape
        again.load_state_dict(weights)
        resumed = WeightAverage(again, 0.95)
        resumed.restore(saved)
        for seed in range(3, 6):
            moved(again, seed)
            resumed.update()
        assert resumed.updates == 6
        for name, value in average.state()["tensors"].items():
            assert torch.equal(resumed.state()["tensors"][name], value), name


def test_what_cannot_be():
    with pytest.raises(ValueError, match="decay must be in 0 <= decay < 1, got 1"):
        WeightAverage(nn.Linear(1, 1), 1)
    average = WeightAverage(nn.Linear(2, 1), 0.5)
    with pytest.raises(ValueError, match=r"another network: weight is \(1, 1\) there and \(1, 2\) here"):
        average.restore(WeightAverage(nn.Linear(1, 1), 0.5).state())
    with pytest.raises(ValueError, match="bias is missing there and"):
        average.restore(WeightAverage(nn.Linear(2, 1, bias=False), 0.5).state())
    assert average.updates == 0


def test_shared_weights_are_averaged_once():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    nn.init.zeros_(model[0].weight)
    average = WeightAverage(model, 0.5)
    nn.init.ones_(model[0].weight)
    average.update()
    assert list(average.state()["tensors"]) == ["0.weight"]
    average.write()
    assert model[1].weight.item() == pytest.approx(0.9)
