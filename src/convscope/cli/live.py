"""A training run as it goes: a live table in a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from convscope.naming import duration
from convscope.train import Event, Finished, Listener, Logged, Noted, Row, Started, Stepped

BLOCKS = "▁▂▃▄▅▆▇█"
EPOCHS_SHOWN = 10


@contextmanager
def display(console: Console) -> Iterator[Listener]:
    """A listener that shows a run on ``console`` in the way that fits it."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
        return
    screen = Screen()
    with Live(screen, console=console, refresh_per_second=8):
        yield screen


def sparkline(values: Sequence[float], *, width: int = 24) -> str:
    """Numbers as a row of blocks from the lowest to the highest; many are averaged into ``width`` blocks.

    Example:
        >>> sparkline([0.0, 0.5, 1.0])
        '▁▅█'
        >>> sparkline([0, 2, 5, 6, 8, 12], width=3)
        '▁▅█'
    """
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    return "".join(BLOCKS[round((v - low) / span * (len(BLOCKS) - 1)) if span else 0] for v in means)


def _held(rows: Sequence[Row]) -> str:
    """The split that epochs are measured on, from the names of their numbers."""
    return "val" if any("val_loss" in row.values for row in rows) else "test"


def _number(values: Mapping[str, float], name: str, form: str) -> str:
    """A number as text; a dash where it was not measured."""
    return format(values[name], form) if name in values else "-"


class Lines:
    """One line per epoch, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs = 0

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Started):
            self._epochs = event.epochs
            self._print(f"{event.title}, on {event.plan}, into {event.folder}")
            if event.step:
                self._print(f"going on after step {event.step}")
        elif isinstance(event, Noted):
            self._print(event.text)
        elif isinstance(event, Logged) and event.row.kind == "epoch":
            values, split = event.row.values, _held([event.row])
            self._print(
                f"epoch {event.row.epoch}/{self._epochs}  "
                f"train loss {values['train_loss']:.4f} accuracy {values.get('train_accuracy', 0):.4f}  "
                f"{split} loss {_number(values, f'{split}_loss', '.4f')} "
                f"accuracy {_number(values, f'{split}_accuracy', '.4f')}  "
                f"lr {values['lr']:.2g}  {values['images_per_second']:,.0f} images/s  {duration(values['seconds'])}"
            )

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


class Screen:
    """What ``rich`` draws eight times a second; events only change what it will say next."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._rows: list[Row] = []  # one per epoch
        self._logged: list[Row] = []  # every one
        self._step = self._first_step = 0
        self._began = time.perf_counter()
        self._notes: list[str] = []
        self._finished: Finished | None = None

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Started):
            self._started = event
            self._rows, self._logged = list(event.history.of("epoch")), list(event.history.rows)
            self._step = self._first_step = event.step
            self._began = time.perf_counter()
        elif isinstance(event, Stepped):
            self._step = event.step
        elif isinstance(event, Noted):
            self._notes.append(event.text)
        elif isinstance(event, Logged):
            self._step = event.row.step
            self._logged.append(event.row)
            if event.row.kind == "epoch":
                self._rows.append(event.row)
        else:
            self._finished = event

    def __rich__(self) -> RenderableType:
        """The current picture."""
        if self._started is None:
            return Text("preparing ...", style="dim")
        head = Text.assemble((self._started.title, "bold"), (f"  {self._started.plan}", "dim"))
        parts: list[RenderableType] = [head, *(Text(note, style="yellow") for note in self._notes)]
        if self._rows:
            parts += [self._table(), self._curves()]
        if self._finished is None:
            parts.append(self._progress(self._started))
        return Group(*parts)

    def _table(self) -> Table:
        split = _held(self._rows)
        table = Table(box=None, header_style="dim", padding=(0, 1))
        for title in ("epoch", "train loss", "train acc", f"{split} loss", f"{split} acc", "images/s", "time"):
            table.add_column(title, justify="right")
        best = max(row.values.get(f"{split}_accuracy", 0.0) for row in self._rows)
        for row in self._rows[-EPOCHS_SHOWN:]:
            values = row.values
            is_best = values.get(f"{split}_accuracy") == best
            table.add_row(
                str(row.epoch),
                f"{values['train_loss']:.4f}",
                f"{values.get('train_accuracy', 0.0):.2%}",
                _number(values, f"{split}_loss", ".4f"),
                Text(_number(values, f"{split}_accuracy", ".2%"), style="bold green" if is_best else ""),
                f"{values['images_per_second']:,.0f}",
                duration(values["seconds"]),
            )
        return table

    def _curves(self) -> Text:
        """Every logged value as a row of blocks; losses are seen more often than the held-out images."""
        split = _held(self._rows)
        line = Text(" ")
        for label, name, rows, style in (
            ("train loss", "train_loss", self._logged, "blue"),
            (f"{split} loss", f"{split}_loss", self._rows, "yellow"),
            (f"{split} acc", f"{split}_accuracy", self._rows, "green"),
        ):
            values = [row.values[name] for row in rows if name in row.values]
            line.append(f"{label} ", style="dim").append(sparkline(values, width=24), style=style).append("   ")
        return line

    def _progress(self, started: Started) -> Table:
        total = started.steps
        seconds = time.perf_counter() - self._began
        done = self._step - self._first_step
        speed = done * started.batch_size / seconds if seconds else 0.0
        left = (total - self._step) * seconds / done if done else 0.0
        grid = Table.grid(padding=(0, 1))
        epoch = min(self._step // started.steps_per_epoch + 1, started.epochs)
        loss = self._logged[-1].values.get("train_loss") if self._logged else None
        grid.add_row(
            f" epoch {epoch}/{started.epochs}",
            ProgressBar(total=total, completed=self._step, width=24),
            f"step {self._step:,}/{total:,}",
            "" if loss is None else f"loss {loss:.4f}",
            f"{speed:,.0f} images/s",
            f"ETA {duration(left)}" if done else "",
        )
        return grid
