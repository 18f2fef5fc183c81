"""Networks of the book's convolutional chapters, written for its interface: they take whichever ``d2l`` they are given.

Layers and numbers are the book's; the lines are not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """By hand: averages are plain tensors bound anew in every pass, and it learns when gradients are wanted.

    Args:
        shape: ``(1, C)`` or ``(1, C, 1, 1)``.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.moving_mean, self.moving_var = torch.zeros(shape), torch.ones(shape)

    def forward(self, X: Tensor) -> Tensor:
        if self.moving_mean.device != X.device:
            self.moving_mean, self.moving_var = self.moving_mean.to(X.device), self.moving_var.to(X.device)
        mean, var = self.moving_mean, self.moving_var
        if torch.is_grad_enabled():
            axes = (0,) if X.ndim == 2 else (0, 2, 3)
            mean = X.mean(axes, keepdim=True)
            var = ((X - mean) ** 2).mean(axes, keepdim=True)
            self.moving_mean = (0.9 * self.moving_mean + 0.1 * mean).data
            self.moving_var = (0.9 * self.moving_var + 0.1 * var).data
        return self.gamma * (X - mean) / torch.sqrt(var + 1e-5) + self.beta


def bn_lenet(d2l: Any, *, scratch: bool) -> type:
    """LeNet with batch normalisation after each layer: PyTorch's, or the one above.

    Args:
        d2l: The library.
        scratch: Whether it is the one above.
    """

    def norm(*shape: int) -> nn.Module:
        if scratch:
            return BatchNorm(*shape)
        return nn.LazyBatchNorm2d() if len(shape) == 4 else nn.LazyBatchNorm1d()

    class BNLeNet(d2l.Classifier):  # type: ignore[misc]
        def __init__(self, lr: float = 0.1, num_classes: int = 10) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(
                *(nn.LazyConv2d(6, kernel_size=5), norm(1, 6, 1, 1), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),
                *(nn.LazyConv2d(16, kernel_size=5), norm(1, 16, 1, 1), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),
                *(nn.Flatten(), nn.LazyLinear(120), norm(1, 120), nn.Sigmoid()),
                *(nn.LazyLinear(84), norm(1, 84), nn.Sigmoid(), nn.LazyLinear(num_classes)),
            )

    return BNLeNet


def alexnet(d2l: Any, *, width: float = 1.0) -> type:
    """Five convolutions and three dense layers; Xavier is asked for while they are lazy, as the book does.

    Args:
        d2l: The library.
        width: Share of the channels and units of every hidden layer.
    """

    def wide(channels: int) -> int:
        return round(channels * width)

    def conv(channels: int, size: int, **more: Any) -> tuple[nn.Module, nn.Module]:
        return nn.LazyConv2d(wide(channels), kernel_size=size, **more), nn.ReLU()

    class AlexNet(d2l.Classifier):  # type: ignore[misc]
        def __init__(self, lr: float = 0.01, num_classes: int = 10) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(
                *(*conv(96, 11, stride=4, padding=1), nn.MaxPool2d(3, stride=2)),
                *(*conv(256, 5, padding=2), nn.MaxPool2d(3, stride=2)),
                *(*conv(384, 3, padding=1), *conv(384, 3, padding=1), *conv(256, 3, padding=1)),
                *(nn.MaxPool2d(3, stride=2), nn.Flatten()),
                *(nn.LazyLinear(wide(4096)), nn.ReLU(), nn.Dropout(0.5)),
                *(nn.LazyLinear(wide(4096)), nn.ReLU(), nn.Dropout(0.5), nn.LazyLinear(num_classes)),
            )
            self.net.apply(d2l.init_cnn)

    return AlexNet
