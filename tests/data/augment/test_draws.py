"""Draws: the published generator, spread evenly, and no two of them alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convscope.data.augment.draws import Purpose, between, key_of, uniform, whole
from data.augment import by_hand

IMAGES = torch.arange(60_000)
ROWS = len(Purpose)
ALMOST_ONE = torch.tensor(1 - 2.0**-24)


def test_the_generator_by_hand_gives_the_published_numbers():
    # of the seed 1234567: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    golden = 0x9E3779B97F4A7C15
    assert [by_hand.splitmix64(1234567 + place * golden & by_hand.MASK) for place in range(5)] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_draws_are_splitmix64(key: int, images: list[int]):
    table = uniform(key, torch.tensor(images), 3)
    assert table.dtype == torch.float32
    for column, image in enumerate(images):
        for row in range(3):
            assert table[row, column].item() == by_hand.draw(key % 2**64, image, row)


def test_keys_are_the_hash_of_their_words():
    for words in (("augment", 0, 0), ("augment", 2**70, 3), ("mix", 5, 1, 2)):
        assert key_of(*words) % 2**64 == by_hand.key(*words)


def test_the_purposes_keep_their_places():
    assert [purpose.name.lower() for purpose in Purpose] == by_hand.PURPOSES
    assert list(Purpose) == list(range(ROWS))


@pytest.mark.parametrize("epoch", [0, 7])
def test_every_purpose_is_spread_evenly(epoch: int):
    table = uniform(key_of("augment", 0, epoch), IMAGES, ROWS)
    assert table.min() >= 0
    assert table.max() < 1
    for row in table.double().numpy():
        assert stats.kstest(row, "uniform").pvalue > 1e-4
        assert stats.chisquare(np.histogram(row, 256, (0, 1))[0]).pvalue > 1e-4


def together(one: torch.Tensor, other: torch.Tensor) -> float:
    """How probable such a table of 16x16 cells is for draws that know nothing of each other."""
    cells = torch.bincount((one * 16).long() * 16 + (other * 16).long(), minlength=256)
    return stats.chisquare(cells.numpy()).pvalue


def test_purposes_images_epochs_and_seeds_know_nothing_of_each_other():
    tables = {(s, e): uniform(key_of("augment", s, e), IMAGES, ROWS) for s, e in ((0, 0), (0, 1), (1, 0))}
    table = tables[0, 0]
    for row in range(1, ROWS):
        assert together(table[row - 1], table[row]) > 1e-5, "two purposes"
    for row in range(ROWS):
        for step in (1, 2, 128):
            assert together(table[row, step:], table[row, :-step]) > 1e-5, "two images"
        assert together(table[row], tables[0, 1][row]) > 1e-5, "two epochs"
        assert together(table[row], tables[1, 0][row]) > 1e-5, "two seeds"
    every = np.corrcoef(torch.cat(list(tables.values())).numpy()) - np.eye(3 * ROWS)
    assert np.abs(every).max() < 5 / len(IMAGES) ** 0.5


def test_a_longer_table_begins_with_the_shorter_one():
    assert torch.equal(uniform(3, IMAGES, ROWS)[:2], uniform(3, IMAGES, 2))


@given(st.integers(1, 2**24))
def test_the_largest_draw_stays_below_the_count(count: int):
    assert whole(ALMOST_ONE, count).item() == count - 1
    assert whole(torch.tensor(0.0), count).item() == 0


def test_whole_numbers_are_equally_frequent():
    counts = torch.bincount(whole(uniform(9, IMAGES, 1)[0], 7), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_between_reaches_from_low_to_high():
    assert between(torch.tensor([0.0, 0.5]), -3, 5).tolist() == [-3, 1]
