"""Files that are whole or not there: written beside themselves, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from convscope.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, rename it into place.

    A crash, a full disk or a kill at any moment leaves the previous file as it was.

    Raises:
        RunError: The file system refused; the message names the file and the reason.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("r+b") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
        beside.replace(path)
    except OSError as error:
        raise RunError(
            f"could not write {path}: {error.strerror or error}; what was there before is untouched"
        ) from error
    finally:
        with suppress(OSError):  # the file is litter at worst; the error above is what matters
            beside.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder in one that is there; it may be there already.

    Raises:
        RunError: The file system refused.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {path}: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or leave the old one."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all; escaped to ASCII, because a file name need not be valid Unicode."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: The file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"could not read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: not valid JSON ({error})") from error
