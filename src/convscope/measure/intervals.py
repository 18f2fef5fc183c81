"""How far a counted share or a mean of a sample may be from the truth: 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from scipy import stats
from torch import Tensor

Z = NormalDist().inv_cdf(0.975)  # the middle 95 % of a normal distribution


def wilson(count: int, total: int) -> tuple[float, float]:
    """Where the true share lies, with 95 % confidence, when ``count`` of ``total`` were drawn.

    Args:
        count: 0 to ``total``.
        total: At least 1.

    Raises:
        ValueError: One of them is out of range.

    Example:
        >>> low, high = wilson(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"expected a count of 0 to total, and a total of at least 1; got {count} of {total}")
    share, scale = count / total, 1 + Z * Z / total
    centre = (share + Z * Z / (2 * total)) / scale
    reach = Z * math.sqrt(share * (1 - share) / total + Z * Z / (4 * total * total)) / scale
    low = 0.0 if count == 0 else centre - reach  # at both ends the formula gives 0 and 1 but for rounding
    return low, 1.0 if count == total else centre + reach


@dataclass(frozen=True)
class Share:
    """So many of so many, with Wilson's 95 % interval.

    Args:
        count: How many are so.
        total: Out of how many.

    Example:
        >>> print(Share(90, 100))
        90.0 % (82.6 to 94.5)
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """In 0..1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """See ``wilson``."""
        return wilson(self.count, self.total)

    def __str__(self) -> str:
        """In per cent, with the interval."""
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"value": self.value, "count": self.count, "total": self.total, "interval": list(self.interval)}


@dataclass(frozen=True)
class Mean:
    """A mean over images with its 95 % interval by Student's t; of one image the interval is unbounded.

    Args:
        value: The mean.
        reach: Half the width of the interval.
        total: Values it is the mean of.

    Example:
        >>> import torch
        >>> print(Mean.of(torch.tensor([1.0, 2.0, 3.0])))
        2 ± 2.48
    """

    value: float
    reach: float
    total: int

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """The mean of ``(N,)``, computed in double precision.

        Raises:
            ValueError: There is no value.
        """
        total = len(values)
        if not total:
            raise ValueError("there is no mean of no values")
        values = values.double()
        if total == 1:
            return cls(float(values[0]), math.inf, 1)
        error = float(values.std()) / math.sqrt(total)
        return cls(float(values.mean()), float(stats.t.ppf(0.975, total - 1)) * error, total)

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.value - self.reach, self.value + self.reach

    def __str__(self) -> str:
        """Mean and reach."""
        return f"{self.value:.3g} ± {self.reach:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the interval is null where it is unbounded."""
        interval = list(self.interval) if math.isfinite(self.reach) else None
        return {"value": self.value, "total": self.total, "interval": interval}
