import copy
import dataclasses
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.errors import RunError
from convscope.train import RECIPES, ExecutionConfig, contest, plan, portion, probe
from convscope.train.objective import Classification, Outcome
from convscope.train.plan import Plan, choose_plan, environment
from convscope.train.probe import native_precisions
from convscope.train.trials import Trial

ALL = frozenset({"avx512_bf16", "avx512_fp16"})
BATCH = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(3)), torch.arange(16) % 3
CPU = {"device": "cpu"}
IMAGE_MACS = 2 * 8 * 9 * 10**2 + 3 * 32 * 3  # of the network below; nobody wants a gradient of the images


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def way_now(inputs):
    """What a step is being executed with, read off the process and the batch."""
    precision = "float32"
    if torch.is_autocast_enabled("cpu"):
        precision = str(torch.get_autocast_dtype("cpu")).removeprefix("torch.")
    order = "channels_last" if inputs.stride(1) == 1 else "contiguous"
    return precision, order, torch.get_num_threads()


class Paced(Classification):
    """Cross-entropy whose steps take as long as a table says."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.steps = clock, seconds, []

    def __deepcopy__(self, memo):
        return self  # keeps one clock and one list of steps

    def training(self, model, inputs, targets):
        way = way_now(inputs)
        self.steps.append(way)
        self.clock.now += self.seconds(*way)
        return super().training(model, inputs, targets)


@pytest.fixture
def network():
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    ).append(nn.Linear(32, 3))


@pytest.fixture
def machine(monkeypatch):
    """Four cores that have bfloat16, whatever this machine is; the peak takes no time."""
    monkeypatch.setattr(plan, "cores", lambda: 4)
    monkeypatch.setattr(plan, "native_precisions", lambda device: ("float32", "bfloat16"))
    monkeypatch.setattr(contest, "peak_macs", lambda *arguments: 1e9)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


def choose(network, seconds=lambda *way: 0.01, *, steps=100_000, config=ExecutionConfig(device="cpu"), **more):  # noqa: B008
    clock = Clock()
    objective = Paced(clock, seconds)
    started = clock.now
    chosen = choose_plan(config, network, objective, BATCH, steps=steps, clock=clock, **more)
    return chosen, objective, clock.now - started


# ---- what is chosen


@pytest.mark.parametrize(
    "fastest", [("bfloat16", "channels_last"), ("bfloat16", "contiguous"), ("float32", "channels_last")]
)
def test_the_fastest_way_is_chosen_and_every_way_is_written_down(network, machine, fastest):
    chosen, _, _ = choose(network, lambda p, m, t: 0.004 if (p, m) == fastest else 0.01)
    assert (chosen.precision, chosen.memory_format, chosen.threads) == (*fastest, 1)
    trials = {(t.precision, t.memory_format, t.threads): t for t in chosen.trials}
    assert set(trials) == {(p, m, 1) for p in ("float32", "bfloat16") for m in ("contiguous", "channels_last")} | {
        (*fastest, 4),
        (*fastest, 2),
    }
    mine = trials[*fastest, 1]
    assert mine.seconds == pytest.approx(0.004)
    assert mine.runs >= 3
    assert mine.agrees
    assert chosen.image_macs == IMAGE_MACS
    assert str(chosen).endswith(": 2.5x plain float32" if fastest[0] == "float32" else ": 2.5x float32")
    assert chosen.reason.startswith("measured in ")


@pytest.mark.parametrize("fastest", [2, 4])
def test_threads_are_chosen_after_the_precision(network, machine, fastest):
    chosen, objective, _ = choose(
        network, lambda p, m, t: 0.01 / (3 if p == "bfloat16" else 1) / (2 if t == fastest else 1)
    )
    assert (chosen.precision, chosen.threads) == ("bfloat16", fastest)
    assert {p for p, _, t in objective.steps if t not in (1, fastest)} == {"bfloat16"}


def test_with_other_threads_the_precision_is_chosen_anew(network, machine):
    """Three threads of four wait for each other, and hide how fast bfloat16 is."""
    torch.set_num_threads(4)
    try:
        chosen, _, _ = choose(network, lambda p, m, t: 0.1 if t > 1 else 0.01 if p == "float32" else 0.004)
    finally:
        torch.set_num_threads(1)
    assert (chosen.precision, chosen.threads) == ("bfloat16", 1)


def test_processes_that_share_the_cores_take_their_part_each(network, machine, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    _, objective, _ = choose(network)
    assert {threads for _, _, threads in objective.steps} == {1, 2}


def test_a_gain_within_the_noise_is_not_worth_other_numbers(network, machine):
    chosen, _, _ = choose(network, lambda p, m, t: 0.0097 if p == "bfloat16" else 0.01)
    assert (chosen.precision, chosen.memory_format, chosen.threads) == ("float32", "contiguous", 1)


def test_with_other_threads_too_a_small_gain_is_not_worth_other_numbers(network, machine):
    torch.set_num_threads(4)
    try:
        chosen, _, _ = choose(
            network, lambda p, m, t: (0.1 if p == "float32" else 0.08) if t > 1 else 0.01 if p == "float32" else 0.0097
        )
    finally:
        torch.set_num_threads(1)
    assert (chosen.precision, chosen.memory_format, chosen.threads) == ("float32", "contiguous", 1)


def test_ways_take_turns_so_that_a_busy_minute_delays_all_alike(network, machine):
    _, objective, _ = choose(network, lambda p, m, t: 0.01 + (0.0005 if m == "contiguous" else 0))
    timed = [step[:2] for step in objective.steps[5:]]  # two of float32 and the first of each other come before
    assert timed[:4] == timed[4:8][::-1]
    assert len(set(timed[:4])) == 4


def test_a_way_that_is_far_behind_after_its_first_step_takes_no_other(network, machine):
    chosen, objective, _ = choose(network, lambda p, m, t: 0.2 if (p, m) == ("bfloat16", "contiguous") else 0.01)
    assert sum(step[:2] == ("bfloat16", "contiguous") for step in objective.steps) == 1
    note = next(t.note for t in chosen.trials if (t.precision, t.memory_format) == ("bfloat16", "contiguous"))
    assert note == "far behind: its first step took 0.2 s"


def test_one_slow_step_of_the_fastest_does_not_change_the_choice(network, machine):
    slow = iter([False] * 6 + [True] + [False] * 1000)
    chosen, _, _ = choose(
        network, lambda p, m, t: (0.004 if (p, m) == ("bfloat16", "channels_last") else 0.01) + next(slow) * 0.03
    )
    assert (chosen.precision, chosen.memory_format) == ("bfloat16", "channels_last")


# ---- what it may take


@pytest.mark.parametrize("steps", [500, 700, 1000, 2000, 5000, 20_000, 1_000_000])
@pytest.mark.parametrize("first", [1, 8])
def test_the_trial_takes_less_than_a_fiftieth_of_the_run(network, machine, steps, first):
    seen = set()

    def seconds(*way):
        """The first step of a way sets things up."""
        cold = way not in seen
        seen.add(way)
        return 0.01 * (first if cold else 1)

    chosen, _, spent = choose(network, seconds, steps=steps)
    assert spent <= 0.02 * 0.01 * steps + 1e-9
    assert chosen.trial_seconds is None or chosen.trial_seconds <= spent


def test_a_short_run_is_not_measured_at_all(network, machine):
    chosen, objective, spent = choose(network, steps=499)
    assert (objective.steps, spent) == ([], 0)
    assert (chosen.precision, chosen.memory_format, chosen.threads) == (
        "float32",
        "contiguous",
        torch.get_num_threads(),
    )
    assert chosen.reason == "a run of 499 steps is too short to measure"
    assert chosen.trials == ()


def test_a_run_in_which_there_is_time_for_float32_only_says_so(network, machine):
    first = iter([0.08])
    chosen, _, _ = choose(network, lambda *way: next(first, 0.01), steps=500)
    assert chosen.reason == "a run of about 5 s is too short to measure"
    assert {t.note for t in chosen.trials[1:]} == {"not tried: the run is too short for it"}


def test_no_other_way_is_tried_than_asked_for(network, machine):
    asked = ExecutionConfig(device="cpu", precision="bfloat16", memory_format="channels_last", threads=2)
    chosen, objective, _ = choose(network, lambda p, m, t: 0.5 if p == "bfloat16" else 0.3, config=asked)
    assert (chosen.precision, chosen.memory_format, chosen.threads) == ("bfloat16", "channels_last", 2)
    assert set(objective.steps) == {("float32", "contiguous", 2), ("bfloat16", "channels_last", 2)}
    assert str(chosen).endswith("(cpu, 2 threads), bfloat16, channels last: 0.6x float32")


def test_deterministic_measures_nothing(network, machine):
    chosen, objective, _ = choose(network, config=ExecutionConfig(device="cpu", deterministic=True))
    assert objective.steps == []
    assert (chosen.precision, chosen.deterministic) == ("float32", True)
    assert "deterministic" in str(chosen)


# ---- runs of a few steps


@pytest.fixture
def heavy(machine, monkeypatch):
    """A machine so slow that a run of 20 steps of the small network lasts."""
    monkeypatch.setattr(portion, "FASTEST", 1e5)


def test_a_short_run_of_a_heavy_network_is_measured_on_a_few_images(network, heavy):
    seen = []

    def seconds(precision, order, threads):
        seen.append((precision, order))
        return 0.01 if order == "contiguous" else 0.004

    chosen, _, spent = choose(network, seconds, steps=300)
    few = 5  # 16 * 300 * 0.02 / 18
    assert (chosen.precision, chosen.memory_format) == ("float32", "channels_last")
    assert chosen.reason.startswith("measured in ")
    assert chosen.reason.endswith(f"% of the run, on {few} images")
    assert seen[2] == ("bfloat16", "channels_last")
    assert spent <= 0.02 * 300 * 0.01 * 16 / few


def test_a_portion_is_of_images_and_targets_alike(heavy):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 1000))
    images, targets = portion.portion(network, BATCH, steps=300, threads=1, share=0.02)
    torch.testing.assert_close(images, BATCH[0][:5])
    assert targets.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("steps", "network", "batch"),
    [
        (5, nn.Sequential(nn.Flatten(), nn.Linear(144, 1000)), BATCH),  # nothing is cheap enough
        (300, nn.Flatten(), BATCH),  # no work
        (300, nn.Sequential(nn.Flatten(), nn.Linear(7, 1000)), BATCH),  # does not run at all: said by the run itself
        (300, nn.Sequential(nn.Flatten(), nn.Linear(144, 1000)), (BATCH[0], object())),
        (300, nn.Sequential(nn.Flatten(), nn.Linear(144, 1000)), (BATCH[0][:3], BATCH[1][:3])),
    ],
)
def test_where_no_portion_will_do_nothing_is_measured(heavy, steps, network, batch):
    assert portion.portion(network, batch, steps=steps, threads=1, share=0.02) is None


def test_looking_for_the_work_of_a_network_leaves_no_trace(heavy):
    network = Restless(fails=False)
    before, drawn = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert portion.portion(network, BATCH, steps=300, threads=1, share=0.02) is not None
    assert network.count == 0
    assert torch.equal(drawn, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


# ---- what must not be chosen


class WrongInBfloat16(nn.Module):
    """Right in float32, and in bfloat16 as wrong as it is told to be."""

    def __init__(self, how):
        super().__init__()
        self.head, self.how = nn.Linear(144, 3), how

    def forward(self, inputs):
        scores = self.head(inputs.flatten(1))
        return self.how(scores) if torch.is_autocast_enabled("cpu") else scores


def fail(scores):
    raise NotImplementedError("no kernel for BFloat16")


@pytest.mark.parametrize(
    ("how", "note"),
    [
        (lambda scores: scores.flip(1), "does not agree with float32"),
        (lambda scores: -scores, "does not agree with float32"),
        (lambda scores: scores.detach() + 1e-6 * scores, "does not agree with float32"),
        (lambda scores: scores * torch.nan, "its loss or gradient is no finite number"),
        (lambda scores: scores * torch.inf, "its loss or gradient is no finite number"),
        (fail, "failed: no kernel for BFloat16"),
    ],
)
def test_a_precision_that_does_not_agree_is_never_chosen(machine, how, note):
    chosen, _, _ = choose(WrongInBfloat16(how), lambda p, m, t: 0.001 if p == "bfloat16" else 0.01)
    assert chosen.precision == "float32"
    trials = [t for t in chosen.trials if t.precision == "bfloat16"]
    assert [t.note for t in trials] == [note, note]
    assert not any(t.agrees or t.seconds for t in trials)
    json.dumps(chosen.to_dict(), allow_nan=False)


def test_dropout_does_not_pass_for_a_difference(machine):
    torch.manual_seed(0)
    chosen, _, _ = choose(nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(144, 3)))
    float32 = next(t for t in chosen.trials if (t.precision, t.memory_format) == ("float32", "channels_last"))
    assert float32.cosine == pytest.approx(1, abs=1e-6)
    assert float32.gradient_error < 1e-5
    assert all(t.agrees for t in chosen.trials[1:])


def test_a_precision_that_the_processor_emulates_is_not_tried(network, monkeypatch):
    monkeypatch.setattr(probe, "cpu_flags", lambda: frozenset({"avx512f", "avx512bw"}))
    assert native_precisions(torch.device("cpu")) == ("float32",)
    _, objective, _ = choose(network)
    assert {precision for precision, _, _ in objective.steps} == {"float32"}


def test_an_emulated_precision_is_taken_when_asked_for_with_a_warning(network, monkeypatch):
    monkeypatch.setattr(probe, "cpu_flags", frozenset)
    chosen, objective, _ = choose(network, config=ExecutionConfig(device="cpu", precision="bfloat16"))
    assert chosen.precision == "bfloat16"
    assert "bfloat16 as asked, though" in chosen.reason
    assert "only emulates it, slowly" in chosen.reason
    assert objective.steps == []


@pytest.mark.parametrize(
    ("native", "taken"),
    [
        (("float32",), "float32"),
        (("float32", "bfloat16", "float16"), "bfloat16"),
        (("float32", "float16"), "float16"),
    ],
)
def test_reduced_is_what_the_device_computes_natively(network, machine, monkeypatch, native, taken):
    monkeypatch.setattr(plan, "native_precisions", lambda device: native)
    config = ExecutionConfig(device="cpu", precision="reduced", memory_format="channels_last", threads=1)
    chosen, objective, _ = choose(network, config=config, steps=100)
    assert (chosen.precision, chosen.memory_format, objective.steps) == (taken, "channels_last", [])
    long, objective, _ = choose(network, config=config)
    assert long.precision == taken
    assert {precision for precision, _, _ in objective.steps} <= {"float32", taken}


def test_no_recipe_asks_for_a_precision_that_a_machine_may_not_have():
    assert {entry.config.execution.precision for entry in RECIPES.values()} <= {"auto", "reduced", "float32"}


@pytest.mark.parametrize(
    ("flag", "precision"), [("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx512_fp16", "float16")]
)
def test_native_is_what_processor_and_library_both_say(monkeypatch, flag, precision):
    monkeypatch.setattr(probe, "cpu_flags", lambda: frozenset({flag}))
    for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
        monkeypatch.setattr(torch.ops.mkldnn, name, lambda: True, raising=False)
    assert native_precisions(torch.device("cpu")) == ("float32", precision)
    for name in ("_is_mkldnn_bf16_supported", "_is_mkldnn_fp16_supported"):
        monkeypatch.setattr(torch.ops.mkldnn, name, lambda: False)
    assert native_precisions(torch.device("cpu")) == ("float32",)


# ---- nothing is left behind


class Restless(nn.Module):
    """Changes everything that a forward pass may change, and can be told to fail in bfloat16."""

    def __init__(self, fails):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.count, self.fails = 0, fails

    def forward(self, inputs):
        self.count += 1
        self.calls += 1
        noise = float(torch.rand(())) * 1e-3
        if self.fails and torch.is_autocast_enabled("cpu"):
            raise ValueError("not in bfloat16")
        return self.head(F.dropout(self.norm(self.conv(inputs)).mean((2, 3)), 0.5) + noise)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_network_generators_and_process_are_the_same_afterwards_bit_for_bit(machine, fails, training):
    import random

    import numpy as np

    torch.manual_seed(1)
    network = Restless(fails)
    network(BATCH[0]).sum().backward()
    network.train(training)
    network.norm.eval()
    before, gradients = copy.deepcopy(network.state_dict()), [p.grad.clone() for p in network.parameters()]
    pointers = [p.data_ptr() for p in network.parameters()]
    count, calls, modes = network.count, network.calls.clone(), [m.training for m in network.modules()]
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    generators = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002
    threads, batch = torch.get_num_threads(), [t.clone() for t in BATCH]

    chosen, objective, _ = choose(network)

    assert len(objective.steps) > 4
    assert any(t.note == "failed: not in bfloat16" for t in chosen.trials) == fails
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, network.parameters(), strict=True))
    assert pointers == [p.data_ptr() for p in network.parameters()]
    assert (network.count, [m.training for m in network.modules()]) == (count, modes)
    assert torch.equal(network.calls, calls)
    assert generators[:2] == (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002
    assert torch.equal(generators[2], torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert all(torch.equal(a, b) for a, b in zip(batch, BATCH, strict=True))


def test_what_raises_in_float32_raises_and_leaves_nothing_behind(machine):
    class Broken(Restless):
        def forward(self, inputs):
            super().forward(inputs)
            raise ValueError("broken")

    network = Broken(False)
    state, generator, threads = copy.deepcopy(network.state_dict()), torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(ValueError, match=r"^broken$"):
        choose(network)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_an_objective_that_refers_to_the_network_is_tried_on_the_copy(network, machine):
    class Own:
        def __init__(self, model):
            self.model, self.batches = model, 0

        def training(self, model, inputs, targets):
            assert self.model is model
            self.batches += 1
            return Outcome(F.cross_entropy(self.model(inputs), targets), {}, len(targets))

    objective = Own(network)
    choose_plan(ExecutionConfig(device="cpu"), network, objective, BATCH, steps=2000)
    assert objective.batches == 0


def test_a_network_that_cannot_be_copied_runs_plainly(machine):
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    chosen, _, _ = choose(nn.Sequential(nn.Flatten(), Single(144, 3)))
    assert chosen.reason == "not measured: the network cannot be copied: there is only one"
    assert chosen.precision == "float32"


# ---- memory


class Hungry(nn.Module):
    """Runs out of memory in some precision."""

    def __init__(self, precision, error):
        super().__init__()
        self.head, self.precision, self.error = nn.Linear(144, 3), precision, error

    def forward(self, inputs):
        if way_now(inputs)[0] == self.precision:
            raise self.error
        return self.head(inputs.flatten(1))


GONE = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_names_what_to_lower(machine, error):
    with pytest.raises(
        RunError, match=r"16 images .1, 12, 12. does not fit in the memory of cpu: lower --batch-size or --image-size"
    ):
        choose(Hungry("float32", error))


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_way_that_does_not_fit_is_dropped(machine, error):
    chosen, _, _ = choose(Hungry("bfloat16", error))
    assert chosen.precision == "float32"
    assert [t.note for t in chosen.trials if t.precision == "bfloat16"] == ["does not fit in memory"] * 2


def test_another_runtime_error_does_not_pass_for_lack_of_memory(machine):
    with pytest.raises(RuntimeError, match=r"^shapes$"):
        choose(Hungry("float32", RuntimeError("shapes")))


def test_a_real_allocation_that_fails_is_recognised(machine):
    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(144, 3)

        def forward(self, inputs):
            return self.head(inputs.flatten(1)) + torch.empty(2**60, dtype=torch.uint8).sum()

    with pytest.raises(RunError, match="lower --batch-size"):
        choose(Huge())


# ---- a run that goes on


RECORDED = Plan(
    device="cpu",
    device_name=probe.cpu_name(),
    precision="bfloat16",
    memory_format="channels_last",
    threads=3,
    image_macs=7,
    peak_macs_per_second=5.0,
)


def test_a_resumed_run_takes_its_plan_over_and_measures_nothing(network, machine):
    chosen, objective, _ = choose(network, resumed=RECORDED)
    assert chosen == dataclasses.replace(RECORDED, reason="as the run began")
    assert objective.steps == []


def test_a_resumed_run_with_fewer_cores_says_so(network, machine):
    chosen, _, _ = choose(network, resumed=dataclasses.replace(RECORDED, threads=9))
    assert (chosen.threads, chosen.precision, chosen.memory_format) == (4, "bfloat16", "channels_last")
    assert chosen.reason == "as the run began, but for 4 threads instead of 9: this machine has no more cores"
    assert chosen.peak_macs_per_second is None


def test_a_resumed_run_whose_device_is_gone_measures_again_and_says_so(network, machine):
    gone = dataclasses.replace(RECORDED, device="cuda:0", device_name="NVIDIA H100")
    chosen, objective, _ = choose(network, resumed=gone)
    assert chosen.device == "cpu"
    assert chosen.reason.startswith("the run began on NVIDIA H100 (cuda:0) and cannot go on there")
    assert objective.steps


def test_a_resumed_run_in_a_precision_that_is_not_native_here_says_so(network, machine, monkeypatch):
    monkeypatch.setattr(plan, "native_precisions", lambda device: ("float32",))
    chosen, _, _ = choose(network, resumed=RECORDED)
    assert chosen.precision == "float32"
    assert chosen.reason.startswith("the run began in bfloat16, which ")


def test_a_resumed_run_goes_on_uncompiled_where_it_cannot_be_compiled(network, machine, monkeypatch):
    def broken(model, **more):
        raise RuntimeError("No working C++ compiler found\nmore of it")

    went = dataclasses.replace(RECORDED, compiled=True)
    monkeypatch.setattr(torch, "compile", lambda model, **more: model)
    assert choose(network, resumed=went)[0].compiled
    monkeypatch.setattr(torch, "compile", broken)
    chosen, _, _ = choose(network, resumed=went)
    reason = "as the run began; not compiled: failed: No working C++ compiler found"
    assert chosen == dataclasses.replace(RECORDED, reason=reason)


# ---- written down


def test_a_plan_survives_json(network, machine):
    chosen, _, _ = choose(network)
    assert Plan.from_dict(json.loads(json.dumps(chosen.to_dict(), allow_nan=False))) == chosen


def test_plans_written_by_earlier_versions_are_read():
    early = {"device": "cpu", "device_name": "AMD EPYC", "dtype": "float32", "threads": 2}
    assert Plan.from_dict(early) == Plan(device="cpu", device_name="AMD EPYC", precision="float32", threads=2)
    assert str(Plan.from_dict(early)) == "AMD EPYC (cpu, 2 threads), float32, contiguous"


@pytest.mark.parametrize(
    "values", [{}, {"device": "cpu", "trials": [{"nonsense": 1}]}, {"device": "cpu", "trials": [3]}]
)
def test_what_is_no_plan_is_refused(values):
    with pytest.raises(ValueError, match=r"^expected a plan as environment.json has it, got "):
        Plan.from_dict(values)


def test_the_environment_has_the_plan_and_its_trials_side_by_side(network, machine):
    chosen, _, _ = choose(network)
    written = json.loads(json.dumps(environment(chosen, command="x")))
    assert dataclasses.replace(chosen, trials=()) == Plan.from_dict(written["plan"])
    assert tuple(Trial(**trial) for trial in written["trials"]) == chosen.trials


# ---- put to work


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_is_prepared_in_place_and_keeps_float32_weights(network, precision, memory_format):
    chosen = Plan(**CPU, precision=precision, memory_format=memory_format)
    before = copy.deepcopy(network.state_dict())
    assert chosen.prepare(network) is network
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
    with chosen.autocast():
        images = chosen.inputs(BATCH[0])
        hidden = network[0](images)
    assert hidden.dtype == getattr(torch, precision)
    assert hidden.is_contiguous(
        memory_format=getattr(torch, "channels_last" if memory_format == "channels_last" else "contiguous_format")
    )
    assert torch.equal(images, BATCH[0])


def test_bfloat16_rounds_to_eight_bits_and_float32_does_not():
    exact = torch.tensor([[1 + 2**-8]])
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    for precision, expected in (("float32", 1 + 2**-8), ("bfloat16", 1.0)):  # halfway between 1 and 1 + 2^-7: to even
        with Plan(**CPU, precision=precision).autocast():
            assert layer(exact).item() == expected


def test_float16_comes_with_a_scaler_and_no_other_precision_does():
    assert Plan(**CPU, precision="float16").scaler().get_scale() == 4096
    assert Plan(**CPU, precision="bfloat16").scaler() is Plan(**CPU).scaler() is None


def test_settling_sets_the_threads_and_flushes_denormals_in_every_one_of_them():
    """In a process of its own, whose workers are at work before."""
    script = """if True:
        import torch
        from convscope.train.plan import Plan
        torch.set_num_threads(2)
        tiny = torch.full((1_000_000,), 1e-38)
        assert (tiny * 0.01).count_nonzero() == 1_000_000
        Plan(device="cpu", threads=2).settle()
        print(torch.get_num_threads(), (tiny * 0.01).count_nonzero().item())
    """
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["2", "0"]


def test_settling_turns_deterministic_operations_on_and_never_off():
    try:
        Plan(**CPU).settle()
        assert not torch.are_deterministic_algorithms_enabled()
        Plan(**CPU, deterministic=True).settle()
        assert torch.are_deterministic_algorithms_enabled()
        Plan(**CPU).settle()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


# ---- bad input


def test_more_threads_than_cores_are_refused(network, machine):
    with pytest.raises(ValueError, match=r"^--threads must be at most 4, the cores of this machine, got 5$"):
        choose(network, config=ExecutionConfig(device="cpu", threads=5))


def test_an_unknown_device_is_refused(network):
    with pytest.raises(ValueError, match=r"^--device cuda:77 is not on this machine; expected one of: auto, cpu"):
        choose(network, config=ExecutionConfig(device="cuda:77"))


def test_a_loss_that_is_no_number_in_float32_leaves_float32(machine):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    nn.init.constant_(network[1].bias, torch.nan)
    chosen, _, _ = choose(network, lambda p, m, t: 0.001 if p == "bfloat16" else 0.01)
    assert (chosen.precision, chosen.memory_format) == ("float32", "contiguous")


# ---- compiling


def test_without_a_compiler_a_run_goes_on_uncompiled_and_says_why(tmp_path):
    script = """if True:
        import torch
        from torch import nn
        from convscope.train import ExecutionConfig
        from convscope.train.objective import Classification
        from convscope.train.plan import choose_plan
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
        batch = torch.rand(16, 1, 12, 12), torch.arange(16) % 3
        asked = ExecutionConfig(device="cpu", compile=True, threads=1, precision="float32", memory_format="contiguous")
        chosen = choose_plan(asked, net, Classification(), batch, steps=10**9)
        print(chosen.compiled, chosen.reason)
        loss = Classification().training(chosen.prepare(net), *batch).loss
    """
    bare = {**os.environ, "PATH": str(tmp_path), "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=bare, check=True)
    assert answer.stdout.startswith("False ")
    assert "not compiled: failed: " in answer.stdout
    assert len(answer.stdout.splitlines()) == 1
