"""Optimisers: which parameter decays, and how far each layer moves with a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from convscope.train.config import OptimizerConfig
from convscope.train.lean import LeanAdamW, LeanSGD

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
FUSED = frozenset({"cpu", "cuda", "mps", "xpu"})  # devices with one kernel for a whole step of SGD and of AdamW


def layers(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of a network, layer by layer, in the order in which the layers were registered.

    A layer is a block or a single operation: ``nn.Sequential`` and the other containers are opened, and so is a
    wrapper around the whole network; a residual block is not. A norm belongs to the layer before it. A network of two
    parts, a body and a head, has its body opened too. Parameters that the network holds itself (a position code, say)
    belong to the first layer.

    Args:
        model: Any module.

    Returns:
        Every parameter once; the last list is the head's.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2))
        >>> [[tuple(p.shape) for p in layer] for layer in layers(net)]
        [[(2, 1, 3, 3), (2,), (2,), (2,)], [(2, 2), (2,)]]

    Source:
        Bao, Dong, Piao and Wei, "BEiT", 2022 (layer-wise rates; its ``optim_factory.py`` counts blocks so).
    """
    parts = [*_parts(model)]
    while len(parts) == 1 and _trained(parts[0].children()):  # a wrapper
        parts = [*_parts(parts[0])]
    if len(parts) == 2 and _trained(parts[0].children()):  # body and head
        parts = [*_parts(parts[0]), parts[1]]
    seen: set[int] = set()
    found: list[list[nn.Parameter]] = []
    for part in parts:
        mine = [p for p in part.parameters() if id(p) not in seen]
        seen.update(map(id, mine))
        if found and isinstance(part, NORMS):
            found[-1] += mine
        elif mine:
            found.append(mine)
    loose = [p for p in model.parameters() if id(p) not in seen]
    return [loose + found[0], *found[1:]] if found else [loose]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """An optimiser over all trainable parameters, in as few groups as there are different numbers.

    Kernels and weight matrices (two axes or more) decay; biases and the scales and shifts of norms do not: shrinking
    them limits nothing that the weights before them could not undo, and costs accuracy.

    Each group has a ``"scale"``: its factor on the rate of the schedule, which whoever sets ``group["lr"]`` multiplies
    by. It is ``layer_decay`` to the power of the layers that follow (see ``layers``), times ``norm_bias_lr`` for the
    shifts of norms. Weight decay is a share of the rate, so it shrinks with the rate of a layer.

    Args:
        model: Its parameters with ``requires_grad`` are optimised. One that is frozen later is simply not moved, as
            long as its gradient is None.
        config: Which optimiser, with which numbers.

    Raises:
        ValueError: The model has nothing to train.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
        >>> optimizer = build_optimizer(net, OptimizerConfig(norm_bias_lr=64))
        >>> [(g["scale"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups]
        [(64.0, 0.0, 1), (1.0, 0.01, 2), (1.0, 0.0, 3)]

    Source:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019 (AdamW); Jordan, "94% on CIFAR-10 in 3.29
        seconds on a single GPU", 2024 (faster shifts of norms); Bao et al., "BEiT", 2022 (layer-wise rates).
    """
    described = _groups(model, config)
    if not described:
        raise ValueError(f"{type(model).__name__} has no trainable parameters")
    trained = [p for group in described for p in group["params"]]
    how = {"fused": True} if _can_fuse(trained) else {"foreach": True}
    optimizer: Optimizer
    if config.opt == "sgd":
        optimizer = LeanSGD(described, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, **how)
    else:
        optimizer = LeanAdamW(described, lr=config.lr, betas=(config.momentum, 0.999), **how)
    optimizer.register_load_state_dict_post_hook(_match_memory_format)
    return optimizer


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group its share of a learning rate, as its ``"scale"`` says.

    A group without one keeps its own rate: whoever brings an optimiser of his own sets its rates himself.
    """
    for group in optimizer.param_groups:
        if "scale" in group:
            group["lr"] = lr * group["scale"]


def take_over(optimizer: Optimizer, saved: dict[str, Any], model: nn.Module, *, then: OptimizerConfig) -> None:
    """Give an optimiser the moments of another one of its kind, parameter by parameter; its numbers stay its own.

    Args:
        optimizer: As ``build_optimizer`` made it.
        saved: The ``state_dict`` of the other one.
        model: The network of both.
        then: The settings of the other one: its parameters are numbered in the order of its groups.

    Raises:
        ValueError: ``saved`` is of another network.
    """
    groups = _groups(model, then)
    sizes, expected = ([len(group["params"]) for group in each] for each in (saved["param_groups"], groups))
    if sizes != expected:
        raise ValueError(f"the saved optimiser has groups of {sizes} parameters, expected {expected}")
    mine = (p for group in optimizer.param_groups for p in group["params"])
    numbers = {id(p): number for number, p in enumerate(mine)}
    theirs = enumerate(p for group in groups for p in group["params"])
    state = {numbers[id(p)]: saved["state"][number] for number, p in theirs if number in saved["state"]}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The trainable parameters, those with the same numbers together."""
    numbers = _numbers(model, config)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for p in model.parameters():  # each once, in the order of registration
        if p.requires_grad:
            groups.setdefault(numbers[id(p)], []).append(p)
    return [
        {"params": groups[key], "lr": config.lr * key[0], "scale": key[0], "weight_decay": key[1]}
        for key in sorted(groups, reverse=True)
    ]


def _numbers(model: nn.Module, config: OptimizerConfig) -> dict[int, tuple[float, float]]:
    """Of each parameter, by its ``id``: the factor on the rate, and the weight decay."""
    shifts = {id(m.bias) for m in model.modules() if isinstance(m, NORMS) and getattr(m, "bias", None) is not None}
    numbers = {}
    depths = layers(model)
    for depth, layer in enumerate(depths, start=1):
        for p in layer:
            scale = config.layer_decay ** (len(depths) - depth)
            scale *= config.norm_bias_lr if id(p) in shifts else 1.0
            numbers[id(p)] = (scale, config.weight_decay if p.ndim >= 2 else 0.0)
    return numbers


def _trained(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that have parameters."""
    return [module for module in modules if any(True for _ in module.parameters())]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The children of a module that have parameters; of a container, its own children in its place."""
    for child in _trained(module.children()):
        if isinstance(child, CONTAINERS):
            yield from _parts(child)
        else:
            yield child


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in FUSED and Tensor.is_floating_point(p) for p in parameters)


def _match_memory_format(optimizer: Optimizer) -> None:
    """Lay out loaded state as its parameter is.

    The fused kernels of the CPU walk through parameter, gradient and state side by side in memory, whatever their
    strides: state that was saved in another memory format would meet the wrong weights, without an error.
    """
    for p, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                state[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
