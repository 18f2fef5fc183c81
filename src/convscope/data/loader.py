"""Whole batches sliced out of one tensor: no work per sample, no worker processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from convscope.data.preprocess import Preprocess
from convscope.data.sampling import balanced_order, generator
from convscope.data.types import ImageSet

RESIDENT_BYTES = 4 << 30  # a data set up to this size is moved to the accelerator whole, as bytes
AHEAD = 2  # batches that are read from disk while the network works on the one before


class Transform(Protocol):
    """What may happen to a batch of bytes on its way to the network; ``Augment`` is one."""

    def __call__(
        self, images: Tensor, labels: Tensor, index: Tensor, *, epoch: int, batch: int, classes: int
    ) -> tuple[Tensor, Tensor]:
        """Turn ``(N, C, h, w)`` uint8 into ``(N, C, H, W)`` float32, and labels into labels or ``(N, classes)``."""


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
    return torch.randperm(count, generator=generator(seed, epoch))


class Loader:
    """Batches of an ``ImageSet``, ready for a network.

    Args:
        images: What to draw from.
        preprocess: Bytes to floats, applied to a whole batch on ``device``.
        batch_size: Images in a batch; the last batch holds what is left.
        device: Where batches are wanted.
        shuffle_seed: Epoch ``e`` comes in ``epoch_order(N, shuffle_seed, e)``; None keeps stored order.
        balanced: Draw every class as often as any other; see ``balanced_order``. Needs ``shuffle_seed``.
        augment: Takes the place of ``preprocess`` and may change images and labels at random.
        share: ``(rank, size)``: of every batch, the part of one process among several, as even as can be.

    Raises:
        ValueError: ``batch_size`` is not positive, ``share`` is none, or ``balanced`` comes without ``shuffle_seed``.

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
        balanced: bool = False,
        augment: Transform | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= share[0] < share[1]:
            raise ValueError(f"share must be (rank, size) with 0 <= rank < size, got {share}")
        if balanced and shuffle_seed is None:
            raise ValueError("balanced draws at random: give a shuffle_seed too")
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.shuffle_seed = shuffle_seed
        self._balanced, self._augment, self._share = balanced, augment, share
        self._classes = len(images.classes)
        resident = self.device.type != "cpu" and images.images.nbytes <= RESIDENT_BYTES
        self._images = images.images.to(self.device) if resident else images.images
        self._labels = images.labels.to(self.device) if resident else images.labels
        self._ahead = AHEAD if images.mapped and not resident else 0

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self._labels) // self.batch_size)

    def images_in(self, batch: int) -> int:
        """How many images a batch has, over all shares."""
        return min(self.batch_size, len(self._labels) - batch * self.batch_size)

    def batches(
        self, epoch: int = 0, *, start: int = 0, order: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(N, C, H, W)`` float32 and labels from batch ``start`` of epoch ``epoch`` on.

        Labels are ``(N,)`` int64, or ``(N, classes)`` float32 where ``augment`` mixes images. An ``order`` ``(N,)``
        of positions takes the place of the epoch's own.
        """
        order = self._order(epoch) if order is None else order.to(self._images.device)

        def read(batch: int) -> tuple[Tensor, Tensor, Tensor]:
            rows = self._rows(batch)
            if order is None:
                index = torch.arange(rows.start, rows.stop, device=self._labels.device)
                return self._images[rows], self._labels[rows], index
            index = order[rows]
            # A small class comes several times in a balanced epoch, and each time it is to be varied in another way.
            names = torch.arange(rows.start, rows.stop, device=index.device) if self._balanced else index
            return self._images.index_select(0, index), self._labels.index_select(0, index), names

        for batch, (images, labels, index) in _in_advance(read, range(start, len(self)), self._ahead):
            images, labels = images.to(self.device), labels.to(self.device)
            if self._augment is None:
                yield self.preprocess(images), labels
            else:
                yield self._augment(
                    images, labels, index.to(self.device), epoch=epoch, batch=batch, classes=self._classes
                )

    def _rows(self, batch: int) -> slice:
        """Where in the epoch's order the own share of a batch lies."""
        rank, size = self._share
        first, count = batch * self.batch_size, self.images_in(batch)
        return slice(first + rank * count // size, first + (rank + 1) * count // size)

    def _order(self, epoch: int) -> Tensor | None:
        if self.shuffle_seed is None:
            return None
        if self._balanced:
            order = balanced_order(self._labels.cpu(), self.shuffle_seed, epoch)
        else:
            order = epoch_order(len(self._labels), self.shuffle_seed, epoch)
        return order.to(self._images.device)


def _in_advance(
    read: Callable[[int], tuple[Tensor, Tensor, Tensor]], batches: range, ahead: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor, Tensor]]]:
    """``read`` for every batch in turn; a thread reads up to ``ahead`` batches before they are asked for."""
    if not ahead:
        yield from ((batch, read(batch)) for batch in batches)
        return
    with ThreadPoolExecutor(1, "convscope-read") as pool:
        waiting = deque[tuple[int, Future[tuple[Tensor, Tensor, Tensor]]]]()
        for batch in batches:
            waiting.append((batch, pool.submit(read, batch)))
            if len(waiting) > ahead:
                first, reading = waiting.popleft()
                yield first, reading.result()
        for first, reading in waiting:
            yield first, reading.result()
