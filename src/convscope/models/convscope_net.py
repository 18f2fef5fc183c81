"""Our own networks: a fixed first layer of cosines, and a few convolutions. Made to learn fast on a few CPU cores."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.models.registry import register
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import CReLU


def cosine_kernels(size: int, frequencies: int) -> Tensor:
    """The slowest waves of the discrete cosine transform over a square, each of length 1, all at right angles.

    Natural patches have nearly these as their principal axes, whatever the images show: nothing needs to be fitted.

    Args:
        size: Side of the square in pixels.
        frequencies: How many along each axis, the constant one included.

    Returns:
        ``(frequencies ** 2, 1, size, size)``.

    Source:
        Ahmed, Natarajan and Rao, "Discrete cosine transform", 1974.

    Example:
        >>> kernels = cosine_kernels(4, 4).flatten(1)
        >>> torch.allclose(kernels @ kernels.T, torch.eye(16), atol=1e-6)
        True
    """
    k, x = torch.arange(frequencies), torch.arange(size)
    waves = torch.cos(math.pi / size * k[:, None] * (x + 0.5)) * math.sqrt(2 / size)  # frequencies,size
    waves[0] /= math.sqrt(2)
    return torch.einsum("ay,bx->abyx", waves, waves).reshape(frequencies**2, 1, size, size)


class CosineConv(nn.Module):
    """A convolution whose 16 kernels are waves and stay as they are; each channel of the images is seen alone.

    With nothing to learn it needs no gradient, which is most of the price of a first layer.

    Args:
        in_channels: ``C`` of the images.
        stride: Pixels from one patch to the next; a patch has twice this side.
    """

    kernels: Tensor

    def __init__(self, in_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride, self.in_channels = stride, in_channels
        self.register_buffer("kernels", cosine_kernels(2 * stride, frequencies=4).repeat(in_channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, 16 * C, H / stride, W / stride)``."""
        return nn.functional.conv2d(
            x, self.kernels, stride=self.stride, padding=self.stride // 2, groups=self.in_channels
        )


Layer = tuple[int, Literal["", "stride", "pool"]]
"""Width of a convolution, and what halves ``H`` and ``W`` there, if anything does."""


def _block(in_channels: int, layer: Layer) -> nn.Sequential:
    """Convolution, norm, ReLU; a pool comes before the norm, which then has a quarter of the work."""
    width, halving = layer
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(in_channels, width, 3, stride=2 if halving == "stride" else 1, padding=1, bias=False)
    if halving == "pool":
        parts["pool"] = nn.MaxPool2d(kernel_size=2)
    parts["bn"] = nn.BatchNorm2d(width)
    parts["act"] = nn.ReLU()
    return nn.Sequential(parts)


class ConvscopeNet(nn.Module):
    """Whitened patches, then 3x3 convolutions that end in the strongest response of each channel.

    A batch norm without weights brings every wave to the same strength; together they whiten the patches, as a
    principal component analysis of the training images would. The networks have no shortcuts: they are too
    shallow to need them.

    Args:
        layers: The convolutions, in their order.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Patches of 4x4 pixels, two pixels apart, instead of 16x16, eight apart.

    Source:
        Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", 2024, for the fixed whitening layer.
    """

    def __init__(self, layers: Sequence[Layer], *, in_channels: int, num_classes: int, small: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            CosineConv(in_channels, stride=2 if small else 8),  # N,C,28,28 -> N,16C,14,14
            nn.BatchNorm2d(16 * in_channels, affine=False),
            CReLU(),  # -> N,32C,14,14
        )
        widths = [32 * in_channels, *(width for width, _ in layers)]
        self.features = nn.Sequential(*map(_block, widths[:-1], layers))  # -> N,widths[-1],3,3
        self.maxpool = nn.AdaptiveMaxPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.features(self.stem(x))
        scores: Tensor = self.fc(self.flatten(self.maxpool(x)))  # -> N,widths[-1]
        return scores


_FORMS: dict[str, tuple[tuple[Layer, ...], int, int]] = {  # name: layers, parameters, MACs of one grey 28x28 image
    "convscope_s": (((32, "stride"), (64, ""), (64, "pool")), 65_472, 3_211_904),
    "convscope_m": (((32, "pool"), (64, ""), (64, "pool"), (128, "")), 140_096, 5_230_848),
    "convscope_l": (((48, "pool"), (96, ""), (96, "pool"), (192, "")), 306_912, 10_350_976),
    "convscope_xl": (((64, "pool"), (128, ""), (128, "pool"), (256, "")), 538_240, 17_157_632),
    "convscope_xxl": (((64, ""), (96, "pool"), (128, ""), (128, "pool"), (256, "")), 630_592, 29_801_984),
}


def _build(
    layers: Sequence[Layer], *, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto"
) -> ConvscopeNet:
    """With a stem for small images or for photographs."""
    small = use_small_stem(stem, image_size, imagenet_from=32)
    return ConvscopeNet(layers, in_channels=in_channels, num_classes=num_classes, small=small)


for _name, (_layers, _parameters, _macs) in _FORMS.items():
    register(
        _name,
        description=f"fixed waves, then {len(_layers)} convolutions, {_layers[0][0]} to {_layers[-1][0]} channels",
        year=2026,
        paper="convscope's own, for Fashion-MNIST on a few CPU cores",
        in_channels=1,
        num_classes=10,
        image_size=28,
        min_image_size=8,
        parameters=_parameters,
        macs=_macs,
    )(partial(_build, _layers))
