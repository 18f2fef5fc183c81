import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convscope.train import way as ways
from convscope.train.bench import Bench, Step, is_out_of_memory
from convscope.train.contest import Contest
from convscope.train.objective import Classification
from convscope.train.probe import cores, cpu_flags, find_device, native_precisions, peak_macs
from convscope.train.trials import LIMITS, Difference, difference
from convscope.train.way import Way

PLAIN = Way(device="cpu")
LAST = Way(device="cpu", memory_format="channels_last")
BATCH = torch.rand(6, 2, 9, 7, generator=torch.Generator().manual_seed(8)), torch.arange(6) % 3


def net(*, dropout=0.0):
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, groups=2), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(8 * 7 * 5, 3)
    )


def bench(model, **more):
    return Bench(model, Classification(), BATCH, **more)


# ---- steps


def test_a_step_gives_the_loss_and_gradients_that_pytorch_gives():
    model = net()
    step = bench(model).step(PLAIN)
    loss = F.cross_entropy(model(BATCH[0]), BATCH[1])
    loss.backward()
    assert step.loss == loss.item()
    assert all(torch.equal(g, p.grad) for g, p in zip(step.gradients, model.parameters(), strict=True))


def test_steps_start_from_the_same_state_each_time():
    model = net(dropout=0.5)
    model.insert(1, nn.BatchNorm2d(8))
    tried = bench(model)
    first, second = tried.step(PLAIN), tried.step(PLAIN)
    assert first.loss == second.loss
    assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True))
    assert tried.draws


def test_a_network_without_dropout_draws_nothing():
    tried = bench(net())
    tried.step(PLAIN)
    assert not tried.draws


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout2d])
def test_comparable_steps_drop_the_same_units_in_any_order_of_axes(layer):
    model = net()
    model[2] = layer(0.5)
    tried = bench(model)
    one, other = tried.step(PLAIN, comparable=True), tried.step(LAST, comparable=True)
    assert other.loss == pytest.approx(one.loss, rel=1e-6)
    assert difference(other, one).gradient < 1e-5
    assert tried.step(PLAIN, comparable=True).loss != bench(net()).step(PLAIN).loss


def test_comparable_dropout_is_dropout():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.25), nn.Flatten(), nn.Linear(126, 3))
    torch.manual_seed(9)
    step = bench(model).step(PLAIN, comparable=True)
    torch.manual_seed(9)
    assert step.loss == pytest.approx(F.cross_entropy(model(BATCH[0]), BATCH[1]).item(), rel=1e-6)


def test_float16_gradients_are_scaled_and_come_out_unscaled():
    """A gradient of 1e-9 is zero in float16; with the scale it is there."""

    class Faint(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(126, 3, bias=False)
            nn.init.zeros_(self.head.weight)

        def forward(self, inputs):
            return self.head(inputs.flatten(1)) * 1e-7

    found = bench(Faint()).step(Way(device="cpu", precision="float16"))
    wanted = bench(Faint()).step(PLAIN)
    assert 0 < wanted.gradients[0].abs().max() < 6e-8
    assert found.gradients[0].count_nonzero() > 0.9 * wanted.gradients[0].count_nonzero()
    assert difference(found, wanted).gradient < 0.05


# ---- differences


@given(st.integers(0, 2**31), st.floats(-3, 3), st.integers(1, 4))
def test_differences_are_those_of_one_long_vector(seed, angle, parts):
    draw = np.random.default_rng(seed)
    a = [draw.normal(size=(3, k + 1)) for k in range(parts)]
    b = [x + angle * draw.normal(size=x.shape) for x in a]
    found = difference(
        Step(0, 2.5, [torch.tensor(x, dtype=torch.float32) for x in b]),
        Step(0, 2.0, [torch.tensor(x, dtype=torch.float32) for x in a]),
    )
    one, other = np.concatenate([x.ravel() for x in a]), np.concatenate([x.ravel() for x in b])
    assert found.loss == pytest.approx(0.25)
    assert found.cosine == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-4)
    assert found.gradient == pytest.approx(np.linalg.norm(one - other) / np.linalg.norm(one), abs=1e-4)


def test_a_missing_gradient_counts_as_zero():
    a, b = torch.tensor([3.0]), torch.tensor([4.0])
    assert difference(Step(0, 0, [a, None]), Step(0, 0, [a, b])) == Difference(
        0, pytest.approx(0.6), pytest.approx(0.8)
    )
    assert difference(Step(0, 0, [a, b]), Step(0, 0, [a, None])) == Difference(
        0, pytest.approx(0.6), pytest.approx(4 / 3)
    )
    assert difference(Step(0, 0, [None]), Step(0, 0, [None])) == Difference(0, 1, 0)
    assert difference(Step(0, 0, [torch.zeros(1)]), Step(0, 0, [b])) == Difference(0, 0, 1)
    assert difference(Step(0, 0, [b]), Step(0, 0, [torch.zeros(1)])) == Difference(0, 0, math.inf)


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_within_limits(precision, bad):
    good = Step(0, 1.0, [torch.tensor([1.0, 2.0])])
    for found in (Step(0, bad, good.gradients), Step(0, 1.0, [torch.tensor([1.0, bad])])):
        assert not difference(found, good).within(LIMITS[precision])
        assert not difference(good, found).within(LIMITS[precision])
    assert difference(good, good).within(LIMITS[precision])


