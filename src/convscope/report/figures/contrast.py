"""Which ink a number on a coloured cell is written in, so that it can be read in the light and in the dark theme."""

from __future__ import annotations

from convscope.report.figures.style import BLACK, DARK, ON_PALE, ON_STRONG, PAPER, WHITE

Rgb = tuple[float, float, float]

INKS = {(True, False): ON_PALE, (False, True): ON_STRONG, (True, True): BLACK, (False, False): WHITE}


def rgb(color: str) -> Rgb:
    """``#rrggbb`` as three numbers from 0 to 1.

    Example:
        >>> rgb("#ff0033")
        (1.0, 0.0, 0.2)
    """
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def blend(color: Rgb, paper: Rgb, opacity: float) -> Rgb:
    """What is seen where a colour of this opacity lies on paper; browsers mix the coded values, not the light."""
    red, green, blue = (opacity * c + (1 - opacity) * p for c, p in zip(color, paper, strict=True))
    return red, green, blue


def luminance(color: Rgb) -> float:
    """Relative luminance, 0 for black and 1 for white.

    Source:
        Web Content Accessibility Guidelines 2.2, "relative luminance".
    """
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    """From 1 for the same colour to 21 for black on white; small text needs 4.5.

    Example:
        >>> round(contrast(rgb("#000000"), rgb("#ffffff")), 6)
        21.0

    Source:
        Web Content Accessibility Guidelines 2.2, "contrast ratio".
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(color: str, opacity: float) -> str:
    """Black or white, for each theme whichever stands out more; the better one is always above 4.5.

    Args:
        color: ``BLUE`` or ``VERMILION``.
        opacity: Of the cell, 0 to 1.

    Returns:
        One of the colours ``ON_PALE``, ``ON_STRONG``, ``BLACK`` and ``WHITE``, each with its own meaning in a theme.
    """
    light, dark = (blend(rgb(theme.get(color, color)), rgb(theme.get(PAPER, PAPER)), opacity) for theme in ({}, DARK))
    return INKS[_wants_black(light), _wants_black(dark)]


def _wants_black(cell: Rgb) -> bool:
    return contrast((0.0, 0.0, 0.0), cell) >= contrast((1.0, 1.0, 1.0), cell)
