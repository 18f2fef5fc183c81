"""Watch every operator of a forward pass, on tensors that have shapes and no values where that is possible."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.measure.tracing.graph import Call, Node, Value
from convscope.measure.tracing.guard import Originals
from convscope.measure.tracing.inventory import Inventory
from convscope.measure.tracing.shapes import RULES

READS_VALUES = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2"})
"""Operators whose result, or its shape, depends on values."""


class ValuesNeeded(Exception):
    """The forward pass looks at the values of a tensor, and a ``meta`` tensor has none."""


@dataclass(frozen=True, slots=True)
class _Operator:
    """What PyTorch says of an operator: its name, its arguments in order, and those that it writes."""

    name: str
    overload: str
    arguments: tuple[str, ...]
    written: tuple[tuple[int, str], ...]
    silent: tuple[tuple[int, str], ...]


@cache
def _about(function: Any) -> _Operator:
    arguments, name = function._schema.arguments, function.overloadpacket.__name__
    placed = list(enumerate(a.name for a in arguments))
    written = tuple(p for p, a in zip(placed, arguments, strict=True) if a.alias_info and a.alias_info.is_write)
    silent = tuple(p for p in placed if "batch_norm" in name and p[1].startswith("running_"))  # nothing declares these
    return _Operator(name, str(function), tuple(a.name for a in arguments), written, silent)


def _named(places: Sequence[tuple[int, str]], args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors given for some arguments, by place or by name, alone or in lists."""
    given = (args[i] if i < len(args) else kwargs.get(name) for i, name in places)
    return [tensor for value in given for tensor in flat(value)]


