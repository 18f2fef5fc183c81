"""Every knob of augmentation, once: its name, its unit and its default, which is off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

FLIPS = ("none", "random", "alternate")


def _whole(name: str, value: int) -> None:
    """Refuse what is no number of pixels."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"--{name} must be a whole number of pixels, at least 0, got {value!r}")


def _between(name: str, value: float, low: float, high: float, what: str, *, above: bool = False) -> None:
    """Refuse a number outside ``low .. high``, or one that is no number at all."""
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not number or not low <= value <= high or (above and value == low):
        reach = f"at least {low:g}" if high == math.inf else f"{'above' if above else 'from'} {low:g} to {high:g}"
        raise ValueError(f"--{name} must be {what}, {reach}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are varied, each image by draws of its own; off unless asked for.

    Raises:
        ValueError: A number out of range.

    Example:
        >>> AugmentConfig().active, AugmentConfig(flip="random", shift=2).active
        (False, True)
    """

    flip: Literal["none", "random", "alternate"] = "none"
    """Mirror left and right: half of the images at random; or alternate: each image every second epoch."""
    shift: int = 0
    """Move by up to so many stored pixels down or up and right or left; the border is reflected."""
    crop: float = 1.0
    """Smallest share of the area in a random crop, resized to what the network sees; 1 crops nothing."""
    rotate: float = 0.0
    """Turn by up to so many degrees either way; the border is reflected."""
    brightness: float = 0.0
    """Multiply by a factor of 1 - so much to 1 + so much."""
    contrast: float = 0.0
    """Scale differences from the image's mean grey by a factor of 1 - so much to 1 + so much."""
    saturation: float = 0.0
    """Scale differences from grey by a factor of 1 - so much to 1 + so much; nothing happens to grey images."""
    erase: float = 0.0
    """Probability that a random box of 2 to 33 percent of the area is filled with the mean."""
    cutout: int = 0
    """Side in pixels, as the network sees them, of a square filled with the mean; part of it may lie outside."""
    mixup: float = 0.0
    """Blend each image and label with another's by a share from Beta(so much, so much); 0 is off."""
    cutmix: float = 0.0
    """Paste a box of another image, its label's share by area, from Beta(so much, so much); 0 is off."""
    trivial: bool = False
    """TrivialAugment: one random operation per image, of random strength; needs pip install 'convscope[augment]'."""

    def __post_init__(self) -> None:
        if self.flip not in FLIPS:
            raise ValueError(f"--flip must be one of {', '.join(FLIPS)}, got {self.flip!r}")
        _whole("shift", self.shift)
        _whole("cutout", self.cutout)
        _between("crop", self.crop, 0, 1, "a share of the area", above=True)
        _between("rotate", self.rotate, 0, 180, "an angle in degrees")
        for name in ("brightness", "contrast", "saturation"):
            _between(name, getattr(self, name), 0, 1, "a strength")
        _between("erase", self.erase, 0, 1, "a probability")
        for name in ("mixup", "cutmix"):
            _between(name, getattr(self, name), 0, math.inf, "the alpha of a Beta distribution")
        if not isinstance(self.trivial, bool):
            raise ValueError(f"--trivial must be True or False, got {self.trivial!r}")

    @property
    def active(self) -> bool:
        """Whether anything is done at all."""
        return self != AugmentConfig()

    @property
    def mixes(self) -> bool:
        """Whether labels become probabilities."""
        return self.mixup > 0 or self.cutmix > 0
