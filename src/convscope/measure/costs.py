"""How much arithmetic an operator does.

A **MAC** is one multiplication with its addition. MACs are counted for convolutions, transposed convolutions, matrix
products and attention, and for nothing else. A **FLOP** here is one multiplication or one addition of these, so
FLOPs = 2 x MACs, which is what ``torch.utils.flop_counter`` counts. Biases, norms, activations, pools and additions
are not counted; ``uncounted`` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from convscope.measure.tracing.graph import Node, Trace

Shapes = dict[str, tuple[int, ...]]

FREE = frozenset(
    [
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "clone",
        "contiguous",
        "detach",
        "detach_",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "lift_fresh",
        "new_empty",
        "permute",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "squeeze_",
        "t",
        "t_",
        "transpose",
        "transpose_",
        "unbind",
        "unsqueeze",
        "unsqueeze_",
        "view",
        "view_as",
        "unfold",
        "diagonal",
        "resolve_conj",
        "resolve_neg",
        "set_",
        "_to_copy",
        "copy_",
        "cat",
        "stack",
        "constant_pad_nd",
        "fill_",
        "zero_",
        "zeros",
        "ones",
        "full",
        "zeros_like",
        "ones_like",
        "full_like",
        "new_zeros",
        "new_ones",
        "arange",
        "written_through",
        "scalar_tensor",
        "ones_",
        "movedim",
        "narrow",
        "flip",
        "roll",
        "_local_scalar_dense",
    ]
)
"""Operators that move, name or fill memory and compute nothing."""


def _convolution(node: Node, shapes: Shapes, out: tuple[int, ...]) -> int:
    weight = shapes["weight"]  # O,I/g,k... or, transposed, I,O/g,k...
    places = shapes["input"] if node.arguments["transposed"] else out
    return places[0] * math.prod(places[2:]) * math.prod(weight)


def _product(left: str, right: str) -> Callable[[Node, Shapes, tuple[int, ...]], int]:
    """``(..., n, k)`` times ``(..., k, m)``: every number of the result takes ``k`` MACs."""
    return lambda _, shapes, __: math.prod(shapes[left]) * (shapes[right][-1] if len(shapes[right]) > 1 else 1)


_COUNTS: dict[str, Callable[[Node, Shapes, tuple[int, ...]], int]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2"),
    "baddbmm": _product("batch1", "batch2"),
    "addbmm": _product("batch1", "batch2"),
    "mv": _product("self", "vec"),
    "addmv": _product("mat", "vec"),
    "dot": _product("self", "tensor"),
}


def macs(node: Node, trace: Trace) -> int:
    """Multiplications with their additions in one operator; see the head of this file for what counts."""
    name = node.operator.removesuffix("_")
    if name in FREE:
        return 0
    count = _COUNTS.get(name)
    if count is not None:
        shapes = {argument: trace.values[value].shape for argument, value in node.inputs}
        return count(node, shapes, trace.values[node.outputs[0]].shape)
    return _attention(node, trace) if "scaled_dot_product" in name else 0


def _attention(node: Node, trace: Trace) -> int:
    """Fused attention: queries times keys, and the weights times values."""
    (query,), (key,), (value,) = (node.reads(name) for name in ("query", "key", "value"))
    *batch, queries, width = trace.values[query].shape
    keys, given = trace.values[key].shape[-2], trace.values[value].shape[-1]
    return math.prod(batch) * queries * keys * (width + given)


@dataclass(frozen=True)
class Uncounted:
    """Operators of one kind that compute something and have no MACs.

    Args:
        operator: Its name.
        calls: How often it ran.
        values: How many numbers it made, in all.
    """

    operator: str
    calls: int
    values: int


def uncounted(trace: Trace, costs: Iterable[int]) -> tuple[Uncounted, ...]:
    """What ran and is in no sum, the most numbers first."""
    found: dict[str, tuple[int, int]] = {}
    for node, cost in zip(trace.nodes, costs, strict=True):
        name = node.operator
        if cost or name in FREE or name.removesuffix("_") in FREE or not node.outputs:
            continue
        calls, values = found.get(name, (0, 0))
        found[name] = (calls + 1, values + trace.values[node.outputs[0]].count)
    return tuple(sorted((Uncounted(name, *counts) for name, counts in found.items()), key=lambda u: -u.values))
