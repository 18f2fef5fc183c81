"""Pictures are the images and the weights themselves, pixel by pixel."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from convscope.data import ImageSet
from convscope.report import figures
from convscope.report.figures.style import drawn_names, shorten, thumbnails
from report import made


def sheet(figure) -> np.ndarray:
    return figure.axes[0].images[0].get_array()


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_mistakes_are_the_most_confident_ones_with_what_was_said_and_what_is_true():
    data = made.dataset()
    figure = figures.mistakes(made.evaluation(data, wrong=2), data.test)
    assert words(figure) == [
        "said dog", "is cat", "sure: 98.0\N{NO-BREAK SPACE}%", "said owl", "is dog", "sure: 97.9\N{NO-BREAK SPACE}%",
    ]  # fmt: skip
    pixels = sheet(figure)
    for column in (0, 1):
        corner = pixels[:8, column * 9 : column * 9 + 8]
        assert (corner[..., 0] == data.test.images[column, 0].numpy()).all()
        assert (corner[..., 3] == 255).all()
    assert (pixels[:, 18:, 3] == 0).all(), "the third place is empty and shows the page"


def test_mistakes_keep_their_colors():
    data = made.dataset(channels=3)
    pixels = sheet(figures.mistakes(made.evaluation(data, wrong=1), data.test))
    assert (pixels[:8, :8, :3] == data.test.images[0].permute(1, 2, 0).numpy()).all()


def test_no_mistake_no_figure():
    data = made.dataset()
    assert figures.mistakes(made.evaluation(data), data.test) is None


def test_mistakes_of_other_images_are_refused():
    data = made.dataset()
    other = ImageSet(data.test.images, data.test.labels.flip(0), data.test.classes)
    with pytest.raises(ValueError, match="the evaluation of 12 images is not of these 12: their labels differ"):
        figures.mistakes(made.evaluation(data, wrong=1), other)


def test_grey_filters_are_white_at_zero_blue_above_and_orange_below():
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0, 0, 0, 0] = 2.0
        model[1].weight[1, 0, 2, 2] = -2.0
    figure = figures.first_layer_filters(model)
    pixels, scale = sheet(figure), 8
    assert tuple(pixels[0, 0]) == (0x00, 0x72, 0xB2, 255)
    assert tuple(pixels[scale, scale, :3]) == pytest.approx((255, 255, 255), abs=1)
    second = pixels[:, 24 + 2 :]
    assert tuple(second[2 * scale, 2 * scale]) == (0xD5, 0x5E, 0x00, 255)
    bar = figure.axes[1]
    assert bar.get_xlim() == (-2, 2)
    assert bar.get_xlabel() == "weight (no unit)"


def test_color_filters_are_scaled_each_to_its_own_largest_weight():
    model = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        model.weight[:] = torch.tensor([[4.0, 0.0, -4.0], [0.01, -0.01, 0.005]])[..., None, None]
    figure = figures.first_layer_filters(model)
    pixels = sheet(figure)
    assert tuple(pixels[0, 0, :3]) == (255, 128, 0)
    assert tuple(pixels[0, -3, :3]) == (255, 0, 191)
    assert len(figure.axes) == 1


def test_other_channel_counts_are_shown_channel_by_channel_and_at_most_64():
    assert len(figures.first_layer_filters(nn.Conv2d(2, 3, 3)).axes[0].patches) == 6
    assert len(figures.first_layer_filters(nn.Conv2d(1, 300, 3)).axes[0].patches) == 64


def test_no_convolution_no_figure():
    assert figures.first_layer_filters(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) is None


def test_all_weights_zero_can_be_drawn():
    model = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(model.weight)
    figure = figures.first_layer_filters(model)
    figure.draw_without_rendering()
    assert figure.axes[0].images


def test_contact_sheet_has_a_row_for_each_class_with_its_count():
    data = made.dataset()
    figure = figures.contact_sheet(data, per_class=3)
    assert words(figure) == ["cat", "6", "dog", "6", "owl", "6"]
    pixels = sheet(figure)
    assert pixels.shape == (3 * 9, 3 * 9, 4)
    for row in range(3):
        first, last = (data.train.labels == row).nonzero()[[0, -1], 0]
        assert (pixels[9 * row : 9 * row + 8, :8, 0] == data.train.images[first, 0].numpy()).all()
        assert (pixels[9 * row : 9 * row + 8, 18:26, 0] == data.train.images[last, 0].numpy()).all()


def test_contact_sheet_of_a_class_with_few_images_leaves_places_empty():
    data = made.dataset()
    fewer = replace(data, train=data.train.take(torch.arange(len(data.train) - 1)))  # one owl less
    pixels = sheet(figures.contact_sheet(fewer, per_class=10))
    assert pixels.shape[1] == 6 * 9, "no column that is empty for every class"
    assert (pixels[:8, 45:53, 3] == 255).all()
    assert (pixels[18:26, 45:53, 3] == 0).all()


@pytest.mark.parametrize(("count", "shown"), [(21, 21), (60, 60), (150, 60)])
def test_contact_sheet_of_many_classes_shows_one_image_each(count: int, shown: int):
    data = made.dataset(tuple(f"kind {i}" for i in range(count)))
    figure = figures.contact_sheet(data)
    assert words(figure) == [f"kind {i}" for i in range(shown)]
    assert (sheet(figure)[:8, 9:17, 0] == data.train.images[1, 0].numpy()).all()


def test_large_pictures_are_reduced_and_keep_their_shape_and_mean():
    images = torch.randint(0, 256, (2, 3, 300, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = thumbnails(images, 60)
    assert small.shape == (2, 60, 30, 3)
    assert small.float().mean().item() == pytest.approx(images.float().mean().item(), abs=1)


def test_long_names_lose_their_middle_and_control_characters():
    assert shorten("supercalifragilistic", most=10) == "super…stic"
    assert len(shorten("x" * 500)) == 14
    assert shorten("one\ntwo") == "one two"


def test_names_that_cannot_be_drawn_are_numbered_and_keep_their_meaning():
    assert drawn_names(["été", "犬", "$x^2$", "\udcff"]) == [
        ("été", "été"),
        ("class 1", "犬"),
        ("$x^2$",) * 2,
        ("class 3", "\udcff"),
    ]
