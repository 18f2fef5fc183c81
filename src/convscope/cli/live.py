"""A training run as it goes: a live table in a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from convscope.naming import duration
from convscope.train import Event, Finished, History, Listener, Logged, Noted, Row, Started, Stepped

BLOCKS = "▁▂▃▄▅▆▇█"
EPOCHS_SHOWN = 10
BLOCKS_SHOWN, LEAST_BLOCKS = 24, 6  # of a curve, and of the bar
WORDS_OF_CURVES = 38  # columns that the names of three curves and the gaps take


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
    """The split that epochs are measured on now; a run that goes on may have changed it."""
    return History(tuple(rows)).split


def _number(values: Mapping[str, float], name: str, form: str) -> str:
    """A number as text; a dash where it was not measured."""
    return format(values[name], form) if name in values else "-"


def _words(row: Row) -> str:
    """What a row of an epoch says; images that were not looked at are left out."""
    values, held = row.values, _held([row])
    parts = [
        f"{split} loss {_number(values, f'{split}_loss', '.4f')} accuracy {_number(values, f'{split}_accuracy', '.4f')}"
        for split in ("train", held)
        if split == "train" or f"{split}_loss" in values
    ]
    parts += [f"lr {values['lr']:.2g}", f"{values['images_per_second']:,.0f} images/s"]
    if "peak_share" in values:
        parts.append(f"{values['peak_share']:.0%} of peak")
    return "  ".join([*parts, duration(values["seconds"])])


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
            self._print(f"epoch {event.row.epoch}/{self._epochs}  {_words(event.row)}")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


class Screen:
    """What ``rich`` draws eight times a second; events only change what it will say next."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._rows: list[Row] = []  # one per epoch
        self._logged: list[Row] = []  # every one
        self._step = self._first_step = 0
        self._epoch = 1  # under way
        self._began = time.perf_counter()
        self._notes: list[str] = []
        self._finished: Finished | None = None

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Started):
            self._started = event
            self._rows, self._logged = list(event.history.of("epoch")), list(event.history.rows)
            self._step = self._first_step = event.step
            self._epoch = event.epoch + 1
            self._began = time.perf_counter()
        elif isinstance(event, Stepped):
            self._step, self._epoch = event.step, event.epoch
        elif isinstance(event, Noted):
            self._notes.append(event.text)
        elif isinstance(event, Logged):
            self._step = event.row.step
            self._logged.append(event.row)
            if event.row.kind == "epoch":
                self._rows.append(event.row)
                self._epoch = event.row.epoch + 1
        else:
            self._finished = event

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The current picture, in the width that there is."""
        if self._started is None:
            yield Text("preparing ...", style="dim")
            return
        yield Text.assemble((self._started.title, "bold"), (f"  {self._started.plan}", "dim"))
        yield from (Text(note, style="yellow") for note in self._notes)
        if self._rows:
            yield self._table()
            yield self._curves(options.max_width)
        if self._finished is None:
            yield self._progress(self._started, options.max_width)

    def _table(self) -> Table:
        """The last epochs; the share of the machine's peak has a column where it is known."""
        split = _held(self._rows)
        judged = any(f"{split}_loss" in row.values for row in self._rows)
        best = max((row.values.get(f"{split}_accuracy", 0.0) for row in self._rows), default=0.0)
        columns = {"train loss": ("train_loss", ".4f"), "train acc": ("train_accuracy", ".2%")}
        if judged:
            columns |= {f"{split} loss": (f"{split}_loss", ".4f"), f"{split} acc": (f"{split}_accuracy", ".2%")}
        columns["images/s"] = ("images_per_second", ",.0f")
        if any("peak_share" in row.values for row in self._rows):
            columns["peak"] = ("peak_share", ".0%")
        table = Table(box=None, header_style="dim", padding=(0, 1))
        for title in ("epoch", *columns, "time"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in self._rows[-EPOCHS_SHOWN:]:
            cells = [Text(_number(row.values, name, form)) for name, form in columns.values()]
            if judged and row.values.get(f"{split}_accuracy") == best:
                cells[3].stylize("bold green")
            table.add_row(str(row.epoch), *cells, duration(row.values["seconds"]))
        return table

    def _curves(self, width: int) -> Text:
        """Every logged value as a row of blocks; losses are seen more often than the held-out images."""
        split = _held(self._rows)
        line = Text(" ", no_wrap=True)
        blocks = max(LEAST_BLOCKS, min(BLOCKS_SHOWN, (width - WORDS_OF_CURVES) // 3))
        for label, name, rows, style in (
            ("train loss", "train_loss", self._logged, "blue"),
            (f"{split} loss", f"{split}_loss", self._rows, "yellow"),
            (f"{split} acc", f"{split}_accuracy", self._rows, "green"),
        ):
            values = [row.values[name] for row in rows if name in row.values]
            if values:
                line.append(f"{label} ", style="dim").append(sparkline(values, width=blocks), style=style).append("   ")
        line.rstrip()
        return line

    def _progress(self, started: Started, width: int) -> Table:
        total = started.steps
        seconds = time.perf_counter() - self._began
        done = self._step - self._first_step
        speed = done * started.batch_size / seconds if seconds else 0.0
        left = (total - self._step) * seconds / done if done else 0.0
        epoch = min(self._epoch, started.epochs)
        loss = self._logged[-1].values.get("train_loss") if self._logged else None
        words = [
            f" epoch {epoch}/{started.epochs}",
            f"step {self._step:,}/{total:,}",
            "" if loss is None else f"loss {loss:.4f}",
            f"{speed:,.0f} images/s",
            f"ETA {duration(left)}" if done else "",
        ]
        bar = max(LEAST_BLOCKS, min(BLOCKS_SHOWN, width - sum(len(word) + 1 for word in words) - 1))
        grid = Table.grid(padding=(0, 1))
        for _ in range(len(words) + 1):
            grid.add_column(no_wrap=True)
        grid.add_row(words[0], ProgressBar(total=total, completed=self._step, width=bar), *words[1:])
        return grid
