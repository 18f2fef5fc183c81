"""Colours against torchvision and against arithmetic by hand."""

import importlib

import numpy as np
import pytest
import torch

from convscope.data.augment.coloring import brighten, contrast, saturate
from data.augment import by_hand
from parity import torchvision_on_cpu

FACTORS = torch.tensor([0.0, 0.4, 1.0, 1.3, 2.0])
OURS = {"brightness": brighten, "contrast": contrast, "saturation": saturate}


def noise(channels: int) -> torch.Tensor:
    return torch.rand(len(FACTORS), channels, 6, 5, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("channels", [1, 3])
def test_colors_are_torchvision_s(name: str, channels: int):
    if not torchvision_on_cpu.is_installed():
        pytest.skip(torchvision_on_cpu.INSTALL)
    torchvision_on_cpu.import_networks()
    adjust = getattr(importlib.import_module("torchvision.transforms.functional"), f"adjust_{name}")
    x = noise(channels)
    expected = torch.stack([adjust(image / 255, factor.item()) for image, factor in zip(x, FACTORS, strict=True)])
    torch.testing.assert_close(OURS[name](x, FACTORS) / 255, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("channels", [1, 3])
def test_colors_are_as_by_hand_and_in_place(name: str, channels: int):
    x = noise(channels)
    expected = [
        by_hand.color(image, **{name: factor})
        for image, factor in zip(x.double().numpy(), FACTORS.double().numpy(), strict=True)
    ]
    changed = OURS[name](x, FACTORS)
    assert changed.data_ptr() == x.data_ptr()
    np.testing.assert_allclose(changed.numpy(), np.stack(expected), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_what_is_not_rgb_has_no_saturation(channels: int):
    x = noise(channels)
    assert torch.equal(saturate(x.clone(), FACTORS), x)


def test_contrast_of_other_than_three_channels_is_about_their_mean():
    x = noise(2)
    flat = contrast(x.clone(), torch.zeros(len(x)))
    torch.testing.assert_close(flat, x.mean((1, 2, 3), keepdim=True).expand_as(x))


def test_factor_one_changes_nothing_that_can_be_seen():
    for change in OURS.values():
        x = noise(3)
        torch.testing.assert_close(change(x.clone(), torch.ones(len(x))), x, atol=1e-4, rtol=0)
