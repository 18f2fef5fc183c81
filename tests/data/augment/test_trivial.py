"""TrivialAugment against torchvision's operations, and what is said where kornia is missing."""

import importlib
import importlib.util
import re
import sys

import pytest
import torch
from scipy import stats

from convscope.data import Preprocess
from convscope.data.augment import Augment, AugmentConfig, trivial
from parity import torchvision_on_cpu

needs_kornia = pytest.mark.skipif(
    importlib.util.find_spec("kornia") is None, reason="kornia is not installed: pip install 'convscope[augment]'"
)
SEE = Preprocess((16, 16), (0.0,) * 3, (1.0,) * 3)


def test_without_kornia_it_is_said_what_to_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "kornia.enhance", None)
    trivial._kornia.cache_clear()
    message = "TrivialAugment needs kornia: pip install 'convscope[augment]'"
    with pytest.raises(ModuleNotFoundError, match=f"^{re.escape(message)}$"):
        Augment(AugmentConfig(trivial=True), SEE, seed=0)
    Augment(AugmentConfig(flip="random"), SEE, seed=0)  # nothing else needs it


def noise(count: int = 62, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def ramps(channels: int) -> torch.Tensor:
    """Slopes of 4 levels a pixel to the right and 3 down: a place can be read off."""
    place = torch.arange(16)
    return (4 * place + 3 * place[:, None] + 20).to(torch.uint8).expand(62, channels, 16, 16)


STRENGTHS = torch.arange(31).repeat(2) / 30  # every step, once with each sign
SIGNS = torch.tensor([1.0, -1.0]).repeat_interleave(31)

# What torchvision calls ours, the strength of each step in its unit, and how far levels of 255 may be apart.
THEIRS = {
    "identity": ("Identity", torch.zeros(31), 0.01),
    "shear_x": ("ShearX", torch.linspace(0, 0.99, 31), None),
    "shear_y": ("ShearY", torch.linspace(0, 0.99, 31), None),
    "translate_x": ("TranslateX", torch.arange(31) * 32 / 30, 0.01),
    "translate_y": ("TranslateY", torch.arange(31) * 32 / 30, 0.01),
    "rotate": ("Rotate", torch.linspace(0, 135, 31), None),
    "brightness": ("Brightness", torch.linspace(0, 0.99, 31), 1.01),
    "color": ("Color", torch.linspace(0, 0.99, 31), 2.01),
    "contrast": ("Contrast", torch.linspace(0, 0.99, 31), 2.01),
    "sharpness": ("Sharpness", torch.linspace(0, 0.99, 31), 2.01),
    "posterize": ("Posterize", 8 - (torch.arange(31) / 5).round().int(), 0.01),
    "solarize": ("Solarize", torch.linspace(255, 0, 31), 0.01),
    "autocontrast": ("AutoContrast", torch.zeros(31), 1.01),
    "equalize": ("Equalize", torch.zeros(31), 0.01),
}
UNSIGNED = ("identity", "posterize", "solarize", "autocontrast", "equalize")


@needs_kornia
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", THEIRS)
def test_each_operation_is_torchvision_s(name: str, channels: int):
    if not torchvision_on_cpu.is_installed():
        pytest.skip(torchvision_on_cpu.INSTALL)
    torchvision_on_cpu.import_networks()
    automatic = importlib.import_module("torchvision.transforms.autoaugment")
    bilinear = importlib.import_module("torchvision.transforms.functional").InterpolationMode.BILINEAR
    theirs, strengths, apart = THEIRS[name]
    images = ramps(channels) if apart is None else noise(channels=channels)
    ours = trivial.operations()[name](images.float() / 255, STRENGTHS, SIGNS) * 255
    assert ours.shape == images.shape
    for i, image in enumerate(images):
        strength = strengths[i % 31].item()
        signed = strength if name in UNSIGNED else strength * SIGNS[i].item()
        expected = automatic._apply_op(image, theirs, signed, interpolation=bilinear, fill=None).float()
        difference = (ours[i] - expected).abs()
        if apart is not None:
            assert difference.max() <= apart, (name, strength)
        else:  # interpolated; kornia shears about the middle of the first pixel, not its edge: up to half a pixel, or 2
            assert difference[:, 2:-2, 2:-2].median() < 3, (name, strength)


@needs_kornia
def test_each_image_takes_its_own_operation_and_is_the_same_in_any_batch():
    images, index = noise(400), torch.arange(400)
    augment = Augment(AugmentConfig(trivial=True), SEE, seed=0)

    def varied(rows: slice) -> torch.Tensor:
        return augment(images[rows], index[rows], index[rows], epoch=2, batch=0, classes=400)[0]

    whole = varied(slice(None))
    torch.manual_seed(1)
    shares = [varied(slice(start, start + 100)) for start in range(0, 400, 100)]
    torch.testing.assert_close(torch.cat(shares), whole, atol=1e-5, rtol=0)
    assert whole.min() >= 0
    assert whole.max() <= 1
    same = (whole - SEE(images)).abs().flatten(1).amax(1) < 1e-5
    assert 400 / 14 / 2 < same.sum() < 400 / 3, "identity, and operations of a strength that does nothing"


@needs_kornia
def test_every_operation_and_every_strength_is_as_frequent(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, float, float]] = []

    def watched(name: str):
        def operation(x, strength, sign):
            seen.extend((name, *both) for both in zip(strength.tolist(), sign.tolist(), strict=True))
            return x

        return operation

    monkeypatch.setattr(trivial, "operations", lambda: {name: watched(name) for name in THEIRS})
    draws = torch.rand(3, 28_000, generator=torch.Generator().manual_seed(0))
    trivial.trivial(torch.zeros(28_000, 1, 1, 1), *draws)
    for column, count in enumerate((14, 31, 2)):
        values = [row[column] for row in seen]
        counts = [values.count(value) for value in sorted(set(values), key=str)]
        assert len(counts) == count
        assert stats.chisquare(counts).pvalue > 1e-3


@needs_kornia
def test_a_flat_image_stays_flat():
    x = torch.full((2, 3, 8, 8), 0.5)
    for name in ("autocontrast", "equalize", "sharpness"):
        torch.testing.assert_close(trivial.operations()[name](x.clone(), torch.ones(2), torch.ones(2)), x)
