"""Follow what units see through a trace, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

from convscope.measure import field_rules as rules
from convscope.measure.field_moves import UNSURE
from convscope.measure.field_rules import Field, Shape
from convscope.measure.field_steps import Answer, Step, dropped, everything, step_for
from convscope.measure.fields import source
from convscope.measure.tracing.graph import Trace


@dataclass(frozen=True)
class Fields:
    """What the units of every value see.

    Args:
        of: For each value, its field along ``H`` and along ``W``; None for what does not depend on the images.
        misaligned: Operators at which branches with different centres or steps meet.
        unknown: Operators of which it is not known where they read; their units are said to see everything.
    """

    of: tuple[Field | None, ...]
    misaligned: frozenset[int]
    unknown: tuple[str, ...]


def _parts(step: Step) -> list[Answer] | None:
    """Operators that cut one tensor into several."""
    name = step.node.operator
    if name not in ("split", "split_with_sizes", "unbind", "chunk", "unsafe_split", "unsafe_split_with_sizes"):
        return None
    field, shape = step.main
    outs = [step.trace.values[v].shape for v in step.node.outputs]
    if field is None:
        return [(None, False)] * len(outs)
    dim, start = step.node.arguments.get("dim", 0) % len(shape), 0
    answers: list[Answer] = []
    for out in outs:
        length = 1 if name == "unbind" else out[dim]
        part = rules.cut(field, dim, start, length)
        answers.append((dropped(part, dim) if name == "unbind" else part, False))
        start += length
    return answers


def follow(trace: Trace, *, exact: bool = False) -> Fields:
    """What the units of every value in a trace see of the images.

    Args:
        trace: Of a network.
        exact: Follow which pixels can really change each unit, too; slower.
    """
    height, width = trace.input_size[2:]
    known: list[Field | None] = [None] * len(trace.values)
    rows = source(height, 2, exact=exact)
    known[trace.input] = rows, rows.at(3) if width == height else source(width, 3, exact=exact)
    misaligned: set[int] = set()
    unknown: dict[str, None] = {}
    for node in trace.nodes:
        if all(known[value] is None for _, value in node.inputs):
            continue
        step = Step(node, trace, known)
        rule = step_for(node)
        answers = _parts(step)
        if answers is None:
            if (rule is None or node.operator in UNSURE) and node.outputs:
                unknown[node.operator] = None
            answers = [(rule or everything)(step)] * len(node.outputs)
        for value, (field, crooked) in zip(node.outputs, answers, strict=True):
            shape = trace.values[value].shape
            known[value] = field if field is None or shape == step.out else _fit(field, shape, step)
            if crooked:
                misaligned.add(node.index)
    return Fields(tuple(known), frozenset(misaligned), tuple(unknown))


def _fit(field: Field, shape: Shape, step: Step) -> Field:
    """Further outputs of an operator, such as the statistics of a norm, have other shapes."""
    if _parts(step) is not None:
        return field
    return rules.each(field, lambda t: t.everything() if t.dim is not None and len(t) > 1 else t.at(None))
