"""Balanced orders: every class as often as any other, and every image of a class as often as any other."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.data import ImageSet, Loader, Preprocess
from convscope.data.sampling import balanced_order

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(torch.tensor)


@given(LABELS, st.integers(0, 2**80), st.integers(0, 10**6))
def test_every_class_is_as_frequent_and_every_image_of_a_class_too(labels, seed, epoch):
    order = balanced_order(labels, seed, epoch)
    assert order.dtype == torch.int64
    assert len(order) == len(labels)
    assert torch.equal(order, balanced_order(labels, seed, epoch))
    classes = Counter(labels[order].tolist())
    assert set(classes) <= set(labels.tolist())
    drawn = [classes[label] for label in set(labels.tolist())]
    assert max(drawn) - min(drawn) <= 1
    images = Counter(order.tolist())
    for label in set(labels.tolist()):
        seen = [images[i] for i, own in enumerate(labels.tolist()) if own == label]
        assert max(seen) - min(seen) <= 2  # cut from two permutations at most, one at each end


@given(LABELS, st.integers(0, 2**40), st.integers(1, 12))
def test_over_many_epochs_from_the_first_on_every_image_of_a_class_is_seen_as_often(labels, seed, epochs):
    seen = Counter(torch.cat([balanced_order(labels, seed, epoch) for epoch in range(epochs)]).tolist())
    totals = Counter()
    for image, label in enumerate(labels.tolist()):
        totals[label] += seen[image]
    assert max(totals.values()) - min(totals.values()) <= 1
    for label in totals:
        own = [seen[image] for image, other in enumerate(labels.tolist()) if other == label]
        assert max(own) - min(own) <= 1


def test_a_large_class_goes_on_where_it_stopped_and_a_small_one_repeats_itself():
    labels = torch.tensor([0] * 90 + [1] * 10)
    halves = [balanced_order(labels, 3, epoch) for epoch in range(2)]
    large = [set(order[order < 90].tolist()) for order in halves]
    assert len(large[0]) == 50
    assert large[0] | large[1] == set(range(90))
    for order in halves:
        assert sorted(Counter(order[order >= 90].tolist()).values()) == [5] * 10


def test_the_order_is_the_same_on_every_machine():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 3])
    assert balanced_order(labels, 0, 0).tolist() == [4, 8, 8, 8, 5, 6, 6, 2, 7]
    assert balanced_order(labels, 2**70, 5).tolist() == [6, 1, 6, 5, 8, 8, 4, 7, 8]


def test_no_seed_or_epoch_has_the_order_of_another():
    labels = torch.arange(60) % 3
    orders = {tuple(balanced_order(labels, seed, epoch).tolist()) for seed in (0, 1, 2**64) for epoch in range(5)}
    assert len(orders) == 15


def test_classes_are_mixed_and_not_in_blocks():
    labels = torch.tensor([0] * 900 + [1] * 100)
    drawn = labels[balanced_order(labels, 0, 0)].view(10, 100).float().mean(1)
    assert 0.3 < drawn.min() < drawn.max() < 0.7  # of 100 throws of a coin, four deviations


def test_nothing_and_nonsense():
    assert balanced_order(torch.empty(0, dtype=torch.int64), 0, 0).tolist() == []
    with pytest.raises(ValueError, match="must not be negative, got -1 and 0"):
        balanced_order(torch.zeros(3, dtype=torch.int64), -1, 0)
    with pytest.raises(ValueError, match=r"expected labels \(N,\), got shape \(3, 2\)"):
        balanced_order(torch.zeros(3, 2, dtype=torch.int64), 0, 0)


def test_a_loader_draws_so():
    labels = torch.tensor([0] * 9 + [1] * 3)
    images = torch.arange(12, dtype=torch.uint8).view(-1, 1, 1, 1).expand(12, 1, 2, 2).contiguous()
    loader = Loader(
        ImageSet(images, labels, ("a", "b")), Preprocess((2, 2), (0.0,), (1.0,)), batch_size=5, shuffle_seed=7,
        balanced=True,
    )  # fmt: skip
    seen = torch.cat([(x[:, 0, 0, 0] * 255).round().long() for x, _ in loader.batches(2)])
    assert seen.tolist() == balanced_order(labels, 7, 2).tolist()
