"""Numbers about the images of a split: their mean and deviation, and a fingerprint."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
from torch import Tensor

from convscope.data.types import Dataset, ImageSet

CHUNK_BYTES = 1 << 20  # counted at once; counting takes eight times as much while it lasts
SAMPLED_IMAGES = 32  # each may cost a disk access
SAMPLED_BYTES = 4096  # of each


class Histogram:
    """How often each byte value occurs in each channel; exact, however many images pass through.

    Args:
        channels: ``C``.

    Example:
        >>> import torch
        >>> counts = Histogram(1)
        >>> counts.add(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
        >>> counts.mean_std()
        ((0.5,), (0.5,))
    """

    def __init__(self, channels: int) -> None:
        self.counts = np.zeros((channels, 256), np.int64)

    def add(self, images: Tensor) -> None:
        """Count ``(N, C, H, W)`` uint8, a piece at a time, so that a memory map is never read in whole."""
        channels, per_image = len(self.counts), max(1, images[0].numel() if len(images) else 1)
        step = max(1, CHUNK_BYTES // per_image)
        for start in range(0, len(images), step):
            piece: npt.NDArray[np.uint8] = images[start : start + step].numpy()
            for channel in range(channels):
                self.counts[channel] += np.bincount(piece[:, channel].ravel(), minlength=256)

    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, of values scaled to 0..1.

        Sums stay whole numbers until the last division, so the result does not depend on order or chunks.
        """
        means, deviations = [], []
        for counts in self.counts.tolist():
            n = sum(counts)
            first = sum(value * count for value, count in enumerate(counts))
            second = sum(value * value * count for value, count in enumerate(counts))
            means.append(first / (255 * n))
            deviations.append(math.sqrt(n * second - first * first) / (255 * n))
        return tuple(means), tuple(deviations)


def mean_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of ``(N, C, H, W)`` uint8, of values scaled to 0..1."""
    histogram = Histogram(images.shape[1])
    histogram.add(images)
    return histogram.mean_std()


def fingerprint(contents: ImageSet | Dataset) -> str:
    """A short name for the contents of a split or of a whole data set, to notice that data changed in the meantime.

    Labels and class names count whole; of the images a fixed sample of at most 32, at most 4 KiB of each, so that
    a memory map of a million photographs takes milliseconds. One changed image outside the sample goes unnoticed.

    Args:
        contents: Images and labels.

    Returns:
        32 hexadecimal digits, the same on every machine.

    Example:
        >>> import torch
        >>> one = ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
        >>> fingerprint(one) == fingerprint(one.take(torch.tensor([1, 0])))
        False
    """
    if isinstance(contents, Dataset):
        both = fingerprint(contents.train) + fingerprint(contents.test)
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()
    images, labels = contents.images, contents.labels
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((tuple(images.shape), contents.classes)).encode())
    digest.update(labels.cpu().contiguous().numpy().astype("<i8", copy=False).tobytes())
    count = min(len(images), SAMPLED_IMAGES)
    for place in range(count):
        flat = images[place * (len(images) - 1) // max(count - 1, 1)].reshape(-1)  # first and last always
        stride = -(-flat.numel() // SAMPLED_BYTES) if flat.numel() else 1
        digest.update(flat[::stride].cpu().numpy().tobytes())
    return digest.hexdigest()
