"""What a trace is: every operator of one forward pass, what it read, what it made, and in which module it ran.

It is plain values: no tensor, no module and no weight is held. What is measured about a network is computed from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor at one moment: writing in place makes a new value of the same storage.

    Args:
        index: Its place in ``Trace.values``.
        shape: Of the tensor.
        dtype: Of its numbers.
        storage: Equal for tensors that share memory.
        storage_bytes: Of all the memory that it shares.
        state: Name of the parameter or buffer it is, None for everything else.
    """

    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    storage: int
    storage_bytes: int
    state: str | None = None

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator that ran.

    Args:
        index: Its place in ``Trace.nodes``, in the order they ran.
        operator: Its name in PyTorch's operator set, ``"convolution"`` or ``"add_"``.
        overload: Its full name, ``"aten.add_.Tensor"``.
        path: The module it ran in; ``""`` is the whole network.
        inputs: What it read: the argument's name and the value's index.
        outputs: The indices of what it made.
        arguments: Everything it was given that is no tensor, by name.
        allocated: Bytes of new memory.
    """

    index: int
    operator: str
    overload: str
    path: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]
    arguments: Mapping[str, Any]
    allocated: int

    def reads(self, argument: str) -> list[int]:
        """The indices of the values given for one argument; more than one where it is a list."""
        return [value for name, value in self.inputs if name == argument]


@dataclass(frozen=True, slots=True)
class Call:
    """One time that a module ran.

    Args:
        path: The module's name in the network.
        inputs: Shapes of the tensors it was given.
        outputs: Indices of the values it returned; those inside tuples and dicts one after the other.
        start: The first operator that ran in it.
        stop: The operator after the last.
    """

    path: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class ModuleFacts:
    """What is known of a module without running it.

    Args:
        kind: Name of its class.
        parameters: Its own parameters, not those of its children: the name, and what identifies the tensor.
    """

    kind: str
    parameters: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ParameterFacts:
    """A parameter, once, however many modules share it.

    Args:
        name: The first name it has.
        count: Learned numbers.
        bytes: Of its memory.
        trainable: Whether it asks for a gradient.
    """

    name: str
    count: int
    bytes: int
    trainable: bool


@dataclass(frozen=True)
class Trace:
    """One forward pass, operator by operator.

    Args:
        model: Name of the network's class.
        input_size: ``(N, C, H, W)`` of what it was given.
        device: Where it ran; ``"meta"`` means that shapes were computed and no values.
        nodes: Every operator, in the order they ran.
        values: Every tensor they read or made.
        calls: Every run of a module, in the order they ended.
        modules: Every module by its path, in the order of registration; ``""`` is the network.
        parameters: Every parameter by what identifies it.
        input: Index of the images.
        outputs: Indices of what the network returned.
        notes: What a reader must know to judge the numbers.
    """

    model: str
    input_size: tuple[int, ...]
    device: str
    nodes: tuple[Node, ...]
    values: tuple[Value, ...]
    calls: tuple[Call, ...]
    modules: Mapping[str, ModuleFacts]
    parameters: Mapping[int, ParameterFacts]
    input: int
    outputs: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def last_calls(self) -> dict[str, Call]:
        """The last run of every module that ran."""
        return {call.path: call for call in self.calls}

    @cached_property
    def last_uses(self) -> dict[int, int]:
        """For each storage, the last operator that read or wrote any of it; the network's outputs live to the end."""
        last: dict[int, int] = {}
        for node in self.nodes:
            for _, value in node.inputs:
                last[self.values[value].storage] = node.index
            for value in node.outputs:
                last[self.values[value].storage] = node.index
        for value in self.outputs:
            last[self.values[value].storage] = len(self.nodes)
        return last

    def below(self, path: str) -> Iterator[Node]:
        """The operators that ran in a module or in any of its children."""
        inside = f"{path}."
        for node in self.nodes:
            if not path or node.path == path or node.path.startswith(inside):
                yield node
