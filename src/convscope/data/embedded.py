"""The named data sets as tensors: from verified contents, or from the installation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from convscope.data.catalog import DIGITS, IDX_FILES, DataInfo
from convscope.data.idx import parse_idx_pair
from convscope.data.splitting import stratified
from convscope.data.types import ImageSet
from convscope.errors import DataError

DIGITS_SEED = 0  # fixed, so that every accuracy on digits is on the same test images
DIGITS_TEST_FRACTION = 0.2


def digits() -> tuple[ImageSet, ImageSet]:
    """The training and test split of scikit-learn's digits, values 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    values = np.asarray(bunch.images)  # N,8,8 of 0.0 .. 16.0
    images = torch.from_numpy(((values * 255 + 8) // 16).astype(np.uint8)).unsqueeze(1)  # N,8,8 -> N,1,8,8
    everything = ImageSet(images, torch.from_numpy(np.asarray(bunch.target, np.int64)), DIGITS.classes)
    keep, held = stratified(everything.labels, DIGITS_TEST_FRACTION, DIGITS_SEED)
    return everything.take(keep), everything.take(held)


def from_idx(info: DataInfo, contents: dict[str, bytes]) -> tuple[ImageSet, ImageSet]:
    """The two splits of a relative of MNIST.

    Raises:
        DataError: Numbers of images and labels differ, or a label is out of range.
    """
    names = [name for name, _ in IDX_FILES]
    splits = []
    for pair in ((names[0], names[1]), (names[2], names[3])):
        pixels, targets = parse_idx_pair(
            contents[pair[0]], contents[pair[1]], num_classes=len(info.classes), names=pair
        )  # N,H,W and N
        splits.append(_image_set(pixels[:, None], targets, info))  # N,H,W -> N,1,H,W
    return splits[0], splits[1]


def from_cifar(info: DataInfo, contents: dict[str, bytes]) -> tuple[ImageSet, ImageSet]:
    """The two splits of CIFAR-10: records of one label byte and three colour planes.

    Raises:
        DataError: A file is not a whole number of records, or a label is out of range.
    """
    channels, height, width = info.image_shape
    splits = []
    for wanted in ("data_batch_", "test_batch"):
        records = []
        for name in sorted(name for name in contents if name.startswith(wanted)):
            values = np.frombuffer(contents[name], np.uint8)
            if len(values) % (1 + channels * height * width):
                raise DataError(f"{name} is damaged: {len(values):,} bytes are not a whole number of images")
            records.append(values.reshape(-1, 1 + channels * height * width))  # N,1+C*H*W
            if int(records[-1][:, 0].max(initial=0)) >= len(info.classes):
                raise DataError(f"{name} is damaged: expected labels in 0..{len(info.classes) - 1}")
        pixels = np.concatenate([record[:, 1:] for record in records]).reshape(-1, channels, height, width)
        splits.append(_image_set(pixels, np.concatenate([record[:, 0] for record in records]), info))
    return splits[0], splits[1]


def _image_set(pixels: npt.NDArray[np.uint8], targets: npt.NDArray[np.uint8], info: DataInfo) -> ImageSet:
    images = torch.from_numpy(np.array(pixels, order="C"))  # a copy: contents are read-only and soon let go
    return ImageSet(images, torch.from_numpy(targets.astype(np.int64)), info.classes)
