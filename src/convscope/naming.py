"""What people type and read: how a wrong name is answered, many are put in order, and a time span is said."""

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


def unknown_name(kind: str, name: object, known: Iterable[str], *, hint: str = "") -> ValueError | TypeError:
    """The error for a name that does not exist, with the nearest ones that do.

    Args:
        kind: What was named, for example ``"model"``.
        name: What came.
        known: Every name that would have worked.
        hint: What to type to see them all.

    Returns:
        A ``ValueError``, ready to be raised; what is no string is a ``TypeError``.

    Example:
        >>> print(unknown_name("model", "lennet", ["lenet", "resnet18"], hint="convscope models"))
        unknown model 'lennet'; did you mean 'lenet'? See: convscope models
    """
    see = f" See: {hint}" if hint else ""
    if not isinstance(name, str):
        return TypeError(f"expected the name of a {kind}, a string, got {name!r}.{see}")
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if near:
        advice = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        advice = f"expected one of: {', '.join(known)}." if len(known) <= 12 else "no name is near it."
    return ValueError(f"unknown {kind} {name!r}; {advice}{see}")


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> duration(0.021), duration(3.21), duration(75), duration(3725)
        ('21 ms', '3.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"
