"""Numbers on coloured cells can be read in both themes; what they look like is computed here from the page itself."""

import re
from importlib import resources

import pytest
from matplotlib.patches import Rectangle

from convscope.report import figures
from convscope.report.figures.contrast import contrast, ink_on, luminance, rgb
from convscope.report.figures.style import BLUE, DARK, PAPER, ROLES, VERMILION
from report.test_matrices import of

CSS = (resources.files("convscope.report") / "page.css").read_text(encoding="utf-8")
THEMES = [
    dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
]


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#777777", "#ffffff", 4.48),
        ("#0000ff", "#ffffff", 8.59),
        ("#ff0000", "#000000", 5.25),
        ("#123456", "#123456", 1),
    ],
)
def test_contrast_is_that_of_published_pairs(one: str, other: str, ratio: float):
    assert contrast(rgb(one), rgb(other)) == pytest.approx(ratio, abs=0.005)
    assert contrast(rgb(other), rgb(one)) == contrast(rgb(one), rgb(other))


def test_luminance_of_the_primaries():
    assert [luminance(rgb(color)) for color in ("#ff0000", "#00ff00", "#0000ff")] == [0.2126, 0.7152, 0.0722]


def test_the_dark_colors_are_those_of_the_page():
    light, dark = THEMES
    for color, shown in DARK.items():
        assert dark[ROLES[color]] == shown
    for color in (PAPER, BLUE, VERMILION):
        assert light[ROLES[color]] == color


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("color", [BLUE, VERMILION])
def test_every_strength_leaves_a_number_readable(color: str, theme: int):
    shown = THEMES[theme]
    for step in range(101):
        cell, card = rgb(shown[ROLES[color]]), rgb(shown["card"])
        seen = [(step * c + (100 - step) * p) / 100 for c, p in zip(cell, card, strict=True)]
        ink = rgb(shown[ROLES[ink_on(color, step / 100)]])
        assert contrast(ink, (seen[0], seen[1], seen[2])) >= 4.5, f"{step} % of {color}"


def test_the_matrix_writes_in_that_ink():
    axes = figures.confusion(of([0] * 10 + [1], [0] * 5 + [1] * 5 + [1], ("cat", "dog"))).axes[0]
    cells = {(p.get_x(), p.get_y()): p for p in axes.patches if isinstance(p, Rectangle)}
    assert len(axes.texts) == len(cells) == 3
    for text in axes.texts:
        column, row = text.get_position()
        color = BLUE if row == column else VERMILION
        assert text.get_color() == ink_on(color, cells[column - 0.48, row - 0.48].get_alpha())
