"""The curves show what the history says, and name what it was measured on."""

import dataclasses
import math

import matplotlib.pyplot
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal

from convscope.report import figures
from convscope.train import History, Row
from report import made


def line(figure: Figure, number: int) -> tuple[list[float], list[float]]:
    drawn = figure.axes[0].lines[number]
    return list(drawn.get_xdata()), list(drawn.get_ydata())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_loss_is_the_history():
    figure = figures.loss_curve(made.history(3))
    assert line(figure, 0) == ([1, 2, 3], [1.5, 0.75, 0.5])
    assert_array_equal(line(figure, 1), ([1, 2, 3], [1.75, 1.75 / 2, 1.75 / 3]))
    assert figure.axes[0].get_xlabel() == "epoch"
    assert figure.axes[0].get_ylabel() == "cross-entropy loss (nats)"
    assert figure.axes[0].get_ylim()[0] == 0


def test_accuracy_is_the_history():
    figure = figures.accuracy_curve(made.history(3))
    assert_array_equal(line(figure, 0), ([1, 2, 3], [0.6, 0.8, 1 - 0.4 / 3]))
    assert_array_equal(line(figure, 1), ([1, 2, 3], [0.5, 0.75, 1 - 0.5 / 3]))
    assert legend(figure) == ["training 86.7\xa0%", "test images 83.3\xa0%"]


@pytest.mark.parametrize(("split", "words"), [("test", "test images"), ("val", "validation images")])
def test_the_curve_says_what_it_was_measured_on(split: str, words: str):
    for figure in (
        figures.loss_curve(made.history(2, split=split)),
        figures.accuracy_curve(made.history(2, split=split)),
    ):
        assert legend(figure)[1].startswith(words)
        assert len(figure.axes[0].lines) == 2


def test_training_is_drawn_from_the_finer_rows_at_fractions_of_an_epoch():
    rows = [made.step(5), made.step(10), made.step(15), made.step(20), made.epoch(1)]
    figure = figures.loss_curve(History(tuple(rows)))
    assert line(figure, 0) == ([0.25, 0.5, 0.75, 1.0], [0.6, 0.3, 0.2, 0.15])
    assert line(figure, 1) == ([1.0], [1.75])


@pytest.mark.parametrize(
    ("ends", "step", "place"),
    [
        ((20, 40), 50, 2.5),  # an epoch that is not over
        ((20, 30, 40), 25, 1.5),  # twice the batch from the second epoch on
        ((20, 30, 40), 40, 3.0),
        ((10, 30), 20, 1.5),  # half the batch
        ((20, 40, 50), 45, 2.25),  # --epochs 2.5
    ],
)
def test_rows_of_earlier_versions_lie_between_the_ends_of_their_own_epoch(
    ends: tuple[int, ...], step: int, place: float
):
    epochs = [dataclasses.replace(made.epoch(number), step=end) for number, end in enumerate(ends, 1)]
    rows = sorted([*epochs, made.step(step), made.step(1), made.step(2), made.step(3)], key=lambda row: row.step)
    x, _ = line(figures.loss_curve(History(tuple(rows))), 0)
    assert x[3] == pytest.approx(place)


def test_a_part_of_the_first_epoch_has_more_than_one_mark():
    figure = figures.loss_curve(History((dataclasses.replace(made.epoch(1), epochs=0.5),)))
    figure.draw_without_rendering()
    left, right = figure.axes[0].get_xlim()
    assert line(figure, 1)[0] == [0.5]
    assert sum(left <= tick <= right for tick in figure.axes[0].get_xticks()) > 2


def test_rows_that_say_where_they_are_lie_there():
    """A run that went on with other batches, and ended in the middle of an epoch."""
    steps = [dataclasses.replace(made.step(step), epochs=place) for step, place in ((10, 0.5), (25, 1.5), (28, 1.8))]
    ends = [dataclasses.replace(made.epoch(1), epochs=1.0), dataclasses.replace(made.epoch(2), step=29, epochs=1.9)]
    figure = figures.loss_curve(History((steps[0], ends[0], *steps[1:], ends[1])))
    assert line(figure, 0)[0] == [0.5, 1.5, 1.8]
    assert line(figure, 1)[0] == [1.0, 1.9]


def test_the_curve_is_of_the_split_that_judges_now():
    rows = (made.epoch(1, split="val"), made.epoch(2))
    assert History(rows).split == "test"
    assert History(rows[::-1]).split == "val"
    assert line(figures.loss_curve(History(rows)), 1)[0] == [2]


def test_the_legend_says_what_the_table_says_not_the_last_few_steps():
    rows = (made.epoch(1), made.step(25), made.step(30), made.step(35), made.step(40), made.epoch(2))
    loss, accuracy = figures.loss_curve(History(rows)), figures.accuracy_curve(History(rows))
    assert line(loss, 0)[1][-1] == 3.0 / 40, "the line itself follows the steps"
    assert legend(loss) == ["training 0.750", "test images 0.875"]
    assert legend(accuracy) == ["training 80.0\xa0%", "test images 75.0\xa0%"]
    assert legend(figures.loss_curve(History(rows[1:3]))) == ["training 0.100"], "no epoch yet"


