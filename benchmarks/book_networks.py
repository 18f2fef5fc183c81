"""Networks as the book's readers write them, for ``d2l_published.py`` and ``d2l_xavier.py``.

Layers are lazy, hyperparameters come out of the caller's frame, and batch norm by hand keeps its averages as plain
tensors: what programs do to a library, and what ours has to put up with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.d2l import torch as d2l


class BatchNorm(nn.Module):
    """By hand: the averages are bound anew in every pass, and that gradients are wanted tells it that it learns.

    Args:
        num_features: ``C``.
        num_dims: 2 behind a dense layer, 4 behind a convolution.
    """

    def __init__(self, num_features: int, num_dims: int) -> None:
        super().__init__()
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
        self.axes = (0,) if num_dims == 2 else (0, 2, 3)
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.moving_mean, self.moving_var = torch.zeros(shape), torch.ones(shape)  # no buffers, as in the book

    def forward(self, X: Tensor) -> Tensor:
        """The same shape, normalised per channel."""
        if self.moving_mean.device != X.device:
            self.moving_mean, self.moving_var = self.moving_mean.to(X.device), self.moving_var.to(X.device)
        if torch.is_grad_enabled():
            mean = X.mean(self.axes, keepdim=True)
            var = ((X - mean) ** 2).mean(self.axes, keepdim=True)
            self.moving_mean = (0.9 * self.moving_mean + 0.1 * mean).data
            self.moving_var = (0.9 * self.moving_var + 0.1 * var).data
        else:
            mean, var = self.moving_mean, self.moving_var
        return self.gamma * (X - mean) / torch.sqrt(var + 1e-5) + self.beta


class BNLeNetScratch(d2l.Classifier):
    """LeNet with batch norm by hand, 28 px."""

    def __init__(self, lr: float = 0.1, num_classes: int = 10) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            *(nn.LazyConv2d(6, kernel_size=5), BatchNorm(6, 4), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),  # N,6,12,12
            *(nn.LazyConv2d(16, kernel_size=5), BatchNorm(16, 4), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),  # N,16,4,4
            nn.Flatten(),  # N,256
            *(nn.LazyLinear(120), BatchNorm(120, 2), nn.Sigmoid()),
            *(nn.LazyLinear(84), BatchNorm(84, 2), nn.Sigmoid()),
            nn.LazyLinear(num_classes),
        )


class BNLeNet(d2l.Classifier):
    """The same with PyTorch's layers."""

    def __init__(self, lr: float = 0.1, num_classes: int = 10) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            *(nn.LazyConv2d(6, kernel_size=5), nn.LazyBatchNorm2d(), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),
            *(nn.LazyConv2d(16, kernel_size=5), nn.LazyBatchNorm2d(), nn.Sigmoid(), nn.AvgPool2d(2, stride=2)),
            nn.Flatten(),
            *(nn.LazyLinear(120), nn.LazyBatchNorm1d(), nn.Sigmoid()),
            *(nn.LazyLinear(84), nn.LazyBatchNorm1d(), nn.Sigmoid()),
            nn.LazyLinear(num_classes),
        )


class AlexNet(d2l.Classifier):
    """With the book's slip: ``init_cnn`` is applied while every layer is lazy, and does nothing.

    Args:
        lr: Learning rate.
        num_classes: ``K``.
        narrower: All widths are divided by this; 1 is the book's.
    """

    def __init__(self, lr: float = 0.01, num_classes: int = 10, narrower: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        w = [width // narrower for width in (96, 256, 384, 384, 256, 4096)]
        self.net = nn.Sequential(  # sides at 224 px, and at 65 px, the smallest that the strides allow
            *(nn.LazyConv2d(w[0], kernel_size=11, stride=4, padding=1), nn.ReLU()),  # 54, 15
            nn.MaxPool2d(kernel_size=3, stride=2),  # 26, 7
            *(nn.LazyConv2d(w[1], kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),  # 12, 3
            *(nn.LazyConv2d(w[2], kernel_size=3, padding=1), nn.ReLU()),
            *(nn.LazyConv2d(w[3], kernel_size=3, padding=1), nn.ReLU()),
            *(nn.LazyConv2d(w[4], kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2)),  # 5, 1
            nn.Flatten(),
            *(nn.LazyLinear(w[5]), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.LazyLinear(w[5]), nn.ReLU(), nn.Dropout(0.5)),
            nn.LazyLinear(num_classes),
        )
        self.net.apply(d2l.init_cnn)
