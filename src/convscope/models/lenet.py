"""LeNet: two convolutions, three dense layers, sigmoids between them; and the same with batch norms."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.models.registry import register
from convscope.models.stem import Stem, use_small_stem
from convscope.nn import xavier_uniform


class LeNet(nn.Module):
    """LeNet in the form that is taught today: sigmoids, average pooling, Xavier weights.

    Args:
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        image_size: ``H`` and ``W`` in pixels, at least 12, or 45 for photographs.
        small: Whether the images are small, as the published ones are. On photographs the first kernel moves by 4
            pixels, without which the dense layer behind would have a hundred times the weights of all the rest.

    Source:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998;
        Zhang et al., "Dive into Deep Learning", section 7.6.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, image_size: int = 28, *, small: bool = True
    ) -> None:
        super().__init__()
        stride = 1 if small else 4
        side = (image_size - 1) // stride + 1  # after the first conv, which keeps the size at stride 1
        side = (side // 2 - 4) // 2  # of the last feature map: pool halves, conv takes 4, pool halves
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, stride=stride, padding=2),  # N,C,H,W -> N,6,H,W at stride 1
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),  # -> N,6,H/2,W/2
            nn.Conv2d(6, 16, kernel_size=5),  # -> N,16,H/2-4,W/2-4
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),  # -> N,16,side,side
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # -> N,16*side*side
            nn.Linear(16 * side * side, 120),
            nn.Sigmoid(),
            nn.Linear(120, 84),
            nn.Sigmoid(),
            nn.Linear(84, num_classes),
        )
        xavier_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        scores: Tensor = self.classifier(self.features(x))
        return scores


class BNLeNet(nn.Module):
    """LeNet with a batch norm before every sigmoid, and no padding at the first convolution.

    Args:
        in_channels: ``C`` of the images.
        num_classes: Scores to give for each image.
        image_size: ``H`` and ``W`` in pixels, at least 16, or 49 for photographs.
        small: As in ``LeNet``.

    Source:
        Ioffe and Szegedy, "Batch normalization", 2015; Zhang et al., "Dive into Deep Learning", section 8.5.
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 10, image_size: int = 28, *, small: bool = True
    ) -> None:
        super().__init__()
        stride = 1 if small else 4
        side = (image_size - 5) // stride + 1  # after the first conv, which takes 4 at stride 1
        side = (side // 2 - 4) // 2  # of the last feature map: pool halves, conv takes 4, pool halves
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, stride=stride),  # N,C,H,W -> N,6,H-4,W-4 at stride 1
            nn.BatchNorm2d(6),
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.BatchNorm2d(16),
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),  # -> N,16,side,side
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # -> N,16*side*side
            nn.Linear(16 * side * side, 120),
            nn.BatchNorm1d(120),
            nn.Sigmoid(),
            nn.Linear(120, 84),
            nn.BatchNorm1d(84),
            nn.Sigmoid(),
            nn.Linear(84, num_classes),
        )
        xavier_uniform(self)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to class scores ``(N, num_classes)``."""
        scores: Tensor = self.classifier(self.features(x))
        return scores


@register(
    description="two 5x5 convolutions, three dense layers, sigmoids",
    year=1998,
    paper="LeCun et al., Gradient-based learning applied to document recognition",
    in_channels=1,
    num_classes=10,
    image_size=28,
    min_image_size=12,
    parameters=61_706,
    macs=416_520,
)
def lenet(*, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto") -> nn.Module:
    """LeNet for any image size and channel count; what was published is ``stem="small"``."""
    small = use_small_stem(stem, image_size, imagenet_from=45)
    return LeNet(in_channels, num_classes, image_size, small=small)


@register(
    description="LeNet with batch norms",
    year=2015,
    paper="Ioffe and Szegedy, Batch normalization; network of Dive into Deep Learning 8.5",
    in_channels=1,
    num_classes=10,
    image_size=28,
    min_image_size=16,
    parameters=44_878,
    macs=281_640,
)
def bn_lenet(*, in_channels: int, num_classes: int, image_size: int, stem: Stem = "auto") -> nn.Module:
    """LeNet with batch norms for any image size and channel count; what was published is ``stem="small"``."""
    small = use_small_stem(stem, image_size, imagenet_from=49)
    return BNLeNet(in_channels, num_classes, image_size, small=small)
