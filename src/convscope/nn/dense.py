"""DenseNet's blocks: every layer sees the output of every layer before it. Weight names are torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convscope.nn._arguments import integer, positive, share


class DenseLayer(nn.Module):
    """Norm, ReLU, convolution: ``growth`` new channels from all that came before.

    Args:
        in_channels: ``C`` of what comes in.
        growth: New channels.
        bottleneck: A 1x1 convolution first goes to ``bottleneck * growth`` channels; 0 leaves it out, as the book does.
        dropout: Share of the new values that is set to zero in training.
        bias: Whether convolutions have one. The book's do.

    Raises:
        TypeError: A count is not an integer, or ``dropout`` no number.
        ValueError: A count is too small, or ``dropout`` not between 0 and 1.
    """

    def __init__(
        self, in_channels: int, growth: int, *, bottleneck: int = 4, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, growth=growth)
        integer("bottleneck", bottleneck, least=0)
        mid = bottleneck * growth
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU()
        if bottleneck:
            self.conv1 = nn.Conv2d(in_channels, mid, kernel_size=1, bias=bias)
            self.norm2 = nn.BatchNorm2d(mid)
            self.act2 = nn.ReLU()
            self.conv2 = nn.Conv2d(mid, growth, kernel_size=3, padding=1, bias=bias)
        else:
            self.conv1 = nn.Conv2d(in_channels, growth, kernel_size=3, padding=1, bias=bias)
        self.bottleneck = bottleneck
        self.dropout = nn.Dropout(share("dropout", dropout))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, growth, H, W)``."""
        y = self.conv1(self.act1(self.norm1(x)))
        if self.bottleneck:
            y = self.conv2(self.act2(self.norm2(y)))
        new: Tensor = self.dropout(y)
        return new


class DenseBlock(nn.Sequential):
    """So many dense layers; the channels grow by ``growth`` with each.

    Args:
        num_layers: How many.
        in_channels: ``C`` of what comes in.
        growth: New channels of each layer.
        bottleneck: See ``DenseLayer``.
        dropout: See ``DenseLayer``.
        bias: See ``DenseLayer``.

    Raises:
        TypeError: A count is not an integer, or ``dropout`` no number.
        ValueError: A count is too small, or ``dropout`` not between 0 and 1.

    Example:
        >>> DenseBlock(2, 3, 10)(torch.zeros(4, 3, 8, 8)).shape
        torch.Size([4, 23, 8, 8])

    Source:
        Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017.
    """

    def __init__(
        self,
        num_layers: int,
        in_channels: int,
        growth: int,
        *,
        bottleneck: int = 4,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        positive(num_layers=num_layers, in_channels=in_channels, growth=growth)
        super().__init__(
            OrderedDict(
                {
                    f"denselayer{i + 1}": DenseLayer(
                        in_channels + i * growth, growth, bottleneck=bottleneck, dropout=dropout, bias=bias
                    )
                    for i in range(num_layers)
                }
            )
        )
        self.out_channels = in_channels + num_layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, in + num_layers * growth, H, W)``; the input comes first."""
        for layer in self:
            x = torch.cat((x, layer(x)), dim=1)
        return x


class Transition(nn.Sequential):
    """Between two dense blocks: fewer channels by a 1x1 convolution, half of ``H`` and ``W`` by averaging.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        bias: Whether the convolution has one.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1.

    Source:
        Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2017.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        positive(in_channels=in_channels, out_channels=out_channels)
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(in_channels),
                act=nn.ReLU(),
                conv=nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias),
                pool=nn.AvgPool2d(kernel_size=2, stride=2),
            )
        )
