"""Fetching a named data set: several mirrors in turn, every file verified before it gets its name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from convscope.data.catalog import DataInfo, Published
from convscope.data.contents import OtherDataError, read_published, read_unpacked
from convscope.errors import DataError

TIMEOUT_SECONDS = (6, 30)  # to connect, and between two pieces of an answer
CHUNK_BYTES = 1 << 16
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Progress(Protocol):
    """Called again and again with what is done and what there is in all; 0 when that is unknown."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take note."""


class Unreachable(DataError):
    """No mirror gave the file; the message lists what each one did."""


def fetch(info: DataInfo, folder: Path, progress: Progress | None = None) -> dict[str, bytes]:
    """Complete the files of a data set in a folder: keep what is whole, download what is missing or damaged.

    A call that was interrupted or failed is continued by the next one: whole files stay.

    Args:
        info: What to fetch.
        folder: Where the files go; made when missing.
        progress: Bytes of the file under way.

    Returns:
        The verified contents by name.

    Raises:
        Unreachable: No mirror gave a file, or only damaged ones.
        DataError: The folder cannot be written.
    """
    found: dict[str, bytes] = {}
    for file in info.files:
        try:
            whole = read_any(folder, file, info)
        except OtherDataError:
            raise  # somebody's data under another name: not ours to replace
        except DataError:
            for name in (file.name, *(content.name for content in file.contents)):
                (folder / name).unlink(missing_ok=True)
            whole = None
        found |= whole if whole is not None else _download(info, file, folder, progress)
    return found


def read_any(folder: Path, file: Published, info: DataInfo) -> dict[str, bytes] | None:
    """Read one published file from a folder, unpacked or as it was published; None when it is not there.

    Raises:
        DataError: It is there, but in no form whole.
    """
    problem: DataError | None = None
    if all((folder / content.name).is_file() for content in file.contents):
        try:
            return read_unpacked(folder, file, info)
        except DataError as error:  # a whole packed copy beside it will do
            problem = error
    if (folder / file.name).is_file():
        return read_published(folder / file.name, file, info)
    if problem:
        raise problem
    return None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        DataError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be made ({error.strerror}); choose another one") from error


def _download(info: DataInfo, file: Published, folder: Path, progress: Progress | None) -> dict[str, bytes]:
    """Try every mirror, and those that answered with something wrong once more."""
    make_folder(folder)
    failures: dict[str, str] = {}
    mirrors = list(info.mirrors)
    for _ in range(2):
        answered = []
        for mirror in mirrors:
            try:
                return _download_from(mirror + file.name, info, file, folder, progress)
            except DataError:
                failures[mirror] = "sent a damaged file"
                answered.append(mirror)
            except OSError as error:  # what pooch raises for everything that can happen on the way derives from it
                if error.errno in NO_SPACE:
                    raise DataError(
                        f"no space left in {folder} for {file.name}; free some or choose another cache folder"
                    ) from error
                failures[mirror] = _reason(error)
        mirrors = answered
    raise Unreachable("; ".join(f"{mirror} {failure}" for mirror, failure in failures.items()))


def _download_from(
    url: str, info: DataInfo, file: Published, folder: Path, progress: Progress | None
) -> dict[str, bytes]:
    """Download beside the final name, verify, rename: a file with its final name is whole."""
    import pooch

    part = folder / f".{file.name}.{os.getpid()}.part"
    try:
        bar = _Bar(progress) if progress else False
        download = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK_BYTES, timeout=TIMEOUT_SECONDS)
        download(url, str(part), None)
        found = read_published(part, file, info)
        part.replace(folder / file.name)
        return found
    finally:
        part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"answered {status}" if status else f"gave no answer ({type(error).__name__})"


class _Bar:
    """What pooch expects of a progress bar, as calls of a function."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self.progress, self.total, self.done = progress, 0, 0

    def update(self, count: int) -> None:
        self.done = min(self.done + count, self.total) if self.total else self.done + count
        self.progress(self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to put away."""
