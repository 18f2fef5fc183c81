"""Residual networks with pre-activation blocks: preact-ResNet-18 and the wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from convscope.models.registry import register
from convscope.models.resnet import Block, stage
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import PreActResidual, kaiming
from convscope.nn.shortcut import Option


class PreActResNet(nn.Module):
    """A residual network whose last block is followed by one more norm and ReLU, which its blocks leave open.

    Args:
        block: What makes a block.
        depths: For each stage, how many blocks it has.
        widths: For each stage, ``C`` of what its blocks give out.
        stem_width: ``C`` after the first convolution.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Begin with a 3x3 convolution at full size, instead of 7x7 with stride 2 and a max pool.

    Source:
        He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016.
    """

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        stem_width: int,
        in_channels: int,
        num_classes: int,
        small: bool,
    ) -> None:
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        self.conv1 = nn.Conv2d(in_channels, stem_width, kernel, stride, padding, bias=False)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

        self.num_stages = len(depths)
        entering = [stem_width, *widths]
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            layer = stage(block, depth, entering[i], width, stride=1 if i == 0 else 2)  # H and W halve from layer2 on
            self.add_module(f"layer{i + 1}", layer)

        self.bn = nn.BatchNorm2d(widths[-1])
        self.act = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], num_classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.maxpool(self.conv1(x))  # -> N,stem_width,H,W when small, H/4,W/4 otherwise
        for i in range(self.num_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        x = self.flatten(self.avgpool(self.act(self.bn(x))))  # -> N,widths[-1]
        scores: Tensor = self.fc(x)
        return scores


@register(
    description="8 pre-activation blocks in 4 stages, for 32x32 images",
    year=2016,
    paper="He et al., Identity mappings in deep residual networks",
    num_classes=10,
    image_size=32,
    min_image_size=8,
    parameters=11_172_170,
    macs=555_422_720,
)
def preact_resnet18(
    *, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto", shortcut: Option = "B"
) -> PreActResNet:
    """ResNet-18 with its norms and activations moved before the convolutions."""
    return PreActResNet(
        partial(PreActResidual, shortcut=shortcut),
        [2, 2, 2, 2],
        [64, 128, 256, 512],
        stem_width=64,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
    )


_WIDE = {  # name: layers, widening factor, parameters, MACs
    "wrn_16_4": (16, 4, 2_748_890, 392_612_352),
    "wrn_40_4": (40, 4, 8_949_210, 1_298_582_016),
    "wrn_28_10": (28, 10, 36_479_194, 5_243_328_768),
}


def _wide(
    num_layers: int,
    widen: int,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    dropout: float = 0.0,
) -> PreActResNet:
    """Of ``6n + 4`` layers: three stages of ``n`` blocks of two, 16, 32 and 64 channels wide times ``widen``.

    The paper counts the three projections on shortcuts as layers. Its ``dropout`` inside the blocks is 0.3, or none.
    """
    depth = (num_layers - 4) // 6
    return PreActResNet(
        partial(PreActResidual, dropout=dropout),
        [depth] * 3,
        [16 * widen, 32 * widen, 64 * widen],
        stem_width=16,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
    )


for _name, (_layers, _widen, _parameters, _macs) in _WIDE.items():
    register(
        _name,
        description=f"{_layers} layers, {_widen} times as wide, for 32x32 images",
        year=2016,
        paper="Zagoruyko and Komodakis, Wide residual networks",
        num_classes=10,
        image_size=32,
        min_image_size=8,
        parameters=_parameters,
        macs=_macs,
    )(partial(_wide, _layers, _widen))
