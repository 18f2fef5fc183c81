"""What the rules look at: a traced network, who makes and who reads each value, its windows and its weighted layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from convscope.measure.following import Fields, follow
from convscope.measure.lint.training import Training, in_training
from convscope.measure.tracing import Node, Trace, Value

LAYOUT = frozenset((
    "view", "_unsafe_view", "_reshape_alias", "clone", "alias", "detach", "contiguous", "t", "transpose", "permute",
    "squeeze", "unsqueeze", "expand", "_to_copy", "dropout", "native_dropout",
))  # fmt: skip
"""Operators that hand numbers on in another order, or at most leave some out."""
POOLS = frozenset(["max_pool2d_with_indices", "max_pool2d", "avg_pool2d"])


@dataclass(frozen=True)
class Axis:
    """A sliding window along one axis of a feature map.

    Args:
        length: Pixels of the map, without padding.
        units: Places at which the window stops.
        taps: Pixels that it reads at each.
        stride: Pixels from one place to the next.
        dilation: Pixels from one tap to the next.
        before: Pixels of padding before the map.
        after: Pixels of padding after it.
    """

    length: int
    units: int
    taps: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def span(self) -> int:
        """Pixels from the first tap to the last, both counted."""
        return self.dilation * (self.taps - 1) + 1

    @property
    def end(self) -> int:
        """Pixels of padding that the last window reads; negative when it stops before the map does."""
        return min((self.units - 1) * self.stride + self.span - self.before - self.length, self.after)


@dataclass(frozen=True)
class Window:
    """A convolution or a pool with a window.

    Args:
        node: The operator.
        input: The value it reads; when zeros were put around the map just before, the map.
        rows: Along ``H``.
        columns: Along ``W``.
        learned: Whether it is a convolution.
    """

    node: Node
    input: int
    rows: Axis
    columns: Axis
    learned: bool

    @property
    def axes(self) -> tuple[tuple[str, Axis], tuple[str, Axis]]:
        """With their names."""
        return ("rows", self.rows), ("columns", self.columns)

    @property
    def size(self) -> str:
        """``"3x3"``."""
        return f"{self.rows.taps}x{self.columns.taps}"


@dataclass(frozen=True)
class Weighted:
    """A convolution or a dense layer whose weight is a parameter.

    Args:
        node: The operator.
        kind: What it is.
        input: The value it reads.
        weight: The parameter.
        bias: The parameter; None when there is none.
    """

    node: Node
    kind: str
    input: int
    weight: Value
    bias: Value | None


def place(node: Node) -> str:
    """Where an operator ran, in words."""
    return node.path or "forward"


def _pair(value: Any, default: list[int]) -> list[int]:
    numbers = list(value) if value else default
    return numbers * 2 if len(numbers) == 1 else numbers


@dataclass(frozen=True)
class Network:
    """A network that ran once, and everything that the rules ask of it.

    Args:
        model: The network itself, for its weights.
        trace: Of one forward pass in eval mode.
        images: ``(N, C, H, W)`` floats as the network sees them; None when the user gave none.
    """

    model: nn.Module
    trace: Trace
    images: Tensor | None = None

    @cached_property
    def training(self) -> Training:
        """Of one forward pass in training mode."""
        return in_training(self.model, self.trace)

    @cached_property
    def fields(self) -> Fields:
        """What the units of every value see."""
        return follow(self.trace)

    @cached_property
    def makers(self) -> dict[int, Node]:
        """The operator that made each value."""
        return {value: node for node in self.trace.nodes for value in node.outputs}

    @cached_property
    def readers(self) -> dict[int, list[Node]]:
        """The operators that read each value."""
        found: dict[int, list[Node]] = defaultdict(list)
        for node in self.trace.nodes:
            for value in dict.fromkeys(value for _, value in node.inputs):
                found[value].append(node)
        return found

    def shape(self, value: int) -> tuple[int, ...]:
        """Of a value."""
        return self.trace.values[value].shape

    def sees_images(self, value: int) -> bool:
        """Whether a value depends on the images."""
        return self.fields.of[value] is not None

    def before(self, value: int, through: frozenset[str] = LAYOUT, *, alone: bool = False) -> Node | None:
        """The operator that a value comes from, when layout operators are looked through; None for the images.

        Args:
            value: Its index.
            through: Operators to look through; their first input is followed.
            alone: Stop, with None, where somebody else reads a value on the way, too.
        """
        while True:
            node = self.makers.get(value)
            if node is None or (alone and (len(self.readers[value]) > 1 or value in self.trace.outputs)):
                return None
            if node.operator not in through:
                return node
            value = node.inputs[0][1]

    def parameter(self, value: int) -> Value | None:
        """The parameter that a value is, transposed or not; None when it is computed, or a buffer."""
        while self.trace.values[value].state is None:
            node = self.makers.get(value)
            if node is None or node.operator not in LAYOUT:
                return None
            value = node.inputs[0][1]
        found = self.trace.values[value]
        return found if found.state in self._parameters else None  # a buffer is fixed, a blur filter for example

    @cached_property
    def _parameters(self) -> frozenset[str]:
        return frozenset(p.name for p in self.trace.parameters.values())

    @cached_property
    def weighted(self) -> tuple[Weighted, ...]:
        """Convolutions and dense layers with weights of their own, in the order they ran."""
        return tuple(self._weighted())

    def _weighted(self) -> Iterator[Weighted]:
        for node in self.trace.nodes:
            names = _WEIGHTED.get(node.operator)
            if names is None:
                continue
            kind, reads, weighs, adds = names
            value, weight = node.reads(reads)[0], self.parameter(node.reads(weighs)[0])
            if weight is None or not self.sees_images(value):
                continue
            bias = next((self.parameter(v) for v in node.reads(adds)), None) if adds else None
            yield Weighted(node, kind, value, weight, bias)

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Convolutions and pools on maps ``(N, C, H, W)``, in the order they ran; transposed ones are none."""
        return tuple(filter(None, map(self._window, self.trace.nodes)))

    def _window(self, node: Node) -> Window | None:
        learned, options = node.operator == "convolution", node.arguments
        if not (learned or node.operator in POOLS) or options.get("transposed"):
            return None
        value = node.inputs[0][1]
        if len(self.shape(value)) != 4 or not self.sees_images(value):
            return None
        taps = list(self.shape(node.reads("weight")[0])[2:]) if learned else _pair(options["kernel_size"], [])
        strides = _pair(options.get("stride"), taps)
        dilations, paddings = _pair(options.get("dilation"), [1, 1]), _pair(options.get("padding"), [0, 0])
        sides = [(p, p) for p in paddings]
        pad = self.makers.get(value)
        if pad and pad.operator == "constant_pad_nd" and not pad.arguments.get("value"):
            left, right, top, bottom = (*pad.arguments["pad"], 0, 0)[:4]
            if min(left, right, top, bottom) >= 0 and len(pad.arguments["pad"]) <= 4:
                sides = [(a + c, b + d) for (a, b), (c, d) in zip(sides, [(top, bottom), (left, right)], strict=True)]
                value = pad.inputs[0][1]
        units = self.shape(node.outputs[0])[2:]
        axes = [
            Axis(n, m, k, s, d, *side)
            for n, m, k, s, d, side in zip(self.shape(value)[2:], units, taps, strides, dilations, sides, strict=True)
        ]
        return Window(node, value, axes[0], axes[1], learned)


_WEIGHTED = {  # by operator: what it is, and the arguments that are its input, its weight and its bias
    "convolution": ("convolution", "input", "weight", "bias"),
    "addmm": ("dense layer", "mat1", "mat2", "self"),
    "mm": ("dense layer", "self", "mat2", ""),
}
