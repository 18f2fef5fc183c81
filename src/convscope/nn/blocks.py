"""Blocks without a shortcut: VGG's stack, the network in network, and Inception's four ways side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.nn._arguments import integer, positive
from convscope.nn.conv import ConvNormAct, Norm


def vgg_block(num_convs: int, in_channels: int, out_channels: int, *, norm: bool = False) -> nn.Sequential:
    """So many 3x3 convolutions with ReLU, then a max pool that halves ``H`` and ``W``.

    Args:
        num_convs: How many convolutions, at least 1.
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        norm: Whether a batch norm stands between convolution and ReLU.

    Returns:
        ``(N, in, H, W)`` to ``(N, out, H // 2, W // 2)``.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1.

    Example:
        >>> vgg_block(2, 3, 8)(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 3, 3])

    Source:
        Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014.
    """
    positive(num_convs=num_convs, in_channels=in_channels, out_channels=out_channels)
    layers: list[nn.Module] = []
    for i in range(num_convs):
        layers.append(nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, kernel_size=3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(out_channels))
        layers.append(nn.ReLU())
    layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


class NiNBlock(nn.Sequential):
    """A convolution and two 1x1 convolutions, each with ReLU: a small dense network at every pixel.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out, and of what is between.
        kernel_size: Of the first convolution.
        stride: Of the first convolution.
        padding: Of the first convolution.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A count is below 1, or ``padding`` below 0.

    Source:
        Lin, Chen and Yan, "Network in network", 2013.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        positive(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=stride)
        integer("padding", padding, least=0)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=1),
            nn.ReLU(),
        )


class Inception(nn.Module):
    """Four branches over the same input, joined along the channels: 1x1, 3x3, a larger kernel, and a max pool.

    Args:
        in_channels: ``C`` of what comes in.
        b1: Channels of the 1x1 branch.
        b2: Channels of the 3x3 branch: of its 1x1, then of its 3x3.
        b3: Channels of the third branch: of its 1x1, then of its larger kernel.
        b4: Channels of the 1x1 after the pool.
        large_kernel: Side of the third branch's kernel: 5 in the paper, 3 in torchvision's network and weights.
        norm: What makes the norm after each convolution, or ``None`` as in the paper and the book.

    Raises:
        TypeError: A count is not an integer, or ``b2`` or ``b3`` not a pair of them.
        ValueError: A count is below 1, or ``large_kernel`` is even.

    Example:
        >>> Inception(192, 64, (96, 128), (16, 32), 32)(torch.zeros(1, 192, 4, 4)).shape
        torch.Size([1, 256, 4, 4])

    Source:
        Szegedy et al., "Going deeper with convolutions", 2014.
    """

    def __init__(
        self,
        in_channels: int,
        b1: int,
        b2: tuple[int, int],
        b3: tuple[int, int],
        b4: int,
        *,
        large_kernel: int = 5,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        for name, branch in (("b2", b2), ("b3", b3)):
            if not isinstance(branch, tuple | list) or len(branch) != 2:
                raise TypeError(f"{name} must be two numbers of channels, got {branch!r}")
        positive(in_channels=in_channels, b1=b1, b4=b4, large_kernel=large_kernel)
        positive(**{f"{name}[{i}]": branch[i] for name, branch in (("b2", b2), ("b3", b3)) for i in range(2)})
        self.out_channels = b1 + b2[1] + b3[1] + b4

        def conv(c_in: int, c_out: int, kernel_size: int) -> ConvNormAct:
            return ConvNormAct(c_in, c_out, kernel_size, norm=norm, names=("conv", "bn", "act"))

        self.branch1 = conv(in_channels, b1, 1)
        self.branch2 = nn.Sequential(conv(in_channels, b2[0], 1), conv(*b2, 3))
        self.branch3 = nn.Sequential(conv(in_channels, b3[0], 1), conv(*b3, large_kernel))
        self.branch4 = nn.Sequential(nn.MaxPool2d(kernel_size=3, stride=1, padding=1), conv(in_channels, b4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, b1 + b2[1] + b3[1] + b4, H, W)``."""
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)
