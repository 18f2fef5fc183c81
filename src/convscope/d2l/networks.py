"""The layers and networks of the convolutional chapters, lazy as the book's are.

``convscope.nn`` and ``convscope.models`` have all of them with known sizes, which shows a mistake when a network is
built and not when it is first used.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from convscope import ops
from convscope.d2l.module import Classifier


def corr2d(X: Tensor, K: Tensor) -> Tensor:
    """Cross-correlation of one image with one kernel. Whole numbers are taken too, and the result is float32.

    Args:
        X: ``(H, W)``.
        K: ``(kh, kw)``, no larger than ``X``.

    Returns:
        ``(H - kh + 1, W - kw + 1)``.

    Raises:
        ValueError: Another number of axes, or a kernel larger than the image.

    Example:
        >>> corr2d(torch.arange(9).reshape(3, 3), torch.tensor([[0, 1], [2, 3]]))
        tensor([[19., 25.],
                [37., 43.]])

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.2.
    """
    return ops.corr2d(X.to(torch.get_default_dtype()), K.to(torch.get_default_dtype()))


def init_cnn(module: nn.Module) -> None:
    """Draw the weight of a ``Linear`` or ``Conv2d`` from Xavier's uniform distribution; anything else stays as it is.

    Exactly these two classes count, no subclass. A layer that is still lazy is a subclass without weights, so
    ``net.apply(init_cnn)`` before the first forward pass changes nothing at all. The book's AlexNet, DenseNet and
    RegNetX do just that and train with PyTorch's own initial weights; results depend on it, so it stays like that,
    and a warning says so.

    Args:
        module: A single layer; ``net.apply`` calls this with every one.

    Warns:
        UserWarning: The layer is lazy and was skipped.

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.6.
    """
    if type(module) in (nn.Linear, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)  # type: ignore[arg-type]
    elif isinstance(module, (nn.Linear, nn.Conv2d)) and is_lazy(module.weight):
        warnings.warn(
            f"init_cnn leaves {type(module).__name__} as it is: a lazy layer has no weights yet, so Xavier's "
            "initialisation is skipped and PyTorch's own is used, as in the book; to have it, call "
            "model.apply_init([next(iter(data.get_dataloader(True)))[0]], d2l.init_cnn)",
            UserWarning,
            stacklevel=2,
        )


class LeNet(Classifier):
    """LeNet-5 with the book's average pooling and sigmoids.

    Args:
        lr: Learning rate.
        num_classes: ``K``.

    Source:
        Zhang et al., "Dive into Deep Learning", section 7.6.
    """

    def __init__(self, lr: float = 0.1, num_classes: int = 10) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            *(nn.LazyConv2d(6, kernel_size=5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),  # N,6,14,14
            *(nn.LazyConv2d(16, kernel_size=5), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),  # N,16,5,5
            nn.Flatten(),  # N,400
            *(nn.LazyLinear(120), nn.Sigmoid()),
            *(nn.LazyLinear(84), nn.Sigmoid()),
            nn.LazyLinear(num_classes),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut around them.

    Args:
        num_channels: ``C`` that goes out.
        use_1x1conv: Whether the shortcut is projected; needed where ``C`` or the size changes.
        strides: Of the first convolution and of the projection.

    Source:
        Zhang et al., "Dive into Deep Learning", section 8.6.
    """

    def __init__(self, num_channels: int, use_1x1conv: bool = False, strides: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.LazyConv2d(num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides) if use_1x1conv else None
        self.bn1 = nn.LazyBatchNorm2d()
        self.bn2 = nn.LazyBatchNorm2d()

    def forward(self, X: Tensor) -> Tensor:
        """``relu(branch(X) + shortcut(X))``."""
        Y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(X)))))
        return F.relu(Y + (X if self.conv3 is None else self.conv3(X)))


class ResNeXtBlock(nn.Module):
    """A narrow grouped convolution between two 1x1 ones, with a shortcut around them.

    Args:
        num_channels: ``C`` that goes out.
        groups: Channels *in* a group, not the number of groups: the book's name is a mistake that its networks are
            built on, so it is kept.
        bot_mul: Width of the middle as a share of ``num_channels``.
        use_1x1conv: Whether the shortcut is projected; needed where ``C`` or the size changes.
        strides: Of the middle convolution and of the projection.

    Source:
        Zhang et al., "Dive into Deep Learning", section 8.6.
    """

    def __init__(
        self, num_channels: int, groups: int, bot_mul: float, use_1x1conv: bool = False, strides: int = 1
    ) -> None:
        super().__init__()
        middle = round(num_channels * bot_mul)
        self.conv1 = nn.LazyConv2d(middle, kernel_size=1, stride=1)
        self.conv2 = nn.LazyConv2d(middle, kernel_size=3, stride=strides, padding=1, groups=middle // groups)
        self.conv3 = nn.LazyConv2d(num_channels, kernel_size=1, stride=1)
        self.bn1 = nn.LazyBatchNorm2d()
        self.bn2 = nn.LazyBatchNorm2d()
        self.bn3 = nn.LazyBatchNorm2d()
        self.conv4, self.bn4 = None, None
        if use_1x1conv:
            self.conv4 = nn.LazyConv2d(num_channels, kernel_size=1, stride=strides)
            self.bn4 = nn.LazyBatchNorm2d()

    def forward(self, X: Tensor) -> Tensor:
        """``relu(branch(X) + shortcut(X))``."""
        Y = F.relu(self.bn1(self.conv1(X)))
        Y = F.relu(self.bn2(self.conv2(Y)))
        Y = self.bn3(self.conv3(Y))
        if self.conv4 is not None and self.bn4 is not None:
            X = self.bn4(self.conv4(X))
        return F.relu(Y + X)
