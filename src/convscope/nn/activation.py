"""Activations that PyTorch does not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CReLU(nn.Module):
    """Keep both halves of a response: ``relu(x)`` and ``relu(-x)``, one after the other along the channels.

    Example:
        >>> CReLU()(torch.tensor([[2.0, -3.0]]))
        tensor([[2., 0., 0., 3.]])

    Source:
        Shang, Sohn, Almeida and Lee, "Understanding and improving convolutional neural networks via concatenated
        rectified linear units", 2016.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, ...)`` to ``(N, 2C, ...)``."""
        return torch.cat((x.relu(), (-x).relu()), dim=1)
