"""A network leaves a measurement as it entered: modes, buffers, attributes, hooks, gradients and random numbers."""

from __future__ import annotations

import operator
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.measure.tracing.inventory import Inventory

_CONTAINERS = (dict, list, set)


class Originals:
    """Copies of memory that was about to be overwritten, made once for each and put back at the end.

    Args:
        tensors: Whose memory is watched. Nothing is copied before somebody writes.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.watched = {t.untyped_storage()._cdata for t in tensors if not nn.parameter.is_lazy(t)}
        self._saved: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def keep(self, tensor: Tensor) -> None:
        """Copy what a tensor lies in, when it is watched and not copied yet."""
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            return
        storage = tensor.untyped_storage()
        if storage._cdata in self.watched and storage._cdata not in self._saved:
            self._saved[storage._cdata] = (storage, storage.clone())  # type: ignore[no-untyped-call]

    def restore(self) -> None:
        """Put everything back, bit for bit."""
        for storage, original in self._saved.values():
            storage.copy_(original)


def _put_back(value: Any, contents: Any) -> None:
    """Give a container the very objects it held, in their order."""
    if isinstance(value, list):
        value[:] = contents
        return
    same = len(value) == len(contents) and all(map(operator.is_, value, contents))
    if same and (not isinstance(value, dict) or all(map(operator.is_, value.values(), contents.values()))):
        return
    value.clear()
    value.update(contents)


class _Attributes:
    """What every module's attributes were: the objects themselves, and one level into dicts, lists and sets."""

    def __init__(self, inventory: Inventory) -> None:
        self.modules = [(module, vars(module).copy(), type(module)) for module in inventory.modules.values()]
        self.empty: list[Any] = []
        self.filled: list[tuple[Any, Any]] = []
        for _, attributes, _ in self.modules:
            for value in attributes.values():
                if isinstance(value, _CONTAINERS):
                    if value:
                        self.filled.append((value, value.copy()))
                    else:
                        self.empty.append(value)
        self.gradients = [(p, p.requires_grad, p.grad) for p in inventory.parameters.values()]

    def restore(self) -> None:
        for module, before, kind in self.modules:
            now = vars(module)
            if len(now) != len(before) or not all(map(operator.is_, now.values(), before.values())):
                now.clear()
                now.update(before)
            if type(module) is not kind:
                module.__class__ = kind
        for value in self.empty:
            if value:
                value.clear()
        for value, contents in self.filled:
            _put_back(value, contents)
        for parameter, wanted, gradient in self.gradients:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            if parameter.grad is not gradient:
                parameter.grad = gradient


def _cuda_is_used() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Draws inside the block do not change what is drawn after it."""
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - what models use
    devices = torch.cuda.get_rng_state_all() if _cuda_is_used() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def untouched(model: nn.Module | Inventory) -> Iterator[Originals]:
    """Whatever happens in the block, also an exception: the model is afterwards what it was, bit for bit.

    Who writes into the model's memory must call ``keep`` of what this yields first.
    """
    inventory = model if isinstance(model, Inventory) else Inventory.of(model)
    originals, attributes = Originals(inventory.tensors), _Attributes(inventory)
    with _same_random_numbers():
        try:
            yield originals
        finally:
            attributes.restore()
            originals.restore()


@contextmanager
def plain_eager() -> Iterator[None]:
    """Run operators one by one: no compiled graph and no fused encoder layer hides them."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield
