"""A network leaves a measurement as it entered: modes, memory, attributes, hooks, gradients and random numbers.

``untouched`` is the one way to get that. Who sees every operator, as tracing does, tells it of each write before it
happens; who does not asks it to keep everything first (``keep_all``), as ``measure.undisturbed`` does.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from convscope.measure.tracing.attributes import Attributes
from convscope.measure.tracing.inventory import Inventory


class Originals:
    """Copies of memory that was about to be overwritten, made once for each and put back at the end.

    Args:
        tensors: Whose memory is watched. Nothing is copied before somebody asks.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._aliases = [(t, t.detach()) for t in tensors if not nn.parameter.is_lazy(t)]
        self._watched: set[int] | None = None
        self._saved: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def keep(self, tensor: Tensor) -> None:
        """Copy what a tensor lies in, when it is watched and not copied yet."""
        if tensor.is_meta or nn.parameter.is_lazy(tensor) or tensor.layout is not torch.strided:
            return
        if self._watched is None:
            self._watched = {a.untyped_storage()._cdata for _, a in self._aliases if a.layout is torch.strided}
        storage = tensor.untyped_storage()
        if storage._cdata in self._watched and storage._cdata not in self._saved:
            self._saved[storage._cdata] = (storage, storage.clone())  # type: ignore[no-untyped-call]

    def keep_all(self) -> None:
        """Copy everything that is watched, for a run of which no write is seen."""
        for _, alias in self._aliases:
            self.keep(alias)

    def restore(self) -> None:
        """Put everything back, bit for bit; memory that nobody changed is only read."""
        for tensor, alias in self._aliases:
            if tensor.data_ptr() != alias.data_ptr() or tensor.shape != alias.shape:
                tensor.data = alias  # somebody gave it other memory
        for storage, original in self._saved.values():
            if not torch.equal(_bytes(storage), _bytes(original)):
                storage.copy_(original)


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


class _Gradients:
    """Which parameters ask for a gradient, and the gradients that they have."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._before = [(p, p.requires_grad, p.grad) for p in parameters]
        self.tensors = [gradient for _, _, gradient in self._before if gradient is not None]

    def restore(self) -> None:
        for parameter, wanted, gradient in self._before:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            if parameter.grad is not gradient:
                parameter.grad = gradient


def _on_accelerators() -> Callable[[], object] | None:
    """What sets the random numbers of all accelerators back; None when none has drawn any."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is None:
        return None
    module = torch.get_device_module(device.type)
    if not getattr(module, "is_initialized", lambda: True)():
        return None
    if hasattr(module, "get_rng_state_all"):
        states = module.get_rng_state_all()
        return lambda: module.set_rng_state_all(states)
    state = module.get_rng_state()
    return lambda: module.set_rng_state(state)


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Draws inside the block do not change what is drawn after it."""
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - what models use
    devices = _on_accelerators()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if devices:
            devices()


@contextmanager
def untouched(model: nn.Module | Inventory) -> Iterator[Originals]:
    """Whatever happens in the block, also an exception: the model is afterwards what it was, bit for bit.

    Modes, parameters, buffers, gradients, hooks, attributes with what lists, dicts and plain objects in them hold, and
    the random numbers of Python, NumPy and PyTorch. Not seen: what iterators, closures and files hold.

    Who writes into the model's memory must call ``keep`` of what this yields first, or ``keep_all``.
    """
    inventory = model if isinstance(model, Inventory) else Inventory.of(model)
    modes = [(module, module.training) for module in inventory.modules.values() if _is_scripted(module)]
    attributes, gradients = Attributes(inventory.modules.values()), _Gradients(inventory.parameters.values())
    originals = Originals((*inventory.tensors, *attributes.tensors, *gradients.tensors))
    with _same_random_numbers():
        try:
            yield originals
        finally:
            attributes.restore()
            gradients.restore()
            originals.restore()
            for module, training in modes:
                module.train(training)


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def set_mode(inventory: Inventory, *, training: bool) -> None:
    """Training or eval mode for every module."""
    for module in inventory.modules.values():
        if _is_scripted(module):
            module.train(training)
        else:
            vars(module)["training"] = training  # not .train(): networks override it, with more than a mode in mind


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
