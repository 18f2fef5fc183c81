"""How closely a network is looked at: as closely as it costs little, and less where a figure would take minutes."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLES = 200  # test images of a network that costs little
BUDGET = 2.5e11  # multiply-adds for a figure: some seconds on one core
ACCELERATED = 50  # times as many on an accelerator
LEAST = 8  # test images, however much a network costs


@dataclass(frozen=True)
class Allowance:
    """How many images, and which shifts, figures are made from.

    Args:
        cost: Multiply-adds for one image, at least 1.
        there: Test images that there are.
        max_shift: Of the shifts, in pixels.
        samples: Test images that somebody asked for: they are taken, whatever they cost. None takes 200, and of a
            network for which that would cost more than ``BUDGET`` a figure, as many as that allows.
        accelerated: Whether the network is not on the CPU.

    Example:
        >>> Allowance(400_000, 10_000, 3).tests(passes=49), Allowance(19_600_000_000, 10_000, 3).tests(passes=49)
        (200, 8)
    """

    cost: int
    there: int
    max_shift: int
    samples: int | None = None
    accelerated: bool = False

    def images(self, passes: int, most: int, *, least: int = LEAST, share: float = 1.0) -> int:
        """How many of ``most`` images can be afforded with so many forward passes for each, for ``share`` budgets."""
        budget = share * BUDGET * (ACCELERATED if self.accelerated else 1)
        return min(most, max(least, int(budget / (passes * self.cost))))

    def tests(self, passes: int) -> int:
        """Test images for a figure that makes so many forward passes for each."""
        return min(self.there, self.images(passes, SAMPLES) if self.samples is None else self.samples)

    @property
    def step(self) -> int:
        """Pixels between shifts: all of them are tried, unless that leaves too few images to say anything."""
        enough = min(SAMPLES // 4, self.there)
        fine = self.samples is not None or self.images((2 * self.max_shift + 1) ** 2, SAMPLES) >= enough
        return 1 if fine else self.max_shift

    @property
    def passes(self) -> int:
        """Forward passes of an image through all shifts and without one."""
        return (2 * self.max_shift // self.step + 1) ** 2

    @property
    def sentence(self) -> str | None:
        """What is left out because the network costs much; None when nothing is."""
        wanted, fewest = min(SAMPLES, self.there), self.tests(self.passes)
        if self.samples is not None or (fewest == wanted and self.step == 1):
            return None
        only = "" if self.step == 1 else f" and only of shifts by {self.max_shift} pixels"
        return (
            f"an image costs {self.cost / 1e9:.1f} G multiply-adds, so some figures are of {fewest} test images{only}; "
            f"each says of how many; --samples {wanted} takes more, and longer"
        )
