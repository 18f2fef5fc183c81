"""What lint says: values, nothing that prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Literal, get_args

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""``error``: it does not learn as it stands. ``warning``: it costs something. ``info``: good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing about a network that its author may not have meant.

    Args:
        rule: Name of the rule that found it, ``"uneven-padding"``.
        severity: See ``SEVERITIES``.
        where: Path of the module; ``"forward"`` is the network's own.
        what: What is so, with its numbers.
        why: Why it matters, and who showed it.
        change: What to type, or what to do.

    Example:
        >>> one = Finding("final-softmax", "warning", "4", "it ends in a softmax.", "It is done twice.", "Drop it.")
        >>> print(one)
        warning: final-softmax at 4: it ends in a softmax.
    """

    rule: str
    severity: Severity
    where: str
    what: str
    why: str
    change: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule} at {self.where}: {self.what}"

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Hit:
    """What a rule gives: the part of a finding that the rule does not know beforehand.

    Args:
        where: Path of the module.
        what: What is so, with its numbers.
        change: What to do here, when more can be said than the rule says.
        severity: When it differs from the rule's own.
    """

    where: str
    what: str
    change: str | None = None
    severity: Severity | None = None


def as_text(findings: Iterable[Finding], width: int = 100) -> str:
    """Findings for a terminal: why is said once for each rule, and so is a change that is the same everywhere.

    Args:
        findings: As ``lint`` gives them, those of one rule one after the other.
        width: Characters in a line.

    Example:
        >>> end = Finding("final-softmax", "warning", "4", "It is the end.", "It is done twice.", "Drop it.")
        >>> print(as_text([end]))
        warning: final-softmax
          4: It is the end.
          Why: It is done twice.
          Change: Drop it.
    """

    def paragraph(text: str) -> list[str]:
        return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)

    lines: list[str] = []
    for (severity, rule), group in groupby(findings, key=lambda f: (f.severity, f.rule)):
        same = list(group)
        changes = list(dict.fromkeys(finding.change for finding in same))
        lines.append(f"{severity}: {rule}")
        for finding in same:
            lines += paragraph(f"{finding.where}: {finding.what}")
            if len(changes) > 1:
                lines += paragraph(f"  Change: {finding.change}")
        lines += paragraph(f"Why: {same[0].why}")
        if len(changes) == 1:
            lines += paragraph(f"Change: {changes[0]}")
    return "\n".join(lines) if lines else "nothing found"
