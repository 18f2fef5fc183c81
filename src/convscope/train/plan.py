"""Where and how the arithmetic of a run is done: measured, decided once, and written down."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn

from convscope import __version__
from convscope.errors import RunError
from convscope.train.bench import Bench, Uncopyable
from convscope.train.config import ExecutionConfig
from convscope.train.contest import FEWEST_STEPS, SHARE, Contest
from convscope.train.objective import Objective
from convscope.train.portion import portion
from convscope.train.probe import cores, cpu_name, device_name, native_precisions
from convscope.train.probe import find_device as find_device
from convscope.train.probe import peak_memory as peak_memory
from convscope.train.trials import Trial
from convscope.train.way import Way, flush_denormals


@dataclass(frozen=True, kw_only=True)
class Plan(Way):
    """How a run executes, and why.

    Args:
        device_name: What a person calls the device.
        deterministic: Whether only operations that always give the same bits may be used.
        reason: Why these were chosen.
        trials: Every way that was considered, the plainest first.
        trial_seconds: What trying them took.
        image_macs: Multiply-adds that one image takes in a training step, forward and backward; None when not counted.
        peak_macs_per_second: Of this machine, in this precision with these threads; None when not measured.

    Example:
        >>> print(Plan(device="cpu", device_name="AMD EPYC", precision="bfloat16", threads=2))
        AMD EPYC (cpu, 2 threads), bfloat16, contiguous
    """

    device_name: str = ""
    deterministic: bool = False
    reason: str = ""
    trials: tuple[Trial, ...] = ()
    trial_seconds: float | None = None
    image_macs: int | None = None
    peak_macs_per_second: float | None = None

    def __str__(self) -> str:
        """One line, for people."""
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.device == "cpu" else ""
        words = [f"{self.device_name} ({self.device}{threads})", self.precision, self.memory_format.replace("_", " ")]
        words += ["compiled"] * self.compiled + ["deterministic"] * self.deterministic
        gain, plain = self.gain, "plain float32" if self.precision == "float32" else "float32"
        return ", ".join(words) + (f": {gain:.1f}x {plain}" if gain is not None else "")

    @property
    def gain(self) -> float | None:
        """How many times faster than plain float32 it was in the trial; None when it is that, or was not timed."""
        seconds = {trial.what: trial.seconds for trial in self.trials}
        mine, plain = seconds.get(self.words), self.trials[0].seconds if self.trials else None
        return plain / mine if mine and plain and self.words != self.trials[0].what else None

    def settle(self) -> None:
        """Set this process up: threads, denormals flushed, kernels, and deterministic operations where asked for.

        Deterministic operations are switched on and never off: a program that wants them everywhere keeps them.
        """
        super().settle()
        flush_denormals()
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's matrix products start
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; ``from_dict`` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """From JSON, also of an earlier version: what it does not say was not yet a choice.

        Raises:
            ValueError: It is no plan.
        """
        named = {"precision" if name == "dtype" else name: value for name, value in values.items()}
        try:
            trials = tuple(Trial(**trial) for trial in named.pop("trials", ()))
            return cls(**{f.name: named[f.name] for f in fields(cls) if f.name in named}, trials=trials)
        except TypeError as error:
            raise ValueError(f"expected a plan as environment.json has it, got {dict(values)}") from error


class _Task(NamedTuple):
    """What a trial tries."""

    model: nn.Module
    objective: Objective
    batch: tuple[Tensor, Tensor]
    steps: int
    clock: Callable[[], float]


def _obstacle(resumed: Plan, config: ExecutionConfig) -> str:
    """Why a run cannot go on as it began; empty when it can."""
    try:
        device = find_device(resumed.device if config.device == "auto" else config.device)
    except ValueError:
        device = None
    if device is None or device.type != torch.device(resumed.device).type:
        where = f"{resumed.device_name} ({resumed.device})"
        return f"the run began on {where} and cannot go on there, so its numbers will not be the same to the bit"
    if config.precision in ("auto", "reduced") and resumed.precision not in native_precisions(device):
        return f"the run began in {resumed.precision}, which {device_name(device)} does not compute natively"
    return ""


def _taken_over(resumed: Plan, config: ExecutionConfig) -> Plan:
    """The same again, as far as this machine has it."""
    device = find_device(resumed.device if config.device == "auto" else config.device)
    name = device_name(device)
    threads = min(resumed.threads, cores()) if device.type == "cpu" else resumed.threads
    reason = "as the run began"
    if threads < resumed.threads:
        reason += f", but for {threads} threads instead of {resumed.threads}: this machine has no more cores"
    elif name != resumed.device_name:
        reason += f" on {resumed.device_name}"
    peak = resumed.peak_macs_per_second if name == resumed.device_name and threads == resumed.threads else None
    return replace(
        resumed,
        device=str(device),
        device_name=name,
        threads=threads,
        reason=reason,
        peak_macs_per_second=peak,
    )


def _compiling(plan: Plan, bench: Bench) -> Plan:
    """The plan, without compiling where that does not work here."""
    flush_denormals()
    way = Way(**{f.name: getattr(plan, f.name) for f in fields(Way)})
    step = bench.attempt(way)
    return (
        replace(plan, compiled=False, reason=f"{plan.reason}; not compiled: {step}") if isinstance(step, str) else plan
    )


def _reduced(device: torch.device) -> tuple[str, ...]:
    """The precision below float32 to use on a device, or none where it computes none natively.

    float16 needs its gradients scaled and can overflow all the same: it stands in only where there is no bfloat16.
    """
    native = native_precisions(device)
    return tuple(name for name in ("bfloat16", "float16") if name in native)[:1]


def _precision(config: ExecutionConfig, device: torch.device) -> str:
    """What was asked for, unmeasured; float32 where that is left to the trial."""
    if config.precision == "reduced":
        return (*_reduced(device), "float32")[0]
    return "float32" if config.precision == "auto" else config.precision


def _plainest(config: ExecutionConfig, device: torch.device) -> Way:
    """What was asked for, and where nothing was asked for, what PyTorch does by itself."""
    return Way(
        device=str(device),
        precision=_precision(config, device),
        memory_format="contiguous" if config.memory_format == "auto" else config.memory_format,
        threads=config.threads or torch.get_num_threads(),
    )


def _candidates(config: ExecutionConfig, plain: Way) -> list[Way]:
    """Every precision and format that may be chosen, the most promising first."""
    device = torch.device(plain.device)
    precisions = [*_reduced(device), "float32"] if config.precision == "auto" else [plain.precision]
    formats = ["channels_last", "contiguous"] if config.memory_format == "auto" else [config.memory_format]
    return [replace(plain, precision=precision, memory_format=order) for precision in precisions for order in formats]


def _thread_counts(plain: Way, config: ExecutionConfig) -> list[int]:
    """Other numbers of threads to try: all cores, half of them, one."""
    if config.threads or plain.device != "cpu":
        return []
    mine = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # torchrun: processes that share the cores
    return [number for number in dict.fromkeys((mine, max(1, mine // 2), 1)) if number != plain.threads]


def _fresh(config: ExecutionConfig, plain: Way, task: _Task) -> Plan:
    """The plan of a run that begins here."""

    def plan(way: Way, reason: str, **found: Any) -> Plan:
        name = device_name(torch.device(way.device))
        if config.compile and "compiled" not in reason:
            reason += ", and not compiled either"
        return Plan(**vars(way), device_name=name, deterministic=config.deterministic, reason=reason, **found)

    device = torch.device(plain.device)
    if plain.precision not in native_precisions(device):
        return plan(plain, f"{plain.precision} as asked, though {device_name(device)} only emulates it, slowly")
    if config.deterministic:
        return plan(plain, "deterministic as asked, so nothing was measured")
    batch, short = task.batch, task.steps < FEWEST_STEPS
    reference = replace(plain, precision="float32", memory_format="contiguous")
    try:
        if short:
            part = portion(task.model, batch, steps=task.steps, threads=plain.threads, share=SHARE)
            if part is None:
                return plan(plain, f"a run of {task.steps} steps is too short to measure")
            batch = part
        bench = Bench(task.model, task.objective, batch, clock=task.clock)
        contest = Contest(bench, reference, steps=task.steps, portions=len(task.batch[0]) / len(batch[0]))
    except Uncopyable as error:
        return plan(plain, f"not measured: {error}")
    except RunError:
        if plain.precision == "float32":
            raise
        return plan(plain, "as asked; float32 does not fit in memory, so nothing was compared")
    best, reason = _fastest(contest, config, plain)
    found = contest.rates(best)
    if short:
        reason += f", on {len(batch[0])} images"
    elif config.compile:
        best, compiling = contest.compile(best)
        reason = f"{reason}; {compiling}"
    return plan(best, reason, trials=contest.trials, **found)


def _fastest(contest: Contest, config: ExecutionConfig, plain: Way) -> tuple[Way, str]:
    """The fastest of what was left open, and why it is that."""
    reference, ways = contest.reference, _candidates(config, plain)
    free = plain == reference.way
    best = contest.settle(reference if free else None, [way for way in ways if way != reference.way])
    if best is not None:
        threads = [replace(best.way, threads=number) for number in _thread_counts(plain, config)]
        best = contest.settle(best, threads)
    if best is not None and best.way.threads != plain.threads:
        # On a busy machine threads wait for each other, and what was found with too many of them says little.
        again = [replace(way, threads=best.way.threads) for way in ways]
        best = contest.settle(best, [way for way in again if way != best.way])
    if len(contest.entrants) == 1 or (best is None and not contest.tried):
        return plain, "as asked"
    if best is None:
        return plain, f"as asked, though it did not hold in the trial: {contest.entrants[-1].note}"
    if not contest.tried:
        return plain, f"a run of about {contest.run_seconds:.2g} s is too short to measure"
    return best.way, f"measured in {contest.spent:.2g} s, {contest.spent / contest.run_seconds:.1%} of the run"


def choose_plan(
    config: ExecutionConfig,
    model: nn.Module,
    objective: Objective,
    batch: tuple[Tensor, Tensor],
    *,
    steps: int,
    resumed: Plan | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Plan:
    """Find out how a run is executed fastest, by trying it on one batch.

    Nothing is changed by it: weights, buffers, gradients, modes, random generators and the settings of the process are
    the same afterwards, bit for bit; only denormals are flushed from now on.

    Args:
        config: What was asked for; a setting that is given is taken, and only the rest is chosen.
        model: On any device; a copy is tried.
        objective: Gives the loss; a copy of it, too.
        batch: Images ``(N, C, H, W)`` and targets as the run will have them.
        steps: Of the whole run. The trial takes less than a fiftieth of it, or there is none.
        resumed: How the run was executed so far; taken over as it is, so that the numbers stay the same.
        clock: Seconds.

    Returns:
        The plan; ``settle`` and ``prepare`` put it to work.

    Raises:
        ValueError: The device, or as many cores as threads, are not on this machine.
        RunError: Not even a step in float32 fits in memory.
    """
    if config.threads > cores():
        raise ValueError(f"--threads must be at most {cores()}, the cores of this machine, got {config.threads}")
    lost = ""
    if resumed is not None:
        lost = _obstacle(resumed, config)
        if not lost:
            plan = _taken_over(resumed, config)
            return _compiling(plan, Bench(model, objective, batch)) if plan.compiled else plan
    device = find_device(config.device)
    flush_denormals()
    plan = _fresh(config, _plainest(config, device), _Task(model, objective, batch, steps, clock))
    return replace(plan, reason=f"{lost}; {plan.reason}") if lost else plan


def environment(plan: Plan, *, command: str | None) -> dict[str, Any]:
    """What a reader needs to judge or repeat a run: hardware, versions, plan, command and the time it began."""
    described = plan.to_dict()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "trials": described.pop("trials"),
        "plan": described,
        "hardware": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {
            "convscope": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
    }
