"""ResNet, wide ResNet and ResNeXt: a stem, four stages of residual blocks, an average, one dense layer.

The three differ in one line of a table: which block, how many of it, and how wide it is inside. Weight names and
shapes are torchvision's.

Read it from the top: ``stage`` repeats a block, ``ResNet`` puts stages in a row, ``_FORMS`` is the table, ``_blocks``
turns a line of it into blocks, ``_build`` into a network. What a block does stands in ``nn/residual.py``. A block with
everything but its channels and stride filled in is written ``partial(Bottleneck, mid_channels=64)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import Bottleneck, Residual, ResNeXtBlock, init, kaiming
from convscope.nn._arguments import positive
from convscope.nn.shortcut import Option


class Block(Protocol):
    """What makes one residual block of a stage."""

    def __call__(self, in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
        """The block: ``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``."""
        ...


def stage(block: Block, depth: int, in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """So many blocks, of which the first changes the shape: channels by its width, ``H`` and ``W`` by its stride."""
    positive(depth=depth)
    first = block(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, stride=1) for _ in range(depth - 1)))


class ResNet(nn.Module):
    """A residual network.

    Args:
        blocks: For each stage, what makes its blocks.
        depths: For each stage, how many blocks it has.
        widths: For each stage, ``C`` of what its blocks give out.
        stem_width: ``C`` after the stem.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Begin with a 3x3 convolution at full size, instead of 7x7 with stride 2 and a max pool.
        bias: Whether the first convolution has one; the book's has.

    Source:
        He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        stem_width: int,
        in_channels: int,
        num_classes: int,
        small: bool,
        bias: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if small else (7, 2, 3)
        # the shapes beside the lines are those of the stem for photographs; the small one keeps H and W
        self.conv1 = nn.Conv2d(in_channels, stem_width, kernel, stride, padding, bias=bias)  # N,C,H,W -> N,64,H/2,W/2
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.act = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)  # -> N,64,H/4,W/4

        self.num_stages = len(depths)
        entering = [stem_width, *widths]
        for i, (block, depth, width) in enumerate(zip(blocks, depths, widths, strict=True)):
            layer = stage(block, depth, entering[i], width, stride=1 if i == 0 else 2)  # H and W halve from layer2 on
            self.add_module(f"layer{i + 1}", layer)

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(widths[-1], num_classes)
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))  # -> N,64,H/4,W/4
        for i in range(self.num_stages):
            x = self.get_submodule(f"layer{i + 1}")(x)  # -> N,widths[i],H/(4*2**i),W/(4*2**i)
        x = self.flatten(self.avgpool(x))  # -> N,widths[-1]
        scores: Tensor = self.fc(x)
        return scores


@dataclass(frozen=True)
class _Form:
    """One line of the table; ``groups`` and ``group_width`` are of the 3x3 convolutions in the first stage."""

    name: str
    depths: tuple[int, int, int, int]
    groups: int | None  # None: the basic block of two 3x3 convolutions
    group_width: int
    parameters: int
    macs: int
    top1: float
    year: int = 2015
    paper: str = "He et al., Deep residual learning for image recognition"


_wide = partial(_Form, year=2016, paper="Zagoruyko and Komodakis, Wide residual networks")
_next = partial(_Form, year=2017, paper="Xie et al., Aggregated residual transformations for deep neural networks")

_FORMS = (
    _Form("resnet18", (2, 2, 2, 2), None, 64, parameters=11_689_512, macs=1_814_073_344, top1=69.758),
    _Form("resnet34", (3, 4, 6, 3), None, 64, parameters=21_797_672, macs=3_663_761_408, top1=73.314),
    _Form("resnet50", (3, 4, 6, 3), 1, 64, parameters=25_557_032, macs=4_089_184_256, top1=76.130),
    _Form("resnet101", (3, 4, 23, 3), 1, 64, parameters=44_549_160, macs=7_801_405_440, top1=77.374),
    _Form("resnet152", (3, 8, 36, 3), 1, 64, parameters=60_192_808, macs=11_513_626_624, top1=78.312),
    _wide("wide_resnet50_2", (3, 4, 6, 3), 1, 128, parameters=68_883_240, macs=11_398_021_120, top1=78.468),
    _next("resnext50_32x4d", (3, 4, 6, 3), 32, 4, parameters=25_028_904, macs=4_230_479_872, top1=77.618),
    _next("resnext101_32x8d", (3, 4, 23, 3), 32, 8, parameters=88_791_336, macs=16_414_015_488, top1=79.312),
)


def _blocks(form: _Form, *, shortcut: Option, bias: bool, shortcut_norm: bool) -> list[Block]:
    """For each of the four stages, what makes its blocks; each stage is twice as wide as the one before."""
    common: dict[str, Any] = {"shortcut": shortcut, "bias": bias, "shortcut_norm": shortcut_norm}
    if form.groups is None:
        return [partial(Residual, **common)] * 4
    widths = [form.group_width * 2**i for i in range(4)]
    if form.groups == 1:  # ResNeXt's paper calls ResNet-50 the case 1x64d
        return [partial(Bottleneck, mid_channels=width, **common) for width in widths]
    return [partial(ResNeXtBlock, groups=form.groups, group_width=width, **common) for width in widths]


def _build(
    form: _Form,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    shortcut: Option = "B",
    zero_last_norm: bool = False,
    bias: bool = False,
    shortcut_norm: bool = True,
) -> ResNet:
    """One of the table. The book's ResNet-18 is ``resnet18`` with ``bias=True, shortcut_norm=False``."""
    expansion = 1 if form.groups is None else 4  # channels that a block gives out, over 64 in the first stage
    model = ResNet(
        _blocks(form, shortcut=shortcut, bias=bias, shortcut_norm=shortcut_norm),
        form.depths,
        [64 * 2**i * expansion for i in range(4)],
        stem_width=64,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
        bias=bias,
    )
    if zero_last_norm:
        init.zero_last_norm(model)
    return model


for _form in _FORMS:
    register(
        _form.name,
        description=f"{sum(_form.depths)} residual blocks in 4 stages",
        year=_form.year,
        paper=_form.paper,
        image_size=224,
        min_image_size=8,
        parameters=_form.parameters,
        macs=_form.macs,
        accuracy=torchvision_v1(_form.top1),
    )(partial(_build, _form))
