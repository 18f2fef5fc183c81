"""One run in several processes: who this one is, and what the others say.

Started by ``torchrun``, which names each process in its environment. Without it there is a world of one, and every
function here is free. Counts are added and weights handed round here; gradients have an ``Exchange``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import TypeVar
from uuid import uuid4

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch import distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.distributed_c10d import _get_default_store
from torch.distributed.rendezvous import rendezvous

from convscope.train.messages import Messages, OtherProcessFailed

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)  # for one process to wait for another in a sum: a first batch may have to be compiled


@contextmanager
def contact() -> Iterator[None]:
    """Say in words when another process was lost, in an exchange here or within a backward pass.

    Raises:
        OtherProcessFailed: It was.
    """
    try:
        yield
    except RuntimeError as error:  # gloo raises nothing more special
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise OtherProcessFailed(
            f"lost contact with another process of this run; its own message says why ({reason})"
        ) from error


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine, from 0.
        local_size: How many there are on this machine.
        job: Names what ``torchrun`` was started for, and stays the same when it starts workers again; empty without
            ``torchrun``.
        messages: What the processes say to each other in words; None in a world of one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    job: str = ""
    messages: Messages | None = None

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

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the numbers that the first one has, in place; tensors of the same shapes in all."""
        if self.size == 1:
            return
        alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            alike.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
        for group in alike.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            with contact():
                dist.broadcast(flat, src=0)
            if not self.main:
                parts = torch.split(flat, [tensor.numel() for tensor in group])
                for tensor, part in zip(group, parts, strict=True):
                    tensor.copy_(part.view(tensor.shape))

    def tell(self, value: T) -> T:
        """What rank 0 has, plain values as JSON has them, given to everybody."""
        if self.messages is None:
            return value
        with contact():
            told: T = json.loads(self.messages.tell(json.dumps(value).encode()))
        return told

    def gather(self, value: T) -> list[T]:
        """What every process has, plain values as JSON has them, in the order of ranks."""
        if self.messages is None:
            return [value]
        with contact():
            return [json.loads(words) for words in self.messages.gather(json.dumps(value).encode())]

    def collect(self, tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Named tensors of every process, in the order of ranks, given to the first one; the others get nothing."""
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        if self.messages is None:
            return [own]
        with contact():
            return [load(content) for content in self.messages.collect(save(own))]

    def together(self) -> AbstractContextManager[None]:
        """A part that all processes get through, or none: what stops one of them stops all, and is said once.

        Nothing may be added up or handed round inside.
        """
        return nullcontext() if self.messages is None else self.messages.together()

    def in_turn(self, first: int) -> AbstractContextManager[None]:
        """One process goes first; those that name it follow when it is through, however long it takes.

        Args:
            first: Its rank: 0, or ``first_here``.
        """
        return nullcontext() if self.messages is None else self.messages.in_turn(first)

    @property
    def first_here(self) -> int:
        """The rank of the first process on this machine."""
        return self.rank - self.local_rank


ALONE = World()
"""One process that trains by itself."""

_joined: list[World] = []  # within ``join``, the one world that this process is in
_meetings = count()  # in the store of a program of others, which may call us several times


def started_by_torchrun() -> bool:
    """Whether ``torchrun``, or another launcher of several processes, started this one."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join() -> Iterator[World]:
    """Meet the other processes of this run, for as long as the block lasts; a world of one without ``torchrun``.

    Inside another ``join`` it is the same world.

    Raises:
        OtherProcessFailed: They could not be reached.
    """
    if _joined or not started_by_torchrun():
        yield _joined[-1] if _joined else ALONE
        return
    foreign = dist.is_initialized()  # by the program that uses us; it is theirs to end
    with contact():
        world = _of_others() if foreign else _meet()
    _joined.append(world)
    try:
        yield world
    except BaseException:
        if world.messages is not None and not foreign:
            with suppress(RuntimeError):  # the store is gone, and so is everybody who might look there
                world.messages.leave()
        raise
    finally:
        _joined.remove(world)
        if dist.is_initialized() and not foreign:
            dist.destroy_process_group()


def _meet() -> World:
    """Reach the store that torchrun keeps, and by way of it the other processes."""
    world = _here()
    shared, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun keeps its store when it starts the workers again: so a name that is put there names the job ...
    job = bytes(shared.compare_set("convscope-job", "", uuid4().hex)).decode()
    # ... and the addresses of those that died are still there. Where a machine left or came, the count stays the same.
    start = f"convscope-start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-of-{world.size}"
    store = PrefixStore(f"{start}-{(shared.add(start, 1) - 1) // world.size}", shared)
    if world.size == 1:
        return replace(world, job=job)
    accelerated = torch.cuda.is_available() and torch.cuda.device_count() >= world.local_size
    backend = "cpu:gloo,cuda:nccl" if accelerated else "gloo"
    dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=PATIENCE)
    return replace(world, job=job, messages=Messages(PrefixStore("words", store), world.rank, world.size))


def _here() -> World:
    """As the launcher names this process in its environment.

    Raises:
        ValueError: It does not name it, or nothing says where the others are.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    meeting = () if dist.is_initialized() else ("MASTER_ADDR", "MASTER_PORT")  # a program of others has met them
    missing = [name for name in (*names, *meeting) if name not in os.environ]
    if missing:
        raise ValueError(
            f"WORLD_SIZE={os.environ.get('WORLD_SIZE')} says that several processes were started, and nothing says "
            f"{' and '.join(missing)}; start them with torchrun, set these variables, or unset WORLD_SIZE"
        )
    rank, size, local_rank, local_size = (int(os.environ[name]) for name in names)
    return World(rank, size, local_rank, local_size)


def _of_others() -> World:
    """The world of a program that has met the other processes already."""
    world = replace(_here(), rank=dist.get_rank(), size=dist.get_world_size())
    if world.size == 1:
        return world
    words = PrefixStore(f"convscope-{next(_meetings)}", _get_default_store())
    return replace(world, messages=Messages(words, world.rank, world.size))
