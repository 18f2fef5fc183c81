import tempfile
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.data import ImageSet, hold_out, splitting, stratified
from convscope.errors import DataError


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_every_image_is_on_one_side_in_proportion(labels: list[int], fraction: float, seed: int) -> None:
    keep, held = stratified(torch.tensor(labels), fraction, seed)
    assert sorted(keep.tolist() + held.tolist()) == list(range(len(labels)))
    assert keep.tolist() == sorted(keep.tolist())
    assert held.tolist() == sorted(held.tolist())
    assert keep.dtype == held.dtype == torch.int64
    out = Counter(labels[place] for place in held.tolist())
    for label, count in Counter(labels).items():
        if count == 1:
            assert out[label] == 0
        else:
            assert 1 <= out[label] <= count - 1
            assert abs(out[label] - count * fraction) <= 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 1000))
def test_the_split_of_a_class_does_not_depend_on_the_names_of_classes(labels: list[int], seed: int) -> None:
    first = stratified(torch.tensor(labels), 0.3, seed)
    second = stratified(torch.tensor([7 - label for label in labels]), 0.3, seed)
    assert torch.equal(first[1], second[1])


def test_the_split_is_the_same_on_every_machine() -> None:
    _, held = stratified(torch.arange(60) % 3, 0.2, seed=0)
    assert held.tolist() == [2, 3, 11, 13, 15, 20, 21, 46, 48, 55, 58, 59]
    keys = np.random.PCG64(0).random_raw(60)  # the definition, written another way
    assert held.tolist() == sorted(
        place for label in range(3) for place in sorted(range(label, 60, 3), key=lambda place: keys[place])[:4]
    )


def test_another_seed_gives_another_split() -> None:
    labels = torch.arange(100) % 5
    splits = {tuple(stratified(labels, 0.2, seed)[1].tolist()) for seed in range(20)}
    assert len(splits) == 20


def test_every_image_is_held_out_about_equally_often() -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    times = torch.zeros(20)
    for seed in range(400):
        times[stratified(labels, 0.25, seed)[1]] += 1
    assert times.mean() == 100
    assert times.min() > 65  # a binomial of 400 with 1/4 has deviation 8.7
    assert times.max() < 135


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_fractions_are_checked(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        stratified(torch.tensor([0, 0]), fraction, 0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        stratified(torch.tensor([0, 0]), 0.5, -1)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_holding_out_keeps_images_and_labels_together(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "IN_MEMORY_BYTES", limit)
    labels = torch.arange(50) % 4
    images = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1).expand(50, 3, 2, 2).contiguous()
    whole = ImageSet(images, labels, ("a", "b", "c", "d"))
    kept, held = hold_out(whole, 0.3, seed=1)
    assert (len(kept), len(held)) == (34, 16)
    for part, index in zip((kept, held), stratified(labels, 0.3, 1), strict=True):
        assert part.images.flatten(1)[:, 0].tolist() == index.tolist()
        assert torch.equal(part.images, images[index])
        assert torch.equal(part.labels, labels[index])
        assert part.classes == whole.classes


def test_a_full_disk_is_an_error_that_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on the size of files stands in for a disk: writing fails in the same place."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(splitting, "IN_MEMORY_BYTES", 0)
    whole = ImageSet(torch.zeros(100, 3, 64, 64, dtype=torch.uint8), torch.arange(100) % 2, ("a", "b"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(DataError, match=f"takes 983,040 bytes in {tempfile.gettempdir()}, .* TMPDIR"):
            hold_out(whole, 0.2, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_nothing_to_hold_out_is_an_error() -> None:
    single = ImageSet(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(ValueError, match="nothing can be held out"):
        hold_out(single, 0.5, seed=0)
