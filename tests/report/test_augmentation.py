"""The grid shows what the network sees."""

import numpy as np
import pytest
import torch

from convscope.data import Preprocess
from convscope.data.augment import Augment, AugmentConfig
from convscope.report.figures.augmentation import augmentation_grid
from report import made

SIDE, GAP = 48, 4  # of a tile: images of 8 pixels, six times as large


def grid(config: AugmentConfig, *, channels: int = 1, size: tuple[int, int] = (8, 8), epochs: int = 3):
    images = made.image_set(("cat", "dog"), per_class=2, channels=channels)
    see = Preprocess(size, (0.3,) * channels, (0.2,) * channels)
    return images, augmentation_grid(images, Augment(config, see, seed=0), epochs=epochs)


def tile(figure, row: int, column: int) -> np.ndarray:
    sheet = figure.axes[0].images[0].get_array()
    assert sheet.shape[1] == 4 * SIDE + 3 * GAP
    top, left = row * (SIDE + GAP), column * (SIDE + GAP)
    return sheet[top : top + SIDE : 6, left : left + SIDE : 6, :3]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_row_is_an_image_as_it_is_and_in_one_epoch_after_the_other(channels: int):
    images, figure = grid(AugmentConfig(flip="alternate"), channels=channels)
    assert [text.get_text() for text in figure.axes[0].texts] == ["as it is", "epoch 1", "2", "3"]
    flipped = []
    for row, image in enumerate(images.images):
        stored = image.permute(1, 2, 0).expand(-1, -1, 3).numpy()
        assert (tile(figure, row, 0) == stored).all()
        first = (tile(figure, row, 1) != stored).any()
        flipped.append(bool(first))
        for column in (1, 2, 3):
            expected = stored[:, ::-1] if first == column % 2 else stored
            assert (tile(figure, row, column) == expected).all()
    assert len(flipped) == 4


def test_hidden_boxes_have_the_color_of_the_mean():
    _, figure = grid(AugmentConfig(cutout=20))
    assert (tile(figure, 0, 1) == round(0.3 * 255)).all()


def test_images_are_shown_in_the_size_that_the_network_sees():
    _, figure = grid(AugmentConfig(crop=0.5), size=(120, 60))
    assert figure.axes[0].images[0].get_array().shape[:2] == (4 * 96 + 3 * 4, 4 * 48 + 3 * 4)
    figure.draw_without_rendering()


def test_mixed_images_are_shown():
    _, figure = grid(AugmentConfig(mixup=1.0))
    assert (tile(figure, 0, 1) != tile(figure, 0, 0)).any()


def test_nothing_to_show_is_refused():
    images = made.image_set(("cat",), per_class=2)
    augment = Augment(AugmentConfig(), Preprocess((8, 8), (0.0,), (1.0,)), seed=0)
    with pytest.raises(ValueError, match="expected at least one image and one epoch, got 2 and 0"):
        augmentation_grid(images, augment, epochs=0)
    with pytest.raises(ValueError, match="got 0 and 7"):
        augmentation_grid(images.take(torch.arange(0)), augment)
