"""The board: which numbers become points, and where they are shown."""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from convscope.d2l import board as boards
from convscope.d2l import surfaces
from convscope.d2l.textchart import Scale, chart, fitted


@pytest.fixture
def quiet(d2l):
    return d2l.ProgressBoard("x", display=False)


# ---- windows and means


def test_nothing_is_there_before_the_first_number(quiet):
    assert not hasattr(quiet, "data")
    assert not hasattr(quiet, "raw_points")


def test_windows_drift_across_epochs(quiet):
    """469 batches in windows of 234, as in the book's pictures: 20 points in ten epochs, at .25, .75, 1.25 ... 9.73."""
    for step in range(4690):
        quiet.draw(step / 469, float(step), "train_loss", every_n=int(469 / 2))
    xs = [point.x for point in quiet.data["train_loss"]]
    assert len(xs) == 20
    assert len(quiet.raw_points["train_loss"]) == 10
    assert [round(x, 2) for x in (xs[0], xs[1], xs[2], xs[-1])] == [0.25, 0.75, 1.25, 9.73]
    assert quiet.data["train_loss"][0].y == sum(range(234)) / 234


def test_means_are_added_up_in_float32_one_by_one(quiet):
    values = torch.rand(100, generator=torch.Generator().manual_seed(0)) * 1000
    for value in values:
        quiet.draw(0, value.requires_grad_(), "loss", every_n=100)
    total = np.float32(0)
    for value in values.detach().numpy():
        total += value
    (point,) = quiet.data["loss"]
    assert point.y == total / 100
    assert point.y.dtype == np.float32


def test_numbers_count_by_their_weight(quiet):
    quiet.draw(1, torch.tensor(1.0), "acc", every_n=2, weight=30)
    quiet.draw(1, torch.tensor(0.5), "acc", every_n=2, weight=10)
    assert quiet.data["acc"][0].y == (30 + 5) / 40


def test_a_window_of_nothing_is_one_number(quiet):
    """``int(3 / 4)`` batches: the book never draws this line."""
    quiet.draw(0, 1.0, "loss", every_n=0)
    assert quiet.data["loss"] == [(0, 1.0)]


def test_a_window_that_becomes_smaller_is_full_at_once(quiet):
    for i in range(3):
        quiet.draw(i, i, "loss", every_n=10)
    quiet.draw(3, 3, "loss", every_n=2)
    assert quiet.data["loss"] == [(1.5, 1.5)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_numbers_of_other_types(quiet, dtype):
    quiet.draw(0, torch.tensor(2, dtype=dtype), "a", every_n=2)
    quiet.draw(0, torch.tensor([4], dtype=dtype), "a", every_n=2)  # one in a row of its own
    assert float(quiet.data["a"][0].y[0]) == 3.0


def test_reading_waits_for_a_device_once_a_window(quiet, monkeypatch):
    reads = []
    monkeypatch.setattr(boards, "_plain", lambda value: reads.append(value.shape) or value.numpy())
    for i in range(10):
        quiet.draw(i, torch.tensor(float(i)), "loss", every_n=5)
    assert reads == [(5,), (5,)]


# ---- pictures


def test_a_picture_has_every_line_once_however_often_it_is_made(d2l):
    board = d2l.ProgressBoard("x", "y", xlim=[0, 3], yscale="log", display=False)
    for i in range(1, 4):
        for k in range(6):
            board.draw(i, i + k, f"line {k}")
        figure = board._picture()
    (axes,) = figure.axes
    assert len(axes.lines) == 6
    assert [text.get_text() for text in axes.get_legend().texts][5] == "line 5"
    assert axes.lines[5].get_xydata().tolist() == [[1, 6], [2, 7], [3, 8]]
    assert (axes.get_xlim(), axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()) == ((0, 3), "log", "x", "y")
    assert board.fig is figure


def test_a_figure_of_ones_own(d2l):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 2)
    on_axes, on_figure = d2l.ProgressBoard(axes=axes[1], display=False), d2l.ProgressBoard(fig=Figure(), display=False)
    for board in (on_axes, on_figure):
        board.draw(0, 1, "a")
        board._picture()
    assert len(axes[1].lines) == 1
    assert not axes[0].lines
    assert on_axes._picture() is figure
    assert axes[1].get_xlabel() == "x"  # the book stops here for want of a label


