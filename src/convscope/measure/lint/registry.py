"""One table of every rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from convscope.measure.lint.finding import Finding, Hit, Severity
from convscope.measure.lint.network import Network
from convscope.naming import unknown_name

Needs = Literal["shapes", "weights", "values"]
"""What a rule looks at: shapes alone, the weights' values, or values that images make."""

Check = Callable[[Network], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One thing that lint looks for.

    Args:
        name: What to call it.
        check: Finds it.
        severity: Of most of its findings.
        needs: A network on ``meta`` has nothing but shapes.
        what: What it looks for, one sentence.
        why: Why that matters, one sentence.
        paper: Who showed it.
        change: What to do about it, in general.
    """

    name: str
    check: Check
    severity: Severity
    needs: Needs
    what: str
    why: str
    paper: str
    change: str

    def findings(self, network: Network) -> list[Finding]:
        """Everything that it finds in a network, each once, in the order of the network."""
        why = f"{self.why} ({self.paper})"
        found = (
            Finding(self.name, hit.severity or self.severity, hit.where, hit.what, why, hit.change or self.change)
            for hit in self.check(network)
        )
        return list(dict.fromkeys(found))

    def entry(self) -> str:
        """The rule's section in the handbook, in Markdown."""
        needs = {
            "shapes": "shapes: it works on `meta`, too",
            "weights": "weights that have values",
            "values": "weights that have values, and images: yours (`images=`), else random ones",
        }[self.needs]
        return (
            f"## {self.name}\n\n"
            f"**What.** {self.what}\n\n"
            f"**Why.** {self.why} ({self.paper})\n\n"
            f"**Change.** {self.change}\n\n"
            f"Severity: {self.severity}. Needs {needs}.\n"
        )


RULES: dict[str, Rule] = {}
"""By name, in the order of the handbook."""


def rule(
    name: str, *, severity: Severity, what: str, why: str, paper: str, change: str, needs: Needs = "shapes"
) -> Callable[[Check], Check]:
    """Give a function a place in the table.

    Raises:
        ValueError: The name is taken.
    """

    def add(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"lint rule {name!r} is registered twice")
        RULES[name] = Rule(name, check, severity, needs, what, why, paper, change)
        return check

    return add


def chosen(only: Iterable[str] | None, ignore: Iterable[str]) -> list[Rule]:
    """The rules to apply.

    Raises:
        ValueError: No such rule; the nearest are suggested.
    """
    wanted, unwanted = None if only is None else set(only), set(ignore)
    for name in sorted((wanted or set()) | unwanted):
        if name not in RULES:
            raise unknown_name("lint rule", name, RULES)
    return [r for name, r in RULES.items() if name not in unwanted and (wanted is None or name in wanted)]
