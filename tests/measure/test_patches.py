"""Marks put in known places are found there, and cut as far as a unit sees."""

import pytest
import torch
from torch import nn

from convscope.data import Preprocess
from convscope.measure import receptive_field, top_patches

SEEN = Preprocess((12, 12), (0.0,), (1.0,))


def crosses(places: dict[int, tuple[int, int]], count: int = 6) -> torch.Tensor:
    """Black images, some with a bright cross of five pixels around a place."""
    images = torch.zeros(count, 1, 12, 12, dtype=torch.uint8)
    for number, (row, column) in places.items():
        strength = 255 - 20 * number
        images[number, 0, row - 1 : row + 2, column] = strength
        images[number, 0, row, column - 1 : column + 2] = strength
    return images


def detector(padding: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(1, 2, 3, padding=padding, bias=False)
    cross = torch.tensor([[-1.0, 1, -1], [1, 1, 1], [-1, 1, -1]])
    conv.weight.data = torch.stack([cross, -cross])[:, None]
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 2))


def test_the_brightest_crosses_are_found_where_they_are():
    places = {1: (4, 7), 3: (9, 2), 4: (5, 5)}
    found = top_patches(detector(), crosses(places), SEEN, "0", channels=[0], most=3)
    assert found.layer == "0"
    (patches,) = found.patches
    assert [patch.image for patch in patches] == [1, 3, 4]
    assert [(patch.row, patch.column) for patch in patches] == list(places.values())
    assert [patch.value for patch in patches] == pytest.approx([5 * (255 - 20 * n) / 255 for n in places])
    assert [patch.box for patch in patches] == [(r - 1, c - 1, r + 2, c + 2) for r, c in places.values()]


def test_boxes_of_deeper_layers_are_wider():
    found = top_patches(detector(), crosses({0: (5, 5)}), SEEN, "2", channels=[0], most=1)
    assert found.patches[0][0].box == (3, 3, 7, 7)  # two by two windows of 3x3, from pixel 2*2-1


def test_boxes_reach_into_the_padding():
    corner = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    corner[0, 0, :2, 10:] = 255
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(144, 2))
    model[0].weight.data = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 1, 0]]).view(1, 1, 3, 3)
    model[0].weight.data[0, 0, 1, 0] = 1  # the pixel itself, the one below and the one on its left
    best = top_patches(model, corner, SEEN, most=1).patches[0][0]
    assert (best.row, best.column, best.box) == (0, 11, (-1, 10, 2, 13))


def test_values_are_the_largest_of_the_maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 10, 3), nn.Flatten(), nn.Linear(640, 2))
    images = torch.randint(0, 256, (30, 1, 12, 12), dtype=torch.uint8)
    found = top_patches(model, images, SEEN, most=4, batch_size=7)
    assert (found.layer, found.channels) == ("2", tuple(range(8)))
    maps = model[:3](SEEN(images))
    for channel, patches in zip(found.channels, found.patches, strict=True):
        best = maps[:, channel].flatten(1).amax(1).topk(4)
        assert [patch.value for patch in patches] == pytest.approx(best.values.tolist(), rel=1e-5)
        for patch in patches:
            assert maps[patch.image, channel, patch.row, patch.column].item() == pytest.approx(patch.value, rel=1e-5)
            assert patch.box == (patch.row, patch.column, patch.row + 5, patch.column + 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layer": "9"}, "unknown layer '9'"),
        ({"layer": "4"}, "layer '4' gives no feature maps"),
        ({"channels": [2]}, r"layer '0' has channels 0\.\.1, got 2"),
        ({"most": 0}, "most must be at least 1, got 0"),
    ],
)
def test_what_is_not_there_gets_one_sentence(arguments, said):
    with pytest.raises(ValueError, match=said):
        top_patches(detector(), crosses({}), SEEN, **arguments)


def test_no_images_and_no_convolution_get_one_sentence():
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        top_patches(detector(), torch.zeros(0, 1, 12, 12, dtype=torch.uint8), SEEN)
    with pytest.raises(ValueError, match="has no convolution"):
        top_patches(nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), crosses({}), SEEN)


class Backwards(nn.Module):
    """Declares its convolutions in another order than they run, one never runs, and one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.never = nn.Conv2d(2, 2, 3)
        self.head = nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.first(x))
        return self.head(self.twice(x.relu()).mean((2, 3)))


def test_of_a_layer_that_runs_twice_values_boxes_and_evidence_are_of_the_last_run():
    model = Backwards()
    images = torch.randint(0, 256, (5, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = top_patches(model, images, SEEN, most=5, batch_size=2)
    assert found.layer == "twice"
    maps = model.twice(model.twice(model.first(SEEN(images))).relu())
    for channel, patches in enumerate(found.patches):
        expected = maps[:, channel].flatten(1).amax(1).sort(descending=True).values
        assert [patch.value for patch in patches] == pytest.approx(expected.tolist(), rel=1e-5)
        for patch in patches:
            assert maps[patch.image, channel, patch.row, patch.column].item() == pytest.approx(patch.value, rel=1e-5)
            region = receptive_field(model, (1, 12, 12), "twice", (patch.row, patch.column)).region
            (top, bottom), (left, right) = region.rows, region.columns
            assert patch.box == (top, left, bottom + 1, right + 1)
            assert bottom - top == 6  # three layers of 3x3, and not two


def test_maps_without_numbers_have_no_strongest_place():
    class Log(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.log()

    model = nn.Sequential(nn.Conv2d(1, 1, 1), Log(), nn.Flatten(), nn.Linear(144, 2))
    nn.init.constant_(model[0].weight, -1.0)
    with pytest.raises(ValueError, match="layer '1' gives NaN or infinity"):
        top_patches(model, crosses({0: (4, 4)}), SEEN, "1")
