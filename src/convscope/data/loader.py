"""Whole batches sliced out of one tensor: no work per sample, no worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from convscope.data.preprocess import Preprocess
from convscope.data.types import ImageSet

RESIDENT_BYTES = 4 << 30  # a data set up to this size is moved to the accelerator whole, as bytes


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch visits its images: a function of the arguments alone, on every platform.

    Args:
        count: Number of images, ``N``.
        seed: Not negative, however large.
        epoch: From 0.

    Returns:
        Every position once, ``(N,)``, int64.

    Raises:
        ValueError: ``seed`` or ``epoch`` is negative.

    Example:
        >>> epoch_order(6, seed=0, epoch=0).tolist()
        [3, 4, 5, 2, 1, 0]
    """
    if min(seed, epoch) < 0:
        raise ValueError(f"seed and epoch must not be negative, got {seed} and {epoch}")
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)  # 63 bits: in range for any seed
    return torch.randperm(count, generator=generator)


class Loader:
    """Batches of an ``ImageSet``, ready for a network.

    Args:
        images: What to draw from.
        preprocess: Bytes to floats, applied to a whole batch on ``device``.
        batch_size: Images in a batch; the last batch holds what is left.
        device: Where batches are wanted.
        shuffle_seed: Epoch ``e`` comes in ``epoch_order(N, shuffle_seed, e)``; None keeps stored order.

    Raises:
        ValueError: ``batch_size`` is not positive.

    Example:
        >>> ten = ImageSet(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10) % 2, ("a", "b"))
        >>> loader = Loader(ten, Preprocess((8, 8), (0.0,), (1.0,)), batch_size=4)
        >>> [len(labels) for _, labels in loader.batches()]
        [4, 4, 2]
    """

    def __init__(
        self,
        images: ImageSet,
        preprocess: Preprocess,
        *,
        batch_size: int,
        device: torch.device | str = "cpu",
        shuffle_seed: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.shuffle_seed = shuffle_seed
        resident = self.device.type != "cpu" and images.images.nbytes <= RESIDENT_BYTES
        self._images = images.images.to(self.device) if resident else images.images
        self._labels = images.labels.to(self.device) if resident else images.labels

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self._labels) // self.batch_size)

    def batches(self, epoch: int = 0, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(N, C, H, W)`` float32 and ``(N,)`` int64 from batch ``start`` of epoch ``epoch`` on."""
        order = self._order(epoch)
        for batch in range(start, len(self)):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            if order is None:
                images, labels = self._images[rows], self._labels[rows]
            else:
                index = order[rows]
                images, labels = self._images.index_select(0, index), self._labels.index_select(0, index)
            yield self.preprocess(images.to(self.device)), labels.to(self.device)

    def _order(self, epoch: int) -> Tensor | None:
        if self.shuffle_seed is None:
            return None
        return epoch_order(len(self._labels), self.shuffle_seed, epoch).to(self._images.device)
