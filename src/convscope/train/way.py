"""One way to execute a training step, and what a process and a network need for it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from convscope.train.allocator import memory_kept
from convscope.train.probe import PRECISIONS

LOSS_SCALE = 2.0**12
"""What float16 gradients are multiplied by at first: the smallest that survives is then 1.5e-11, and a gradient of 10
does not overflow yet. A ``GradScaler`` moves it from there."""

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_PAUSE_SOFT = 1  # omp_pause_soft


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is executed.

    Args:
        device: As PyTorch spells it: ``cpu``, ``cuda:0``, ``mps:0`` ...
        precision: Of the arithmetic, ``float32``, ``bfloat16`` or ``float16``; weights are float32 in any case.
        memory_format: ``contiguous`` or ``channels_last``, of images and kernels.
        threads: CPU threads within one operation.
        compiled: Whether ``torch.compile`` makes the network's code.
    """

    device: str
    precision: str = "float32"
    memory_format: str = "contiguous"
    threads: int = 1
    compiled: bool = False

    @property
    def words(self) -> str:
        """For people."""
        parts = [self.precision, self.memory_format.replace("_", " ")]
        if self.device == "cpu":
            parts.append(f"{self.threads} thread{'s' if self.threads != 1 else ''}")
        return ", ".join([*parts, "compiled"] if self.compiled else parts)

    def settle(self) -> None:
        """Set this process up for it."""
        torch.set_num_threads(self.threads)
        if torch.device(self.device).type == "cuda":
            reduced = self.precision != "float32"  # float32 means float32: no TF32, which keeps ten bits of 23
            torch.set_float32_matmul_precision("high" if reduced else "highest")
            torch.backends.cudnn.allow_tf32 = reduced
            torch.backends.cudnn.benchmark = True

    def autocast(self) -> AbstractContextManager[object]:
        """What forward passes and losses are computed in; ``backward`` belongs outside of it."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, PRECISIONS[self.precision])

    def inputs(self, images: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` on the device and in the order that the network wants them in."""
        if images.ndim != 4:
            return images.to(self.device, non_blocking=True)
        return images.to(self.device, non_blocking=True, memory_format=FORMATS[self.memory_format])

    def prepare(self, model: nn.Module) -> nn.Module:
        """Bring a network to the device and into the memory format, in place; its parameters stay float32.

        Returns:
            What to train with: the network itself, or a compiled form that shares its parameters. Weights are saved
            and loaded by way of the network: a compiled form has other names for them.
        """
        model.to(device=self.device, memory_format=FORMATS[self.memory_format])  # type: ignore[call-overload]
        return cast(nn.Module, torch.compile(model, dynamic=False)) if self.compiled else model

    def scaler(self) -> torch.amp.GradScaler | None:
        """What float16 needs so that small gradients do not become zero; None for every other precision."""
        if self.precision != "float16":
            return None
        return torch.amp.GradScaler(torch.device(self.device).type, init_scale=LOSS_SCALE)


def flush_denormals(flush: bool = True) -> None:
    """Let the CPU take numbers below 1e-38 for zero, or not: with them it computes many times slower.

    The setting belongs to a thread and is handed down to threads that it starts. PyTorch sets it for the calling one
    only, so the workers that OpenMP keeps are sent home; the next operation starts new ones.
    """
    torch.set_flush_denormal(flush)
    if sys.platform == "linux":
        openmp = ctypes.CDLL(None)
        if hasattr(openmp, "omp_pause_resource_all"):  # OpenMP 5.0
            openmp.omp_pause_resource_all(_PAUSE_SOFT)


@contextmanager
def process_kept() -> Iterator[None]:
    """Give the program that trains its own settings back afterwards: threads, what denormals are, what is freed."""
    threads, flushed = torch.get_num_threads(), not bool(torch.tensor(1e-310, dtype=torch.float64) * 1 > 0)
    try:
        with memory_kept():
            yield
    finally:
        torch.set_num_threads(threads)
        if not flushed:
            flush_denormals(False)
