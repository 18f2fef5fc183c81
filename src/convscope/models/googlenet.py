"""GoogLeNet: nine inception blocks. Weight names are torchvision's; its two extra training heads are left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import ConvNormAct, Inception, kaiming
from convscope.nn._arguments import share

_norm: Callable[[int], nn.Module] = partial(nn.BatchNorm2d, eps=0.001)  # the eps that the public weights expect
_conv = partial(ConvNormAct, norm=_norm, names=("conv", "bn", "act"))

_BLOCKS = {  # channels of the four branches
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


class GoogLeNet(nn.Module):
    """GoogLeNet as torchvision has it: batch norms everywhere, 3x3 where the paper has 5x5.

    torchvision's public weights were trained on images in -1 .. 1. ``transform_input`` brings images that were
    normalised by the usual ImageNet mean and standard deviation there; with those weights, switch it on.

    Args:
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Begin with a 3x3 convolution at full size and no first pool.
        dropout: Share of the values that is set to zero before the dense layer.
        transform_input: See above; for 3 channels.

    Raises:
        ValueError: ``transform_input`` for other than 3 channels.

    Source:
        Szegedy et al., "Going deeper with convolutions", 2014.
    """

    optional_weights = ("aux1.", "aux2.")
    """Weights that public files have for the extra heads, and that are of no use here."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        small: bool,
        dropout: float = 0.2,
        transform_input: bool = False,
    ) -> None:
        super().__init__()
        if transform_input and in_channels != 3:
            raise ValueError(f"transform_input needs in_channels=3, got {in_channels}")
        self.transform_input = transform_input
        kernel, stride = (3, 1) if small else (7, 2)
        pool = partial(nn.MaxPool2d, stride=2, ceil_mode=True)
        self.conv1 = _conv(in_channels, 64, kernel, stride=stride)  # 224 pixels: N,C,224,224 -> N,64,112,112
        self.maxpool1 = nn.Identity() if small else pool(3)  # -> N,64,56,56
        self.conv2 = _conv(64, 64, 1)
        self.conv3 = _conv(64, 192, 3)
        self.maxpool2 = pool(3)  # -> N,192,28,28
        channels = 192
        for name, branches in _BLOCKS.items():
            block = Inception(channels, *branches, large_kernel=3, norm=_norm)
            self.add_module(name, block)
            channels = block.out_channels
        self.maxpool3 = pool(3)  # after 3b: -> N,480,14,14
        self.maxpool4 = pool(2)  # after 4e: -> N,832,7,7
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(share("dropout", dropout))
        self.fc = nn.Linear(channels, num_classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        if self.transform_input:
            x = _to_minus_one_to_one(x)
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        after = {"inception3b": self.maxpool3, "inception4e": self.maxpool4}
        for name in _BLOCKS:
            x = self.get_submodule(name)(x)
            if name in after:
                x = after[name](x)
        x = self.flatten(self.avgpool(x))  # -> N,1024
        scores: Tensor = self.fc(self.dropout(x))
        return scores


def _to_minus_one_to_one(x: Tensor) -> Tensor:
    """From ``(v - mean) / std`` of ImageNet to ``(v - 0.5) / 0.5``, channel by channel."""
    mean, std = (
        torch.tensor(v, dtype=x.dtype, device=x.device) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return x * (std / 0.5)[:, None, None] + ((mean - 0.5) / 0.5)[:, None, None]


@register(
    description="9 inception blocks",
    year=2014,
    paper="Szegedy et al., Going deeper with convolutions",
    image_size=224,
    min_image_size=8,
    parameters=6_624_904,
    macs=1_498_376_192,
    accuracy=torchvision_v1(69.778),
)
def googlenet(
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    dropout: float = 0.2,
    transform_input: bool = False,
) -> GoogLeNet:
    """GoogLeNet for photographs or for small images."""
    return GoogLeNet(
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=15),
        dropout=dropout,
        transform_input=transform_input,
    )
