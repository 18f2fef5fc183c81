"""What modules hold besides parameters and buffers: counters, caches, lists, generators, and objects of one's own."""

from __future__ import annotations

import operator
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
"""Values that nobody can change."""
_BARE = frozenset({dict, OrderedDict, set, list})
_OWN = frozenset({"_parameters", "_buffers", "_modules"})
"""What PyTorch itself keeps in a module; the tensors in them are looked after elsewhere."""
_FOREIGN = frozenset({*sys.stdlib_module_names, "torch", "numpy"} - {"__main__"})
"""Where classes come from whose objects are not looked into."""


def _equal(value: Any, contents: Any) -> bool:
    """Whether a container holds the very objects that it held, in the same order."""
    if len(value) != len(contents) or not all(map(operator.is_, value, contents)):
        return False
    return not isinstance(value, dict) or all(map(operator.is_, value.values(), contents.values()))


def _put_back(value: Any, contents: Any) -> None:
    if _equal(value, contents):
        return
    value.clear()
    (value.extend if isinstance(value, list | deque | bytearray) else value.update)(contents)


def _generator(value: Any) -> Callable[[], object] | None:
    """What brings a source of random numbers back to where it is now; None for everything else."""
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, random.Random):
        numbers = value.getstate()
        return lambda: value.setstate(numbers)
    if isinstance(value, np.random.Generator):
        position = value.bit_generator.state
        return lambda: setattr(value.bit_generator, "state", position)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    return None


def _array(value: np.ndarray[Any, Any]) -> Callable[[], object]:
    contents = value.copy()
    return lambda: np.copyto(value, contents) if value.flags.writeable else None


class Attributes:
    """What the attributes of modules are: the objects themselves, and what containers and plain objects in them hold.

    Args:
        modules: Of a network; each is looked at by itself. What a TorchScript module holds is not seen.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.tensors: list[Tensor] = []
        """Those that are neither parameters nor buffers."""
        self._modules = [(m, vars(m).copy(), type(m)) for m in modules if not isinstance(m, torch.jit.ScriptModule)]
        self._empty: list[Any] = []
        self._filled: list[tuple[Any, Any]] = []
        self._others: list[Callable[[], object]] = []
        met: set[int] = set()
        for _, attributes, _ in self._modules:
            for name, value in attributes.items():
                kind = value.__class__
                if kind in _PLAIN:
                    continue
                if kind in _BARE and not value:  # most modules have a dozen of them, for hooks
                    self._empty.append(value)
                elif name in _OWN:
                    self._filled.append((value, value.copy()))
                elif kind is not tuple or not _PLAIN.issuperset(map(type, value)):
                    self._note(value, met)

    def _note(self, value: Any, met: set[int]) -> None:
        """Remember one object and, where it can be looked into, what it holds."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if type(value) in _PLAIN or id(value) in met or isinstance(value, nn.Module | type | ModuleType):
                continue
            met.add(id(value))
            held: Iterable[Any] = ()
            if isinstance(value, Tensor):
                self.tensors.append(value)
            elif isinstance(value, dict | list | set | deque | bytearray):
                self._filled.append((value, value.copy())) if value else self._empty.append(value)
                held = list(value.values()) if isinstance(value, dict) else list(value)
            elif isinstance(value, tuple):
                held = value
            elif isinstance(value, np.ndarray):
                self._others.append(_array(value))
            elif (back := _generator(value)) is not None:
                self._others.append(back)
            elif type(value).__module__.partition(".")[0] not in _FOREIGN and isinstance(
                getattr(value, "__dict__", None), dict
            ):
                held = [vars(value)]
            waiting.extend(held)

    def restore(self) -> None:
        """Give everything back."""
        for module, before, kind in self._modules:
            now = vars(module)
            if len(now) != len(before) or not all(map(operator.is_, now.values(), before.values())):
                now.clear()
                now.update(before)
            if type(module) is not kind:
                module.__class__ = kind
        for value in self._empty:
            if value:
                value.clear()
        for value, contents in self._filled:
            _put_back(value, contents)
        for back in self._others:
            back()
