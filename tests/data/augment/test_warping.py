"""Crops and rotations against loops over pixels, torchvision, and cases that are known exactly."""

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.nn import functional as F

from convscope.data.augment.boxes import sides
from convscope.data.augment.warping import ASPECTS, Crop, crops, warp
from data.augment import by_hand
from parity import torchvision_on_cpu


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def crop_of(top: float, left: float, height: float, width: float, *, image: tuple[int, int]) -> Crop:
    """A crop given in pixels."""
    shares = (top / image[0], left / image[1], height / image[0], width / image[1])
    return Crop(*(torch.tensor([share]) for share in shares))


@st.composite
def warps(draw):
    image, size = [(draw(st.integers(2, 12)), draw(st.integers(2, 12))) for _ in range(2)]
    height, width = draw(st.floats(0.2, 1)) * image[0], draw(st.floats(0.2, 1)) * image[1]
    top, left = draw(st.floats(0, 1)) * (image[0] - height), draw(st.floats(0, 1)) * (image[1] - width)
    return image, size, (top, left, height, width), draw(st.floats(-180, 180)), draw(st.sampled_from([1, 3]))


@given(warps())
def test_a_warp_is_one_look_after_the_other(case):
    image, size, box, degrees, channels = case
    stored = noise(1, channels, *image)
    warped = warp(stored, size, crop=crop_of(*box, image=image), angle=torch.tensor([degrees]))
    looks = tuple(max(1, math.ceil(old / new - 0.5)) for old, new in zip(image, size, strict=True))
    expected = by_hand.warp(stored[0].double().numpy(), size, box=box, degrees=degrees, looks=looks)
    # A look may be off by 1e-6 of the image's side, and pixels differ by up to 255 from one to the next.
    np.testing.assert_allclose(warped[0].numpy(), expected, atol=0.02)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, -1])
def test_quarter_turns_only_move_pixels(quarters: int):
    stored = noise(2, 3, 7, 7)
    turned = warp(stored, (7, 7), angle=torch.full((2,), 90.0 * quarters))
    torch.testing.assert_close(turned, stored.rot90(quarters, (2, 3)).float(), atol=1e-2, rtol=0)


def test_a_crop_of_everything_is_a_resize():
    stored = noise(2, 1, 9, 6)
    everything = Crop(torch.zeros(2), torch.zeros(2), torch.ones(2), torch.ones(2))
    expected = F.interpolate(stored.float(), (20, 18), mode="bilinear", align_corners=False)
    torch.testing.assert_close(warp(stored, (20, 18), crop=everything), expected, atol=1e-2, rtol=0)


def test_shrinking_averages_so_that_no_pixel_is_skipped():
    stored = noise(2, 3, 24, 12)
    everything = Crop(torch.zeros(2), torch.zeros(2), torch.ones(2), torch.ones(2))
    expected = F.avg_pool2d(stored.float(), (4, 3))
    torch.testing.assert_close(warp(stored, (6, 4), crop=everything), expected, atol=1e-2, rtol=0)
    for side in range(4, 24):  # a line is seen wherever it is, however much the image shrinks
        lines = torch.zeros(24, 1, 24, 24)
        lines[torch.arange(24), 0, :, torch.arange(24)] = 255
        whole = Crop(torch.zeros(24), torch.zeros(24), torch.ones(24), torch.ones(24))
        seen = warp(lines, (side, side), crop=whole).mean((1, 2, 3)) * 24 / 255
        assert seen.min() > 0.3, side
        assert seen.mean().item() == pytest.approx(1, abs=0.05), side


def test_neither_a_crop_nor_an_angle_is_a_mistake():
    with pytest.raises(ValueError, match="expected a crop or an angle; resizing alone is Preprocess's work"):
        warp(noise(1, 1, 4, 4), (4, 4))


@given(
    st.floats(0.01, 1), st.floats(0, 1), st.integers(1, 50), st.integers(1, 50), st.sampled_from([ASPECTS, (0.3, 3.3)])
)
def test_a_box_has_its_area_and_the_aspect_that_fits(area, aspect, height, width, aspects):
    tall, wide = sides(torch.tensor([area]), torch.tensor([aspect]), aspects=aspects, image=(height, width))
    expected = by_hand.box(area, aspect, aspects=aspects, image=(height, width))
    assert (tall.item() * height, wide.item() * width) == pytest.approx(expected, rel=1e-4)
    assert tall.item() * wide.item() == pytest.approx(area, rel=1e-4)


def test_crops_have_the_distribution_that_was_asked_for():
    draws = torch.rand(4, 20_000, generator=torch.Generator().manual_seed(0))
    area = draws[0] * 0.7 + 0.1  # up to 0.8, above which not every aspect fits
    top, left, height, width = crops(area, *draws[1:], image=(30, 30))
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= 1 + 1e-6
    torch.testing.assert_close(height * width, area)
    fits = area < 0.75
    aspect = (width / height)[fits].log().numpy()
    assert stats.kstest(aspect, "uniform", (math.log(3 / 4), 2 * math.log(4 / 3))).pvalue > 1e-3
    assert stats.kstest((top / (1 - height)).numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest((left / (1 - width)).numpy(), "uniform").pvalue > 1e-3


@pytest.fixture(scope="module")
def torchvision():
    if not torchvision_on_cpu.is_installed():
        pytest.skip(torchvision_on_cpu.INSTALL)
    torchvision_on_cpu.import_networks()
    return importlib.import_module("torchvision.transforms.functional")


@pytest.mark.parametrize("degrees", [-171, -45, 12.5, 30, 100])
@pytest.mark.parametrize("side", [16, 21])
def test_rotation_is_torchvision_s_wherever_it_sees_the_image(torchvision, degrees: float, side: int):
    stored = noise(1, 3, side, side)
    bilinear = torchvision.InterpolationMode.BILINEAR
    expected = torchvision.rotate(stored.float(), degrees, interpolation=bilinear)
    # Beyond the border it sees black and we a mirror; a turned white image shows where that begins.
    seen = torchvision.rotate(torch.ones(1, 1, side, side), degrees, interpolation=bilinear) > 0.9999
    assert seen.float().mean() > 0.5
    ours = warp(stored, (side, side), angle=torch.tensor([float(degrees)]))
    torch.testing.assert_close(*(x.masked_select(seen) for x in (ours, expected)), atol=0.02, rtol=0)


@pytest.mark.parametrize("box", [(3, 5, 10, 8), (0, 0, 16, 20), (6, 2, 7, 15)])
def test_a_crop_of_whole_pixels_is_torchvision_s_but_for_its_edge(torchvision, box):
    stored, size = noise(2, 3, 16, 20), (32, 40)
    expected = torchvision.resized_crop(stored.float(), *box, list(size), antialias=True)
    crop = Crop(*(share.expand(2) for share in crop_of(*box, image=(16, 20))))
    # It cuts first and so looks at the last pixel again where we look at the next one: half a stored pixel.
    edge = [math.ceil(0.5 * new / old) for new, old in zip(size, box[2:], strict=True)]
    inside = (slice(None), slice(None), slice(edge[0], -edge[0]), slice(edge[1], -edge[1]))
    torch.testing.assert_close(warp(stored, size, crop=crop)[inside], expected[inside], atol=0.02, rtol=0)
