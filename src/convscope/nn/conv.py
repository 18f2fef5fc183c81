"""Convolution, norm and activation: the trio that networks are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from convscope.nn._arguments import divides, integer, positive

Norm = Callable[[int], nn.Module]
Activation = Callable[[], nn.Module]


class ConvNormAct(nn.Sequential):
    """Convolution, norm, activation: the three that nearly always come together.

    Args:
        in_channels: ``C`` of what comes in.
        out_channels: ``C`` of what goes out.
        kernel_size: Side of the kernel in pixels.
        stride: Pixels from one position of the kernel to the next.
        padding: Zeros on each side. Default: as many as keep ``H`` and ``W`` at stride 1, for an odd kernel.
        dilation: Pixels from one kernel weight to the next.
        groups: Groups of channels that do not see each other.
        bias: Default: only without a norm, whose own shift makes a bias useless.
        norm: What makes the norm from a channel count, or ``None``.
        act: What makes the activation, or ``None``.
        names: Keys of the three in ``state_dict``. torchvision's GoogLeNet calls them ``conv`` and ``bn``.

    Raises:
        TypeError: A count is not an integer.
        ValueError: A count is too small, ``groups`` does not divide the channels, or no ``padding`` is given and an
            even kernel cannot keep the size by the same number on each side.

    Example:
        >>> import torch
        >>> ConvNormAct(3, 8, stride=2)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool | None = None,
        norm: Norm | None = nn.BatchNorm2d,
        act: Activation | None = nn.ReLU,
        names: tuple[str, str, str] = ("0", "1", "2"),
    ) -> None:
        positive(kernel_size=kernel_size, stride=stride, dilation=dilation)
        divides("groups", groups, in_channels=in_channels, out_channels=out_channels)
        if padding is None:
            if dilation * (kernel_size - 1) % 2:
                raise ValueError(
                    f"expected padding to be given, for kernel_size={kernel_size} with dilation={dilation} "
                    "has no middle; the same number on both sides cannot keep the size"
                )
            padding = dilation * (kernel_size - 1) // 2
        integer("padding", padding, least=0)
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias=norm is None if bias is None else bias,
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict({names[0]: conv})
        if norm is not None:
            layers[names[1]] = norm(out_channels)
        if act is not None:
            layers[names[2]] = act()
        super().__init__(layers)
