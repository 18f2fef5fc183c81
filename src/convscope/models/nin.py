"""Network in network: no dense layer at all; the last block has one channel for each class."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.models.registry import register
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import NiNBlock, kaiming
from convscope.nn._arguments import share


class NiN(nn.Module):
    """The network in network for photographs, as the book gives it.

    Small images get a first kernel of 5x5 at stride 1 and pools that lose no border.

    Args:
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Whether the images are small.
        dropout: Share of the values that is set to zero before the last block.

    Source:
        Lin, Chen and Yan, "Network in network", 2013; Zhang et al., "Dive into Deep Learning", section 8.3.
    """

    def __init__(self, *, in_channels: int, num_classes: int, small: bool, dropout: float = 0.5) -> None:
        super().__init__()
        kernel, stride, padding, border = (5, 1, 2, 1) if small else (11, 4, 0, 0)
        self.features = nn.Sequential(
            NiNBlock(in_channels, 96, kernel, stride=stride, padding=padding),  # 224: N,C,224,224 -> N,96,54,54
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,96,26,26
            NiNBlock(96, 256, kernel_size=5, padding=2),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,256,12,12
            NiNBlock(256, 384, kernel_size=3, padding=1),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,384,5,5
        )
        self.dropout = nn.Dropout(share("dropout", dropout))
        self.head = NiNBlock(384, num_classes, kernel_size=3, padding=1)  # -> N,num_classes,5,5
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.head(self.dropout(self.features(x)))
        scores: Tensor = self.flatten(self.avgpool(x))
        return scores


@register(
    description="4 blocks of one wide and two 1x1 convolutions",
    year=2013,
    paper="Lin et al., Network in network; network of Dive into Deep Learning 8.3",
    image_size=224,
    min_image_size=8,
    parameters=7_439_608,
    macs=965_572_864,
)
def nin(*, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto", dropout: float = 0.5) -> NiN:
    """Network in network for photographs or for small images."""
    small = use_small_stem(stem, image_size, imagenet_from=67)
    return NiN(in_channels=in_channels, num_classes=num_classes, small=small, dropout=dropout)
