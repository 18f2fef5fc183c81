"""One forward pass in training mode: what runs then, and which parameters a gradient would reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.measure.lint.watching import home, watched
from convscope.measure.tracing import Call, Node, Trace, Value
from convscope.measure.tracing.recorder import Recorder, ValuesNeeded, flat


@dataclass(frozen=True)
class Training:
    """What happened in training mode.

    Args:
        nodes: Every operator.
        values: Every tensor they read or made.
        calls: Every run of a module.
        outputs: Indices of what the network returned.
        reached: Names of the parameters that the outputs depend on, as autograd sees it.
        refused: What the network said when it raised; None when it did not.
    """

    nodes: tuple[Node, ...] = ()
    values: tuple[Value, ...] = ()
    calls: tuple[Call, ...] = ()
    outputs: tuple[int, ...] = ()
    reached: frozenset[str] = frozenset()
    refused: str | None = None


def in_training(model: nn.Module, seen: Trace) -> Training:
    """Run a network in training mode, on two images at least because batch norms refuse one; it is left as it was.

    Args:
        model: That was traced.
        seen: Its trace in eval mode.
    """
    meta = seen.device == "meta"
    try:
        return _run(model, seen, meta=meta)
    except ValuesNeeded:
        return _run(model, seen, meta=False)


def _run(model: nn.Module, seen: Trace, *, meta: bool) -> Training:
    count, *rest = seen.input_size
    device, dtype = "meta" if meta else home(model), seen.values[seen.input].dtype
    images = torch.randn(max(2, count), *rest, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    with watched(model, Recorder, training=True, meta=meta, keep=True) as recorder:
        recorder.value_of(images)
        try:
            with recorder.watching():
                outputs = list(flat(model(images)))
        except ValuesNeeded:
            raise
        except Exception as error:  # whatever a network raises is what is reported
            if meta and (isinstance(error, NotImplementedError) or "meta" in str(error).lower()):
                raise ValuesNeeded(str(error)) from error
            said = str(error).strip().splitlines()
            return Training(refused=f"{type(error).__name__}: {said[0]}" if said else type(error).__name__)
        names = {id(p): name for name, p in model.named_parameters()}
        return Training(
            tuple(recorder.nodes),
            tuple(recorder.values),
            tuple(recorder.calls),
            tuple(recorder.value_of(t) for t in outputs),
            frozenset(names[i] for i in _leaves(outputs) if i in names),
        )


def _leaves(outputs: Iterable[Tensor]) -> set[int]:
    """What identifies the tensors at the ends of autograd's graph."""
    stack, known, leaves = [t.grad_fn for t in outputs], set(), set()
    while stack:
        function = stack.pop()
        if function is None or function in known:
            continue
        known.add(function)
        if hasattr(function, "variable"):
            leaves.add(id(function.variable))
        stack.extend(following for following, _ in function.next_functions)
    return leaves
