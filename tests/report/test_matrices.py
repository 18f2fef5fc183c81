"""The confusion matrix and the scores of classes show the evaluation, for few classes and for many."""

import pytest
import torch
from matplotlib.patches import Rectangle

from convscope.measure import Evaluation
from convscope.report import figures, rendering
from convscope.report.figures.style import BLUE, VERMILION
from report import made


def of(labels: list[int], said: list[int], classes: tuple[str, ...]) -> Evaluation:
    probabilities = torch.zeros(len(labels), len(classes))
    probabilities[torch.arange(len(labels)), torch.tensor(said)] = 1
    return Evaluation(probabilities, torch.tensor(labels), classes)


def test_cells_count_images_and_are_colored_by_their_share_of_the_row():
    figure = figures.confusion(of([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], ("cat", "dog")))
    axes = figure.axes[0]
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (1, 1): "1"}, "columns are what was said, rows what is true"
    cells = {(round(p.get_x() + 0.48), round(p.get_y() + 0.48)): p for p in axes.patches if isinstance(p, Rectangle)}
    assert cells[0, 0].get_alpha() == pytest.approx(0.75**0.6)
    assert cells[1, 0].get_alpha() == pytest.approx(0.25**0.6)
    assert cells[1, 1].get_alpha() == 1
    colors = {place: patch.get_facecolor()[:3] for place, patch in cells.items()}
    assert colors[0, 0] == colors[1, 1] == pytest.approx(tuple(int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    assert colors[1, 0] == pytest.approx(tuple(int(VERMILION[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    assert axes.get_ylim() == (1.5, -0.5), "the first class is the top row"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("what the network said", "what the image is")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


def test_many_classes_become_one_picture_with_every_fifth_name():
    classes = tuple(f"kind {i}" for i in range(100))
    labels = [*range(100), 3]
    said = [*range(100), 7]
    axes = figures.confusion(of(labels, said, classes)).axes[0]
    assert not axes.texts
    rgba = axes.images[0].get_array()
    assert rgba.shape == (100, 100, 4)
    assert rgba[3, 3, 3] == rgba[3, 7, 3] == round(255 * 0.5**0.6)
    assert rgba[5, 5, 3] == 255
    assert rgba[5, 6, 3] == 0
    assert tuple(rgba[3, 3, :3]) != tuple(rgba[3, 7, :3])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(classes[::5])


def test_a_class_without_images_is_an_empty_row():
    axes = figures.confusion(of([0, 0], [0, 1], ("cat", "dog"))).axes[0]
    assert {text.get_position()[1] for text in axes.texts} == {0}


def test_dots_are_precision_and_recall():
    judged = of([0, 0, 0, 0, 1], [0, 0, 0, 1, 1], ("cat", "dog"))
    axes = figures.per_class(judged).axes[0]
    precision, recall = axes.lines
    assert list(precision.get_xdata()) == [1.0, 0.5]
    assert list(recall.get_xdata()) == [0.75, 1.0]
    assert list(precision.get_ydata()) == list(recall.get_ydata()) == [0, 1]
    assert axes.get_xlabel() == "share of images (%)\n(the axis begins at 50 %)"
    low, high = axes.get_xlim()
    assert low < 0.5
    assert high > 1


def test_classes_without_images_have_no_dots():
    axes = figures.per_class(of([0, 0, 2], [0, 1, 2], ("cat", "dog", "owl"))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "owl"]
    assert list(axes.lines[1].get_xdata()) == [0.5, 1.0]
    assert axes.get_xlabel() == "share of images (%)\n(the axis begins at 50 %)"


def test_the_axis_of_perfect_scores_is_no_single_point():
    axes = figures.per_class(of([0, 1], [0, 1], ("cat", "dog"))).axes[0]
    assert axes.get_xlabel() == "share of images (%)\n(the axis begins at 90 %)"
    assert axes.get_xlim()[0] == pytest.approx(0.896)
    bad = figures.per_class(of([0, 1], [1, 0], ("cat", "dog"))).axes[0]
    assert bad.get_xlabel() == "share of images (%)"


def test_of_many_classes_the_worst_are_shown_first():
    classes = tuple(f"kind {i}" for i in range(100))
    said = [*range(100), 7]
    axes = figures.per_class(of([*range(100), 3], said, classes)).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 30
    assert names[:2] == ["kind 3", "kind 7"]


@pytest.mark.parametrize("count", [2, 10, 15, 20, 100, 1000])
def test_every_number_of_classes_can_be_drawn(count: int):
    data = made.dataset(tuple(f"a rather long name {i}" for i in range(count)))
    for figure in (
        figures.confusion(made.evaluation(data, wrong=3)),
        figures.per_class(made.evaluation(data, wrong=3)),
    ):
        rendering.settle(figure)
        width, height = figure.get_size_inches()
        assert 3 < width < 7
        assert 1 < height < 10
        assert len(rendering.png(figure)) < 400_000


def test_of_a_thousand_classes_those_in_the_most_frequent_mistakes_are_shown():
    classes = tuple(f"kind {i}" for i in range(1000))
    labels, said = list(range(1000)), list(range(1000))
    for true, called in ((500, 7), (500, 7), (7, 500), (900, 901)):
        labels, said = [*labels, true], [*said, called]
    axes = figures.confusion(of(labels, said, classes)).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 20
    assert {"kind 7", "kind 500", "kind 900", "kind 901"} <= set(names)
    assert names == sorted(names, key=lambda name: int(name.split()[1]))
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[names.index("kind 7"), names.index("kind 500")] == "2"
    assert "20 of 1,000 classes: those in the most frequent mistakes" in axes.get_xlabel()


def test_no_dot_and_no_word_leaves_the_figure():
    judged = of([0, 0, 0, 0, 1] * 3, [0, 0, 0, 1, 1] * 3, ("a name of many letters, and more", "dog"))
    figure = figures.per_class(judged)
    rendering.png(figure)
    axes, renderer = figure.axes[0], figure.canvas.get_renderer()
    label = axes.xaxis.label.get_window_extent(renderer)
    assert 0 <= label.x0 < label.x1 <= figure.bbox.width
    low, high = axes.get_xlim()
    assert low < 0.5 - 0.015
    assert high > 1.015
