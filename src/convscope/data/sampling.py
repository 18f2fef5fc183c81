"""Orders of images: which image comes when, as a function of a seed and an epoch."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(*words: object) -> torch.Generator:
    """A generator whose numbers are a function of these words alone, on every platform.

    Example:
        >>> torch.randperm(6, generator=generator(0, 0)).tolist()
        [3, 4, 5, 2, 1, 0]
    """
    digest = hashlib.blake2b(" ".join(map(str, words)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)  # 63 bits: in range for any words


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """The order of an epoch in which every class is as frequent as every other.

    Nothing is drawn with replacement. The places of all epochs, one after another, are dealt to the classes in turn,
    and a class fills its places with permutations of its images, one after another. So over any stretch of training
    two images of a class are seen equally often, or one of them once more in each permutation that the stretch cuts:
    a small class repeats its images evenly, and a large one goes on in the next epoch where it stopped in this one.

    Args:
        labels: Of all images, ``(N,)`` int64. A class without images takes no part.
        seed: Not negative, however large.
        epoch: From 0.

    Returns:
        ``N`` positions, ``(N,)`` int64; classes differ by at most one place.

    Raises:
        ValueError: ``seed`` or ``epoch`` is negative, or ``labels`` has another shape.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 1])
        >>> order = balanced_order(labels, seed=0, epoch=0)
        >>> labels[order].bincount().tolist(), order[labels[order] == 0].unique().numel()
        ([3, 3], 3)
    """
    if min(seed, epoch) < 0:
        raise ValueError(f"seed and epoch must not be negative, got {seed} and {epoch}")
    if labels.ndim != 1:
        raise ValueError(f"expected labels (N,), got shape {tuple(labels.shape)}")
    total = len(labels)
    labels = labels.cpu()
    sizes = labels.bincount().tolist() if total else []
    members = torch.split(labels.argsort(stable=True), sizes) if total else ()
    present = [(label, group) for label, group in enumerate(members) if len(group)]
    dealt = []
    for turn, (label, group) in enumerate(present):
        start, stop = (_places(end, turn, len(present)) for end in (epoch * total, (epoch + 1) * total))
        rows = -(-total // (len(present) * len(group)))  # permutations in about an epoch
        dealt.append(group[_stream(len(group), rows, start, stop, (seed, "class", label))])
    order = torch.cat(dealt) if dealt else labels
    return order[torch.randperm(total, generator=generator(seed, "balanced", epoch))]


def _places(end: int, turn: int, classes: int) -> int:
    """How many of the places before ``end`` fall to the class whose turn is ``turn`` of ``classes``."""
    return (end - turn + classes - 1) // classes


def _stream(count: int, rows: int, start: int, stop: int, words: tuple[object, ...]) -> Tensor:
    """Items ``start`` to ``stop`` of an endless row of permutations of ``count``, which are made ``rows`` at a time."""
    block = rows * count
    pieces = []
    for number in range(start // block, -(-stop // block)):
        keys = torch.rand(rows, count, dtype=torch.float64, generator=generator(*words, number))
        pieces.append(keys.argsort(dim=1, stable=True).flatten())  # rows,count -> rows*count
    first = start // block * block
    return torch.cat(pieces)[start - first : stop - first] if pieces else torch.empty(0, dtype=torch.int64)
