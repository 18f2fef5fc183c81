"""Training steps that leave no trace: how long one takes, what it gives, and how much work it is."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from convscope.errors import RunError
from convscope.train.generators import generators_kept
from convscope.train.objective import Objective
from convscope.train.probe import synchronize
from convscope.train.way import LOSS_SCALE, Way

ALLOCATORS = ("DefaultCPUAllocator", "MPS backend out of memory", "STATUS_ALLOC_FAILED")
"""What stands in the error of an allocator that gave up."""


class Step(NamedTuple):
    """What one step gave: time in s, loss, and the gradient of every parameter that has one."""

    seconds: float
    loss: float
    gradients: list[Tensor | None]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator gave up; some say so in words only."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATORS)
    )


@contextmanager
def fitting(images: Tensor) -> Iterator[None]:
    """Say what to lower where a training step on a batch ``(N, C, H, W)`` does not fit in memory.

    Raises:
        RunError: It does not.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(images) from error


def out_of_memory(images: Tensor) -> RunError:
    """What to say when a batch ``(N, C, H, W)`` does not fit."""
    return RunError(
        f"a step on a batch of {len(images)} images {tuple(images.shape[1:])} does not fit in the memory of "
        f"{images.device}: lower --batch-size or --image-size"
    )


def unjudgeable(images: Tensor) -> RunError:
    """What to say when a batch ``(N, C, H, W)`` does not fit though nothing is kept for a gradient."""
    return RunError(
        f"judging {len(images)} image{'s' * (len(images) > 1)} {tuple(images.shape[1:])} does not fit in the memory of "
        f"{images.device}: lower --image-size, or take a smaller --model"
    )


class Uncopyable(TypeError):
    """A network or an objective of which there can be only one."""


class Bench:
    """Takes training steps that leave no trace: on a copy of the network, with the same random numbers each time.

    Args:
        model: Is copied for every step, so that each starts from the very same state.
        objective: Is copied with it, for it may refer to the network.
        batch: Images ``(N, C, H, W)`` and targets ``(N,)``.
        clock: Seconds.

    Raises:
        Uncopyable: Something in the network or the objective cannot be copied.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        batch: tuple[Tensor, Tensor],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.original = (model, objective)
        self.batch = batch
        self.clock = clock
        self.draws = False
        """Whether a step has drawn random numbers."""
        self._compiled: dict[Way, tuple[nn.Module, nn.Module, Objective]] = {}
        try:
            copy.deepcopy(self.original)
        except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
            raise Uncopyable(f"the network cannot be copied: {first_line(error)}") from error

    def step(self, way: Way, *, comparable: bool = False) -> Step:
        """Forward, loss and backward as ``way`` says, by the clock.

        Args:
            way: How.
            comparable: Whether dropout drops the same units in every way that is not compiled; costs a little time.
        """
        network, forward, objective = self._network(way)
        inputs, targets = way.inputs(self.batch[0]), self.batch[1].to(way.device)
        scale = LOSS_SCALE if way.precision == "float16" else 1.0
        with untouched_process(torch.device(way.device)), torch.inference_mode(False), torch.enable_grad():
            way.settle()
            generator = torch.get_rng_state()
            synchronize(inputs.device)
            started = self.clock()
            with way.autocast(), _SameUnits() if comparable and not way.compiled else nullcontext():
                loss = objective.training(forward, inputs, targets).loss
            (loss * scale if scale != 1 else loss).backward()  # type: ignore[no-untyped-call]
            synchronize(inputs.device)
            seconds = self.clock() - started
            self.draws |= not torch.equal(generator, torch.get_rng_state())
        gradients = [p.grad if p.grad is None or scale == 1 else p.grad / scale for p in network.parameters()]
        return Step(seconds, loss.item(), gradients)

    def attempt(self, way: Way, *, comparable: bool = False) -> Step | str:
        """A step, or in words why it cannot be taken in this way.

        What goes wrong here is this way's doing as long as the same step in plain float32 goes through.
        """
        try:
            return self.step(way, comparable=comparable)
        except (RuntimeError, MemoryError, TypeError, ValueError, AttributeError, ImportError, OSError) as error:
            why = "does not fit in memory" if is_out_of_memory(error) else f"failed: {first_line(error)}"
        gc.collect()  # what the failed step had taken
        if way.device != "cpu":
            torch.get_device_module(torch.device(way.device)).empty_cache()
        return why

    def macs(self, way: Way) -> int:
        """Multiply-adds of a step, forward and backward, counted operator by operator."""
        with WorkCounter() as counter:
            self.step(way)
        return int(counter.macs)

    def _network(self, way: Way) -> tuple[nn.Module, nn.Module, Objective]:
        """A fresh copy of the network; a compiled one is kept, for compiling takes longer than many steps."""
        if way not in self._compiled:
            network, objective = copy.deepcopy(self.original)
            network.train()
            made = network, way.prepare(network), objective
            if not way.compiled:
                network.zero_grad()
                return made
            self._compiled[way] = made
        network, forward, objective = self._compiled[way]
        network.load_state_dict(self.original[0].state_dict())
        network.zero_grad()
        return network, forward, objective


class _SameUnits(TorchFunctionMode):
    """Dropout that drops the same units whatever the precision and the order of axes in memory.

    Kernels draw in the order in which numbers lie in memory, and on a GPU as many at once as fit.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d):
            return func(*args, **(kwargs or {}))
        features, more = args[0], {**(kwargs or {}), "inplace": False}
        kept = func(torch.ones(features.shape, device=features.device), *args[1:], **more)
        return features * kept.to(features.dtype)


class WorkCounter(TorchDispatchMode):
    """Counts as ``torch.utils.flop_counter`` does, over everything and not module by module."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            self.macs += _convolution_backward(*args)
        elif func._overloadpacket in flop_registry:
            self.macs += int(flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)) // 2
        return result


def _convolution_backward(gradient: Tensor, inputs: Tensor, weight: Tensor, *more: Any) -> int:
    """As many multiply-adds as forward for each of the two gradients wanted; PyTorch's count forgets the groups."""
    transposed, wanted = more[-4], more[-1]
    return int((inputs if transposed else gradient).numel() * weight[0].numel() * sum(wanted[:2]))


@contextmanager
def untouched_process(device: torch.device) -> Iterator[None]:
    """Draws and settings inside the block change nothing after it: generators, threads, choices of kernels."""
    threads, product = torch.get_num_threads(), torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn
    kernels = (cudnn.allow_tf32, cudnn.benchmark) if device.type == "cuda" else None
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with generators_kept(device):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        if kernels:
            torch.set_float32_matmul_precision(product)
            cudnn.allow_tf32, cudnn.benchmark = kernels


def first_line(error: BaseException) -> str:
    """What went wrong, short enough to write down."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
