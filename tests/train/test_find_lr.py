"""The range test leaves no trace, sweeps as it says, and suggests nothing where there is nothing."""

import copy
import json
import math

import pytest
import torch
from torch import nn

from convscope.data import Loader, Preprocess
from convscope.errors import RunError
from convscope.train import Classification, ExecutionConfig, OptimizerConfig, Outcome, TrainConfig, Trainer
from convscope.train.find_lr import LrRange, find_lr
from convscope.train.generators import rng_state
from convscope.train.lean import LeanSGD

SGD = OptimizerConfig(opt="sgd", momentum=0.0, weight_decay=0.0)


class Scripted:
    """A task whose loss of each step is known beforehand."""

    def __init__(self, losses):
        self.losses = iter(losses)

    def check(self, model, inputs, classes):
        pass

    def training(self, model, inputs, targets):
        anchor = sum(p.sum() for p in model.parameters())
        loss = anchor * 0 + next(self.losses)
        return Outcome(loss, {"loss": loss.detach() * len(targets)}, len(targets))

    evaluation = training


@pytest.fixture
def loader(dataset):
    return Loader(dataset.train, Preprocess.of(dataset), batch_size=32, shuffle_seed=0)


def valley(steps, *, noise=0.0, seed=0):
    """Flat until a third of the sweep, down to the middle of the rest, then up and away."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        x = step / (steps - 1)
        falling = 2.0 - 1.5 * min(max((x - 0.33) / 0.3, 0), 1)
        yield falling + (60 * (x - 0.75) if x > 0.75 else 0) + noise * torch.randn((), generator=generator).item()


def test_nothing_is_touched(model, loader):
    model[0].requires_grad_(False)
    net = nn.Sequential(nn.BatchNorm2d(1), model).train()
    net[1][2].eval()
    net(torch.randn(2, 1, 8, 8)).sum().backward()
    before = copy.deepcopy(net.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    addresses = [t.data_ptr() for t in (*net.parameters(), *net.buffers())]
    modes, state = [m.training for m in net.modules()], torch.get_rng_state()
    find_lr(net, loader, Classification(), SGD, steps=30)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in net.modules()] == modes
    assert [t.data_ptr() for t in (*net.parameters(), *net.buffers())] == addresses
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        assert (p.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(p.grad, gradient)


@pytest.mark.parametrize("deterministic", [False, True])
def test_neither_the_network_nor_the_process_notices(model, dataset, deterministic):
    """Asked of a trainer, which plans and settles before it sweeps."""
    threads, tiny = torch.get_num_threads(), torch.full((1000,), 1e-39)
    model[2].eval()
    model.to(memory_format=torch.contiguous_format)
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    generators = rng_state(torch.device("cpu"))
    execution = ExecutionConfig(
        device="cpu", threads=1, precision="float32", memory_format="channels_last", deterministic=deterministic
    )
    try:
        torch.set_num_threads(2)
        found = Trainer(TrainConfig(execution=execution)).find_lr(model, dataset)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert found.rates
    assert (tiny * 0.5).count_nonzero() == 1000  # denormals are numbers again
    assert not torch.are_deterministic_algorithms_enabled()
    assert [m.training for m in model.modules()] == modes
    assert all(p.is_contiguous() for p in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    after = rng_state(torch.device("cpu"))
    assert all(torch.equal(after[name], value) for name, value in generators.items())


def test_the_losses_are_those_of_a_loop_written_out(dataset, loader):
    """Plain SGD by hand, over more steps than an epoch has batches."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = find_lr(net, loader, Classification(), SGD, low=1e-4, high=0.1, steps=20)
    batches = [batch for epoch in range(3) for batch in loader.batches(epoch)]
    assert len(loader) == 8 < 20
    weight, bias = (p.detach().clone().requires_grad_() for p in net[1].parameters())
    for step, (x, labels) in zip(range(20), batches, strict=False):
        rate = 1e-4 * 1000 ** (step / 19)
        loss = nn.functional.cross_entropy(x.flatten(1) @ weight.T + bias, labels)
        assert found.rates[step] == pytest.approx(rate)
        assert found.losses[step] == pytest.approx(loss.item(), rel=1e-5)
        gradients = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            weight -= rate * gradients[0]
            bias -= rate * gradients[1]
    assert found.stopped == "end"
    assert (found.rates[0], found.rates[-1]) == (pytest.approx(1e-4), pytest.approx(0.1))


