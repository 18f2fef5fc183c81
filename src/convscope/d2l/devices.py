"""Which devices there are.

The book knows CUDA alone. Here the accelerator of the machine counts, whichever it is: CUDA, Apple's ``mps``, Intel's
``xpu``. Where there is CUDA, or nothing, every function gives what the book's gives.
"""

from __future__ import annotations

import torch


def cpu() -> torch.device:
    """The processor.

    Example:
        >>> cpu()
        device(type='cpu')
    """
    return torch.device("cpu")


def gpu(i: int = 0) -> torch.device:
    """The ``i``-th accelerator; ``cuda:i`` by name where this machine has none."""
    return torch.device(_kind() or "cuda", i)


def num_gpus() -> int:
    """How many accelerators this machine has."""
    return torch.accelerator.device_count() if _kind() else 0


def try_gpu(i: int = 0) -> torch.device:
    """The ``i``-th accelerator if there is one, otherwise the processor."""
    return gpu(i) if num_gpus() > i else cpu()


def try_all_gpus() -> list[torch.device]:
    """Every accelerator; an empty list where there is none.

    The book's own text promises ``[cpu()]`` in that case and its code gives the empty list. Programs count on what it
    gives, so that is kept.
    """
    return [gpu(i) for i in range(num_gpus())]


def _kind() -> str | None:
    """The accelerator's type; None without one."""
    if not torch.accelerator.is_available():
        return None
    found = torch.accelerator.current_accelerator()
    return found.type if found is not None else None
