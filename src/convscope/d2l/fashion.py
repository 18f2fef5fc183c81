"""Fashion-MNIST as the book hands it out: values in 0..1, resized, in lists of two.

The bytes come from ``convscope.data`` and whole batches are cut out of them, so no worker process is started and no
image is handled alone. Numbers are those of torchvision's ``Resize`` and ``ToTensor``, which resize in bytes with
Pillow: to the last bit on a CPU for squares of 28, 32, 64, 96, 128, 160, 192, 224 and 256 pixels. At other sizes, whose
weights PyTorch rounds otherwise than Pillow, a few pixels in a hundred differ by 1/255, a single one by 2/255. An
accelerator has no kernel for bytes; there a batch is resized in floats and rounded after each axis, and differences of
that kind occur at every size. (``F.interpolate`` without the rounding differs in nearly every pixel, by up to 1/255.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils import data as torch_data

from convscope import data
from convscope.d2l.book import current
from convscope.d2l.datamodule import DataModule
from convscope.d2l.limits import limits

NAME = "fashion-mnist"
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class Pixels(data.Preprocess):
    """Bytes resized as bytes, then divided by 255; nothing is normalised.

    Example:
        >>> see = Pixels((28, 28), (0.0,), (1.0,))
        >>> x = see(torch.full((4, 1, 14, 14), 51, dtype=torch.uint8))
        >>> x.shape, x.unique()
        (torch.Size([4, 1, 28, 28]), tensor([0.2000]))
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Turn ``(N, 1, h, w)`` uint8 into ``(N, 1, H, W)`` float32 in 0..1, on the same device."""
        size = self.image_size
        if images.shape[2:] == size:
            return images.float().div_(255)
        if images.device.type == "cpu":
            return _resized(images, size).float().div_(255)
        rows = _resized(images.float(), (images.shape[2], size[1])).round_()  # Pillow rounds between the two axes
        return _resized(rows, size).round_().div_(255)


def _pillow(image: Tensor) -> Any:
    """``(H, W)`` uint8 as torchvision gives it to a transform."""
    from PIL import Image

    return Image.fromarray(image.numpy())


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


class Split(torch_data.Dataset[tuple[Tensor, int]]):
    """One split, image by image: ``split[0]`` is ``(X, y)`` with ``X`` ``(1, H, W)`` float32 and ``y`` a number.

    ``data`` ``(N, 28, 28)`` uint8, ``targets`` ``(N,)`` int64, ``classes``, ``transform`` and ``target_transform`` are
    there as torchvision has them, and what a program puts in their place counts.

    Args:
        images: The bytes.
        pixels: What is made of them, unless ``transform`` makes something else of a Pillow image.
    """

    def __init__(self, images: data.ImageSet, pixels: Pixels) -> None:
        self.pixels = pixels
        self.data, self.targets = images.images[:, 0], images.labels
        self.transform: Any = None
        self.target_transform: Any = None
        self.classes = list(images.classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self._published, self._bytes = images, self.data

    @property
    def images(self) -> data.ImageSet:
        """``data`` and ``targets`` as they are now.

        Raises:
            ValueError: They do not belong together.
        """
        if self.published:
            return self._published
        return data.ImageSet(torch.as_tensor(self.data)[:, None], torch.as_tensor(self.targets), tuple(self.classes))

    @property
    def published(self) -> bool:
        """Whether images and labels are those of the files."""
        return self.data is self._bytes and self.targets is self._published.labels

    @property
    def transformed(self) -> bool:
        """Whether the program makes something of its own of each image or label."""
        return self.transform is not None or self.target_transform is not None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = torch.as_tensor(self.data[index]), int(self.targets[index])
        X = self.pixels(image[None, None])[0] if self.transform is None else self.transform(_pillow(image))
        return X, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return f"Split({self.images!r} as {'x'.join(map(str, self.pixels.image_size))})"


class ImageBatches:
    """Batches ``[X, y]`` of a split, as often as they are asked for.

    From PyTorch's generator it draws what a ``DataLoader`` draws, so that a program with a seed sees its images in the
    same order with either.

    Args:
        dataset: The split.
        batch_size: Images in a batch; the last one holds what is left.
        shuffle: Whether each pass has an order of its own.
        device: Where batches are wanted.

    Raises:
        ValueError: ``batch_size`` is not positive.
    """

    def __init__(self, dataset: Split, batch_size: int, *, shuffle: bool, device: torch.device | str = "cpu") -> None:
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self._loader = data.Loader(dataset.images, dataset.pixels, batch_size=batch_size, device=device)

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return len(self._loader)

    def __iter__(self) -> Iterator[list[Tensor]]:
        _draw_seed()  # a DataLoader's, for its workers
        order = None
        if self.shuffle:
            order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(_draw_seed()))
        return ([X, y] for X, y in self._loader.batches(order=order))

    def on(self, device: torch.device) -> ImageBatches:
        """The same batches on another device, where the bytes are moved once and for all."""
        if device == self._loader.device:
            return self
        return ImageBatches(self.dataset, self.batch_size, shuffle=self.shuffle, device=device)


def _draw_seed() -> int:
    return int(torch.empty((), dtype=torch.int64).random_())


class FashionMNIST(DataModule):
    """Fashion-MNIST: 60,000 images to learn from in ``train``, 10,000 to be judged by in ``val``.

    The files are looked for in ``root``, in the folder named by ``CONVSCOPE_DATA`` and in the user's cache, and are
    downloaded into the last where they are nowhere. What the book calls ``val`` is the published test split: nothing
    chosen by it may be called tested. Objects in one program share the bytes, so do not write to ``train.data``.

    Args:
        batch_size: Images in a batch.
        resize: ``(H, W)`` in pixels, or one number for both.

    Raises:
        DataError: No files and no network; the message says what to type.
        ValueError: A number that is not positive.

    Source:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST", 2017; Zhang et al., "Dive into Deep Learning", section 4.2.
    """

    resize: Any

    def __init__(self, batch_size: int = 64, resize: Any = (28, 28)) -> None:
        super().__init__()
        self.save_hyperparameters()
        height, width = (resize, resize) if isinstance(resize, int) else tuple(resize)
        pixels = Pixels((int(height), int(width)), (0.0,), (1.0,))
        root = Path(self.root)
        self.source = _load(str(root.resolve()) if root.is_dir() else None, os.environ.get("CONVSCOPE_DATA"))
        if (most := limits().images) is not None:
            self.source = _shortened(self.source, most)
        self.train: Any = Split(self.source.train, pixels)
        self.val: Any = Split(self.source.test, pixels)

    def text_labels(self, indices: Any) -> list[str]:
        """The names of labels.

        Args:
            indices: Labels, in 0..9.
        """
        return [LABELS[int(i)] for i in indices]

    def get_dataloader(self, train: bool) -> Any:
        """Batches ``[X, y]``: ``X`` ``(N, 1, H, W)`` float32 in 0..1, ``y`` ``(N,)`` int64; shuffled for training.

        A split that a program has put in the place of ours, or given a ``transform``, is read by PyTorch's own
        ``DataLoader``.
        """
        split = self.train if train else self.val
        if isinstance(split, Split) and not split.transformed:
            return ImageBatches(split, self.batch_size, shuffle=train)
        return torch_data.DataLoader(split, self.batch_size, shuffle=train)

    def visualize(self, batch: Any, nrows: int = 1, ncols: int = 8, labels: Sequence[str] = ()) -> None:
        """Show the first images of a batch.

        Args:
            batch: ``[X, y]``.
            nrows: Of the grid.
            ncols: Of the grid.
            labels: Titles; none takes the names of the labels.
        """
        X, y = batch
        current("show_images")(X.squeeze(1), nrows, ncols, titles=list(labels) or self.text_labels(y))


@lru_cache(maxsize=1)
def _load(root: str | None, _environment: str | None) -> data.Dataset:
    """The data set; read once for all objects as long as it is looked for in the same places."""
    return data.load(NAME, data_dir=root)


def _shortened(dataset: data.Dataset, most: int) -> data.Dataset:
    """The first images of each split."""
    first = torch.arange(most)
    train, test = (images.take(first[: len(images)]) for images in (dataset.train, dataset.test))
    return data.Dataset(dataset.name, train, test, dataset.mean, dataset.std)
