"""Fashion-MNIST as the book hands it out."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Subset

from convscope.d2l import fashion
from convscope.d2l.fashion import Pixels
from convscope.errors import DataError


def by_pillow(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    resized = Image.fromarray(image.numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized))


@pytest.mark.parametrize("side", [28, 32, 64, 96, 128, 160, 192, 224, 256])
def test_the_usual_sizes_are_pillows_to_the_bit(side):
    images = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(side))
    ours = Pixels((side, side), (0.0,), (1.0,))(images)
    expected = torch.stack([by_pillow(image[0], (side, side)) for image in images])[:, None].float() / 255
    assert torch.equal(ours, expected)


@given(height=st.integers(4, 120), width=st.integers(4, 120), seed=st.integers(0, 2**32))
def test_any_size_is_pillows_within_two_grey_levels(height, width, seed):
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    ours = Pixels((height, width), (0.0,), (1.0,))(images)
    difference = (ours[0, 0] * 255 - by_pillow(images[0, 0], (height, width))).abs()
    assert difference.max() < 2.001


def test_the_way_of_an_accelerator_is_within_one_grey_level(tiny_fashion):
    """It has no kernel for bytes: floats are rounded between the axes, as Pillow does."""
    images = tiny_fashion.train.images[:8]
    rows = fashion._resized(images.float(), (28, 96)).round_()
    floats = fashion._resized(rows, (96, 96)).round_() / 255
    difference = (floats - Pixels((96, 96), (0.0,), (1.0,))(images)).abs() * 255
    assert difference.max() < 1.001
    assert (difference > 0.5).float().mean() < 0.05


def test_attributes_of_the_data(d2l, tiny_fashion):
    data = d2l.FashionMNIST(resize=(32, 40))
    assert (data.batch_size, data.resize, data.root, data.num_workers) == (64, (32, 40), "../data", 4)
    assert data.hparams == {"batch_size": 64, "resize": (32, 40)}
    assert (len(data.train), len(data.val)) == (300, 100)
    X, y = data.train[0]
    assert X.shape == (1, 32, 40)
    assert X.dtype == torch.float32
    assert y == tiny_fashion.train.labels[0]
    assert isinstance(y, int)
    assert torch.equal(data.train[-1][0], data.train[299][0])
    assert data.train.data.shape == (300, 28, 28)
    assert torch.equal(data.val.targets, tiny_fashion.test.labels)
    with pytest.raises(IndexError):
        data.train[300]
    assert d2l.FashionMNIST(resize=30).train[0][0].shape == (1, 30, 30)


def test_batches_are_lists_of_two(d2l, tiny_fashion):
    data = d2l.FashionMNIST(batch_size=128)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert all(type(batch) is list for batch in batches)
    assert [tuple(X.shape) for X, _ in batches] == [(128, 1, 28, 28), (128, 1, 28, 28), (44, 1, 28, 28)]
    X, y = batches[0]
    assert (X.dtype, y.dtype, X.min() >= 0, X.max() <= 1) == (torch.float32, torch.int64, True, True)
    judged = torch.cat([X for X, _ in data.val_dataloader()])
    assert torch.equal(judged, tiny_fashion.test.images / 255)  # in stored order, nothing normalised


def test_the_order_is_that_of_pytorchs_own_loader(d2l, tiny_fashion):
    """Twice in a row, and the generator is where it would be."""
    data = d2l.FashionMNIST(batch_size=100)
    torch.manual_seed(7)
    ours = [y for _ in range(2) for _, y in data.train_dataloader()] + [torch.rand(2)]
    for workers in (0, 2):
        torch.manual_seed(7)
        loader = DataLoader(data.train, 100, shuffle=True, num_workers=workers)
        theirs = [y for _ in range(2) for _, y in loader] + [torch.rand(2)]
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_split_of_the_programs_own(d2l, tiny_fashion):
    data = d2l.FashionMNIST(batch_size=8)
    data.train = Subset(data.train, range(20))
    assert [len(y) for _, y in data.train_dataloader()] == [8, 8, 4]
    assert len(data.val_dataloader()) == 13


def test_labels_in_words_and_pictures(d2l, tiny_fashion, monkeypatch):
    data, shown = d2l.FashionMNIST(batch_size=8), []
    assert data.text_labels(torch.tensor([0, 5, 9])) == ["t-shirt", "sandal", "ankle boot"]
    monkeypatch.setattr(d2l, "show_images", lambda *words, titles: shown.append((words, titles)))
    X, y = next(iter(data.val_dataloader()))
    data.visualize([X, y], nrows=2, ncols=4)
    data.visualize([X, y], labels=["x"] * 8)
    assert shown[0][0][0].shape == (8, 28, 28)
    assert shown[0][0][1:] == (2, 4)
    assert shown[0][1] == data.text_labels(y)
    assert shown[1] == ((shown[1][0][0], 1, 8), ["x"] * 8)


def test_bad_words(d2l, tiny_fashion):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        d2l.FashionMNIST(batch_size=0).train_dataloader()
    with pytest.raises(ValueError, match="image_size must be positive"):
        d2l.FashionMNIST(resize=(0, 28))


def test_no_files_and_no_network(d2l, monkeypatch, tmp_path):
    """The message says what to type; the network is not even tried here."""
    from convscope.data import finding

    def unreachable(*_):
        raise finding.Unreachable("no address")

    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(finding, "fetch", unreachable)
    monkeypatch.setattr(finding, "cache_folder", lambda given=None: tmp_path / "cache")
    fashion._load.cache_clear()
    with pytest.raises(DataError, match="convscope data get fashion-mnist"):
        d2l.FashionMNIST()


@pytest.mark.fashion_mnist
@pytest.mark.skipif(
    not os.environ.get("CONVSCOPE_DATA"), reason="CONVSCOPE_DATA names no folder with the real Fashion-MNIST"
)
def test_the_real_one(d2l):
    fashion._load.cache_clear()
    data = d2l.FashionMNIST(batch_size=128)
    assert (len(data.get_dataloader(True)), len(data.get_dataloader(False))) == (469, 79)
    assert data.train[0][1] == 9
    assert data.train.classes[9] == "Ankle boot"
    assert d2l.FashionMNIST(resize=(64, 64)).source is data.source  # read once
