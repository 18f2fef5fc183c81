"""Networks with layers that have no shape yet because nothing has used them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy


def shaped(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``state_dict`` holds, without the weights of lazy layers that were never called.

    Example:
        >>> list(shaped(nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(4)).state_dict()))
        ['0.weight', '0.bias']
    """
    return {name: value for name, value in state.items() if not is_lazy(value)}


def give_shapes(model: nn.Module, *inputs: Any) -> None:
    """Let lazy layers see their inputs, in eval mode, which leaves norms and dropout alone.

    Args:
        model: Draws the weights of its lazy layers.
        inputs: Of ``forward``, two or more images, on the model's device.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for module in model.modules():
            module.training = modes.get(module, module.training)


def load_shaped(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load what ``shaped`` has left; every weight must be there unless the network still has lazy layers.

    Raises:
        RuntimeError: Names or shapes are those of another network.
    """
    model.load_state_dict(state, strict=not any(is_lazy(p) for p in model.parameters()))
