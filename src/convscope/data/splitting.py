"""Cutting a set in two so that every class is on both sides in the same proportion."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import Tensor

from convscope.data.types import ImageSet
from convscope.errors import DataError

IN_MEMORY_BYTES = 2 << 30  # parts of a set up to this size are copied into memory, larger ones into a temporary file
CHUNK_BYTES = 64 << 20  # copied into that file at once


def stratified(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose which images to keep and which to hold out, class by class.

    Of a class with ``n`` images, ``n * fraction`` rounded are held out, but at least one and at most ``n - 1``;
    a single image is kept. The choice is a function of labels, fraction and seed alone, on every platform: it uses
    raw PCG64 output, whose stream NumPy promises never to change.

    Args:
        labels: ``(N,)``, integers.
        fraction: Share to hold out, in 0..1, both excluded.
        seed: Another seed, another choice; not negative.

    Returns:
        Positions to keep and positions held out, int64, each ascending; together every position once.

    Raises:
        ValueError: ``fraction`` or ``seed`` is out of range.

    Example:
        >>> keep, held = stratified(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, seed=0)
        >>> len(keep), len(held)
        (6, 2)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction to hold out must lie between 0 and 1, got {fraction}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    targets = labels.cpu().numpy()
    keys = np.random.PCG64(seed).random_raw(len(targets))
    held = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        count = min(max(int(len(members) * fraction + 0.5), 1), len(members) - 1)
        held[members[np.argsort(keys[members], kind="stable")[:count]]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


def hold_out(image_set: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Cut validation images out of a set by a fixed seed.

    Args:
        image_set: What to cut.
        fraction: Share to hold out, in 0..1, both excluded.
        seed: Another seed, another cut.

    Returns:
        The set that is kept and the set that was held out, each a copy. A part above 2 GiB is copied into an
        unnamed temporary file (in ``TMPDIR``) that is memory-mapped and vanishes with the last tensor on it.

    Raises:
        ValueError: ``fraction`` is out of range, or no class has two images.
        DataError: The temporary file cannot be written, for want of space most likely.

    Example:
        >>> ten = ImageSet(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10) % 2, ("a", "b"))
        >>> hold_out(ten, 0.2, seed=0)
        (ImageSet(8 images, 1x8x8, 2 classes), ImageSet(2 images, 1x8x8, 2 classes))
    """
    keep, held = stratified(image_set.labels, fraction, seed)
    if not len(held):
        raise ValueError("nothing can be held out: every class has a single image; add images or hold out none")
    return _take(image_set, keep), _take(image_set, held)


def _take(image_set: ImageSet, index: Tensor) -> ImageSet:
    per_image = max(1, image_set.images[0].nbytes)
    if len(index) * per_image <= IN_MEMORY_BYTES:
        return image_set.take(index)
    shape = (len(index), *image_set.images.shape[1:])
    step = max(1, CHUNK_BYTES // per_image)
    try:
        with tempfile.TemporaryFile() as file:  # the map keeps the space alive after the file is closed
            for start in range(0, len(index), step):
                rows = index[start : start + step]
                file.write(image_set.images[rows].cpu().contiguous().numpy().data)  # a full disk is an error here
            file.flush()
            images = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))
    except OSError as error:
        raise DataError(
            f"holding out images takes {len(index) * per_image:,} bytes in {tempfile.gettempdir()}, which cannot be "
            f"written ({error.strerror or error}); name a folder with more room in the environment variable TMPDIR"
        ) from error
    return ImageSet(images, image_set.labels[index], image_set.classes, mapped=True)