def test_a_copy_has_numbers_of_its_own(d2l, quiet):
    import copy

    quiet.draw(0, 1, "a")
    quiet._picture()
    twin = copy.deepcopy(quiet)
    twin.draw(1, 2, "a")
    assert (len(quiet.data["a"]), len(twin.data["a"])) == (1, 2)
    assert twin.fig is not quiet.fig


def test_a_trained_model_can_be_saved_whole(d2l, tiny_fashion, tmp_path, monkeypatch):
    """As the book's can: whatever shows its board stays behind."""

    class Place:
        def __reduce__(self):
            raise TypeError("bound to this process")

        def show(self, curves): ...

        def close(self, curves): ...

    monkeypatch.setattr(boards, "surfaces", lambda: [Place()])
    model = d2l.LeNet()
    d2l.Trainer(1).fit(model, d2l.FashionMNIST(batch_size=50))
    model.board._picture()
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert again.board.data == model.board.data
    assert torch.equal(again.net[0].weight, model.net[0].weight)


# ---- surfaces


PROGRAM = """
    from convscope.d2l import torch as d2l
    board = d2l.ProgressBoard("x")
    for i in range(40):
        board.draw(i, i * i, "square", every_n=2)
    d2l.show_images([d2l.zeros((4, 4))] * 2, 1, 2)
    d2l.plot([1, 2, 3], [1, 4, 9], "x", "y")
"""


def script(path, text: str = PROGRAM) -> subprocess.CompletedProcess:
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=path.parent, check=True, timeout=300
    )


def test_a_script_leaves_a_picture_and_replaces_only_its_own(tmp_path):
    """Without a display, and without a word to save it."""
    (tmp_path / "square-1.png").write_bytes(b"somebody else's")
    done = script(tmp_path / "square.py")
    assert done.stderr == "convscope: the curves are in square-2.png\n"
    assert done.stdout == ""
    assert (tmp_path / "square-1.png").read_bytes() == b"somebody else's"
    with Image.open(tmp_path / "square-2.png") as picture:
        assert picture.width > 500
        assert len(picture.convert("L").getcolors(256)) > 10
    again = script(tmp_path / "square.py")
    assert again.stderr == done.stderr
    assert not (tmp_path / "square-3.png").exists()


def test_a_fit_leaves_its_picture_when_it_ends(d2l, programs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(surfaces, "_program", lambda: tmp_path / "lesson.py")
    monkeypatch.setattr(surfaces, "_numbers", iter(range(1, 9)))
    monkeypatch.setattr(surfaces, "_has_terminal", lambda: False)
    model = programs.models(d2l)["lenet"][0]()
    d2l.Trainer(1).fit(model, programs.make_toy(d2l, train=64, val=32))
    assert (tmp_path / "lesson-1.png").exists()
    assert "lesson-1.png" in capsys.readouterr().err
    first = (tmp_path / "lesson-1.png").read_bytes()
    d2l.Trainer(1).fit(model, programs.make_toy(d2l, train=64, val=32))
    assert (tmp_path / "lesson-1.png").read_bytes() != first
    assert not (tmp_path / "lesson-2.png").exists()


def test_a_folder_that_cannot_be_written_is_no_error(d2l, tmp_path, monkeypatch):
    monkeypatch.setattr(surfaces, "_free_name", lambda: tmp_path / "missing" / "a.png")
    board, place = d2l.ProgressBoard(display=False), surfaces.PictureFile()
    board.draw(0, 1, "a")
    place.show(board)
    with pytest.warns(UserWarning, match=r"could not be written to .*a\.png: No such file"):
        place.close(board)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "⣀"), ("ascii", "*")])
