"""Gradients of several processes, added up while the backward pass goes on, in the same order at every step.

``DistributedDataParallel`` does the same, and deals parameters out anew after its first step, in the order in which it
saw their gradients come. Three processes or more then add in another order than before, so a training that goes on in
the middle of an epoch would not end in the same bits. Here the order is that of the network from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from convscope.train.distributed import World

FIRST_BYTES = 1 << 20  # of gradients in the first parcel, so that it leaves early in the backward pass
PARCEL_BYTES = 25 << 20  # in the others: large enough for the bandwidth of a link


class Parcel:
    """Parameters whose gradients travel together, laid end to end in one tensor.

    After them comes a mark for each parameter: how many processes have a gradient for it. One that nobody used keeps
    none, so the optimiser leaves it alone, as it would in one process.

    Args:
        parameters: Of one type on one device.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        first, numbers = parameters[0], sum(p.numel() for p in parameters)
        self._flat = torch.zeros(numbers + len(parameters), dtype=first.dtype, device=first.device)
        self._marks = self._flat[numbers:]
        starts = torch.tensor([0, *(p.numel() for p in parameters)]).cumsum(0).tolist()
        # As each parameter lies in memory: fused optimisers walk through gradient and parameter side by side.
        self._places = [
            self._flat.as_strided(p.shape, p.stride(), start) for p, start in zip(parameters, starts, strict=False)
        ]
        self._used: list[bool] = []
        self._work: dist.Work | None = None
        self.missing = 0

    def expect(self) -> None:
        """Wait for the gradient of every parameter."""
        self.missing, self._work = len(self.parameters), None

    def send(self) -> None:
        """Begin to add up what is there, with the same parcel of all other processes."""
        self._used = [p.grad is not None for p in self.parameters]
        there = [place for place, used in zip(self._places, self._used, strict=True) if used]
        missing = [place for place, used in zip(self._places, self._used, strict=True) if not used]
        with torch.no_grad():
            if there:
                torch._foreach_copy_(there, [p.grad for p in self.parameters if p.grad is not None])
            if missing:
                torch._foreach_zero_(missing)
                self._marks.copy_(torch.tensor(self._used))
            else:
                self._marks.fill_(1)
        for p in self.parameters:
            p.grad = None  # its memory is free for the rest of the backward pass
        self._work = dist.all_reduce(self._flat, async_op=True)

    def receive(self) -> None:
        """Wait for the sums, which are then the gradients."""
        if self._work is not None:
            self._work.wait()
        # Only a process that lacks a gradient has to look whether others have one: looking waits for the device.
        used = self._used if all(self._used) else [mark > 0 for mark in self._marks.tolist()]
        for p, place, has_gradient in zip(self.parameters, self._places, used, strict=True):
            p.grad = place if has_gradient else None


class Exchange:
    """Makes the gradients of this process those of all of them together: their sum.

    Used as a context: inside it, the last backward pass of each step goes through ``summing``. A world of one exchanges
    nothing.

    Args:
        model: Its parameters that learn now; other ones take another exchange.
        world: The processes that train together, each with the same network.

    Raises:
        ValueError: A parameter has no shape yet.

    Example:
        >>> net = nn.Linear(2, 1, bias=False)
        >>> with Exchange(net, World()) as exchange, exchange.summing():
        ...     net(torch.ones(1, 2)).sum().backward()
        >>> net.weight.grad.tolist()
        [[1.0, 1.0]]

    Source:
        Li et al., "PyTorch distributed: experiences on accelerating data parallel training", 2020.
    """

    def __init__(self, model: nn.Module, world: World) -> None:
        learning = [p for p in model.parameters() if p.requires_grad] if world.size > 1 else []
        if any(is_lazy(p) for p in learning):
            raise ValueError(
                f"{type(model).__name__} has lazy layers, and several processes cannot agree about weights that are "
                "not there: run one batch through it first"
            )
        # The last layers' gradients come first.
        self._parcels = [Parcel(parameters) for parameters in _dealt(reversed(learning))]
        self._parcel_of = {p: parcel for parcel in self._parcels for p in parcel.parameters}
        self._sent = 0
        self._open = False
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Exchange:
        self._hooks = [_hooked(p, self._arrived) for p in self._parcel_of]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @contextmanager
    def summing(self, *, when: bool = True) -> Iterator[None]:
        """Add up gradients over all processes, this backward pass's and what was there before it.

        Args:
            when: False keeps them to this process for now: of several batches in one step only the last one needs the
                others.
        """
        if not when:
            yield
            return
        for parcel in self._parcels:
            parcel.expect()
        self._sent, self._open = 0, True
        try:
            yield
            self._send(self._parcels)  # with parameters that this backward pass did not reach
        finally:
            self._open = False
        for parcel in self._parcels:
            parcel.receive()

    def _arrived(self, parameter: Tensor) -> None:
        """A gradient is complete: its parcel may be, and those behind it that waited for their turn."""
        if not self._open:
            return
        self._parcel_of[parameter].missing -= 1  # type: ignore[index]
        self._send(parcel for parcel in _until_incomplete(self._parcels[self._sent :]))

    def _send(self, parcels: Iterable[Parcel]) -> None:
        """In their order, which is the same in every process."""
        for parcel in [parcel for parcel in parcels if parcel in self._parcels[self._sent :]]:
            parcel.send()
            self._sent += 1


def _hooked(parameter: nn.Parameter, act: Callable[[Tensor], None]) -> RemovableHandle:
    handle: RemovableHandle = parameter.register_post_accumulate_grad_hook(act)  # type: ignore[no-untyped-call]
    return handle


def _dealt(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters in their order, parcel by parcel; another type or device begins another one."""
    parcel: list[nn.Parameter] = []
    room = FIRST_BYTES
    for p in parameters:
        if parcel and (room <= 0 or (p.dtype, p.device) != (parcel[0].dtype, parcel[0].device)):
            yield parcel
            parcel, room = [], PARCEL_BYTES
        parcel.append(p)
        room -= p.numel() * p.element_size()
    if parcel:
        yield parcel


def _until_incomplete(parcels: Iterable[Parcel]) -> Iterator[Parcel]:
    for parcel in parcels:
        if parcel.missing:
            return
        yield parcel
