"""What the numbers of a layer have to satisfy, and the sentence that says so."""

from __future__ import annotations

from torch import Tensor

from convscope.ops._arguments import integer, positive

__all__ = ["divides", "images", "integer", "middle", "positive", "share"]


def share(argument: str, value: float) -> float:
    """Let a share of the whole through: a number from 0 to 1.

    Raises:
        TypeError: It is no number.
        ValueError: It is not between 0 and 1.

    Example:
        >>> share("dropout", 0.5)
        0.5
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} must be a number from 0 to 1, got {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{argument} must be a number from 0 to 1, got {value}")
    return float(value)


def divides(argument: str, parts: int, **whole: int) -> None:
    """Let a number of parts through that divides each of the named counts.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A number is below 1, or something remains.

    Example:
        >>> divides("groups", 2, mid_channels=4)
    """
    positive(**{argument: parts}, **whole)
    for name, count in whole.items():
        if count % parts:
            raise ValueError(f"{argument} must divide {name}, {count}, got {parts}")


def middle(mid_channels: int | None, out_channels: int) -> int:
    """The width in the middle of a bottleneck: what was asked for, or a quarter of what goes out.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is below 1, or nothing is left of a quarter.

    Example:
        >>> middle(None, 64), middle(8, 64)
        (16, 8)
    """
    if mid_channels is not None:
        return integer("mid_channels", mid_channels, least=1)
    if out_channels < 4:
        raise ValueError(f"mid_channels must be given for fewer than 4 out_channels, got {out_channels}")
    return out_channels // 4


def images(x: Tensor, channels: int | None = None) -> None:
    """Let ``(N, C, H, W)`` through, with so many channels where a number is given.

    Raises:
        ValueError: Another number of axes or of channels.
    """
    if x.ndim != 4:
        raise ValueError(f"expected images (N, C, H, W), got {x.ndim} axes: {tuple(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"expected images with {channels} channels (N, C, H, W), got {tuple(x.shape)}")