def test_a_terminal_has_a_live_chart(d2l, monkeypatch, encoding, mark):
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(
        "rich.console.Console", lambda stderr: Console(file=screen, force_terminal=True, width=100, _environ={})
    )
    board, place = d2l.ProgressBoard(display=False), surfaces.Terminal()
    for i in range(3):
        board.draw(i, 1 + i, "loss")
        place.show(board)
    place.close(board)
    place.close(board)  # nothing is left to do
    screen.flush()
    shown = screen.buffer.getvalue().decode(encoding)
    assert "loss 3.0000" in shown
    assert any(0x2800 < ord(c) < 0x2900 for c in shown) == (mark == "⣀")
    assert mark == "⣀" or mark in shown


def test_where_curves_are_shown(monkeypatch):
    def kinds(*, notebook=None, terminal=False, program=None):
        monkeypatch.setattr(surfaces, "_notebook_shell", lambda: notebook)
        monkeypatch.setattr(surfaces, "_has_terminal", lambda: terminal)
        monkeypatch.setattr(surfaces, "_program", lambda: program)
        return [type(place).__name__ for place in surfaces.surfaces()]

    assert kinds(notebook=object(), terminal=True, program="x.py") == ["Notebook"]
    assert kinds(terminal=True) == ["Terminal"]  # at a prompt
    assert kinds(terminal=True, program="x.py") == ["Terminal", "PictureFile"]
    assert kinds(program="x.py") == kinds() == ["PictureFile"]


class Shell:
    """What the board needs of IPython's."""

    kernel = object()

    def __init__(self):
        self.called = []
        self.events = self

    def register(self, event, function):
        self.called.append((event, function))

    def unregister(self, event, function):
        self.called.remove((event, function))

    def end_cell(self):
        for _, function in list(self.called):
            function(None)


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, dict]]:
    """What a notebook would be sent, in the place of IPython's ``display``."""
    display = pytest.importorskip("IPython.display")
    found = []

    class Handle:
        def update(self, picture, raw):
            found.append(("update", picture))

    def show(picture, raw, display_id):
        found.append(("new", picture))
        return Handle()

    monkeypatch.setattr(display, "display", show)
    return found


def test_a_notebook_has_one_picture_that_is_replaced(d2l, sent, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(surfaces.time, "monotonic", lambda: now[0])
    shell, board = Shell(), d2l.ProgressBoard("x", display=False)
    place = surfaces.Notebook(shell)
    for i in range(10):
        board.draw(i, i, "a")
        place.show(board)
        now[0] += 0.125
    assert [kind for kind, _ in sent] == ["new", *["update"] * 4]  # at 0, 0.25, 0.5, 0.75 and 1 second
    shell.end_cell()
    assert [kind for kind, _ in sent] == ["new", *["update"] * 5]
    assert shell.called == []
    picture = sent[-1][1]
    assert picture["image/svg+xml"].startswith("<?xml")
    assert picture["text/plain"] == "a 9"
    board.draw(10, 10, "a")
    place.show(board)
    place.close(board)
    assert [kind for kind, _ in sent[6:]] == ["new"]  # in the next cell, and nothing twice


# ---- the chart of text


def test_a_chart_draws_a_straight_line_straight():
    text = chart({"up": [(0, 0), (1, 1)]}, Scale(0, 1), Scale(0, 1), unicode=False).plain.splitlines()
    rows = [line[10:] for line in text[:12]]
    assert rows[0][59] == rows[-1][0] == "*"
    assert sum(row.count("*") for row in rows) == 60
    assert text[0].startswith("       1 |")
    assert text[11].startswith("       0 |")
    assert "* up 1.0000" in text[-1]


def test_what_is_no_number_leaves_a_gap():
    points = [(0, 1.0), (1, float("nan")), (2, 1.0)]
    y = fitted([value for _, value in points], None)
    assert y == Scale(1.0, 1.0)
    row = chart({"a": points}, Scale(0, 2), y, unicode=False).plain
    assert row.count("*") == 3  # both ends, and the mark of the legend
    assert fitted([], None) == Scale(0.0, 1.0)
    assert fitted([0.0, 10.0, 100.0], None, log=True) == Scale(10, 100, True)
    assert Scale(1, 100, log=True)(10) == pytest.approx(0.5)


# ---- what the first edition had


def test_plots_and_pictures_need_no_display(d2l):
    from matplotlib import pyplot

    d2l.plot(torch.arange(3.0), [torch.arange(3.0), torch.ones(3)], legend=["a", "b"], xlim=[0, 2])
    axes = pyplot.gca()
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0, 1, 2], [1, 1, 1]]
    assert axes.get_xlim() == (0, 2)
    d2l.plot([5, 6], axes=axes)
    assert axes.lines[0].get_xydata().tolist() == [[0, 5], [1, 6]]
    grid = d2l.show_images(torch.rand(3, 4, 4, requires_grad=True), 2, 2, titles=["a", "b", "c"])
    assert grid.shape == (4,)
    assert [place.get_title() for place in grid] == ["a", "b", "c", ""]
    assert d2l.show_images([Image.new("L", (3, 3))], 1, 1).shape == (1,)
    pyplot.close("all")


