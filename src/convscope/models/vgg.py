"""VGG: stacks of 3x3 convolutions, a max pool after each stack, three dense layers. Weight names are torchvision's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import kaiming, undrawn_linear, vgg_block
from convscope.nn._arguments import share


class VGG(nn.Module):
    """A VGG network.

    Small images would be halved away to less than a pixel. For them the last pool is left out, what remains is
    averaged to one pixel, and the dense layers are as wide as the last convolution instead of 4096.

    Args:
        depths: For each stack, how many convolutions it has.
        widths: For each stack, ``C`` of what it gives out.
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Whether the images are small.
        norm: Whether a batch norm follows each convolution.
        dropout: Share of the values that is set to zero after each of the two wide dense layers.

    Source:
        Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        in_channels: int,
        num_classes: int,
        small: bool,
        norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for depth, c_in, c_out in zip(depths, [in_channels, *widths], widths, strict=False):
            layers.extend(vgg_block(depth, c_in, c_out, norm=norm))  # -> N,c_out,H/2,W/2
        if small:
            layers.pop()
        side, hidden = (1, widths[-1]) if small else (7, 4096)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(side)  # -> N,widths[-1],side,side; at 224 pixels it changes nothing
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            undrawn_linear(widths[-1] * side * side, hidden),
            nn.ReLU(),
            nn.Dropout(share("dropout", dropout)),
            undrawn_linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(share("dropout", dropout)),
            undrawn_linear(hidden, num_classes),
        )
        # 0.01 is torchvision's; through layers of 512 it would leave a thousandth of the signal, so there it is He's
        kaiming(self, linear_std=(2 / hidden) ** 0.5 if small else 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.flatten(self.avgpool(self.features(x)))
        scores: Tensor = self.classifier(x)
        return scores


@dataclass(frozen=True)
class _Form:
    """One line of the table."""

    name: str
    depths: tuple[int, ...]
    parameters: int
    macs: int
    top1: float | None
    norm: bool = False
    divide: int = 1  # every width by this


_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)  # the paper's letters

_FORMS = (
    _Form("vgg11", _A, 132_863_336, 7_609_090_048, 69.020),
    _Form("vgg13", _B, 133_047_848, 11_308_466_176, 69.928),
    _Form("vgg16", _D, 138_357_544, 15_470_264_320, 71.592),
    _Form("vgg19", _E, 143_667_240, 19_632_062_464, 72.376),
    _Form("vgg11_bn", _A, 132_868_840, 7_609_090_048, 70.370, norm=True),
    _Form("vgg13_bn", _B, 133_053_736, 11_308_466_176, 71.586, norm=True),
    _Form("vgg16_bn", _D, 138_365_992, 15_470_264_320, 73.360, norm=True),
    _Form("vgg19_bn", _E, 143_678_248, 19_632_062_464, 74.218, norm=True),
    _Form("vgg11_narrow", _A, 43_093_322, 512_155_648, None, divide=4),
)


def _build(
    form: _Form,
    *,
    in_channels: int,
    num_classes: int,
    image_size: int,
    stem: Stem = "auto",
    dropout: float = 0.5,
) -> VGG:
    """One of the table; ``stem="small"`` is the form for small images, which differs at the end."""
    return VGG(
        form.depths,
        [width // form.divide for width in (64, 128, 256, 512, 512)],
        in_channels=in_channels,
        num_classes=num_classes,
        small=use_small_stem(stem, image_size, imagenet_from=32),
        norm=form.norm,
        dropout=dropout,
    )


for _form in _FORMS:
    _narrow = _form.divide > 1
    register(
        _form.name,
        description=f"{sum(_form.depths)} 3x3 convolutions"
        + (", batch norms" if _form.norm else "")
        + (f", channels / {_form.divide}" if _narrow else ""),
        year=2014,
        paper="Simonyan and Zisserman, Very deep convolutional networks"
        + ("; network of Dive into Deep Learning 8.2" if _narrow else ""),
        in_channels=1 if _narrow else 3,
        num_classes=10 if _narrow else 1000,
        image_size=224,
        min_image_size=16,
        parameters=_form.parameters,
        macs=_form.macs,
        accuracy=torchvision_v1(_form.top1),
    )(partial(_build, _form))
