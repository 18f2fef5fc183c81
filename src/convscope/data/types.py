"""The two values that everything above passes around: a set of images, and a data set of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one split with their labels.

    Args:
        images: ``(N, C, H, W)``, uint8. May be a read-only memory map, which nothing here copies: writing to one
            ends the process, so ``clone()`` what is to be changed.
        labels: ``(N,)``, int64, each in ``0 .. len(classes) - 1``.
        classes: The name of each label.
        mapped: Whether ``images`` is a memory map of a file, which is worth reading ahead of time.

    Raises:
        TypeError: A tensor has another dtype.
        ValueError: Shapes do not fit each other, or a label has no class.

    Example:
        >>> ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
        ImageSet(2 images, 1x8x8, 2 classes)
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mapped: bool = False

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.labels.dtype != torch.int64:
            raise TypeError(
                f"expected uint8 images and int64 labels, got {self.images.dtype} and {self.labels.dtype}; "
                "convert them with .to(torch.uint8) and .to(torch.int64)"
            )
        if self.images.ndim != 4 or self.labels.ndim != 1 or len(self.images) != len(self.labels):
            raise ValueError(
                "expected images (N, C, H, W) and labels (N,) of the same N, "
                f"got {tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise ValueError(
                f"expected labels in 0..{len(self.classes) - 1} for {len(self.classes)} classes, "
                f"got {int(self.labels.min())}..{int(self.labels.max())}"
            )

    def __len__(self) -> int:
        """The number of images, ``N``."""
        return len(self.labels)

    def __repr__(self) -> str:
        """One line: how many, of what shape, in how many classes."""
        shape = "x".join(map(str, self.images.shape[1:]))
        return f"ImageSet({len(self):,} images, {shape}, {len(self.classes)} classes)"

    def take(self, index: Tensor) -> ImageSet:
        """The images at these positions (int64, ``(M,)``), copied, with the same classes."""
        return ImageSet(self.images[index], self.labels[index], self.classes)

    def counts(self) -> list[int]:
        """How many images each class has, in the order of ``classes``."""
        counts: list[int] = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        return counts


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split over the same classes.

    Args:
        name: What to call it in tables and titles.
        train: The images to learn from. They fix the classes.
        test: The images to judge by.
        mean: Per channel over ``train``, of values scaled to 0..1.
        std: Per channel over ``train``, of values scaled to 0..1.
        source: The arguments of ``data.load`` that give it again; empty for a data set made in memory.

    Raises:
        ValueError: The splits have different classes or image shapes, or one is empty.
    """

    name: str
    train: ImageSet
    test: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split, images in (("training", self.train), ("test", self.test)):
            if not len(images):
                raise ValueError(f"the {split} split of {self.name!r} has no images")
        if self.train.classes != self.test.classes:
            raise ValueError(
                f"{self.name!r}: training and test classes differ: {self.train.classes}, {self.test.classes}"
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            shapes = tuple(self.train.images.shape[1:]), tuple(self.test.images.shape[1:])
            raise ValueError(f"{self.name!r}: training images are {shapes[0]}, test images are {shapes[1]} (C, H, W)")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"{self.name!r}: expected {self.channels} means and deviations, one per channel")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.train.classes

    @property
    def channels(self) -> int:
        """``C`` of the images: 1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """``(H, W)`` of the stored images."""
        return self.train.images.shape[2], self.train.images.shape[3]
