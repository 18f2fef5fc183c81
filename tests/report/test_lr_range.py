"""The picture of a range test shows its losses and names its suggestions."""

import pytest
from numpy.testing import assert_array_equal

from convscope.report.figures.lr_range import lr_range
from convscope.train.find_lr import LrRange

RATES = tuple(10.0**e for e in range(-6, 2))
VALLEY = LrRange(
    rates=RATES,
    losses=(2.4, 2.2, 2.3, 2.0, 1.0, 0.6, 1.0, 900.0),
    smoothed=(2.4, 2.3, 2.3, 2.2, 1.6, 1.0, 1.1, 400.0),
    stopped="diverged",
    steepest=0.01,
    lowest=0.1,
)
FLAT = LrRange(rates=RATES, losses=(2.3, 2.31) * 4, smoothed=(2.3,) * 8, stopped="end", steepest=None, lowest=None)
NOTHING = LrRange(rates=(), losses=(), smoothed=(), stopped="not finite", steepest=None, lowest=None)


def drawn(figure):
    return {line.get_label(): line for line in figure.axes[0].lines if not line.get_label().startswith("_")}


def test_the_curves_are_the_losses_and_the_marks_the_suggestions():
    figure = lr_range(VALLEY, title="lenet on digits")
    axes, lines = figure.axes[0], drawn(figure)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "learning rate"
    assert axes.get_ylabel() == "loss of a batch (nats)"
    assert figure.get_suptitle() == "lenet on digits"
    assert_array_equal(lines["each batch"].get_xydata(), list(zip(RATES, VALLEY.losses, strict=True)))
    assert_array_equal(lines["smoothed"].get_xydata(), list(zip(RATES, VALLEY.smoothed, strict=True)))
    assert_array_equal(lines["falls fastest: 0.01"].get_xydata(), [[0.01, 1.6]])
    assert_array_equal(lines["a tenth of the lowest: 0.01"].get_xydata(), [[0.01, 1.6]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    assert [text.get_text() for text in axes.texts] == ["stopped: above four times the lowest"]


def test_what_explodes_does_not_flatten_the_descent():
    low, high = lr_range(VALLEY).axes[0].get_ylim()
    assert low < 0.6
    assert 2.4 < high < 4


def test_a_flat_curve_looks_flat_and_says_that_there_is_nothing():
    figure = lr_range(FLAT)
    low, high = figure.axes[0].get_ylim()
    assert high - low > 0.1 * 2.3
    assert list(drawn(figure)) == ["each batch", "smoothed"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["no descent: nothing to suggest"]


def test_nothing_measured_is_a_sentence():
    figure = lr_range(NOTHING)
    assert [text.get_text() for text in figure.axes[0].texts] == [str(NOTHING)]
    figure.draw_without_rendering()


@pytest.mark.parametrize("found", [VALLEY, FLAT])
def test_everything_is_inside_the_figure(found):
    figure = lr_range(found, title="a title")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for text in (*figure.axes[0].get_legend().get_texts(), *figure.axes[0].texts, figure.axes[0].xaxis.label):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