def flat(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts, in order; attributes of plain objects too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from flat(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from flat(each)
    elif hasattr(value, "__dataclass_fields__"):
        yield from flat(vars(value))


def _any_meta(args: Sequence[Any]) -> bool:
    """Whether a tensor without values is among the arguments, or in a list among them."""
    for value in args:
        if isinstance(value, Tensor):
            if value.is_meta:
                return True
        elif isinstance(value, list | tuple) and any(isinstance(each, Tensor) and each.is_meta for each in value):
            return True
    return False


def _shapes(args: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(t.shape) for t in flat(args))


def _place(part: Tensor, whole: Tensor) -> tuple[tuple[int, int], ...] | None:
    """Where a slice lies in the tensor it was cut from: first position and step on every axis; None for other views."""
    if part.ndim != whole.ndim or not whole.is_contiguous():
        return None
    offset, places = part.storage_offset() - whole.storage_offset(), []
    for n, m, inner, outer in zip(part.shape, whole.shape, part.stride(), whole.stride(), strict=True):
        start, step = offset // outer, inner // outer
        offset -= start * outer
        if (n > 1 and (inner % outer or step < 1)) or not 0 <= start <= start + (n - 1) * max(step, 1) < m:
            return None
        places.append((start, max(step, 1)))
    return tuple(places) if not offset else None


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Run operators, on ``meta`` twins of all tensors when asked, and write down each.

    Args:
        model: The network that will run, or its inventory when there is one.
        originals: Told before memory of the model is overwritten.
        meta: Compute shapes and no values. Weights are never moved: each enters as a twin without memory.
        keep: Write operators down; False only runs them.
    """

    def __init__(self, model: nn.Module | Inventory, originals: Originals, *, meta: bool, keep: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        inventory = model if isinstance(model, Inventory) else Inventory.of(model)
        self.meta, self.keep, self.originals = meta, keep, originals
        self.nodes: list[Node] = []
        self.values: list[Value] = []
        self.calls: list[Call] = []
        self.refused: tuple[str, tuple[tuple[int, ...], ...]] | None = None
        self.reads_values_in: list[str] = []
        self.stack: list[tuple[str, int]] = [("", 0)]
        self._paths = {id(module): path for path, module in inventory.modules.items()}
        self._state = {id(t): name for name, t in (*inventory.buffers.items(), *inventory.parameters.items())}
        self._index: dict[int, int] = {}  # from a tensor's identity to the value that it has now
        self._held: list[Tensor] = []  # keeps identities unique
        self._twins: dict[int, Tensor] = {}
        self._sharing: dict[int, list[Tensor]] = {}  # tensors by the memory they share

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether PyTorch's compiler is loaded, to be told to leave this class alone: it takes seconds to load."""
        return False

    @property
    def path(self) -> str:
        """The module that runs now."""
        return self.stack[-1][0]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        about, kwargs = _about(func), kwargs or {}
        if about.name in READS_VALUES:
            self._read_values(about.name, args)
        written = _named(about.written, args, kwargs) if about.written else []
        for tensor in written:
            self.originals.keep(tensor)
        if about.silent and not (self.meta and _any_meta(args)):
            for tensor in _named(about.silent, args, kwargs):
                self.originals.keep(tensor)
        result = self._compute(func, args, kwargs)
        if self.keep:
            self._write_down(about, args, kwargs, result, written)
        return result

    def _read_values(self, name: str, args: Sequence[Any]) -> None:
        if any(t.is_meta for t in flat(list(args))):
            raise ValuesNeeded(f"{name} in {self.path or 'the network'}")
        if not self.meta and not any(id(t) in self._state for t in flat(list(args))):
            self.reads_values_in.append(self.path)

    def _compute(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if not (self.meta and _any_meta((*args, *kwargs.values()))):
            return func(*args, **kwargs)  # real values, or numbers that the network makes for itself
        twins = [self._twin(a) for a in args]
        rule = RULES.get(func)
        result = rule(*twins, **kwargs) if rule else None
        return func(*twins, **{k: self._twin(v) for k, v in kwargs.items()}) if result is None else result

    def _twin(self, value: Any) -> Any:
        """The same without memory; lists element by element, and what is no tensor as it is."""
        if isinstance(value, Tensor):
            if value.is_meta:
                return value
            twin = self._twins.get(id(value))
            if twin is None:
                twin = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
                self._twins[id(value)] = twin
                self._held.append(value)
            return twin
        if isinstance(value, list | tuple) and value and not isinstance(value[0], int):
            return [self._twin(each) for each in value]
        return value

    def value_of(self, tensor: Tensor) -> int:
        """The index of a tensor, which gets one when it is new."""
        known = self._index.get(id(tensor))
        return self._new_value(tensor) if known is None else known

    def _new_value(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        name = self._state.get(id(tensor))
        self.values.append(
            Value(len(self.values), tuple(tensor.shape), tensor.dtype, storage._cdata, storage.nbytes(), name)
        )
        if id(tensor) not in self._index:
            self._held.append(tensor)
            self._sharing.setdefault(storage._cdata, []).append(tensor)
        self._index[id(tensor)] = len(self.values) - 1
        return len(self.values) - 1

    def _write_down(
        self, about: _Operator, args: Sequence[Any], kwargs: dict[str, Any], result: Any, written: list[Tensor]
    ) -> None:
        inputs: list[tuple[str, int]] = []
        arguments: dict[str, Any] = {}
        for name, value in (*zip(about.arguments, args, strict=False), *kwargs.items()):
            if isinstance(value, Tensor):
                inputs.append((name, self.value_of(value)))
            elif isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
                inputs.extend((name, self.value_of(each)) for each in value if each is not None)
                if any(each is None for each in value):  # x[:, :, positions]: which axes they are of
                    arguments[name] = tuple(None if each is None else self.value_of(each) for each in value)
            else:
                arguments[name] = value
        allocated, outputs = 0, []
        for tensor in written or flat(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._sharing:
                allocated += storage.nbytes()
            outputs.append(self._new_value(tensor))
        for twin, output in zip(flat(result), outputs, strict=False) if written else ():
            if id(twin) not in self._index:  # a real tensor was written, and its twin is what comes back
                self._index[id(twin)] = output
                self._held.append(twin)
        self._add(about.name, about.overload, inputs, outputs, arguments, allocated)
        for tensor in written:
            self._spread(tensor)

    def _spread(self, written: Tensor) -> None:
        """Whoever shares memory with a written tensor is another value now."""
        now = self._index[id(written)]
        for other in self._sharing.get(written.untyped_storage()._cdata, ()):
            if other is not written:
                inputs = [("self", self._index[id(other)]), ("written", now)]
                where = {"place": _place(written, other)}
                self._add("written_through", "written_through", inputs, [self._new_value(other)], where, 0)

    def _add(
        self,
        name: str,
        overload: str,
        inputs: list[tuple[str, int]],
        outputs: list[int],
        arguments: Any,
        allocated: int,
    ) -> None:
        self.nodes.append(
            Node(len(self.nodes), name, overload, self.path, tuple(inputs), tuple(outputs), arguments, allocated)
        )

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        path = self._paths.get(id(module))
        if path is not None:
            self.stack.append((path, len(self.nodes)))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        if id(module) not in self._paths or len(self.stack) == 1:
            return
        path, start = self.stack.pop()
        if result is None and sys.exc_info()[0] is not None:
            self.refused = self.refused or (path, _shapes(args))
        elif self.keep:
            found = (result,) if isinstance(result, Tensor) else flat(result)
            outputs = tuple(self.value_of(t) for t in found)
            self.calls.append(Call(path, _shapes(args), outputs, start, len(self.nodes)))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow which module runs, by hooks that are not the model's own and are gone afterwards."""
        with ExitStack() as stack:
            before = hooks.register_module_forward_pre_hook(self._enter)
            stack.callback(before.remove)
            after: Callable[..., Any] = hooks.register_module_forward_hook
            stack.callback(after(self._leave, always_call=True).remove)
            stack.enter_context(self)
            yield
