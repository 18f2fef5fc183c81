"""Weighing whole channels against each other."""

from __future__ import annotations

from torch import Tensor, nn

from convscope.nn._arguments import positive


class SqueezeExcitation(nn.Module):
    """Look at the mean of every channel, then scale each channel by a number between 0 and 1.

    Args:
        channels: ``C`` of the images.
        squeezed: Channels in between. Default: a sixteenth, at least 1.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number below 1.

    Source:
        Hu, Shen and Sun, "Squeeze-and-excitation networks", 2018.
    """

    def __init__(self, channels: int, squeezed: int | None = None) -> None:
        super().__init__()
        positive(channels=channels)
        squeezed = max(channels // 16, 1) if squeezed is None else squeezed
        positive(squeezed=squeezed)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, kernel_size=1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv2d(squeezed, channels, kernel_size=1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        scale = self.gate(self.fc2(self.act(self.fc1(self.avgpool(x)))))  # -> N,C,1,1
        scaled: Tensor = x * scale
        return scaled
