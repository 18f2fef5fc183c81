"""Sums over many batches, kept where they arise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from convscope.train.distributed import ALONE, World
from convscope.train.objective import Outcome


class Meter:
    """Sums of outcomes, kept on the device; reading them is the only wait.

    Example:
        >>> meter = Meter()
        >>> meter.add(Outcome(torch.tensor(0.5), {"loss": torch.tensor(2.0), "accuracy": torch.tensor(3)}, images=4))
        >>> meter.means("train_")
        {'train_loss': 0.5, 'train_accuracy': 0.75}
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, outcome: Outcome) -> None:
        """Take in one batch."""
        self._add(outcome.images, outcome.sums)

    def merge(self, other: Meter) -> None:
        """Take in all that another meter took in."""
        self._add(other.count, other.sums)

    def shared(self, world: World = ALONE) -> Meter:
        """All that this meter and those of the other processes took in; itself where there are none."""
        if world.size == 1:
            return self
        names = sorted(set().union(*world.gather(list(self.sums))))
        zero = torch.zeros(())
        # One exchange in float64: it counts images exactly, and adds losses in the same way in every process.
        mine = [torch.tensor(self.count), *(self.sums.get(name, zero) for name in names)]
        count, *sums = world.sum(torch.stack([value.detach().cpu().double() for value in mine]))
        total = Meter()
        total._add(int(count), dict(zip(names, sums, strict=True)))
        return total

    def state(self) -> dict[str, Tensor]:
        """Named tensors, for a checkpoint."""
        return {"count": torch.tensor(self.count), **{f"sums.{name}": value for name, value in self.sums.items()}}

    @classmethod
    def of(cls, state: Mapping[str, Tensor], device: torch.device) -> Meter:
        """The inverse of ``state``."""
        meter = cls()
        sums = {name: value.to(device) for name, value in state.items() if name != "count"}
        meter._add(int(state["count"]), {name.removeprefix("sums."): value for name, value in sums.items()})
        return meter

    def means(self, prefix: str = "") -> dict[str, float]:
        """Every sum divided by the number of images. Reading waits for the device."""
        # One by one and not stacked: counts of images are integers, and not every device has float64 to hold them.
        return {prefix + name: value.item() / self.count for name, value in self.sums.items()}

    def _add(self, count: int, sums: dict[str, Tensor]) -> None:
        self.count += count
        for name, value in sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
