"""The way around a residual branch, in the three forms of the ResNet paper."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from convscope.nn._arguments import positive

Option = Literal["A", "B", "C"]


class ZeroPadShortcut(nn.Module):
    """Keep every ``stride``-th pixel and add channels of zeros behind the others: nothing to learn.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out, no less than ``in_channels``.
        stride: Keep one pixel in so many.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, or fewer channels out than in.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
        if out_channels < in_channels:
            raise ValueError(
                f"a zero-padded shortcut cannot take channels away: expected out_channels >= {in_channels}, "
                f"got {out_channels}; use shortcut='B'"
            )
        self.stride, self.extra_channels = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))

    def extra_repr(self) -> str:
        """The numbers it was made with."""
        return f"stride={self.stride}, extra_channels={self.extra_channels}"


def make_shortcut(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    option: Option = "B",
    bias: bool = False,
    norm: bool = True,
) -> nn.Module:
    """The shortcut of a residual block.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        stride: Of the residual branch, which the shortcut has to follow.
        option: ``"A"``: zeros for new channels, never a weight. ``"B"``: a 1x1 convolution where the shape changes,
            the input itself elsewhere. ``"C"``: a 1x1 convolution in every block.
        bias: Whether the 1x1 convolution has one.
        norm: Whether a batch norm follows it.

    Returns:
        A module that maps ``(N, in, H, W)`` to ``(N, out, ceil(H / stride), ceil(W / stride))``.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is below 1, unknown ``option``, or ``"A"`` with fewer channels out than in.

    Source:
        He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015, section 4.1.
    """
    if option not in get_args(Option):
        raise ValueError(f"shortcut must be 'A' (zero-pad), 'B' (project on change) or 'C' (project), got {option!r}")
    positive(in_channels=in_channels, out_channels=out_channels, stride=stride)
    same_shape = in_channels == out_channels and stride == 1
    if same_shape and option != "C":
        return nn.Identity()
    if option == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride=stride)
    project = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=bias)
    return nn.Sequential(project, nn.BatchNorm2d(out_channels)) if norm else nn.Sequential(project)