def test_an_animator(d2l, monkeypatch):
    monkeypatch.setattr("convscope.d2l.drawing.surfaces", lambda: [])
    animator = d2l.Animator(xlabel="epoch", legend=["a", "b"], xlim=[1, 2])
    animator.add(1, (torch.tensor(0.5), None))
    animator.add(2, (0.25, 0.75))
    assert animator.X == [[1, 2], [2]]
    assert animator.Y == [[0.5, 0.25], [0.75]]
    (axes,) = animator._picture().axes
    assert len(axes.lines) == 2
    assert animator._lines() == {"a": [(1, 0.5), (2, 0.25)], "b": [(2, 0.75)]}


def test_the_training_of_the_first_edition(d2l, programs, capsys, monkeypatch):
    from torch import nn

    monkeypatch.setattr("convscope.d2l.drawing.surfaces", lambda: [])
    made = []
    monkeypatch.setattr(d2l, "Animator", lambda **words: made.append(type(d2l.trainer_animator)(**words)) or made[-1])
    monkeypatch.setattr(d2l, "trainer_animator", _Plain(), raising=False)
    data = programs.make_toy(d2l)
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, 10))
    d2l.train_ch6(net, data.train_dataloader(), data.val_dataloader(), 2, 0.5, torch.device("cpu"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "training on cpu"
    assert said[2].endswith("examples/sec on cpu")
    accuracy = d2l.evaluate_accuracy_gpu(net, data.val_dataloader())
    assert said[1].endswith(f"test acc {accuracy:.3f}")
    assert said[1].startswith("loss ")
    xs = [x for x, _ in made[0].added]
    each = [2 / 11, 4 / 11, 6 / 11, 8 / 11, 10 / 11, 1.0]  # five windows of two batches, and the last batch
    assert xs == pytest.approx([*each, 1, *(1 + x for x in each), 2])
    assert made[0].added[-1][1] == (None, None, pytest.approx(accuracy))


class _Plain:
    """An animator that only remembers."""

    def __init__(self, **words):
        self.added = []

    def add(self, x, y):
        self.added.append((x, y))


def test_counts_of_right_answers(d2l):
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert d2l.accuracy(scores, torch.tensor([1, 1, 1])) == 2.0
    assert d2l.accuracy(torch.tensor([1.0, 0.0]), torch.tensor([1, 1])) == 1.0
    assert d2l.get_fashion_mnist_labels([0, 1]) == ["t-shirt", "trouser"]
