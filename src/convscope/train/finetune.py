"""Train the head of a network alone before the rest may move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from convscope.train.generators import generators_kept


def head_of(model: nn.Module, classes: int, inputs: Tensor | None = None) -> tuple[str, nn.Module]:
    """The layer that gives the class scores: the last single layer with weights, when it has one output a class.

    Args:
        model: Any module.
        classes: How many scores it gives.
        inputs: A batch ``(N, C, H, W)``. With it the model is run once, in eval mode, and the last layer to *run*
            counts; without it, the last to be registered. The model and the random generators are as before.

    Returns:
        Its name, as ``model.get_submodule`` takes it, and the layer.

    Raises:
        ValueError: No layer has ``classes`` outputs, or it is not plain which of several is the head.

    Example:
        >>> head_of(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3, 10)), 10)
        ('2', Linear(in_features=3, out_features=10, bias=True))
    """
    names = {module: name for name, module in model.named_modules()}
    weighted = [module for module in names if _outputs(module) is not None]
    order = weighted if inputs is None else _running_order(model, weighted, inputs)
    fitting = [module for module in order if _outputs(module) == classes]
    if fitting and (fitting[-1] is order[-1] or len(fitting) == 1):
        return names[fitting[-1]], fitting[-1]
    who = type(model).__name__
    if not fitting:
        last = f"; the last layer with weights, {names[order[-1]]!r}, has {_outputs(order[-1])}" if order else ""
        raise ValueError(f"no layer of {who} has {classes} outputs, one for each class{last}: freezing needs a head")
    raise ValueError(
        f"which layer of {who} gives the {classes} class scores is not plain: "
        f"{', '.join(repr(names[module]) for module in fitting)} have as many outputs, and none of them comes last"
    )


@contextmanager
def frozen_body(model: nn.Module, head: nn.Module) -> Iterator[None]:
    """Let only the head learn for a while; afterwards what was trainable before is trainable again.

    Norms with running statistics outside the head are in eval mode meanwhile: their statistics belong to the frozen
    weights, and a norm that went on following the new images would change a body that is meant to stand still.
    Everything else keeps its mode, so dropout goes on.

    Enter it when the model is in train mode already: ``model.train()`` inside would wake the norms. An optimiser made
    before goes on to work, because a parameter without gradient is not moved, nor does it decay.

    Args:
        model: All of it.
        head: A module within; see ``head_of``.

    Raises:
        ValueError: ``head`` is no part of ``model``.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 10))
        >>> with frozen_body(net, net[3]):
        ...     [name for name, p in net.named_parameters() if p.requires_grad], net[1].training
        (['3.weight', '3.bias'], False)
        >>> all(p.requires_grad for p in net.parameters()), net[1].training
        (True, True)

    Source:
        Keras, "Transfer learning and fine-tuning" and the documentation of ``BatchNormalization``: a frozen batch norm
        runs in inference mode.
    """
    if not any(module is head for module in model.modules()):
        raise ValueError(f"the head, {type(head).__name__}, is no part of {type(model).__name__}")
    kept_parameters, kept_modules = {*head.parameters()}, {*head.modules()}
    body = [p for p in model.parameters() if p not in kept_parameters]
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m not in kept_modules]
    flags, modes = [p.requires_grad for p in body], [m.training for m in norms]
    try:
        for p in body:
            p.requires_grad_(False)
            p.grad = None  # a gradient left over would still move it
        for norm in norms:
            norm.training = norm.training and not norm.track_running_stats
        yield
    finally:
        for p, flag in zip(body, flags, strict=True):
            p.requires_grad_(flag)
        for norm, mode in zip(norms, modes, strict=True):
            norm.training = mode


def _outputs(module: nn.Module) -> int | None:
    """How many outputs a single layer with weights has; None for a norm, and for whatever consists of other layers."""
    own = [p for p in module.parameters(recurse=False) if p.ndim >= 2]
    if not own or any(True for child in module.children() for _ in child.parameters()):
        return None
    for name in ("out_features", "out_channels"):
        outputs = getattr(module, name, None)
        if isinstance(outputs, int):
            return outputs
    return own[0].shape[0]


def _running_order(model: nn.Module, modules: list[nn.Module], inputs: Tensor) -> list[nn.Module]:
    """Of these modules those that run, in the order in which they last do."""
    ran: dict[nn.Module, None] = {}

    def note(module: nn.Module, *_: object) -> None:
        ran.pop(module, None)
        ran[module] = None

    hooks = [module.register_forward_hook(note) for module in modules]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with generators_kept(inputs.device), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return [*ran]
