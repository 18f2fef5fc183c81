"""What callers may write for a size, a stride or a padding, and the one form it is turned into.

Everything that has two axes is written rows first, columns second: ``(H, W)``.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard

import torch

Pair = int | tuple[int, int]
Sides = tuple[tuple[int, int], tuple[int, int]]
Padding = int | tuple[int, int] | Sides


def _is_integer(value: object) -> TypeGuard[int]:
    """Python's integers, NumPy's, and the symbols that stand for a size while a network is exported."""
    return isinstance(value, Integral | torch.SymInt) and not isinstance(value, bool)  # True is a slip to a reader


def plain(*values: object) -> bool:
    """Whether each is an ``int`` or a tuple of two, so that PyTorch means by it what we mean.

    PyTorch takes ``None``, ``()``, ``(2,)`` and ``(1, True)`` too, and some of them for something else.

    Example:
        >>> plain(1, (2, 3)), plain((2,)), plain(None)
        (True, False, False)
    """
    for value in values:  # a loop, for it stands in front of every call with pairs
        if value.__class__ is not int and not (
            isinstance(value, tuple) and len(value) == 2 and value[0].__class__ is value[1].__class__ is int
        ):
            return False
    return True


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


def positive(**numbers: int) -> None:
    """Let counts through: whole numbers of at least 1, each given by its name.

    Raises:
        TypeError: One is not an integer.
        ValueError: One is too small.

    Example:
        >>> positive(in_channels=3, stride=2)
    """
    for argument, value in numbers.items():
        integer(argument, value, least=1)


def number(argument: str, value: object) -> float:
    """Let a number above 0 through; NaN is not.

    Raises:
        TypeError: It is no number.
        ValueError: It is not positive.

    Example:
        >>> number("sigma", 1.5)
        1.5
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be a number, got {value!r}")
    if not float(value) > 0:
        raise ValueError(f"{argument} must be positive, got {value}")
    return float(value)


def flag(argument: str, value: bool) -> bool:
    """Let ``True`` and ``False`` through; words and numbers that Python would take for them are not.

    Raises:
        TypeError: It is neither.

    Example:
        >>> flag("ceil_mode", False)
        False
    """
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, got {value!r}")
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
    both = (value, value) if _is_integer(value) else value
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
    axes = (value, value) if _is_integer(value) else value
    if not isinstance(axes, tuple | list) or len(axes) != 2:
        raise TypeError(
            f"{argument} must be an integer, a pair (H, W) or ((top, bottom), (left, right)), got {value!r}"
            + ("; see geometry.same_padding" if str(value) == "same" else "")
        )
    rows, columns = axes
    return pair(argument, rows, least=0), pair(argument, columns, least=0)
