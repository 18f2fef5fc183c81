"""Where the arithmetic runs, decided once and written down."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from convscope import __version__
from convscope.train.config import ExecutionConfig


@dataclass(frozen=True)
class Plan:
    """How a run executes.

    Args:
        device: As PyTorch spells it: ``cpu``, ``cuda:0``, ``mps:0`` ...
        device_name: What a person calls it.
        dtype: Of weights and arithmetic.
        threads: CPU threads within one operation.
    """

    device: str
    device_name: str
    dtype: str
    threads: int

    def __str__(self) -> str:
        """One line, for people."""
        threads = f", {self.threads} thread{'s' if self.threads != 1 else ''}" if self.device == "cpu" else ""
        return f"{self.device_name} ({self.device}{threads}), {self.dtype}"


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


def make_plan(config: ExecutionConfig) -> Plan:
    """Choose the device and set the number of threads for this process.

    Raises:
        ValueError: The device, or as many cores as threads, are not on this machine.
    """
    device = find_device(config.device)
    cores = os.cpu_count() or 1
    if config.threads > cores:
        raise ValueError(f"--threads must be at most {cores}, the cores of this machine, got {config.threads}")
    if config.threads:
        torch.set_num_threads(config.threads)
    return Plan(str(device), _device_name(device), "float32", torch.get_num_threads())


def environment(plan: Plan, *, command: str | None) -> dict[str, Any]:
    """What a reader needs to judge or repeat a run: hardware, versions, plan, command and the time it began."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "plan": asdict(plan),
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


def cpu_name() -> str:
    """The processor's own name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """The most memory that this process has had in RAM so far, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name() if device.type == "cpu" else device.type.upper()
