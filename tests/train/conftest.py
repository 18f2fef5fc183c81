"""Small images that a small network learns in a second."""

import pytest
import torch
from torch import nn

from convscope.data import Dataset, ImageSet


def stripes(count: int, seed: int) -> ImageSet:
    """Noisy 8x8 pictures of a bright row (class 0), column (1) or diagonal (2)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 90, (count, 1, 8, 8), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        where = int(torch.randint(0, 8, (), generator=generator))
        if label == 0:
            image[0, where] += 120
        elif label == 1:
            image[0, :, where] += 120
        else:
            image[0].diagonal().add_(120)
    return ImageSet(images.to(torch.uint8), labels, ("row", "column", "diagonal"))


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("stripes", stripes(240, 1), stripes(90, 2), mean=(0.22,), std=(0.19,))


@pytest.fixture
def model() -> nn.Module:
    """With dropout, so that a lost generator state is noticed."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )
