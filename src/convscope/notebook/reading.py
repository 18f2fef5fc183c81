"""From a file to a notebook that can be run."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError

_MARK = re.compile(r"^#\s*%%(?:\s+(?P<title>.*))?$")
_PROSE = re.compile(r"\[(?:markdown|md)\]")


class NotebookError(ConvscopeError):
    """A notebook cannot be read, or cannot be run here."""


def extra(module: str) -> Any:
    """A module of the extra ``[notebook]``.

    Raises:
        NotebookError: It is not installed; the message says what to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise NotebookError(
            f"running notebooks needs {module}; install the extra: pip install 'convscope[notebook]'"
        ) from error


def read_notebook(path: Path) -> Any:
    """A notebook file in the newest form of the format, checked.

    Args:
        path: A file ``.ipynb`` of format 3 or 4.

    Returns:
        An ``nbformat.NotebookNode``.

    Raises:
        NotebookError: No notebook, a damaged one, or one that is not for Python.
    """
    nbformat = extra("nbformat")
    text = read_text(path)
    try:
        notebook = nbformat.converter.convert(nbformat.reader.reads(text), 4)
        with warnings.catch_warnings():  # cells of older notebooks lack names; it gives them some, and warns of it
            warnings.simplefilter("ignore")
            _, notebook = nbformat.validator.normalize(notebook)
        nbformat.validate(notebook)
    except nbformat.reader.NotJSONError as error:
        raise NotebookError(f"{path} is no notebook: it is not valid JSON{_where(error)}") from error
    except nbformat.ValidationError as error:
        what, *more = str(error).strip().splitlines()
        place = next((line.removeprefix("On instance").rstrip(":") for line in more if line.startswith("On inst")), "")
        raise NotebookError(f"{path} is no valid notebook: {what}{f' (at {place})' if place else ''}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # JSON, but nothing like a notebook
        raise NotebookError(f"{path} is no notebook: it is JSON without the parts of one") from error
    _refuse_other_languages(notebook, path)
    return notebook


def _where(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    line, column = getattr(cause, "lineno", None), getattr(cause, "colno", None)
    return f" (line {line}, column {column})" if line is not None else ""


def _refuse_other_languages(notebook: Any, path: Path) -> None:
    told = notebook.metadata
    language = told.get("kernelspec", {}).get("language") or told.get("language_info", {}).get("name") or "python"
    if language.lower() not in ("python", "python3", "ipython"):
        raise NotebookError(f"{path} is written in {language}; convscope runs notebooks in Python")


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        NotebookError: It is no text in UTF-8.
        OSError: It cannot be read at all.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotebookError(f"{path} is no text in UTF-8 (byte {error.start})") from error


def split_script(text: str) -> list[tuple[str, str]]:
    r"""The cells of a script, as (kind, source): split at lines ``# %%``, or the whole when there is none.

    ``# %% [markdown]`` begins a cell of comments that are prose.

    Example:
        >>> split_script("a = 1\n# %% Next\na + 1\n# %% [markdown]\n# Words.\n")
        [('code', 'a = 1'), ('code', 'a + 1'), ('markdown', 'Words.')]
    """
    parts: list[tuple[str, list[str]]] = [("code", [])]
    for line in text.splitlines():
        mark = _MARK.match(line)
        if mark is not None:
            parts.append(("markdown" if _PROSE.match(mark["title"] or "") else "code", []))
        else:
            kind, lines = parts[-1]
            lines.append(re.sub(r"^# ?", "", line) if kind == "markdown" else line)
    whole = [(kind, "\n".join(lines).strip("\n")) for kind, lines in parts]
    return [(kind, source) for kind, source in whole if source.strip()]


def as_notebook(cells: Iterable[tuple[str, str]]) -> Any:
    """A notebook of (kind, source) pairs; the kinds are ``code`` and ``markdown``."""
    v4 = extra("nbformat").v4
    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
    made = [make[kind](source, id=f"cell-{number}") for number, (kind, source) in enumerate(cells, start=1)]
    return v4.new_notebook(cells=made, metadata={"language_info": {"name": "python"}})
