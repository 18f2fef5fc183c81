"""What this machine can do: its cores, the number formats that it computes with, and the peak of its arithmetic."""

from __future__ import annotations

import os
import platform
import sys
import time
from functools import cache
from pathlib import Path

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What arithmetic is done in, by the name that a person types."""

# A processor says so itself when it multiplies these; without, a library converts to float32 and back at every step.
NATIVE_FLAGS = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16"}),
}
LONG_ENOUGH = 0.003  # seconds that a product takes before its time means anything
LARGEST = 8192  # rows; three such matrices are 800 MB in float32
REPEATS = 8


def find_device(name: str = "auto") -> torch.device:
    """The device of that name, or the best one here for ``"auto"``.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu`` ...

    Raises:
        ValueError: No such device on this machine; those that are here are listed.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return (
            torch.device(accelerator.type, torch.accelerator.current_device_index())
            if accelerator
            else torch.device("cpu")
        )
    here = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    count = 0 if accelerator is None else torch.accelerator.device_count()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in here or (device.index or 0) >= (1 if device.type == "cpu" else count):
        numbered = [f"{accelerator.type}:{i}" for i in range(count)] if accelerator else []
        raise ValueError(
            f"--device {name} is not on this machine; expected one of: auto, {', '.join([*here, *numbered])}"
        )
    return device


def cpu_name() -> str:
    """The processor's own name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """What a person calls a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name() if device.type == "cpu" else device.type.upper()


def peak_memory() -> int | None:
    """The most memory that this process has had in RAM so far, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # fewer than the machine has, in a container or under taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def cpu_flags() -> frozenset[str]:
    """What the processor says that it can do, in the words of Linux; empty where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):  # x86, ARM
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def native_precisions(device: torch.device) -> tuple[str, ...]:
    """The precisions that a device computes by itself, not by way of float32.

    Args:
        device: Any device of this machine.

    Example:
        >>> native_precisions(torch.device("cpu"))[0]
        'float32'
    """
    return ("float32", *(name for name in ("bfloat16", "float16") if _is_native(name, device)))


def _is_native(precision: str, device: torch.device) -> bool:
    if device.type == "cpu":
        supported = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}[precision]
        # PyTorch's own answer is yes for every processor with AVX-512, also where bfloat16 is emulated.
        return bool(getattr(torch.ops.mkldnn, supported)()) and bool(cpu_flags() & NATIVE_FLAGS[precision])
    if device.type == "cuda":
        with torch.cuda.device(device):
            if precision == "bfloat16":
                return bool(torch.cuda.is_bf16_supported(including_emulation=False))
            return torch.cuda.get_device_capability(device) >= (7, 0)  # the first with tensor cores
    if device.type == "mps":
        return precision == "float16" or bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return device.type == "xpu"


@cache
def peak_macs(device: str, precision: str, threads: int) -> float:
    """The most multiply-adds a second that this machine reaches, in a product of two square matrices.

    The size doubles until one product takes milliseconds; the best of several counts. Measured once per process.

    Args:
        device: As PyTorch spells it.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        threads: On the CPU.

    Returns:
        Multiply-adds per second.

    Example:
        >>> peak_macs("cpu", "float32", 1) > 1e8
        True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            rows, seconds = 256, 0.0
            while True:
                square = torch.ones(rows, rows, device=device, dtype=PRECISIONS[precision])
                seconds = min(_seconds(square) for _ in range(2))  # the first product also warms up
                if seconds >= LONG_ENOUGH or rows >= LARGEST:
                    break
                rows *= 2
            seconds = min(seconds, *(_seconds(square) for _ in range(REPEATS)))
    finally:
        torch.set_num_threads(before)
    return rows**3 / seconds


def synchronize(device: torch.device) -> None:
    """Wait until a device has done everything that it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _seconds(square: torch.Tensor) -> float:
    synchronize(square.device)
    started = time.perf_counter()
    square @ square
    synchronize(square.device)
    return time.perf_counter() - started
