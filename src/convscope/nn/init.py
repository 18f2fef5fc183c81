"""Initialisers: what the weights are before the first step."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy


def _refuse_lazy(path: str, module: nn.Module) -> None:
    """An initialiser skips a layer that has no shape yet, and nobody notices; so that is an error here."""
    if any(is_lazy(p) for p in module.parameters(recurse=False)):
        raise ValueError(
            f"layer {path or 'itself'!r} ({type(module).__name__}) is lazy and has no weights to initialise yet; "
            "run one batch through the model first, or build it from layers with known sizes"
        )


def xavier_uniform(model: nn.Module) -> nn.Module:
    """Draw every ``Conv2d`` and ``Linear`` weight from Xavier's uniform distribution; biases stay as they are.

    Args:
        model: Any module; changed in place.

    Returns:
        The same module.

    Raises:
        ValueError: A layer is still lazy.

    Source:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    for path, module in model.named_modules():
        _refuse_lazy(path, module)
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    return model
