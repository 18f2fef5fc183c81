"""TrivialAugment: one operation per image, chosen at random, of random strength, made of kornia's operators.

kornia has a class of this name. It is not used because it applies one operation to the whole batch and draws from
PyTorch's global generator, so that neither an exactly resumed run nor another number of processes would repeat it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from convscope.data.augment import coloring
from convscope.data.augment.draws import whole

STRENGTHS = 31  # evenly spaced, the first does nothing where there is such a thing
INSTALL = "TrivialAugment needs kornia: pip install 'convscope[augment]'"

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of images in 0..1, their strengths in 0..1, ``(N,)``, and their signs, ``(N,)``; may change the images."""


@cache
def _kornia() -> tuple[ModuleType, ModuleType]:
    """The operators of kornia on colours and on places.

    Raises:
        ModuleNotFoundError: It is not installed; the message says what to type.
    """
    try:
        return import_module("kornia.enhance"), import_module("kornia.geometry.transform")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(INSTALL, name=error.name) from error


def _autocontrast(x: Tensor) -> Tensor:
    """Stretch every channel of every image over 0..1; one that is flat stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 0, (x - low) / torch.where(span > 0, span, 1.0), x)


def _solarized(x: Tensor, threshold: Tensor) -> Tensor:
    """Turn what is as bright as the threshold into its negative; levels are 1/255 apart, so 1e-3 is only rounding."""
    return torch.where(x >= threshold.view(-1, 1, 1, 1) - 1e-3, 1 - x, x)


def operations() -> dict[str, Operation]:
    """The fourteen operations of the wide space, by name.

    Source:
        Müller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", 2021, table 1 (wide).
    """
    enhance, geometry = _kornia()

    def colored(change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
        """By a factor of 0.01 to 1.99."""
        return lambda x, strength, sign: change(x.mul_(255), 1 + 0.99 * strength * sign).mul_(1 / 255)

    def sheared(axis: int) -> Operation:
        """By up to 0.99 pixels per pixel, about the upper left corner, as the paper's Pillow does."""
        return lambda x, strength, sign: geometry.shear(x, _along(axis, -0.99 * strength * sign))

    def translated(axis: int) -> Operation:
        """By up to 32 pixels."""
        return lambda x, strength, sign: geometry.translate(x, _along(axis, (32 * strength * sign).trunc()))

    return {
        "identity": lambda x, strength, sign: x,
        "shear_x": sheared(0),
        "shear_y": sheared(1),
        "translate_x": translated(0),
        "translate_y": translated(1),
        "rotate": lambda x, strength, sign: geometry.rotate(x, 135 * strength * sign),
        "brightness": colored(coloring.brighten),
        "color": colored(coloring.saturate),
        "contrast": colored(coloring.contrast),
        "sharpness": lambda x, strength, sign: enhance.sharpness(x, 1 + 0.99 * strength * sign),
        "posterize": lambda x, strength, sign: enhance.posterize(x, 8 - (6 * strength).round().int()),
        "solarize": lambda x, strength, sign: _solarized(x, 1 - strength),
        "autocontrast": lambda x, strength, sign: _autocontrast(x),
        "equalize": lambda x, strength, sign: enhance.equalize(x),
    }


def _along(axis: int, value: Tensor) -> Tensor:
    """``(N,)`` values to ``(N, 2)`` with zeros along the other axis."""
    zero = torch.zeros_like(value)
    return torch.stack([value, zero] if axis == 0 else [zero, value], 1)


def trivial(x: Tensor, operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Change each image by one operation.

    Images are grouped by operation, so there is one call for each of the fourteen and not one for each image. Reading
    which image is in which group makes the host wait for an accelerator once per batch.

    Args:
        x: ``(N, C, H, W)`` floats in 0..255, sides of 3 pixels at least; may be changed.
        operation: ``(N,)`` draws in 0..1, as the next two.
        strength: Becomes one of 31 steps.
        sign: Below a half is negative.

    Returns:
        ``(N, C, H, W)`` in 0..255.

    Raises:
        ModuleNotFoundError: kornia is not installed.
    """
    table = operations()
    chosen = whole(operation, len(table)).tolist()
    strength = whole(strength, STRENGTHS) / (STRENGTHS - 1)
    sign = torch.where(sign < 0.5, -1.0, 1.0)
    x = x.mul_(1 / 255)
    for place, change in enumerate(table.values()):
        group = [image for image, operation_of in enumerate(chosen) if operation_of == place]
        if group:
            rows = torch.tensor(group, device=x.device)
            x[rows] = change(x[rows].clamp_(0, 1), strength[rows], sign[rows])
    return x.mul_(255)
