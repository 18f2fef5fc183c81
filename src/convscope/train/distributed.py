"""One run in several processes: who this one is, and what the others say.

Started by ``torchrun``, which names each process in its environment. Without it there is a world of one, and every
function here is free. Gradients are averaged by ``DistributedDataParallel``; counts and decisions are agreed on here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from convscope.errors import RunError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # for one process to wait for another: a first batch may have to be compiled


@contextmanager
def contact() -> Iterator[None]:
    """Say in words when another process was lost, in an exchange here or within a backward pass.

    Raises:
        RunError: It was.
    """
    try:
        yield
    except RuntimeError as error:  # gloo raises nothing more special
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise RunError(f"lost contact with another process of this run; its own message says why ({reason})") from error


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine, from 0.
        local_size: How many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one process that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """``(rank, size)``, for a ``Loader``."""
        return self.rank, self.size

    def sum(self, values: Tensor) -> Tensor:
        """Add up tensors of the same shape over all processes; every process gets the result."""
        if self.size > 1:
            values = values.clone()
            with contact():
                dist.all_reduce(values)
        return values

    def tell(self, value: T) -> T:
        """What rank 0 has, given to everybody."""
        if self.size == 1:
            return value
        box = [value]
        with contact():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """What every process has, in the order of ranks."""
        if self.size == 1:
            return [value]
        box: list[T | None] = [None] * self.size
        with contact():
            dist.all_gather_object(box, value)
        return [entry for entry in box if entry is not None]

    def wrap(self, model: nn.Module, forward: nn.Module) -> nn.Module:
        """``forward``, averaging gradients over all processes in its backward pass.

        Args:
            model: The plain network.
            forward: It, or its compiled form.
        """
        if self.size == 1 or not any(p.requires_grad for p in model.parameters()):
            return forward
        device = next(model.parameters()).device
        ids = [device] if device.type not in ("cpu", "mps") else None
        return DistributedDataParallel(forward, device_ids=ids, gradient_as_bucket_view=True)


ALONE = World()
"""One process that trains by itself."""


def no_exchange(forward: nn.Module, *, when: bool) -> AbstractContextManager[None]:
    """Keep gradients to this process for now: of several batches in one step only the last one needs the others."""
    if when and isinstance(forward, DistributedDataParallel):
        silence: AbstractContextManager[None] = forward.no_sync()
        return silence
    return nullcontext()


def started_by_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarted() -> bool:
    """Whether ``torchrun`` has started this process again after a worker died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def join() -> Iterator[World]:
    """Meet the other processes of this run, for as long as the block lasts; a world of one without ``torchrun``.

    Raises:
        RunError: They could not be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    world = World(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    if dist.is_initialized():  # by the program that uses us; it is theirs to end
        yield world
        return
    accelerated = torch.cuda.is_available() and torch.cuda.device_count() >= world.local_size
    with contact():
        store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
        # torchrun may keep its store when it starts the workers again, and with it the addresses of those that died.
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "cpu:gloo,cuda:nccl" if accelerated else "gloo"
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=PATIENCE)
    try:
        yield world
    finally:
        dist.destroy_process_group()
