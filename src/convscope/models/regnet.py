"""RegNetX: four stages of grouped bottlenecks, whose widths and depths follow one straight line.

Weight names and shapes are torchvision's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import ConvNormAct, init, kaiming


def stages(depth: int, w_0: int, w_a: float, w_m: float, group_width: int) -> list[tuple[int, int, int]]:
    """The whole network from five numbers.

    Block ``j`` should be ``w_0 + w_a * j`` channels wide. Widths are then brought to the nearest
    ``w_0 * w_m ** k`` with a whole ``k``, and to multiples of 8; blocks of equal width form a stage.

    Args:
        depth: Blocks in all.
        w_0: Channels of the first block.
        w_a: Channels more with each block.
        w_m: One stage is about so many times as wide as the one before.
        group_width: Channels in each group of the 3x3 convolutions.

    Returns:
        For each stage: its width, its depth, and its group width, which is no more than the width.

    Example:
        >>> stages(22, 24, 24.48, 2.54, 16)
        [(32, 1, 16), (64, 2, 16), (160, 7, 16), (400, 12, 16)]
    """
    widths = []
    for j in range(depth):
        power = round(math.log((w_0 + w_a * j) / w_0) / math.log(w_m))
        widths.append(8 * round(w_0 * w_m**power / 8))
    table = []
    for width, blocks in groupby(widths):
        group = min(group_width, width)
        table.append((_nearest_multiple(width, group), len(list(blocks)), group))
    return table


def _nearest_multiple(width: int, group_width: int) -> int:
    """A width that whole groups fill; upwards where the nearest one would lose more than a tenth."""
    nearest = max(group_width, (width + group_width // 2) // group_width * group_width)
    return nearest if nearest >= 0.9 * width else nearest + group_width


class XBlock(nn.Module):
    """1x1, grouped 3x3, 1x1, all of one width, and a shortcut with a 1x1 where the shape changes.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        group_width: Channels in each group of the 3x3 convolution.
        stride: Of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, group_width: int, stride: int) -> None:
        super().__init__()
        same_shape = in_channels == out_channels and stride == 1
        self.proj = nn.Identity() if same_shape else ConvNormAct(in_channels, out_channels, 1, stride=stride, act=None)
        groups = out_channels // group_width
        self.f = nn.Sequential(
            OrderedDict(
                a=ConvNormAct(in_channels, out_channels, 1),
                b=ConvNormAct(out_channels, out_channels, 3, stride=stride, groups=groups),
                c=ConvNormAct(out_channels, out_channels, 1, act=None),
            )
        )
        self.act = nn.ReLU()

    @property
    def last_norm(self) -> nn.Module:
        """The norm that ends the branch."""
        return self.f.get_submodule("c.1")

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``, rounded up."""
        out: Tensor = self.act(self.proj(x) + self.f(x))
        return out


class RegNetX(nn.Module):
    """A RegNetX. Every stage halves ``H`` and ``W``; for small images the stem and the first stage do not.

    Args:
        table: For each stage its width, depth and group width, see ``stages``.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Whether the images are small.

    Source:
        Radosavovic, Kosaraju, Girshick, He and Dollár, "Designing network design spaces", 2020.
    """

    def __init__(self, table: list[tuple[int, int, int]], *, in_channels: int, num_classes: int, small: bool) -> None:
        super().__init__()
        self.stem = ConvNormAct(in_channels, 32, 3, stride=1 if small else 2)  # N,C,H,W -> N,32,H/2,W/2
        trunk: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 32
        for i, (width, depth, group_width) in enumerate(table, start=1):
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for j in range(depth):
                stride = 2 if j == 0 and not (small and i == 1) else 1
                blocks[f"block{i}-{j}"] = XBlock(channels, width, group_width=group_width, stride=stride)
                channels = width
            trunk[f"block{i}"] = nn.Sequential(blocks)  # H and W halve
        self.trunk_output = nn.Sequential(trunk)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)
        kaiming(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.flatten(self.avgpool(self.trunk_output(self.stem(x))))  # -> N,channels
        scores: Tensor = self.fc(x)
        return scores


@dataclass(frozen=True)
class _Form:
    """One line of the table: the five numbers of ``stages``, and what is known of the result."""

    name: str
    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int
    parameters: int
    macs: int
    top1: float


_FORMS = (
    _Form("regnet_x_400mf", 22, 24, 24.48, 2.54, 16, parameters=5_495_976, macs=413_812_608, top1=72.834),
    _Form("regnet_x_800mf", 16, 56, 35.73, 2.28, 16, parameters=7_259_656, macs=799_699_712, top1=75.212),
    _Form("regnet_x_1_6gf", 18, 80, 34.01, 2.25, 24, parameters=9_190_136, macs=1_602_849_792, top1=77.040),
    _Form("regnet_x_3_2gf", 25, 88, 26.31, 2.25, 48, parameters=15_296_552, macs=3_176_621_952, top1=78.364),
)


def _build(
    form: _Form,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    zero_last_norm: bool = False,
) -> RegNetX:
    """One of the table."""
    model = RegNetX(
        stages(form.depth, form.w_0, form.w_a, form.w_m, form.group_width),
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
    )
    if zero_last_norm:
        init.zero_last_norm(model)
    return model


for _form in _FORMS:
    register(
        _form.name,
        description=f"{_form.depth} grouped bottlenecks in 4 stages",
        year=2020,
        paper="Radosavovic et al., Designing network design spaces",
        image_size=224,
        min_image_size=8,
        parameters=_form.parameters,
        macs=_form.macs,
        accuracy=torchvision_v1(_form.top1),
    )(partial(_build, _form))
