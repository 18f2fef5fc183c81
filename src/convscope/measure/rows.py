"""From a trace to one row for each module: shape, parameters, arithmetic, memory, receptive field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from convscope.measure.costs import macs
from convscope.measure.field_rules import Field
from convscope.measure.following import Fields, follow
from convscope.measure.memory import alive
from convscope.measure.tracing import Trace

Pair = tuple[int, int]


@dataclass(frozen=True)
class RowField:
    """What one unit of a layer sees of the image, along ``(H, W)``.

    Args:
        size: Pixels that it sees, the padding as if the image went on.
        jump: Pixels between what two neighbouring units see; below 1 after a transposed convolution.
        padding: Pixels by which the first unit's region begins before the image.
        whole: Whether a layer in between looked at everything there was, as a dense layer does.
        misaligned: Whether branches meet in it whose units have different centres or steps.
    """

    size: Pair
    jump: tuple[Fraction, Fraction]
    padding: Pair
    whole: tuple[bool, bool]
    misaligned: bool = False

    @classmethod
    def of(cls, field: Field, *, misaligned: bool = False) -> RowField:
        """Of a followed field."""
        a, b = field
        return cls(
            (a.size, b.size),
            (Fraction(a.jump), Fraction(b.jump)),
            (a.padding, b.padding),
            (a.whole, b.whole),
            misaligned,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a jump below 1 becomes a decimal number."""
        jump = [int(j) if j.denominator == 1 else float(j) for j in self.jump]
        return {**asdict(self), "size": list(self.size), "jump": jump, "padding": list(self.padding),
                "whole": list(self.whole)}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One module, with everything inside it.

    Args:
        path: Its name in the network; ``""`` is the network. ``block.(mm)`` are operators that a module with children
            runs itself.
        kind: Name of its class; ``"operator"`` for such operators.
        outputs: Shapes of what it returned the last time it ran; empty when it did not run.
        calls: How often it ran.
        parameters: Learned numbers in it, each once, also when two names lead to it.
        trainable: Those that ask for a gradient; the others are frozen.
        shared: Those that a row further up already has.
        macs: Multiplications with their additions; see ``costs``.
        inference_bytes: The most activations that are alive at once while it runs; see ``memory``.
        training_bytes: What autograd keeps of it for the backward pass; None when that could not be measured.
        field: What a unit of its first output sees; None when it does not depend on the images.
    """

    path: str
    kind: str
    outputs: tuple[tuple[int, ...], ...]
    calls: int
    parameters: int
    trainable: int
    shared: int
    macs: int
    inference_bytes: int
    training_bytes: int | None
    field: RowField | None

    @property
    def depth(self) -> int:
        """1 for the network's own children, 0 for the network."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def frozen(self) -> int:
        """Parameters that ask for no gradient."""
        return self.parameters - self.trainable

    @property
    def flops(self) -> int:
        """Multiplications and additions, each counted: 2 x MACs."""
        return 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": self.path,
            "type": self.kind,
            "output_shapes": [list(shape) for shape in self.outputs],
            "calls": self.calls,
            "parameters": self.parameters,
            "trainable": self.trainable,
            "frozen": self.frozen,
            "shared": self.shared,
            "macs": self.macs,
            "flops": self.flops,
            "inference_bytes": self.inference_bytes,
            "training_bytes": self.training_bytes,
            "receptive_field": self.field and self.field.to_dict(),
        }


def ancestors(path: str) -> Iterable[str]:
    """A module and those that it is in, up to the network itself.

    Example:
        >>> list(ancestors("layer1.0.conv"))
        ['layer1.0.conv', 'layer1.0', 'layer1', '']
    """
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


@dataclass(frozen=True)
class _Sums:
    """What adds up over the operators of a module and of its children."""

    macs: dict[str, int]
    own: dict[tuple[str, str], int]
    peak: dict[str, int]
    crooked: frozenset[str]


