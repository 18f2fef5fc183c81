"""What the units of an operator's result see, by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from convscope.measure import field_moves as moves
from convscope.measure import field_rules as rules
from convscope.measure.field_resizing import resize
from convscope.measure.field_rules import Field, Shape
from convscope.measure.field_views import repeated, shuffle, view, write
from convscope.measure.tracing.graph import Node, Trace

Answer = tuple[Field | None, bool]


@dataclass(frozen=True)
class Step:
    """One operator and what its inputs see."""

    node: Node
    trace: Trace
    known: Sequence[Field | None]

    def inputs(self, *arguments: str) -> list[tuple[Field | None, Shape]]:
        """Fields and shapes of the named arguments; of all where none is named."""
        return [
            (self.known[value], self.trace.values[value].shape)
            for name, value in self.node.inputs
            if not arguments or name in arguments
        ]

    @property
    def main(self) -> tuple[Field | None, Shape]:
        """Of the first input."""
        return self.inputs()[0]

    @property
    def out(self) -> Shape:
        """Shape of the first output."""
        return self.trace.values[self.node.outputs[0]].shape

    def dims(self, *names: str) -> list[int]:
        """Axes that an argument names."""
        for name in names:
            value = self.node.arguments.get(name)
            if value is not None:
                return [value] if isinstance(value, int) else list(value)
        return []


def _place_by_place(step: Step) -> Answer:
    found = [rules.broadcast(f, shape, step.out) for f, shape in step.inputs() if f is not None]
    return rules.combine(found) if found else (None, False)


def everything(step: Step) -> Answer:
    found = [rules.each(f, lambda t: t.everything()) for f, _ in step.inputs() if f is not None]
    return rules.combine(found) if found else (None, False)


def _one(rule: Callable[[Step, Field, Shape], Field]) -> Callable[[Step], Answer]:
    """A rule for the first input, when that depends on the images."""

    def answer(step: Step) -> Answer:
        field, shape = step.main
        others = [f for f, _ in step.inputs()[1:] if f is not None]
        if others:  # a kernel or a statistic that itself was computed from the images
            return everything(step)
        return (None, False) if field is None else (rule(step, field, shape), False)

    return answer


def _convolution(step: Step, field: Field, shape: Shape) -> Field:
    return rules.convolution(step.node, field, shape, step.out, step.inputs("weight")[0][1])


def _normalised(step: Step, field: Field, shape: Shape) -> Field:
    if "layer" in step.node.operator:
        return rules.over(field, shape, range(len(shape) - len(step.dims("normalized_shape")), len(shape)))
    return rules.over(field, shape, range(2, len(shape)))


def _batch_norm(step: Step, field: Field, shape: Shape) -> Field:
    by_this_batch = step.node.arguments.get("training", False)
    return rules.over(field, shape, range(2, len(shape))) if by_this_batch else field


def _reduced(step: Step, field: Field, shape: Shape) -> Field:
    keep = len(step.out) == len(shape)
    return rules.reduce(field, shape, step.out, step.dims("dim", "dims"), keep=keep)


def _along(step: Step, field: Field, shape: Shape) -> Field:
    return rules.over(field, shape, step.dims("dim"))


def _permuted(step: Step, field: Field, shape: Shape) -> Field:
    order = list(range(len(shape)))
    if step.node.operator == "permute":
        order = step.dims("dims")
    elif len(order) > 1:
        a, b = (step.node.arguments.get(name, i) for i, name in enumerate(("dim0", "dim1")))
        order[a], order[b] = order[b], order[a]
    return rules.permute(field, order)


_UNFOLD = ("dimension", "size", "step")


def _given(step: Step, *names: str) -> tuple[int, ...]:
    """Whole numbers among the arguments."""
    return tuple(int(step.node.arguments[name]) for name in names)


def _cut(step: Step, field: Field, shape: Shape) -> Field:
    g = step.node.arguments
    dim = g.get("dim", 0) % len(shape)
    n = shape[dim]
    if step.node.operator == "select":
        return dropped(rules.cut(field, dim, g["index"] % n, 1), dim)
    if step.node.operator == "flip":
        for d in step.dims("dims"):
            field = rules.select(field, np.arange(shape[d % len(shape)])[::-1], d % len(shape))
        return field
    span = range(n)[slice(g.get("start"), g.get("end"), g.get("step", 1))]
    return rules.cut(field, dim, span.start, len(span), span.step)


def dropped(field: Field, dim: int) -> Field:
    """One axis less."""
    return rules.each(field, lambda t: t if t.dim is None else t.at(None if t.dim == dim else t.dim - int(t.dim > dim)))


def _concatenated(step: Step) -> Answer:
    fields = [f for f, _ in step.inputs("tensors")]
    shapes = [shape for _, shape in step.inputs("tensors")]
    dim = step.node.arguments.get("dim", 0) % len(step.out)
    if step.node.operator == "stack":
        fields = [
            f and rules.each(f, lambda t: t if t.dim is None else t.at(t.dim + int(t.dim >= dim))) for f in fields
        ]
        shapes = [(*shape[:dim], 1, *shape[dim:]) for shape in shapes]
    return rules.concatenate(fields, shapes, dim)


def _product(step: Step) -> Answer:
    (left, shape), (right, _) = step.inputs("self", "mat1", "batch1", "mat", "mat2", "batch2", "vec")[-2:]
    answer, misaligned = rules.product(left, right, len(shape))
    added = step.inputs("self")[0] if step.node.operator.startswith(("add", "badd")) else (None, ())
    if added[0] is None or answer is None:
        return answer, misaligned
    return rules.combine([answer, rules.broadcast(added[0], added[1], step.out)])


def _padded(step: Step, field: Field, shape: Shape) -> Field:
    return rules.pad(step.node, field, shape, step.out)


def _written_through(step: Step) -> Answer:
    (before, shape), (written, other) = step.inputs()
    place = step.node.arguments["place"]
    if written is None:
        return before, False
    if shape == other and before is not None:
        return rules.combine([before, written])
    return (write(before, written, place, shape), False) if place else everything(step)


_SLIDING = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
_STEPS: dict[str, Callable[[Step], Answer]] = {
    "convolution": _one(_convolution),
    "native_batch_norm": _one(_batch_norm),
    "_native_batch_norm_legit": _one(_batch_norm),
    "_native_batch_norm_legit_no_training": _one(_batch_norm),
    "native_layer_norm": _one(_normalised),
    "native_group_norm": _one(_normalised),
    "permute": _one(_permuted),
    "transpose": _one(_permuted),
    "t": _one(_permuted),
    "cat": _concatenated,
    "stack": _concatenated,
    "written_through": _written_through,
    "copy_": lambda step: _copied(step),
}
_STEPS |= {
    name + more: _one(lambda step, f, shape: rules.pool(step.node, f, shape, step.out))
    for name in _SLIDING
    for more in ("", "_with_indices")
}
_STEPS |= {
    start + name: _one(lambda step, f, shape: rules.adaptive_pool(step.node, f, shape, step.out))
    for start in ("", "_")
    for name in (f"adaptive_{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3))
}
_STEPS |= dict.fromkeys(("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv"), _product)
_STEPS |= {
    name: _one(lambda step, f, shape: view(f, shape, step.out))
    for name in ("view", "_unsafe_view", "_reshape_alias", "squeeze", "unsqueeze", "view_as")
}
_STEPS |= {
    "pixel_shuffle": _one(lambda step, f, _: shuffle(f, step.node.arguments["upscale_factor"], up=True)),
    "pixel_unshuffle": _one(lambda step, f, _: shuffle(f, step.node.arguments["downscale_factor"], up=False)),
    "repeat": _one(lambda step, f, shape: repeated(f, shape, step.out)),
}
_STEPS |= {
    "roll": _one(lambda step, f, shape: moves.roll(f, shape, step.dims("shifts"), step.dims("dims"))),
    "unfold": _one(lambda step, f, _: moves.unfold(f, step.out, *(_given(step, *_UNFOLD)))),
    "glu": _one(lambda step, f, shape: moves.halves(f, shape, step.node.arguments.get("dim", -1))),
    "im2col": _one(lambda step, f, shape: moves.patches(f, shape, step.node.arguments)),
    "col2im": _one(lambda step, f, shape: moves.put_together(f, shape, step.out, step.node.arguments)),
    "index": _one(lambda step, f, shape: moves.picked(f, shape, step.out, step.node.arguments.get("indices", (0,)))),
    "index_select": _one(lambda step, f, shape: moves.across(f, shape, step.out, step.dims("dim"))),
    "gather": _one(lambda step, f, shape: moves.across(f, shape, step.out, step.dims("dim"))),
}
_STEPS |= {
    name: _one(lambda step, f, shape: moves.across(f, shape, step.out, step.dims("dim") or [-1]))
    for name in ("sort", "topk", "kthvalue", "median", "mode", "cummax", "cummin", "cumprod", "logcumsumexp",
                 "_fft_c2c", "_fft_r2c", "_fft_c2r", "argsort")
}  # fmt: skip
_STEPS |= dict.fromkeys(
    ("new_empty", "new_zeros", "new_ones", "new_full", "empty_like", "zeros_like", "ones_like", "full_like",
     "rand_like", "randn_like", "zero_", "fill_", "new_empty_strided"),
    lambda step: (None, False),  # a shape was read, and nothing else
)  # fmt: skip
_STEPS |= {name: _one(_cut) for name in ("select", "slice", "flip")}
_STEPS |= {
    name: _one(_reduced)
    for name in ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "linalg_vector_norm", "norm", "prod",
                 "logsumexp", "all", "any", "argmax", "argmin", "var_mean")
}  # fmt: skip
_STEPS |= {name: _one(_along) for name in ("_softmax", "_log_softmax", "_safe_softmax", "cumsum")}
_STEPS |= {
    name: _one(_padded) for kind in ("reflection_pad", "replication_pad") for name in (f"{kind}{n}d" for n in (1, 2, 3))
} | {"constant_pad_nd": _one(_padded)}
_SAME = frozenset({
    "clone", "contiguous", "detach", "alias", "lift_fresh", "_to_copy", "expand", "native_dropout", "where", "gelu",
    "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "softplus", "_prelu_kernel", "silu", "mish", "clamp",
    "rrelu_with_noise", "threshold", "bernoulli", "log_sigmoid_forward", "triu", "tril", "channel_shuffle",
    "native_channel_shuffle", "view_as", "resolve_conj", "resolve_neg",
})  # fmt: skip
"""Operators that work place by place, in case PyTorch does not say so of them"""


def _copied(step: Step) -> Answer:
    """What was there is gone."""
    field, shape = step.inputs("src")[0]
    return (None if field is None else rules.broadcast(field, shape, step.out)), False


@cache
def _pointwise(overload: str) -> bool:
    """Whether PyTorch itself says that an operator works place by place."""
    found: Any = torch.ops
    for part in overload.split("."):
        found = getattr(found, part, None)
    return torch.Tag.pointwise in getattr(found, "tags", ())


_RESIZED = _one(lambda step, f, shape: resize(step.node, f, shape, step.out))


def step_for(node: Node) -> Callable[[Step], Answer] | None:
    name = node.operator
    step = _STEPS.get(name) or _STEPS.get(name.removesuffix("_"))
    if step is not None:
        return step
    if name in _SAME or name.removesuffix("_") in _SAME or _pointwise(node.overload):
        return _place_by_place
    return _RESIZED if "upsample_" in name else None
