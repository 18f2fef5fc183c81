"""Initialisers: what the weights are before the first step. Each changes a module in place and returns it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy


def _refuse_lazy(path: str, module: nn.Module) -> None:
    """An initialiser skips a layer that has no shape yet, and nobody notices; so that is an error here."""
    if any(is_lazy(p) for p in module.parameters(recurse=False)):
        raise ValueError(
            f"layer {path or 'itself'!r} ({type(module).__name__}) is lazy and has no weights to initialise yet; "
            "run one batch through the model first, or build it from layers with known sizes"
        )


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """Every module of a model; all are looked at before the first is given out, so an error changes nothing."""
    for path, module in model.named_modules():
        _refuse_lazy(path, module)
    yield from model.modules()


def undrawn_linear(in_features: int, out_features: int) -> nn.Linear:
    """A dense layer whose values are whatever the memory held: for networks that draw all weights anyway.

    ``nn.Linear`` draws its own at once, and to draw the 100 million of a VGG twice takes its time.

    Args:
        in_features: Numbers that come in.
        out_features: Numbers that go out.

    Returns:
        The layer, on PyTorch's default device. It must be given weights before use.

    Example:
        >>> layer = kaiming(undrawn_linear(4, 3), linear_std=0.01)
        >>> layer.weight.shape, layer.bias.tolist()
        (torch.Size([3, 4]), [0.0, 0.0, 0.0])
    """
    return nn.Linear(in_features, out_features, device="meta").to_empty(device=torch.get_default_device())


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
    for module in _layers(model):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    return model


def kaiming(
    model: nn.Module, *, mode: Literal["fan_in", "fan_out"] = "fan_out", linear_std: float | None = None
) -> nn.Module:
    """Draw every ``Conv2d`` weight from He's normal distribution for ReLU; norms become 1 and 0, conv biases 0.

    Args:
        model: Any module; changed in place.
        mode: Keep the variance of gradients (``"fan_out"``, torchvision's habit) or of activations (``"fan_in"``).
        linear_std: Standard deviation of every ``Linear`` weight, whose biases then become 0.
            ``None`` leaves ``Linear`` layers as PyTorch drew them.

    Returns:
        The same module.

    Raises:
        ValueError: A layer is still lazy.

    Source:
        He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.
    """
    for module in _layers(model):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _BatchNorm | nn.GroupNorm) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, std=linear_std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def dirac(model: nn.Module) -> nn.Module:
    """Make every ``Conv2d`` hand on its input: a one in the middle of each kernel, zeros around it, bias 0.

    With as many channels out as in, an odd kernel and padding that keeps the size, the layer *is* the identity.

    Args:
        model: Any module; changed in place.

    Returns:
        The same module.

    Raises:
        ValueError: A layer is still lazy.

    Example:
        >>> import torch
        >>> conv, x = dirac(nn.Conv2d(2, 2, kernel_size=3, padding=1)), torch.rand(1, 2, 4, 4)
        >>> torch.equal(conv(x), x)
        True

    Source:
        Zagoruyko and Komodakis, "DiracNets", 2017.
    """
    for module in _layers(model):
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight, groups=module.groups)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def zero_last_norm(model: nn.Module) -> nn.Module:
    """Zero the scale of the norm that ends each residual branch, so that every block starts as ``relu(shortcut)``.

    Args:
        model: A module with residual blocks of this package, those with a ``last_norm``; changed in place.

    Returns:
        The same module.

    Raises:
        ValueError: A layer is still lazy, or no block ends in a norm.

    Source:
        Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 5.1.
    """
    ends = [getattr(module, "last_norm", None) for module in _layers(model)]
    norms = [norm for norm in ends if isinstance(norm, nn.BatchNorm2d)]
    if not norms:
        raise ValueError(
            f"expected residual blocks that end in a norm, found none in {type(model).__name__}; "
            "pre-activation blocks end in a convolution and have nothing to zero"
        )
    for norm in norms:
        nn.init.zeros_(norm.weight)
    return model
