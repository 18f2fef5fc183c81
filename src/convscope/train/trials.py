"""Ways to execute a training step, tried: how far the gradient of each is from float32, and how long it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import torch

from convscope.train.bench import Step
from convscope.train.way import Way

# How far a gradient may be from that of float32. A rounded number that flips a ReLU, or lets another pixel win a
# max-pool, sends its whole gradient elsewhere: the share of such places grows with the rounding error, and the
# distance with its square root. So kernels that only add up in another order (2^-24) come out 1e-7 apart on LeNet,
# 0.005 on a fresh ResNet-18 and up to 0.1 on deeper nets; bfloat16 (2^-9) 0.003, 0.4 and more than 1. What is lost so
# is noise, new in every step, and adds to that of drawing another batch: the two halves of one batch are 0.9 to 1.5
# apart for the same nets. The limits keep it below that, and keep out what is no noise: no gradient is 1 away, a
# reversed one 2.
LIMITS = {"float32": (1e-3, 0.98, 0.2), "bfloat16": (0.02, 0.7, 0.75), "float16": (0.02, 0.7, 0.75)}
"""By precision: largest error of the loss (of nats, or relative above 1), least cosine, largest relative distance."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one way of executing a step came to.

    Args:
        what: For people.
        precision: As tried.
        memory_format: As tried.
        threads: As tried.
        compiled: As tried.
        seconds: Of a step, forward and backward, in the median; None when it was not timed.
        runs: How many were timed.
        spread: Slowest minus fastest run, s.
        compile_seconds: What its first step took when it was compiled.
        loss_error: Distance of the loss from that of float32, relative where the loss is above 1; None where one of
            them is no finite number, and so for the next two.
        cosine: Of the angle between its gradient and that of float32, over all weights together.
        gradient_error: Distance of the two gradients, relative to the one of float32.
        agrees: Whether all three are within ``LIMITS``; None when that was not found out.
        note: Why it was not run, or not to the end.
    """

    what: str
    precision: str
    memory_format: str
    threads: int
    compiled: bool = False
    seconds: float | None = None
    runs: int = 0
    spread: float | None = None
    compile_seconds: float | None = None
    loss_error: float | None = None
    cosine: float | None = None
    gradient_error: float | None = None
    agrees: bool | None = None
    note: str = ""


class Difference(NamedTuple):
    """How far a step is from the one in float32; see ``Trial``."""

    loss: float
    cosine: float
    gradient: float

    def within(self, limits: tuple[float, float, float]) -> bool:
        """Whether it is small enough; NaN never is."""
        return self.loss <= limits[0] and self.cosine >= limits[1] and self.gradient <= limits[2]


def difference(found: Step, reference: Step) -> Difference:
    """Compare a step with the same one in float32, over the whole gradient as one vector.

    Example:
        >>> a = Step(0.1, 2.0, [torch.tensor([3.0, 4.0])])
        >>> b = Step(0.1, 2.2, [torch.tensor([4.0, 3.0])])
        >>> [round(value, 2) for value in difference(b, a)]
        [0.1, 0.96, 0.28]
    """
    dot = length = wanted = apart = 0.0
    for one, other in zip(found.gradients, reference.gradients, strict=True):
        if one is None and other is None:
            continue
        a = torch.zeros_like(other) if one is None else one  # type: ignore[arg-type]
        b = torch.zeros_like(one) if other is None else other  # type: ignore[arg-type]
        a, b = a.float(), b.float()
        sums = torch.stack([(a * b).sum(), a.square().sum(), b.square().sum(), (a - b).square().sum()]).tolist()
        dot, length, wanted, apart = dot + sums[0], length + sums[1], wanted + sums[2], apart + sums[3]
    loss = abs(found.loss - reference.loss) / max(abs(reference.loss), 1.0)
    if length == wanted == 0:
        return Difference(loss, 1.0, 0.0)
    if length == 0 or wanted == 0:
        return Difference(loss, 0.0, math.inf if wanted == 0 else 1.0)
    return Difference(loss, dot / math.sqrt(length * wanted), math.sqrt(apart / wanted))


class Entrant:
    """A way in the contest, and what is known of it so far."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.first = math.inf
        """Seconds of the first step, which also sets things up."""
        self.seconds: list[float] = []
        self.difference: Difference | None = None
        self.compile_seconds: float | None = None
        self.note = ""

    @property
    def agrees(self) -> bool | None:
        """Whether its step is that of float32, within what the precision allows."""
        return None if self.difference is None else self.difference.within(LIMITS[self.way.precision])

    @property
    def median(self) -> float:
        """Seconds of a step; infinite when it was never timed."""
        return median(self.seconds) if self.seconds else math.inf

    def trial(self) -> Trial:
        """What is written down of it."""
        errors = self.difference or ()
        loss, cosine, gradient = [value if math.isfinite(value) else None for value in errors] or [None] * 3
        return Trial(
            what=self.way.words,
            precision=self.way.precision,
            memory_format=self.way.memory_format,
            threads=self.way.threads,
            compiled=self.way.compiled,
            seconds=self.median if self.seconds else None,
            runs=len(self.seconds),
            spread=max(self.seconds) - min(self.seconds) if self.seconds else None,
            compile_seconds=self.compile_seconds,
            loss_error=loss,
            cosine=cosine,
            gradient_error=gradient,
            agrees=self.agrees,
            note=self.note,
        )
