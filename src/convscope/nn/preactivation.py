"""Residual blocks with norm and activation *before* each convolution: nothing stands in the shortcut's way."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.nn._arguments import middle, positive, share
from convscope.nn.shortcut import Option, make_shortcut


class PreActResidual(nn.Module):
    """Norm, ReLU, 3x3, norm, ReLU, 3x3, and a shortcut that ends without an activation.

    A shortcut that has to change the shape starts from the activated input, as the paper's code does.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        stride: Of the first convolution; 2 halves ``H`` and ``W``.
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``make_shortcut``. A projection has no norm of its own.
        dropout: Share of values set to zero between the two convolutions, as in wide residual networks.

    Raises:
        TypeError: A count is not an integer, or ``dropout`` no number.
        ValueError: A count is below 1, ``dropout`` not between 0 and 1, or an unknown ``shortcut``.

    Example:
        >>> import torch
        >>> PreActResidual(3, 6, stride=2)(torch.zeros(4, 3, 6, 6)).shape
        torch.Size([4, 6, 3, 3])

    Source:
        He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016;
        Zagoruyko and Komodakis, "Wide residual networks", 2016.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, shortcut: Option = "B", dropout: float = 0.0
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.act2 = nn.ReLU()
        self.dropout = nn.Dropout(share("dropout", dropout))
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.downsample = make_shortcut(in_channels, out_channels, stride=stride, option=shortcut, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``, rounded up."""
        activated = self.act1(self.bn1(x))
        y = self.act2(self.bn2(self.conv1(activated)))  # -> N,out,H/stride,W/stride
        y = self.conv2(self.dropout(y))
        identity = isinstance(self.downsample, nn.Identity)
        out: Tensor = y + self.downsample(x if identity else activated)
        return out


class PreActBottleneck(nn.Module):
    """The bottleneck in pre-activation form: norm and ReLU before the 1x1, the 3x3 and the 1x1.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        mid_channels: ``C`` of the 3x3 convolution. Default: a quarter of ``out_channels``.
        stride: Of the 3x3 convolution.
        shortcut: ``"A"``, ``"B"`` or ``"C"``, see ``make_shortcut``. A projection has no norm of its own.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, or an unknown ``shortcut``.

    Source:
        He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", 2016.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        mid_channels: int | None = None,
        stride: int = 1,
        shortcut: Option = "B",
    ) -> None:
        super().__init__()
        positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        mid = middle(mid_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, mid, kernel_size=1, bias=False)
        self.bn2 = nn.BatchNorm2d(mid)
        self.act2 = nn.ReLU()
        self.conv2 = nn.Conv2d(mid, mid, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(mid)
        self.act3 = nn.ReLU()
        self.conv3 = nn.Conv2d(mid, out_channels, kernel_size=1, bias=False)
        self.downsample = make_shortcut(in_channels, out_channels, stride=stride, option=shortcut, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, H / stride, W / stride)``, rounded up."""
        activated = self.act1(self.bn1(x))
        y = self.act2(self.bn2(self.conv1(activated)))  # -> N,mid,H,W
        y = self.act3(self.bn3(self.conv2(y)))  # -> N,mid,H/stride,W/stride
        y = self.conv3(y)  # -> N,out,H/stride,W/stride
        identity = isinstance(self.downsample, nn.Identity)
        out: Tensor = y + self.downsample(x if identity else activated)
        return out
