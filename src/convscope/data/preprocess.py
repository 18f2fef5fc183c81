"""From stored bytes to what a network sees: the same arithmetic in training, evaluation and prediction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.data.types import Dataset


@dataclass(frozen=True)
class Preprocess:
    """Scale bytes to 0..1, resize, subtract ``mean`` and divide by ``std``.

    Args:
        image_size: ``(H, W)`` that the network was built for.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1; positive.

    Raises:
        ValueError: A size or a deviation that is not positive, or unequal numbers of means and deviations.

    Example:
        >>> see = Preprocess((28, 28), mean=(0.5,), std=(0.5,))
        >>> x = see(torch.full((4, 1, 8, 8), 255, dtype=torch.uint8))
        >>> x.shape, round(x.min().item(), 4), round(x.max().item(), 4)
        (torch.Size([4, 1, 28, 28]), 1.0, 1.0)
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.image_size) < 1:
            raise ValueError(f"image_size must be positive, got {self.image_size}")
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError(f"expected one mean and one positive std per channel, got {self.mean} and {self.std}")

    @classmethod
    def of(cls, dataset: Dataset, *, image_size: int | None = None, normalize: bool = True) -> Preprocess:
        """What fits a data set: its own size and statistics unless told otherwise.

        Args:
            dataset: Where mean and deviation come from.
            image_size: Side in pixels of the square that the network sees; None keeps the stored size.
            normalize: False leaves values in 0..1, as the book does.
        """
        size = dataset.image_size if image_size is None else (image_size, image_size)
        if not normalize:
            return cls(size, (0.0,) * dataset.channels, (1.0,) * dataset.channels)
        return cls(size, dataset.mean, tuple(max(deviation, 1e-6) for deviation in dataset.std))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """The inverse of ``to_dict``."""
        height, width = values["image_size"]
        return cls((int(height), int(width)), tuple(map(float, values["mean"])), tuple(map(float, values["std"])))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for ``config.json``."""
        return asdict(self)

    @property
    def channels(self) -> int:
        """``C`` that the network expects."""
        return len(self.mean)

    def __call__(self, images: Tensor) -> Tensor:
        """Turn ``(N, C, h, w)`` uint8, or floats in 0..255, into ``(N, C, H, W)`` float32 on the same device.

        Enlarging is bilinear; shrinking averages over every source pixel (antialiased), so no pixel is skipped.
        """
        known = images.dtype == torch.uint8 or images.is_floating_point()
        if not known or images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"expected uint8 images (N, {self.channels}, H, W) or floats in 0..255, "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        x = images.to(torch.float32, copy=True)  # what follows works in place
        height, width = self.image_size
        if x.shape[2:] != (height, width):  # N,C,h,w -> N,C,H,W
            shrinks = x.shape[2] > height or x.shape[3] > width
            x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=shrinks)
        if self.channels == 1:
            return x.mul_(1 / (255 * self.std[0])).sub_(self.mean[0] / self.std[0])
        mean = torch.tensor(self.mean, device=x.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=x.device).view(-1, 1, 1)
        return x.mul_(1 / (255 * std)).sub_(mean / std)
