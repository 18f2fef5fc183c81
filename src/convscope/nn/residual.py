"""Residual blocks: a branch that learns, and a shortcut around it. Weight names are torchvision's."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.nn._arguments import divides, middle, positive
from convscope.nn.shortcut import Option, make_shortcut


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut: the basic block of ResNet-18 and -34.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        stride: Of the first convolution; 2 halves ``H`` and ``W``.
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``make_shortcut``.
        bias: Whether convolutions have one. The book's do; a norm right behind makes it useless.
        shortcut_norm: Whether a norm follows a projection on the shortcut. Not in the book.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, or an unknown ``shortcut``.

    Example:
        >>> import torch
        >>> block = Residual(3, 6, stride=2, bias=True, shortcut_norm=False)
        >>> block(torch.zeros(4, 3, 6, 6)).shape, sum(p.numel() for p in block.parameters())
        (torch.Size([4, 6, 3, 3]), 546)

    Source:
        He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015;
        Zhang et al., "Dive into Deep Learning", section 8.6.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Option = "B",
        bias: bool = False,
        shortcut_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(
            in_channels, out_channels, stride=stride, option=shortcut, bias=bias, norm=shortcut_norm
        )
        self.act2 = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that ends the branch."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``, rounded up."""
        y = self.act1(self.bn1(self.conv1(x)))  # -> N,out,H/stride,W/stride
        y = self.bn2(self.conv2(y))
        out: Tensor = self.act2(y + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """1x1 to few channels, 3x3 there, 1x1 back, and a shortcut: the block of ResNet-50 and deeper.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        mid_channels: ``C`` of the 3x3 convolution. Default: a quarter of ``out_channels``.
        groups: Groups of the 3x3 convolution.
        stride: Of the 3x3 convolution, as in torchvision (the paper has it in the first 1x1, which drops pixels).
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``make_shortcut``.
        bias: Whether convolutions have one.
        shortcut_norm: Whether a norm follows a projection on the shortcut.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, ``groups`` does not divide ``mid_channels``, or an unknown ``shortcut``.

    Source:
        He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015, section 4.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int | None = None,
        groups: int = 1,
        stride: int = 1,
        shortcut: Option = "B",
        bias: bool = False,
        shortcut_norm: bool = True,
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        mid = middle(mid_channels, out_channels)
        divides("groups", groups, mid_channels=mid)
        self.conv1 = nn.Conv2d(in_channels, mid, kernel_size=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(mid)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(mid, mid, kernel_size=3, stride=stride, padding=1, groups=groups, bias=bias)
        self.bn2 = nn.BatchNorm2d(mid)
        self.act2 = nn.ReLU()
        self.conv3 = nn.Conv2d(mid, out_channels, kernel_size=1, bias=bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(
            in_channels, out_channels, stride=stride, option=shortcut, bias=bias, norm=shortcut_norm
        )
        self.act3 = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm that ends the branch."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``, rounded up."""
        y = self.act1(self.bn1(self.conv1(x)))  # -> N,mid,H,W
        y = self.act2(self.bn2(self.conv2(y)))  # -> N,mid,H/stride,W/stride
        y = self.bn3(self.conv3(y))  # -> N,out,H/stride,W/stride
        out: Tensor = self.act3(y + self.downsample(x))
        return out


class ResNeXtBlock(Bottleneck):
    """A bottleneck whose 3x3 convolution works in groups that do not see each other.

    The paper writes ``32x4d`` for 32 groups, each 4 channels wide. The book's block has one argument called
    ``groups`` and means the *width* by it: its ``ResNeXtBlock(32, 16, 1)`` is ``groups=2, group_width=16`` here.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        groups: How many groups, the paper's cardinality.
        group_width: Channels in each group. The 3x3 convolution has ``groups * group_width`` channels.
        stride: Of the 3x3 convolution.
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``make_shortcut``.
        bias: Whether convolutions have one. The book's do.
        shortcut_norm: Whether a norm follows a projection on the shortcut.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, or an unknown ``shortcut``.

    Example:
        >>> block = ResNeXtBlock(32, 32, groups=2, group_width=16, bias=True)
        >>> sum(p.numel() for p in block.parameters())
        6944

    Source:
        Xie, Girshick, Dollár, Tu and He, "Aggregated residual transformations for deep neural networks", 2017.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        group_width: int,
        stride: int = 1,
        shortcut: Option = "B",
        bias: bool = False,
        shortcut_norm: bool = True,
    ) -> None:
        positive(groups=groups, group_width=group_width)
        super().__init__(
            in_channels,
            out_channels,
            mid_channels=groups * group_width,
            groups=groups,
            stride=stride,
            shortcut=shortcut,
            bias=bias,
            shortcut_norm=shortcut_norm,
        )
