"""What callers may write for a size, a stride or a padding, and the one form it is turned into.

Everything that has two axes is written rows first, columns second: ``(H, W)``.
"""

from __future__ import annotations

Pair = int | tuple[int, int]
Sides = tuple[tuple[int, int], tuple[int, int]]
Padding = int | tuple[int, int] | Sides


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True is an int to Python and a slip to a reader


def integer(argument: str, value: int, *, least: int) -> int:
    """Let a whole number of at least ``least`` through.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is too small.

    Example:
        >>> integer("stride", 2, least=1)
        2
    """
    if not _is_integer(value):
        raise TypeError(f"{argument} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")
    return value


def pair(argument: str, value: Pair, *, least: int) -> tuple[int, int]:
    """Write a size as ``(H, W)``: one number counts for both axes.

    Args:
        argument: Its name, for the message.
        value: An integer or two.
        least: The smallest number that makes sense.

    Raises:
        TypeError: It is neither an integer nor two of them.
        ValueError: A number is too small.

    Example:
        >>> pair("stride", 2, least=1), pair("stride", (3, 4), least=1)
        ((2, 2), (3, 4))
    """
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, tuple | list) or len(both) != 2 or not all(map(_is_integer, both)):
        raise TypeError(f"{argument} must be an integer or a pair of integers (H, W), got {value!r}")
    if min(both) < least:
        raise ValueError(f"{argument} must be at least {least}, got {value}")
    return both[0], both[1]


def sides(argument: str, value: Padding) -> Sides:
    """Write a padding as ``((top, bottom), (left, right))``, in pixels.

    Args:
        argument: Its name, for the message.
        value: One number for all four sides, ``(H, W)`` for two sides each, or all four.

    Raises:
        TypeError: It is none of these.
        ValueError: A number is negative.

    Example:
        >>> sides("padding", 1), sides("padding", (2, 1))
        (((1, 1), (1, 1)), ((2, 2), (1, 1)))
        >>> sides("padding", ((0, 1), (0, 1)))
        ((0, 1), (0, 1))
    """
    axes = (value, value) if isinstance(value, int) else value
    if not isinstance(axes, tuple | list) or len(axes) != 2:
        raise TypeError(
            f"{argument} must be an integer, a pair (H, W) or ((top, bottom), (left, right)), got {value!r}"
            + ("; see geometry.same_padding" if value == "same" else "")
        )
    rows, columns = axes
    return pair(argument, rows, least=0), pair(argument, columns, least=0)
