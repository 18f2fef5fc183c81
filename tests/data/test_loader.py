"""Batches: every image once, in an order that anybody can work out again."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.data import ImageSet, Loader, Preprocess, epoch_order

AS_IT_IS = Preprocess((2, 2), (0.0,), (1.0,))


def numbered(count: int) -> ImageSet:
    """Image ``i`` has the value ``i`` in every pixel."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 1, 2, 2).contiguous()
    return ImageSet(images, torch.arange(count) % 3, ("a", "b", "c"))


def seen(loader: Loader, epoch: int, *, start: int = 0) -> list[int]:
    places = []
    for x, labels in loader.batches(epoch, start=start):
        batch = (x[:, 0, 0, 0] * 255).round().int()
        assert labels.tolist() == (batch % 3).tolist()
        places += batch.tolist()
    return places


@given(st.integers(0, 60), st.integers(0, 2**200), st.integers(0, 2**70))
def test_an_order_has_every_place_once_and_is_the_same_again(count: int, seed: int, epoch: int) -> None:
    order = epoch_order(count, seed, epoch)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(count))
    assert torch.equal(order, epoch_order(count, seed, epoch))


def test_the_order_is_the_same_on_every_machine() -> None:
    assert epoch_order(12, 0, 0).tolist() == [3, 7, 0, 11, 8, 10, 1, 6, 5, 4, 2, 9]
    assert epoch_order(12, 2**70, 3).tolist() == [5, 6, 3, 11, 0, 9, 10, 1, 4, 2, 7, 8]
    seed = int(hashlib.blake2b(b"7 2", digest_size=8).hexdigest(), 16) // 2  # the definition, written another way
    expected = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(epoch_order(50, 7, 2), expected)


def test_every_seed_and_epoch_has_an_order_of_its_own() -> None:
    seeds = [0, 1, 4096, 2**31, 2**32, 2**43, 2**43 + 1, 2**64, 2**64 + 1]
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in seeds for epoch in (*range(10), 2**20)}
    assert len(orders) == len(seeds) * 11


def test_every_place_comes_first_about_equally_often() -> None:
    first = torch.bincount(torch.tensor([int(epoch_order(10, seed, 0)[0]) for seed in range(2000)]), minlength=10)
    assert first.min() > 140  # a binomial of 2000 with 1/10 has deviation 13.4
    assert first.max() < 260


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(seed: int, epoch: int) -> None:
    with pytest.raises(ValueError, match=f"must not be negative, got {seed} and {epoch}"):
        epoch_order(3, seed, epoch)


@pytest.mark.parametrize("seed", [0, 5, 2**43, 2**80])
def test_a_loader_follows_the_order(seed: int) -> None:
    loader = Loader(numbered(20), AS_IT_IS, batch_size=6, shuffle_seed=seed)
    assert [len(labels) for _, labels in loader.batches()] == [6, 6, 6, 2]
    for epoch in (0, 3):
        assert seen(loader, epoch) == epoch_order(20, seed, epoch).tolist()
        assert seen(loader, epoch, start=2) == epoch_order(20, seed, epoch).tolist()[12:]


def test_without_a_seed_the_stored_order_is_kept() -> None:
    assert seen(Loader(numbered(20), AS_IT_IS, batch_size=7), 4) == list(range(20))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Loader(numbered(3), AS_IT_IS, batch_size=0)
