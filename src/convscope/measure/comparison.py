"""Whether one classifier is better than another on the same images, or luck would give as much."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from convscope.measure.evaluation import Evaluation
from convscope.measure.identity import difference

FEW = 25  # images that only one is right on, below which the exact test is used


@dataclass(frozen=True)
class Comparison:
    """How two classifiers did on the same images, pair by pair; see ``compare``.

    Args:
        both_right: Images that both called right.
        only_first: Images that only the first called right.
        only_second: Images that only the second called right.
        both_wrong: Images that neither called right.
        p_value: How probable so uneven a count is, or a more uneven one, when both are equally good.
        test: Which test gave it.
    """

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p_value: float
    test: str

    @property
    def total(self) -> int:
        """The number of images."""
        return self.both_right + self.only_first + self.only_second + self.both_wrong

    @property
    def difference(self) -> float:
        """Accuracy of the second minus accuracy of the first."""
        return (self.only_second - self.only_first) / self.total

    def more_than_chance(self, level: float = 0.05) -> bool:
        """Whether equally good classifiers would differ so much in fewer than ``level`` of all cases."""
        return self.p_value < level

    def sentence(self, first: str = "the first", second: str = "the second") -> str:
        """The verdict in plain words.

        Example:
            >>> print(Comparison(80, 3, 12, 5, 0.035, "exact binomial").sentence("A", "B"))
            B is better than A by 9.0 points on the same 100 images: more than chance (p = 0.035, exact binomial).
        """
        how = f"p = {_readable(self.p_value)}, {self.test}"
        images = "the same image" if self.total == 1 else f"the same {self.total:,} images"
        if not self.only_first + self.only_second:
            return f"{first} and {second} are right on exactly the same images, of {self.total:,}: no difference."
        if self.only_first == self.only_second:
            return f"{first} and {second} are right equally often on {images}: no difference seen ({how})."
        better, worse = (second, first) if self.difference > 0 else (first, second)
        verdict = "more than chance" if self.more_than_chance() else "no more than chance would give"
        points = 100 * abs(self.difference)
        return f"{better} is better than {worse} by {points:.1f} points on {images}: {verdict} ({how})."

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "difference": self.difference, "more_than_chance": self.more_than_chance()}


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Ask, of the images that only one classifier is right on, whether each has its half: McNemar's test.

    Images that both call right, or both wrong, say nothing about which is better. With fewer than 25 others the
    binomial test gives the exact probability; with more, chi-square with continuity correction comes close enough.

    Args:
        first: What one said.
        second: What the other said of the same images, in the same order. Each may have seen them at its own size.

    Raises:
        ValueError: They judged other images, or the same ones in another order, or tell other classes apart.

    Example:
        >>> import torch
        >>> right, labels = torch.eye(2)[[0, 1, 1, 0]], torch.tensor([0, 1, 1, 0])
        >>> good = Evaluation(right, labels, ("cat", "dog"))
        >>> poor = Evaluation(right.flip(1), labels, ("cat", "dog"))
        >>> compare(poor, good).only_second, compare(poor, good).p_value
        (4, 0.125)

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947;
        Edwards, "Note on the correction for continuity", 1948.
    """
    if first.classes != second.classes:
        raise ValueError(
            f"they tell other classes apart: {', '.join(first.classes[:6])} and {', '.join(second.classes[:6])}"
        )
    differ = difference((first.labels, second.labels), (first.prints, second.prints))
    if differ is not None:
        raise ValueError(f"they judged other images: {differ}; evaluate both on the same images in the same order")
    a, b = first.predictions == first.labels, second.predictions == second.labels
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    p_value, test = mcnemar(only_first, only_second)
    return Comparison(int((a & b).sum()), only_first, only_second, int((~a & ~b).sum()), p_value, test)


def mcnemar(only_first: int, only_second: int) -> tuple[float, str]:
    """The p-value of so many images that only one is right on, and the test that gave it; see ``compare``.

    Example:
        >>> mcnemar(3, 3)
        (1.0, 'exact binomial')
    """
    discordant = only_first + only_second
    if not discordant:
        return 1.0, "exact binomial"
    if discordant < FEW:
        return float(stats.binomtest(only_first, discordant).pvalue), "exact binomial"
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / discordant
    return float(stats.chi2.sf(statistic, 1)), "chi-square with continuity correction"


def _readable(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-4 else f"{p_value:.0e}"
