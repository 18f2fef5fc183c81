"""DenseNet: dense blocks, each followed by a transition that halves channels and pixels. Names are torchvision's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import DenseBlock, Transition, kaiming


class DenseNet(nn.Module):
    """DenseNet-BC: with bottlenecks in the layers and compression in the transitions.

    Args:
        depths: For each dense block, how many layers it has.
        growth: New channels of each layer.
        stem_width: ``C`` after the stem.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Begin with a 3x3 convolution at full size, instead of 7x7 with stride 2 and a max pool.
        dropout: Share of each layer's new values that is set to zero; 0.2 in the paper where it trains on few images.

    Source:
        Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        growth: int,
        stem_width: int,
        in_channels: int,
        num_classes: int,
        small: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(in_channels, stem_width, kernel, stride, padding, bias=False),  # N,C,H,W -> N,64,H/2,W/2
            norm0=nn.BatchNorm2d(stem_width),
            act0=nn.ReLU(),
            pool0=nn.Identity() if small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1),  # -> N,64,H/4,W/4
        )
        channels = stem_width
        for i, depth in enumerate(depths, start=1):
            block = DenseBlock(depth, channels, growth, dropout=dropout)
            layers[f"denseblock{i}"] = block
            channels = block.out_channels
            if i < len(depths):
                layers[f"transition{i}"] = Transition(channels, channels // 2)  # H and W halve
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.act = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        kaiming(self, mode="fan_in")

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.flatten(self.avgpool(self.act(self.features(x))))  # -> N,channels
        scores: Tensor = self.classifier(x)
        return scores


@dataclass(frozen=True)
class _Form:
    """One line of the table."""

    name: str
    depths: tuple[int, int, int, int]
    parameters: int
    macs: int
    top1: float
    growth: int = 32
    stem_width: int = 64


_FORMS = (
    _Form("densenet121", (6, 12, 24, 16), 7_978_856, 2_834_161_664, 74.434),
    _Form("densenet161", (6, 12, 36, 24), 28_681_000, 7_727_907_072, 77.138, growth=48, stem_width=96),
    _Form("densenet169", (6, 12, 32, 32), 14_149_480, 3_359_843_328, 75.600),
    _Form("densenet201", (6, 12, 48, 32), 20_013_928, 4_291_365_888, 76.896),
)


def _build(
    form: _Form,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    dropout: float = 0.0,
) -> DenseNet:
    """One of the table."""
    return DenseNet(
        form.depths,
        growth=form.growth,
        stem_width=form.stem_width,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=29),
        dropout=dropout,
    )


for _form in _FORMS:
    register(
        _form.name,
        description=f"{sum(_form.depths)} dense layers in 4 blocks",
        year=2017,
        paper="Huang et al., Densely connected convolutional networks",
        image_size=224,
        min_image_size=8,
        parameters=_form.parameters,
        macs=_form.macs,
        accuracy=torchvision_v1(_form.top1),
    )(partial(_build, _form))
