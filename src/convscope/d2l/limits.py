"""Shorter training for a quick look, asked for from outside the program that trains.

A notebook says how long it trains, in cells that nobody wants to edit for a first look. Whoever starts it sets two
variables in its environment (``convscope notebook --max-epochs 1 --limit 500`` does), and ``Trainer`` and
``FashionMNIST`` ask ``limits()`` when they are made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

MAX_EPOCHS, IMAGES = "CONVSCOPE_MAX_EPOCHS", "CONVSCOPE_LIMIT"


@dataclass(frozen=True)
class Limits:
    """How much of a training is wanted.

    Args:
        max_epochs: Epochs at most in each fit; None leaves the program's own number.
        images: Images at most of Fashion-MNIST's training split, and as many of its test split; None takes all.

    Raises:
        ValueError: A number below 1.

    Example:
        >>> Limits(max_epochs=1, images=500).environment()
        {'CONVSCOPE_MAX_EPOCHS': '1', 'CONVSCOPE_LIMIT': '500'}
        >>> print(Limits(max_epochs=1, images=500))
        at most 1 epoch, at most 500 images of each split of Fashion-MNIST
        >>> Limits().epochs(10), Limits(max_epochs=3).epochs(10), Limits(max_epochs=30).epochs(10)
        (10, 3, 10)
    """

    max_epochs: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--max-epochs", self.max_epochs), ("--limit", self.images)):
            if value is not None and value < 1:
                raise ValueError(f"{flag} must be at least 1, got {value}")

    def __bool__(self) -> bool:
        return self != Limits()

    def __str__(self) -> str:
        parts = [] if self.max_epochs is None else [f"at most {self.max_epochs:,} epoch{'s' * (self.max_epochs != 1)}"]
        if self.images is not None:
            parts.append(f"at most {self.images:,} image{'s' * (self.images != 1)} of each split of Fashion-MNIST")
        return ", ".join(parts) or "no limit"

    def epochs(self, wanted: int) -> int:
        """What becomes of the number of epochs that a program asks for."""
        return wanted if self.max_epochs is None else min(wanted, self.max_epochs)

    def environment(self) -> dict[str, str]:
        """The variables that ask for this in another process; a limit that is None is left out."""
        values = {MAX_EPOCHS: self.max_epochs, IMAGES: self.images}
        return {name: str(value) for name, value in values.items() if value is not None}


def limits(environment: Mapping[str, str] | None = None) -> Limits:
    """What the variables ``CONVSCOPE_MAX_EPOCHS`` and ``CONVSCOPE_LIMIT`` ask for; without them, no limit at all.

    Args:
        environment: Where to look; None takes the process's own.

    Raises:
        ValueError: A variable is no whole number of at least 1.

    Example:
        >>> limits({"CONVSCOPE_LIMIT": "500"})
        Limits(max_epochs=None, images=500)
    """
    given = os.environ if environment is None else environment
    return Limits(max_epochs=_whole(given, MAX_EPOCHS), images=_whole(given, IMAGES))


def _whole(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"the variable {name} must be a whole number of at least 1, got {text!r}")
    return int(text)