def test_smoothing_is_a_weighted_mean_of_what_was_seen(model, loader):
    losses = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0] * 5
    found = find_lr(model, loader, Scripted(losses), SGD, steps=40)
    keep = 1 - 1 / (0.05 * 40)
    for n in range(1, 41):
        weights = [keep ** (n - 1 - i) for i in range(n)]
        expected = sum(w * loss for w, loss in zip(weights, losses, strict=False)) / sum(weights)
        assert found.smoothed[n - 1] == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_suggestions_of_a_known_valley(model, loader, noise):
    found = find_lr(model, loader, Scripted(valley(200, noise=noise)), SGD, low=1e-6, high=10)
    assert found.stopped == "diverged"
    slope = [1e-6 * 1e7**x for x in (0.33, 0.72)]  # where it falls, and what the smoothing lags behind
    assert slope[0] < found.steepest < slope[1]
    assert 1e-6 * 1e7**0.63 < found.lowest < 1e-6 * 1e7**0.80
    assert found.tenth_of_lowest == found.lowest / 10
    assert f"{found.steepest:.2g}" in str(found)
    assert f"{found.tenth_of_lowest:.2g}" in str(found)
    assert not found.still_falls


@pytest.mark.parametrize("seed", range(10))
def test_no_descent_no_suggestion(model, loader, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = (2.3 + 0.3 * torch.randn((), generator=generator).item() for _ in range(200))
    found = find_lr(model, loader, Scripted(noise), SGD)
    assert found.steepest is found.lowest is found.tenth_of_lowest is None
    assert str(found) == "no learning rate to suggest: the loss does not fall between 1e-06 and 10"


def test_a_sweep_that_ends_while_the_loss_falls_says_so(model, loader):
    found = find_lr(model, loader, Scripted(2 - step / 200 for step in range(200)), SGD, high=1e-3)
    assert found.still_falls
    assert str(found).endswith("it still falls at 0.001: try a higher end")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(model, loader, bad):
    found = find_lr(model, loader, Scripted([2.0] * 30 + [bad] + [2.0] * 200), SGD)
    assert found.stopped == "not finite"
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == 30
    at_once = find_lr(model, loader, Scripted([bad]), SGD)
    assert at_once.rates == ()
    assert str(at_once) == "no learning rate to suggest: the loss is no number at the first step"


def test_it_stops_above_four_times_the_best_and_only_there(model, loader):
    found = find_lr(model, loader, Scripted([1.0] * 50 + [100.0] * 200), SGD)
    assert found.smoothed[-1] > 4 * min(found.smoothed)
    assert all(s <= 4 * min(found.smoothed[: i + 1]) for i, s in enumerate(found.smoothed[:-1]))
    negative = find_lr(model, loader, Scripted([-1.0] * 200), SGD)
    assert negative.stopped == "end"


def test_a_real_network_on_real_batches(model, loader):
    """It learns where a run at the suggested rate learns, and breaks where a run breaks."""
    found = find_lr(model, loader, Classification(), OptimizerConfig(opt="sgd"), low=1e-5, high=100, steps=120)
    assert found.stopped in ("diverged", "not finite", "end")
    assert found.steepest is not None
    assert min(found.smoothed) < 0.8 * found.losses[0]
    assert 1e-3 < found.steepest < 10


def test_accumulated_batches_make_one_step(model, loader):
    asked = []

    class Counting(Scripted):
        def training(self, model, inputs, targets):
            asked.append(len(targets))
            return super().training(model, inputs, targets)

    found = find_lr(
        model, loader, Counting([1.0, 3.0] * 20), OptimizerConfig(opt="sgd", accumulate=2, clip_grad=1), steps=20
    )
    assert found.losses == (2.0,) * 20
    assert len(asked) == 40


def test_progress_is_told_and_values_are_plain(model, loader):
    told = []
    found = find_lr(model, loader, Classification(), SGD, high=1e-3, steps=20, progress=lambda *now: told.append(now))
    assert told == [(step, 20) for step in range(1, 21)]
    values = json.loads(json.dumps(found.to_dict()))
    assert values["losses"] == list(found.losses)
    assert values["tenth_of_lowest"] == found.tenth_of_lowest
    assert values["verdict"] == str(found)
    fields = {name: values[name] for name in ("stopped", "steepest", "lowest")}
    tuples = {name: tuple(values[name]) for name in ("rates", "losses", "smoothed")}
    assert LrRange(**tuples, **fields) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.0}, "expected 0 < low < high, got low=0.0 and high=10"),
        ({"low": 1.0, "high": 0.1}, "expected 0 < low < high"),
        ({"high": math.inf}, "expected 0 < low < high"),
        ({"steps": 5}, "steps must be at least 20, to see a curve, got 5"),
    ],
)
def test_nonsense_is_refused(model, loader, arguments, message):
    with pytest.raises(ValueError, match=message):
        find_lr(model, loader, Classification(), SGD, **arguments)


@pytest.mark.parametrize("where", ["forward", "step"])
def test_a_batch_that_does_not_fit_says_what_to_lower(model, loader, monkeypatch, where):
    def full(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(*((nn.Linear, "forward") if where == "forward" else (LeanSGD, "step")), full)
    with pytest.raises(RunError, match=r"a step on a batch of 32 images \(1, 8, 8\) does not fit .* --batch-size"):
        find_lr(model, loader, Classification(), SGD)
