"""What a terminal and a log say of a run, from events made by hand."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from convscope.cli.live import Lines, Screen, display
from convscope.train import Event, Finished, History, Logged, Noted, Row, Started, Stepped

STARTED = Started(
    title="lenet on digits", folder=Path("runs/x"), plan="Abacus 3 (cpu, 2 threads), float32", epochs=12, steps=240,
    batch_size=64,
)  # fmt: skip


def epoch(number: int, *, held: str = "test", peak: float | None = None, **changes: float | None) -> Row:
    values = {
        "lr": 0.01, "train_loss": 1.5 / number, "train_accuracy": 1 - 0.4 / number, "images_per_second": 12345.0,
        f"{held}_loss": 2.0 / number, f"{held}_accuracy": 1 - 0.5 / number, "seconds": 70.0 * number,
        "peak_share": peak, **changes,
    }  # fmt: skip
    return Row("epoch", number, 20 * number, {name: value for name, value in values.items() if value is not None})


def unmeasured(number: int, *, held: str = "test", peak: float | None = None) -> Row:
    return epoch(number, held=held, peak=peak, **{f"{held}_loss": None, f"{held}_accuracy": None})


def shown(*events: Event, width: int = 80) -> list[str]:
    """The picture that a terminal of that width has after these events."""
    screen, file = Screen(), io.StringIO()
    for event in events:
        screen(event)
    Console(file=file, width=width, force_terminal=True, no_color=True, highlight=False, color_system=None).print(
        screen
    )
    return file.getvalue().splitlines()


def said(*events: Event) -> list[str]:
    """The lines of a log."""
    file = io.StringIO()
    with display(Console(file=file, width=80)) as listener:
        assert isinstance(listener, Lines)
        for event in events:
            listener(event)
    return file.getvalue().splitlines()


def test_a_run_that_goes_on_in_other_steps_shows_the_epoch_that_is_under_way():
    """Steps so far and steps to come have another size, so the epoch is not their ratio."""
    started = dataclasses.replace(STARTED, steps=500, step=13, epoch=6)
    assert "epoch 7/12" in shown(started)[-1]
    assert "epoch 8/12" in shown(started, Stepped(8, 20))[-1]
    assert "step 20/500" in shown(started, Stepped(8, 20), width=100)[-1]
    row = dataclasses.replace(epoch(8), step=30)
    assert "epoch 9/12" in shown(started, Stepped(8, 20), Logged(row))[-1]


def test_a_line_says_what_was_measured():
    assert said(STARTED, Logged(epoch(2, peak=0.234))) == [
        "lenet on digits, on Abacus 3 (cpu, 2 threads), float32, into runs/x",
        "epoch 2/12  train loss 0.7500 accuracy 0.8000  test loss 1.0000 accuracy 0.7500  lr 0.01  12,345 images/s  "
        "23% of peak  2 min 20 s",
    ]


def test_a_line_leaves_out_what_was_not():
    lines = said(STARTED, Logged(unmeasured(1)), Logged(epoch(2, train_loss=None, train_accuracy=None, held="val")))
    assert lines[1] == "epoch 1/12  train loss 1.5000 accuracy 0.6000  lr 0.01  12,345 images/s  1 min 10 s"
    assert "train loss - accuracy -  val loss 1.0000 accuracy 0.7500" in lines[2]


def test_a_log_says_what_was_noted():
    assert said(Noted("the newest checkpoint is damaged"), STARTED)[0] == "the newest checkpoint is damaged"


def test_notes_are_shown_above_the_table_whenever_they_came():
    lines = shown(Noted("an early note"), STARTED, Logged(epoch(1)), Noted("a late note"))
    assert lines[0].startswith("lenet on digits  Abacus 3")
    assert [line.strip() for line in lines[1:3]] == ["an early note", "a late note"]


def test_the_share_of_the_peak_has_a_column_where_it_is_known():
    lines = shown(STARTED, Logged(epoch(1, peak=0.234)), Logged(epoch(2)))
    head, first, second = (line.split("  ") for line in lines[1:4])
    cells = [[cell.strip() for cell in line if cell.strip()] for line in (head, first, second)]
    assert cells[0] == ["epoch", "train loss", "train acc", "test loss", "test acc", "images/s", "peak", "time"]
    assert cells[1] == ["1", "1.5000", "60.00%", "2.0000", "50.00%", "12,345", "23%", "1 min 10 s"]
    assert cells[2] == ["2", "0.7500", "80.00%", "1.0000", "75.00%", "12,345", "-", "2 min 20 s"]
    assert "peak" not in " ".join(shown(STARTED, Logged(epoch(1))))


def test_epochs_without_a_measurement_are_dashes_and_join_the_curve():
    lines = shown(STARTED, *(Logged(epoch(n) if n % 2 == 0 else unmeasured(n)) for n in range(1, 5)))
    assert lines[2].split() == ["1", "1.5000", "60.00%", "-", "-", "12,345", "1", "min", "10", "s"]
    assert lines[3].split()[3:5] == ["1.0000", "75.00%"]
    assert "test loss █▁ " in lines[6]
    assert lines[6].endswith("test acc ▁█"), "two points and no zeros between them"


@pytest.mark.parametrize("held", ["test", "val"])
def test_images_that_nobody_looked_at_yet_have_no_column(held: str):
    text = " ".join(shown(STARTED, Logged(unmeasured(1, held=held))))
    assert "test" not in text
    assert "val" not in text
    assert f"{held} acc" in " ".join(shown(STARTED, Logged(unmeasured(1, held=held)), Logged(epoch(2, held=held))))


@pytest.mark.parametrize("width", [80, 110, 200])
def test_nothing_wraps(width: int):
    rows = [epoch(number, peak=1.0) for number in range(1, 13)]
    steps = [Logged(Row("step", 12, number, {"train_loss": 1 / number})) for number in range(1, 230)]
    lines = shown(STARTED, *map(Logged, rows), *steps, Stepped(12, 235), width=width)
    assert len(lines) == 1 + 1 + 10 + 1 + 1, "title, heading, ten epochs, curves, progress"
    assert max(map(len, lines)) <= width
    assert " ".join(lines[1].split()) == "epoch train loss train acc test loss test acc images/s peak time"
    assert all(line.rstrip().endswith(" s") for line in lines[2:12]), "the time is whole"
    assert "ETA" in lines[-1]
    assert "…" not in "".join(lines)
    blocks = sum(character in "▁▂▃▄▅▆▇█" for character in lines[12])
    assert blocks == (14 + 2 * 12 if width == 80 else 24 + 2 * 12)


def test_a_run_that_went_on_with_another_split_shows_the_new_one():
    lines = shown(STARTED, Logged(epoch(1, held="val")), Logged(epoch(2)))
    assert " ".join(lines[1].split()) == "epoch train loss train acc test loss test acc images/s time"
    assert lines[3].split()[3:5] == ["1.0000", "75.00%"]


def test_a_run_that_goes_on_shows_its_past():
    past = History((epoch(1), epoch(2)))
    started = Started(**{**vars(STARTED), "step": 40, "history": past})
    lines = shown(started, Logged(epoch(3)), Finished("done"))
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    assert "ETA" not in "".join(lines)
    assert "going on after step 40" in said(started)


def test_before_anything_is_known_it_says_so():
    assert [line.strip() for line in shown()] == ["preparing ..."]
