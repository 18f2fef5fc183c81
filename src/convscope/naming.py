"""Names that people type and read: how a wrong one is answered, and how many are put in order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def natural_key(name: str) -> list[tuple[bool, int | str]]:
    """Sort by the numbers inside names as numbers, so that ``vgg9`` stands before ``vgg11``.

    Example:
        >>> sorted(["vgg11", "vgg9", "alexnet"], key=natural_key)
        ['alexnet', 'vgg9', 'vgg11']
    """
    parts = re.split(r"(\d+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else part) for part in parts]


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> ValueError:
    """The error for a name that does not exist, with the nearest ones that do.

    Args:
        kind: What was named, for example ``"model"``.
        name: What came.
        known: Every name that would have worked.
        hint: What to type to see them all.

    Returns:
        A ``ValueError``, ready to be raised.

    Example:
        >>> print(unknown_name("model", "lennet", ["lenet", "resnet18"], hint="convscope models"))
        unknown model 'lennet'; did you mean 'lenet'? See: convscope models
    """
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if near:
        advice = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        advice = f"expected one of: {', '.join(known)}." if len(known) <= 12 else "no name is near it."
    return ValueError(f"unknown {kind} {name!r}; {advice}" + (f" See: {hint}" if hint else ""))
