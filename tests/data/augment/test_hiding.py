"""Random erasing and cutout against boxes filled pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convscope.data.augment.hiding import cut_out, erased
from data.augment import by_hand

unit = st.floats(0, 1 - 2**-24, width=32)


def rectangle(mask: torch.Tensor) -> tuple[int, int]:
    """Height and width of the one box in ``(1, H, W)``."""
    rows, columns = mask[0].any(1), mask[0].any(0)
    assert torch.equal(mask[0], rows[:, None] & columns[None])
    for line in (rows, columns):
        where = line.nonzero()
        assert where.max() - where.min() + 1 == len(where), "one piece"
    return int(rows.sum()), int(columns.sum())


@given(st.tuples(unit, unit, unit, unit), st.integers(4, 40), st.integers(4, 40), st.booleans())
def test_erasing_fills_one_box_inside_the_image(draws, height: int, width: int, happens: bool):
    mask = erased(torch.tensor([happens]), *torch.tensor(draws, dtype=torch.float32)[:, None], size=(height, width))
    expected = np.ones((1, height, width))
    area, aspect, down, right = draws
    tall, wide = by_hand.box(0.02 + 0.31 * area, aspect, aspects=(0.3, 1 / 0.3), image=(height, width))
    if max(abs(tall % 1 - 0.5), abs(wide % 1 - 0.5)) < 1e-3 or not happens:
        tall, wide = rectangle(mask[0]) if happens else (0, 0)  # a tie: either is right
    if happens:
        found = rectangle(mask[0])
        assert abs(found[0] - tall) <= 0.501 or (tall < 0.5 and found[0] == 1)
        assert abs(found[1] - wide) <= 0.501 or (wide < 0.5 and found[1] == 1)
        top, left = by_hand.whole(down, height + 1 - found[0]), by_hand.whole(right, width + 1 - found[1])
        by_hand.hide(expected, top, left, *found)
    assert (mask[0].numpy() == (expected == 0)).all()


def test_erased_areas_are_spread_from_2_to_33_percent():
    draws = torch.rand(4, 5000, generator=torch.Generator().manual_seed(0))
    mask = erased(torch.ones(5000, dtype=torch.bool), *draws, size=(100, 100))
    area = mask.float().mean((1, 2, 3)).numpy()
    assert stats.kstest(area, "uniform", (0.02, 0.31)).pvalue > 1e-3
    assert abs(mask.float().mean((0, 1)).flip(0) - mask.float().mean((0, 1))).max() < 0.05, "as often above as below"


@given(unit, unit, st.integers(1, 12), st.integers(1, 12), st.integers(1, 15))
def test_cutout_is_a_square_around_a_pixel(down: float, right: float, height: int, width: int, side: int):
    mask = cut_out(side, torch.tensor([down]), torch.tensor([right]), size=(height, width))
    expected = np.ones((1, height, width))
    row, column = by_hand.whole(down, height), by_hand.whole(right, width)
    by_hand.hide(expected, row - side // 2, column - side // 2, side, side)
    assert (mask[0].numpy() == (expected == 0)).all()
    assert mask[0, 0, row, column]


def test_every_image_has_a_square_of_its_own():
    draws = torch.rand(2, 200, generator=torch.Generator().manual_seed(0))
    mask = cut_out(4, *draws, size=(20, 20))
    assert mask.shape == (200, 1, 20, 20)
    assert len({tuple(one.flatten().tolist()) for one in mask}) > 100
    assert mask.sum((1, 2, 3)).max() == 16
    assert mask.sum((1, 2, 3)).min() == pytest.approx(4, abs=3)