def test_what_is_no_number_is_not_drawn():
    rows = (made.epoch(1), Row("epoch", 2, 40, {"train_accuracy": math.nan, "test_accuracy": math.inf}))
    figure = figures.accuracy_curve(History(rows), num_classes=3)
    assert line(figure, 0) == ([1], [0.6])
    assert legend(figure) == ["training 60.0\xa0%", "test images 50.0\xa0%"]


@pytest.mark.parametrize(("lowest", "said"), [(0.3, ""), (0.83, ", from 80"), (1.0, ", from 90")])
def test_an_axis_that_does_not_begin_at_zero_says_so(lowest: float, said: str):
    figure = figures.accuracy_curve(History((Row("epoch", 1, 1, {"train_accuracy": 1.0, "test_accuracy": lowest}),)))
    assert figure.axes[0].get_ylabel() == f"images called right (%){said}"
    begin = 100 * figure.axes[0].get_ylim()[0]
    assert begin == pytest.approx(float(said.rpartition(" ")[2] or 0))


def test_without_a_finished_epoch_steps_are_counted():
    figure = figures.loss_curve(History((made.step(5), made.step(10))))
    assert line(figure, 0) == ([5, 10], [0.6, 0.3])
    assert len(figure.axes[0].lines) == 1
    assert figure.axes[0].get_xlabel() == "step"


def test_guessing_is_marked_where_guessing_is():
    loss, accuracy = (
        figures.loss_curve(made.history(), num_classes=10),
        figures.accuracy_curve(made.history(), num_classes=4),
    )
    assert line(loss, 2)[1] == [math.log(10)] * 2
    assert len(accuracy.axes[0].lines) == 2, "an axis that begins at 50 % has no place for 25 %"
    low = History((Row("epoch", 1, 1, {"train_accuracy": 0.2, "test_accuracy": 0.2}),))
    assert line(figures.accuracy_curve(low, num_classes=4), 2)[1] == [0.25] * 2


def test_learning_rate_joins_steps_and_epochs_in_order():
    figure = figures.learning_rate(History((made.step(10), made.step(20), made.epoch(1), made.step(30))))
    assert line(figure, 0) == ([0.5, 1.0, 1.5], [0.002, 0.001, 0.02 / 30])
    assert figure.axes[0].get_ylabel() == "learning rate"


def test_epochs_that_were_not_measured_leave_no_point_and_no_gap():
    rows = [made.epoch(number) for number in range(1, 7)]
    kept = tuple(
        row
        if row.epoch % 3 == 0
        else Row("epoch", row.epoch, row.step, {k: v for k, v in row.values.items() if not k.startswith("test_")})
        for row in rows
    )
    for draw, what in ((figures.loss_curve, "loss"), (figures.accuracy_curve, "accuracy")):
        figure = draw(History(kept))
        assert line(figure, 0)[0] == [1, 2, 3, 4, 5, 6]
        assert line(figure, 1) == ([3, 6], [rows[2].values[f"test_{what}"], rows[5].values[f"test_{what}"]])
        assert figure.axes[0].lines[1].get_marker() == "D", "single points are seen"


def normed(*norms: float) -> History:
    return History(tuple(Row("step", 1, 5 * i, {"grad_norm": norm}) for i, norm in enumerate(norms, 1)))


def test_gradient_norm_is_the_history_on_an_axis_of_factors():
    figure = figures.gradient_norm(History((*normed(2.0, 0.5, 0.125).rows, made.epoch(1))))
    assert line(figure, 0) == ([0.25, 0.5, 0.75], [2.0, 0.5, 0.125])
    assert figure.axes[0].get_yscale() == "log"
    assert len(figure.axes[0].lines) == 1
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert {"0.2", "0.5", "1", "2"} <= set(ticks)


def test_over_many_decades_only_whole_ones_are_marked():
    figure = figures.gradient_norm(normed(1e-4, 1.0, 1e3))
    figure.draw_without_rendering()
    assert {"0.001", "1", "1000"} <= {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert "0.5" not in {text.get_text() for text in figure.axes[0].get_yticklabels()}


def test_norms_that_have_no_place_on_the_axis_are_left_out():
    figure = figures.gradient_norm(normed(1.0, 0.0, math.nan, math.inf, 3.0))
    assert line(figure, 0) == ([5, 25], [1.0, 3.0])


def test_the_limit_of_the_gradient_is_marked():
    figure = figures.gradient_norm(normed(1.0, 3.0), clip=2.0)
    assert line(figure, 1)[1] == [2.0, 2.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["clipped to this"]


@pytest.mark.parametrize(
    "draw", [figures.loss_curve, figures.accuracy_curve, figures.learning_rate, figures.gradient_norm]
)
def test_nothing_measured_is_said(draw):
    figure = draw(History())
    assert [text.get_text() for text in figure.axes[0].texts] == ["nothing was measured yet"]
    figure.draw_without_rendering()


def test_no_global_state():
    before = dict(rcParams)
    figures.loss_curve(made.history())
    assert dict(rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []
