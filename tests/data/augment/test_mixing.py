"""Mixup and cutmix: what is shown of each image is what the label says."""

import math
import random

import pytest
import torch
from scipy import stats

from convscope.data.augment import AugmentConfig
from convscope.data.augment.draws import key_of
from convscope.data.augment.mixing import Mix, blend, draw_mix, probabilities

SIZE = (20, 12)


def drawn(count: int = 2000, **settings: float) -> list[Mix]:
    return [draw_mix(AugmentConfig(**settings), key_of("mix", 0, 0, batch), size=SIZE) for batch in range(count)]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_of_mixup_have_a_beta_distribution(alpha: float):
    mixes = drawn(mixup=alpha)
    assert all(mix.box is None for mix in mixes)
    assert stats.kstest([mix.own for mix in mixes], "beta", (alpha, alpha)).pvalue > 1e-3


def test_the_smallest_alphas_leave_images_as_they_are_or_swap_them():
    assert {round(mix.own, 6) for mix in drawn(mixup=1e-4)} == {0.0, 1.0}


def test_boxes_of_cutmix_lie_in_the_image_and_count_by_their_area():
    mixes = drawn(cutmix=1.0)
    centres = []
    for batch, mix in enumerate(mixes):
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= SIZE[0]
        assert 0 <= left <= right <= SIZE[1]
        assert mix.own == 1 - (bottom - top) * (right - left) / (SIZE[0] * SIZE[1])
        if 0 < top < bottom < SIZE[0] and 0 < left < right < SIZE[1]:  # nothing was cut off
            draw = random.Random(key_of("mix", 0, 0, batch))
            draw.choice([0])
            side = math.sqrt(1 - draw.betavariate(1, 1))
            assert (bottom - top, right - left) == (int(SIZE[0] * side), int(SIZE[1] * side))
            centres.append((top + bottom) / 2)
    assert 0.55 < sum(mix.own for mix in mixes) / len(mixes) < 0.8, "a half on average, and what was cut off stays"
    assert min(centres) < 5
    assert max(centres) > 15


def test_with_both_each_batch_takes_one():
    boxes = sum(mix.box is not None for mix in drawn(mixup=0.2, cutmix=1.0))
    assert stats.binomtest(boxes, 2000).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 2, 5])
def test_mixup_blends_pixel_by_pixel(count: int):
    x = torch.randn(count, 2, *SIZE)
    blended = blend(x.clone(), Mix(0.3))
    for i in range(count):
        torch.testing.assert_close(blended[i], 0.3 * x[i] + 0.7 * x[i - 1])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_cutmix_pastes_a_box_at_the_same_place(count: int):
    x = torch.randn(count, 2, *SIZE)
    mixed = blend(x.clone(), Mix(0.9, (2, 8, 1, 5)))
    for i in range(count):
        expected = x[i].clone()
        expected[:, 2:8, 1:5] = x[i - 1][:, 2:8, 1:5]
        assert torch.equal(mixed[i], expected)


def test_labels_are_shares_of_the_two_images():
    rows = probabilities(torch.tensor([0, 2, 2]), 4, 0.75)
    assert rows.tolist() == [[0.75, 0, 0.25, 0], [0.25, 0, 0.75, 0], [0, 0, 1, 0]]
    assert rows.dtype == torch.float32
