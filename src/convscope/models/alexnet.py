"""AlexNet: five convolutions, three dense layers. Weight names are torchvision's."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.models.registry import register, torchvision_v1
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import kaiming, undrawn_linear
from convscope.nn._arguments import share


class AlexNet(nn.Module):
    """AlexNet in the form of the "one weird trick" paper: one column, no local response normalisation.

    Small images get a first kernel of 5x5 at stride 1, pools that lose no border, and a last map of 4x4.

    Args:
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        small: Whether the images are small.
        dropout: Share of the values that is set to zero before each of the two wide dense layers.

    Source:
        Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012;
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """

    def __init__(self, *, in_channels: int, num_classes: int, small: bool, dropout: float = 0.5) -> None:
        super().__init__()
        kernel, stride, border, side = (5, 1, 1, 4) if small else (11, 4, 0, 6)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel, stride, padding=2),  # 224 pixels: N,C,224,224 -> N,64,55,55
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,64,27,27
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,192,13,13
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=border),  # -> N,256,6,6
        )
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(share("dropout", dropout)),
            undrawn_linear(256 * side * side, 4096),
            nn.ReLU(),
            nn.Dropout(share("dropout", dropout)),
            undrawn_linear(4096, 4096),
            nn.ReLU(),
            undrawn_linear(4096, num_classes),
        )
        kaiming(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        x = self.flatten(self.avgpool(self.features(x)))  # -> N,256*side*side
        scores: Tensor = self.classifier(x)
        return scores


@register(
    description="5 convolutions, 3 dense layers",
    year=2012,
    paper="Krizhevsky et al., ImageNet classification with deep CNNs; form of One weird trick, 2014",
    image_size=224,
    min_image_size=8,
    parameters=61_100_840,
    macs=714_188_480,
    accuracy=torchvision_v1(56.522),
)
def alexnet(
    *, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto", dropout: float = 0.5
) -> AlexNet:
    """AlexNet for photographs or for small images."""
    small = use_small_stem(stem, image_size, imagenet_from=63)
    return AlexNet(in_channels=in_channels, num_classes=num_classes, small=small, dropout=dropout)