def _sums(trace: Trace, costs: list[int], course: list[int], fields: Fields) -> _Sums:
    total: dict[str, int] = defaultdict(int)
    own: dict[tuple[str, str], int] = defaultdict(int)
    peak: dict[str, int] = defaultdict(int)
    crooked: set[str] = set()
    lines: dict[str, list[str]] = {}
    for node, cost, living in zip(trace.nodes, costs, course, strict=True):
        line = lines.get(node.path)
        if line is None:
            line = lines[node.path] = list(ancestors(node.path))
        if cost:
            own[node.path, node.operator] += cost
        if node.index in fields.misaligned:
            crooked.update(line)
        for path in line:
            total[path] += cost
            if living > peak[path]:
                peak[path] = living
    return _Sums(total, own, peak, frozenset(crooked))


def _order(trace: Trace) -> list[str]:
    """Every module, parents before children, siblings in the order in which they first ran."""
    began: dict[str, int] = {}
    for position, call in enumerate(trace.calls):  # in the order in which they ended, and so siblings as they ran
        began.setdefault(call.path, position)
    children: dict[str, list[str]] = defaultdict(list)
    for path in trace.modules:
        if path:
            children[path.rpartition(".")[0]].append(path)
    never = len(trace.calls)

    def start(path: str) -> int:
        """A container whose forward is never called begins with the first of its children that is."""
        return began.get(path, min((start(child) for child in children[path]), default=never))

    order: list[str] = []
    stack = [""]
    while stack:
        path = stack.pop()
        order.append(path)
        stack.extend(sorted(children[path], key=start, reverse=True) if len(children[path]) > 1 else children[path])
    return order


def _parameters(trace: Trace, order: list[str]) -> dict[str, tuple[int, int, int]]:
    """For each module its parameters, the trainable ones, and those that were seen further up, in numbers."""
    inside: dict[str, set[int]] = defaultdict(set)
    for path, facts in trace.modules.items():
        for _, identity in facts.parameters:
            for above in ancestors(path):
                inside[above].add(identity)
    owner: dict[int, str] = {}
    for path in order:
        for _, identity in trace.modules[path].parameters:
            owner.setdefault(identity, path)
    found = {}
    for path in order:
        held = [(trace.parameters[i], owner[i]) for i in inside[path]]
        elsewhere = (f.count for f, at in held if path and at != path and not at.startswith(f"{path}."))
        found[path] = (
            sum(f.count for f, _ in held),
            sum(f.count for f, _ in held if f.trainable),
            sum(elsewhere),
        )
    return found


def make_rows(trace: Trace, kept: Mapping[str, int] | None) -> tuple[tuple[Row, ...], list[int], Fields]:
    """The rows of a summary, the network itself first.

    Args:
        trace: Of the network.
        kept: Bytes that autograd keeps, by module; None when they are not known.

    Returns:
        The rows, the MACs of every operator, and what was followed of receptive fields.
    """
    costs, fields = [macs(node, trace) for node in trace.nodes], follow(trace)
    sums = _sums(trace, costs, alive(trace), fields)
    order = _order(trace)
    parameters = _parameters(trace, order)
    calls: dict[str, int] = defaultdict(int)
    for call in trace.calls:
        calls[call.path] += 1
    training: dict[str, int] = defaultdict(int)
    for path, size in (kept or {}).items():
        for above in ancestors(path):
            training[above] += size
    parents = {path.rpartition(".")[0] for path in trace.modules if path}
    rows = []
    for path in order:
        last = trace.last_calls.get(path)
        outputs = last.outputs if last else trace.outputs if not path else ()
        seen = next((fields.of[i] for i in outputs if fields.of[i] is not None), None)
        count, trainable, shared = parameters[path]
        rows.append(
            Row(
                path,
                trace.modules[path].kind,
                tuple(trace.values[i].shape for i in outputs),
                calls[path],
                count,
                trainable,
                shared,
                sums.macs.get(path, 0),
                sums.peak.get(path, 0),
                None if kept is None else training[path],
                RowField.of(seen, misaligned=path in sums.crooked) if seen else None,
            )
        )
        if path in parents:
            rows.extend(_own_operators(path, sums))
    return tuple(rows), costs, fields


def _own_operators(path: str, sums: _Sums) -> Iterable[Row]:
    """Arithmetic that a module with children does in its own ``forward``."""
    for (where, operator), cost in sums.own.items():
        if where == path:
            name = f"{path}.({operator})" if path else f"({operator})"
            yield Row(name, "operator", (), 0, 0, 0, 0, cost, 0, 0, None)
