"""Residual networks for 32x32 images: the ResNet paper's CIFAR-10 form, and ResNeXt-29. Three stages each."""

from __future__ import annotations

from functools import partial

from convscope.models.registry import Accuracy, register
from convscope.models.resnet import Block, ResNet
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import Residual, ResNeXtBlock, init
from convscope.nn.shortcut import Option

_PAPER = "He et al., Deep residual learning for image recognition"
_TABLE = f"{_PAPER}, table 6"
_FORMS = {  # name: layers, parameters, MACs, test error in per cent on CIFAR-10 by the paper's table 6
    "resnet20_cifar": (20, 269_722, 40_551_040, 8.75),
    "resnet32_cifar": (32, 464_154, 68_862_592, 7.51),
    "resnet44_cifar": (44, 658_586, 97_174_144, 7.17),
    "resnet56_cifar": (56, 853_018, 125_485_696, 6.97),
    "resnet110_cifar": (110, 1_727_962, 252_887_680, 6.43),
}
_BEST = "; the best of five runs, whose mean error is 6.61 %"


def _build(
    num_layers: int,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    shortcut: Option = "A",
    zero_last_norm: bool = False,
) -> ResNet:
    """Of ``6n + 2`` layers: the first convolution, three stages of ``n`` blocks of two, and the dense one.

    The paper's networks have ``shortcut="A"``; ``"B"`` costs 2,752 parameters more in all of them.
    """
    depth = (num_layers - 2) // 6
    block: Block = partial(Residual, shortcut=shortcut)
    model = ResNet(
        [block] * 3,
        [depth] * 3,
        [16, 32, 64],
        stem_width=16,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
    )
    if zero_last_norm:
        init.zero_last_norm(model)
    return model


for _name, (_layers, _parameters, _macs, _error) in _FORMS.items():
    register(
        _name,
        description=f"{_layers} layers, 16 to 64 channels, for 32x32 images",
        year=2015,
        paper=_PAPER,
        num_classes=10,
        image_size=32,
        min_image_size=8,
        parameters=_parameters,
        macs=_macs,
        accuracy=Accuracy(round(100 - _error, 2), "CIFAR-10", _TABLE + (_BEST if _layers == 110 else "")),
    )(partial(_build, _layers))


@register(
    description="9 blocks of 32 groups, 4 channels wide, for 32x32 images",
    year=2017,
    paper="Xie et al., Aggregated residual transformations for deep neural networks",
    num_classes=10,
    image_size=32,
    min_image_size=8,
    parameters=4_775_754,
    macs=774_055_936,
)
def resnext29_32x4d(
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    shortcut: Option = "B",
    zero_last_norm: bool = False,
) -> ResNet:
    """The paper's CIFAR form, narrower than its 8x64d and 16x64d: three stages of three blocks."""
    model = ResNet(
        [partial(ResNeXtBlock, groups=32, group_width=4 * 2**i, shortcut=shortcut) for i in range(3)],
        [3, 3, 3],
        [256, 512, 1024],
        stem_width=64,
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=8),
    )
    if zero_last_norm:
        init.zero_last_norm(model)
    return model
