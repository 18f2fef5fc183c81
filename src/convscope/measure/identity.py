"""Whether two judgements are of the same images, and where they differ if not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prints:
    """What tells images from each other, without keeping them.

    Args:
        shape: ``(C, h, w)`` of the stored images.
        values: ``(N,)`` int64, one number for each image; equal images have equal ones.
    """

    shape: tuple[int, ...]
    values: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Prints:
        """Read every byte of ``(N, C, h, w)`` uint8 once.

        Example:
            >>> images = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
            >>> one, other = Prints.of(images), Prints.of(images.flip(0))
            >>> torch.equal(one.values, other.values), torch.equal(one.values, other.values.flip(0))
            (False, True)
        """
        rows = images.cpu().numpy()
        digests = (hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=8).digest() for row in rows)
        values = [int.from_bytes(digest, "little", signed=True) for digest in digests]
        return cls(tuple(images.shape[1:]), torch.tensor(values, dtype=torch.int64))


def _places(differ: Tensor) -> str:
    """How many positions differ, and which is the first."""
    return f"{int(differ.sum()):,} of {len(differ):,} differ, the first at position {int(differ.nonzero()[0])}"


def difference(labels: tuple[Tensor, Tensor], prints: tuple[Prints | None, Prints | None]) -> str | None:
    """In what two sets of labelled images are not the same, in a few words; None when they are.

    Pixels are compared where both are known and stored at one size. Images that were decoded at two sizes for two
    networks have no common pixels; then their number and the order of their labels have to do.

    Args:
        labels: ``(N,)`` and ``(M,)`` int64.
        prints: Of the images, None where nobody took them.
    """
    first, second = labels
    if len(first) != len(second):
        return f"{len(first):,} and {len(second):,} images"
    one, other = prints
    if one is not None and other is not None and one.shape == other.shape and not torch.equal(one.values, other.values):
        if torch.equal(one.values.sort().values, other.values.sort().values):
            return f"the same {len(first):,} images in another order"
        return f"of the images {_places(one.values != other.values)}"
    return None if torch.equal(first, second) else f"of the labels {_places(first != second)}"
