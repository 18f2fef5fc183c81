"""What every verb shares: how flags are read, and where things are printed."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from convscope import data
from convscope.cli.entry import who
from convscope.errors import DataError, RunError
from convscope.train import Run

T = TypeVar("T")
PIPE_WIDTH = 10_000
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off unless it is typed; it has no ``--no-`` form."""


def parse(words: Sequence[str], into: type[T], verb: str, *, default: T | None = None) -> T:
    """Read flags into a dataclass; on wrong words tyro says what was expected and exits with 2.

    Args:
        words: What was typed after the verb.
        into: A dataclass whose docstrings are the help.
        verb: For the usage line.
        default: Values for what is not typed; None takes the dataclass's own.
    """
    description = (into.__doc__ or "").strip()
    conf = (tyro.conf.OmitArgPrefixes,)
    if default is None:
        return tyro.cli(into, args=words, prog=f"convscope {verb}", description=description, config=conf)
    return tyro.cli(into, args=words, prog=f"convscope {verb}", description=description, config=conf, default=default)


class _Plain(Console):
    """A console that prints names as they are, and leaves a reader that went away to the program."""

    def __init__(self, *, stderr: bool = False, width: int | None = None, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, width=width, quiet=quiet, highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def messages() -> Console:
    """Where progress and messages go: stderr, of one process where there are several."""
    return _Plain(stderr=True, quiet=bool(who()))


def results() -> Console:
    """Where results go: stdout; when it is no terminal, wide enough never to cut or fold anything."""
    return _Plain(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_json(value: Any) -> None:
    """One machine-readable result on stdout; NaN is no JSON and is refused."""
    print(json.dumps(value, indent=2, allow_nan=False))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for long work, given as a function of (done, total); it appears with the first call."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=messages(),
        transient=True,
    )
    task = bar.add_task(what, total=None)

    def update(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()


def warn_of_skipped(path: Path, reason: str) -> None:
    """Name a file that was left out."""
    messages().print(f"skipped {path}: {reason}", style="yellow", soft_wrap=True)


def load_data(
    run: Run, *, name: str | None = None, data_dir: Path | None = None, strict: bool = False, **otherwise: Any
) -> data.Dataset:
    """The images that a run was trained on, or others brought to the same size and channels.

    Args:
        run: Says which.
        name: Of others.
        data_dir: Where the files of a named data set are.
        strict: Stop at the first unreadable image.
        otherwise: Arguments of ``data.load`` that are others now than when the run began; those that the data set never
            took are left out.

    Raises:
        DataError: The run was trained on images that only its Python program had.
        RunError: ``config.json`` asks for what this version does not know.
    """
    source = dict(run.config["data"]["source"])
    if name is not None:
        height, width = run.config["data"]["image_size"]
        known = name in data.names()
        shape = {} if known else {"image_size": (height, width), "channels": run.preprocess.channels}
        return read_images(name, data_dir=data_dir, **shape)
    if not source:
        raise DataError(f"{run.path} was trained on images made in memory; name other ones with --data")
    unknown = set(source) - set(inspect.signature(data.load).parameters)
    if unknown or "name_or_folder" not in source:
        raise RunError(f"{run.path / 'config.json'} is damaged: its data source has {', '.join(sorted(source))}")
    source |= {key: value for key, value in otherwise.items() if key in source}
    if data_dir is not None:
        source["data_dir"] = str(data_dir)
    return read_images(source.pop("name_or_folder"), **{**source, "strict": strict})


def read_images(name: str, **arguments: Any) -> data.Dataset:
    """``data.load`` with a bar, and skipped files named on stderr."""
    with progress_bar("reading images") as progress:
        return data.load(name, progress=progress, on_skip=warn_of_skipped, **arguments)
