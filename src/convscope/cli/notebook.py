"""``convscope notebook``: run a notebook, a chapter of the book or a script, and keep what it showed."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from convscope import files, notebook
from convscope.cli.console import Switch, messages, parse
from convscope.d2l import markdown
from convscope.d2l.limits import Limits
from convscope.d2l.runs import RUNS
from convscope.errors import DataError
from convscope.naming import duration
from convscope.notebook import Failure, NotebookError, Outcome

KINDS = (".ipynb", ".md", ".py")
WORTH_TELLING = 1.0
"""Seconds from which on a cell's time is told in a log."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """Run a notebook, a chapter of the book or a script, with convscope behind `from d2l import torch as d2l`."""

    file: Positional[Path]
    """FILE.ipynb, FILE.md in the book's form (the tab pytorch is run), or FILE.py, whole or in cells of `# %%`."""
    out: Path | None = None
    """Where to write the executed copy, .ipynb or .html; by default FILE-executed.ipynb in the current folder."""
    max_epochs: int | None = None
    """Epochs at most in each training, whatever the file says."""
    limit: int | None = None
    """Images at most of the training split, and of the test split, of Fashion-MNIST."""
    runs: Path | None = None
    """Keep every training in a run folder in here; the same words again go on where it was stopped."""
    force: Switch = False
    """Replace an executed copy that is there."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "notebook")
    limits = Limits(max_epochs=asked.max_epochs, images=asked.limit)
    out = _place(asked)
    content = _read(asked.file)
    outcome = _run(content, asked.file, limits, asked.runs)
    text = _as_page(content, asked.file) if out.suffix == ".html" else _as_json(content)
    files.write_bytes(out, text.encode())
    if outcome.failure is not None:
        _show(outcome.failure, outcome.total)
    print(out)
    if outcome.interrupted:
        raise KeyboardInterrupt  # after what there is was written
    return 0 if outcome.failure is None else 1


def _place(asked: Words) -> Path:
    """Where the copy goes; refused before anything runs, if it must not or cannot go there."""
    if asked.file.suffix not in KINDS:
        raise ValueError(f"expected a file {', '.join(KINDS[:-1])} or {KINDS[-1]}, got {asked.file}")
    if not asked.file.is_file():
        raise DataError(f"there is no file {asked.file}")
    out = asked.out or Path(f"{asked.file.stem}-executed.ipynb")
    if out.suffix not in (".ipynb", ".html"):
        raise ValueError(f"--out must end in .ipynb or .html, got {out}")
    if out.exists() and out.samefile(asked.file):
        raise ValueError(f"{out} is the notebook itself, which is never changed; choose another --out")
    if out.is_dir():
        raise ValueError(f"{out} is a folder; choose another --out")
    if out.exists() and not asked.force:
        raise ValueError(f"{out} is there already; add --force to replace it, or choose another --out")
    if not out.parent.is_dir():
        raise ValueError(f"there is no folder {out.parent}; make it, or choose another --out")
    if not os.access(out.parent, os.W_OK):
        raise ValueError(f"nothing can be written into the folder {out.parent}; choose another --out")
    return out


def _read(file: Path) -> Any:
    """A notebook from any of the three kinds of files."""
    if file.suffix == ".ipynb":
        return notebook.read_notebook(file)
    text = notebook.reading.read_text(file)
    if file.suffix == ".py":
        return notebook.as_notebook(notebook.split_script(text))
    try:
        cells = [(cell.kind, cell.source) for cell in markdown.cells(text)]
    except ValueError as error:
        raise NotebookError(f"{file}: {error}") from error
    if not any(kind == "code" for kind, _ in cells):
        raise NotebookError(
            f"{file} has no code for the tab pytorch; the book's files have it between ```{{.python .input}} and ```"
        )
    return notebook.as_notebook(cells)


def _run(content: Any, file: Path, limits: Limits, runs: Path | None) -> Outcome:
    say = messages()
    say.print(f"{file.name}: `from d2l import torch as d2l` gives convscope.d2l", soft_wrap=True)
    if limits:
        say.print(f"shortened to {limits}; numbers of the text need the whole training", soft_wrap=True)
    log = _Log()
    preparation = "import convscope.d2l.activate\n"
    if file.suffix == ".py":  # a script knows its own name, and has the words of its command line to itself
        preparation += f"import sys; sys.argv = [{str(file)!r}]; __file__ = {str(file.resolve())!r}\n"
    try:
        outcome = notebook.run(
            content,
            folder=file.resolve().parent,
            watcher=log,
            preparation=preparation,
            environment=limits.environment() | ({} if runs is None else {RUNS: str(runs.resolve())}),
        )
    except NotebookError as error:
        raise NotebookError(f"{file}: {error}") from error
    if outcome.failure is None and not outcome.interrupted:
        log.ended(outcome)
    return outcome


class _Log:
    """One line for each cell, and what the cells write, as it comes; all on stderr, for the result is the copy."""

    def __init__(self) -> None:
        self._open = False  # whether the last line still waits for its end

    def started(self, number: int, total: int, source: str) -> None:
        first = next((line.strip() for line in source.splitlines() if line.strip()), "")
        self._line(f"[{number:{len(str(total))}}/{total}] {first[:90]}{' ...' if len(first) > 90 else ''}")

    def said(self, text: str) -> None:
        if text:
            sys.stderr.write(text)
            sys.stderr.flush()
            self._open = not text.endswith("\n")

    def finished(self, number: int, seconds: float) -> None:
        if seconds >= WORTH_TELLING:
            self._line(f"    {duration(seconds)}")

    def ended(self, outcome: Outcome) -> None:
        """All went well."""
        if outcome.ran < outcome.total:
            self._line(f"the program ended itself in cell {outcome.ran} of {outcome.total}; later cells were not run")
        self._line(f"{outcome.ran} cell{'s' * (outcome.ran != 1)} in {duration(outcome.seconds)}", style="")

    def _line(self, text: str, *, style: str = "dim") -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False
        messages().print(text, style=style, soft_wrap=True)


def _show(failure: Failure, total: int) -> None:
    """The cell that stopped it, with numbered lines, and what Python says."""
    lines = failure.source.splitlines()
    numbered = (f"{number:>4}  {line}" for number, line in enumerate(lines, start=1))
    parts = [f"convscope: cell {failure.number} of {total} failed: {failure.reason}", "", *numbered]
    parts += ["", failure.traceback] if failure.traceback else []
    print("\n".join(parts), file=sys.stderr)


def _as_page(content: Any, file: Path) -> str:
    return notebook.as_page(content, file.stem, folder=file.resolve().parent)


def _as_json(content: Any) -> str:
    text: str = notebook.reading.extra("nbformat").writes(content)
    return text + "\n"