def test_noise_of_rounding_passes_and_a_lost_or_turned_gradient_does_not():
    torch.manual_seed(0)
    wanted = Step(0, 2.0, [torch.randn(1000)])
    for factor, passes in ((0.3, True), (1.5, False)):
        noisy = Step(0, 2.0, [wanted.gradients[0] + factor * torch.randn(1000)])
        assert difference(noisy, wanted).within(LIMITS["bfloat16"]) == passes
    for turned in (wanted.gradients[0] * 0, -wanted.gradients[0], wanted.gradients[0].flip(0), wanted.gradients[0] * 2):
        assert not difference(Step(0, 2.0, [turned]), wanted).within(LIMITS["bfloat16"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) == expected


# ---- work and peak


def test_the_work_of_a_step_is_counted_once_forward_and_backward():
    """By hand: each product forward, once for its weights, and once for its inputs, which the first layer needs not."""
    conv = 6 * 8 * 7 * 5 * (1 * 3 * 3)  # images, channels, rows, columns; one input channel a group
    linear = 6 * (8 * 7 * 5) * 3
    assert bench(net()).macs(PLAIN) == conv * 2 + linear * 3


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_counted_by_its_inputs(groups):
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.ConvTranspose2d(2, 4, 3, groups=groups), nn.Flatten(), nn.LazyLinear(3)
    )
    model(BATCH[0])
    pointwise, linear = 6 * 9 * 7 * 2 * 2, 6 * (4 * 11 * 9) * 3
    transposed = 6 * 2 * 9 * 7 * (4 // groups) * 9  # each input number meets every weight of its channel
    assert bench(model).macs(PLAIN) == pointwise * 2 + (transposed + linear) * 3


def test_work_is_counted_as_pytorch_counts_it():
    model = nn.Sequential(
        nn.ConvTranspose2d(2, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, stride=2), nn.Flatten()
    ).append(nn.Linear(4 * 9 * 7, 3))
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(BATCH[0]), BATCH[1]).backward()
    assert bench(model).macs(PLAIN) == counter.get_total_flops() / 2


def test_the_peak_is_that_of_a_product_that_we_time_ourselves():
    import time

    peak_macs.cache_clear()
    found = peak_macs("cpu", "float32", 1)
    a = torch.rand(1024, 1024)

    def timed():
        started = time.perf_counter()
        a @ a
        return time.perf_counter() - started

    ours = 1024**3 / min(timed() for _ in range(12))
    assert ours / 5 < found < ours * 5  # a busy machine
    assert peak_macs("cpu", "float32", 1) == found  # measured once
    assert torch.get_num_threads() == 1


def test_the_machine_is_described_by_what_linux_says():
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("needs Linux")
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    assert all(flag in text for flag in cpu_flags())
    assert 1 <= cores() <= torch.multiprocessing.cpu_count()
    assert native_precisions(find_device("cpu"))[0] == "float32"


# ---- compiling


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Timed(Classification):
    """A step takes 0.1 s; compiled, the first one 60 s and others what they are told."""

    def __init__(self, clock, compiled):
        super().__init__()
        self.clock, self.compiled = clock, compiled

    def __deepcopy__(self, memo):
        return self

    def training(self, model, inputs, targets):
        if isinstance(model, Compiled):
            self.clock.now += self.compiled if model.ready else 60
            model.ready = True
        else:
            self.clock.now += 0.1
        return super().training(model, inputs, targets)


class Compiled(nn.Module):
    """As ``torch.compile`` gives it: another module around the same one."""

    def __init__(self, model, wrong=1.0):
        super().__init__()
        self._orig_mod, self.ready, self.wrong = model, False, wrong

    def forward(self, inputs):
        return self._orig_mod(inputs) * self.wrong


def compiled(monkeypatch, *, seconds, steps, wrong=1.0, model=None):
    monkeypatch.setattr(ways.torch, "compile", lambda model, **more: Compiled(model, wrong))
    clock = Clock()
    tried = Bench(model or net(), Timed(clock, seconds), BATCH, clock=clock)
    return Contest(tried, PLAIN, steps=steps)


@pytest.mark.parametrize(
    ("seconds", "steps", "expected", "words"),
    [
        (0.05, 1300, True, "compiled: 60 s win back 65 s"),
        (0.05, 1100, False, "not compiled: 60 s would win back 55 s"),
        (0.2, 100_000, False, "not compiled: 60 s would win back 0 s"),
        (0.05, 40, False, "not compiled: the run takes 4.0 s without"),
    ],
)
def test_compiling_must_win_back_what_it_takes(monkeypatch, seconds, steps, expected, words):
    contest = compiled(monkeypatch, seconds=seconds, steps=steps)
    way, why = contest.compile(PLAIN)
    assert (way.compiled, why) == (expected, words)
    if steps > 40:
        trial = contest.trials[-1]
        assert (trial.compile_seconds, trial.seconds) == (pytest.approx(60), pytest.approx(seconds))
        assert trial.runs >= 1


def test_compiled_code_that_is_wrong_is_not_used(monkeypatch):
    way, why = compiled(monkeypatch, seconds=0.01, steps=10**6, wrong=-1.0).compile(PLAIN)
    assert (way, why) == (PLAIN, "not compiled: does not agree with float32")


def test_compiled_dropout_is_not_compared_for_it_drops_other_units(monkeypatch):
    contest = compiled(monkeypatch, seconds=0.05, steps=10**6, model=net(dropout=0.5))
    way, _ = contest.compile(PLAIN)
    assert way.compiled
    assert contest.trials[-1].agrees is None


def test_a_compiled_network_keeps_its_names_and_learns_through_the_plain_one(monkeypatch):
    monkeypatch.setattr(ways.torch, "compile", lambda model, **more: Compiled(model))
    model = net()
    names = list(model.state_dict())
    forward = Way(device="cpu", compiled=True).prepare(model)
    assert forward is not model
    assert list(model.state_dict()) == names
    Classification().training(forward, *BATCH).loss.backward()
    assert all(p.grad is not None for p in model.parameters())
