"""Flips and shifts against slices of images that numpy padded."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.data.augment.moving import move
from data.augment import by_hand


@st.composite
def cases(draw):
    count, channels = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3]))
    height, width = draw(st.integers(2, 7)), draw(st.integers(2, 7))
    down = draw(st.lists(st.integers(1 - height, height - 1), min_size=count, max_size=count))
    right = draw(st.lists(st.integers(1 - width, width - 1), min_size=count, max_size=count))
    mirrored = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    seed = draw(st.integers(0, 99))
    images = torch.randint(0, 256, (count, channels, height, width), generator=torch.Generator().manual_seed(seed))
    return images.to(torch.uint8), torch.tensor(down), torch.tensor(right), torch.tensor(mirrored)


def limited(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """One axis after the other: numpy pads a short axis by no more than it has room for."""
    image = by_hand.shift(image, down, 0) if down else image
    return by_hand.shift(image.transpose(0, 2, 1), right, 0).transpose(0, 2, 1) if right else image


@given(cases(), st.booleans(), st.booleans(), st.booleans())
def test_every_image_is_mirrored_and_then_moved(case, shift_down: bool, shift_right: bool, mirror: bool):
    images, down, right, mirrored = case
    before = images.clone()
    moved = move(
        images,
        down=down if shift_down else None,
        right=right if shift_right else None,
        mirrored=mirrored if mirror else None,
    )
    assert moved.dtype == torch.uint8
    assert torch.equal(images, before)
    for i, image in enumerate(images.numpy()):
        image = image[:, :, ::-1] if mirror and mirrored[i] else image
        expected = limited(image, int(down[i]) * shift_down, int(right[i]) * shift_right)
        assert (moved[i].numpy() == expected).all()


def test_padding_both_axes_at_once_is_the_same():
    images = torch.randint(0, 256, (2, 3, 9, 8), dtype=torch.uint8)
    moved = move(images, down=torch.tensor([2, -3]), right=torch.tensor([-1, 3]))
    assert (moved[0].numpy() == by_hand.shift(images[0].numpy(), 2, -1)).all()
    assert (moved[1].numpy() == by_hand.shift(images[1].numpy(), -3, 3)).all()


def test_nothing_to_do_is_nothing_done():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    assert move(images) is images


def test_images_of_any_layout_in_memory():
    images = torch.randint(0, 256, (3, 3, 5, 6), dtype=torch.uint8)
    strided = images.to(memory_format=torch.channels_last)
    arguments = {"down": torch.tensor([1, 0, -2]), "right": torch.tensor([0, 2, 1]), "mirrored": torch.arange(3) > 0}
    assert torch.equal(move(strided, **arguments), move(images, **arguments))
