"""Whose folder is it? A run is never overwritten unasked, and one process at a time trains in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from convscope.errors import RunError

LOCK = Path("checkpoint") / "lock"
RANGE_PICTURE = "lr_range.png"
"""What a learning-rate range test leaves, often where the run that it was made for will be."""
WRITTEN = ("model.safetensors", "metrics.jsonl", "environment.json", "config.json")
"""The files of a training; ``config.json`` is the last, because it makes a folder a run."""


def check_free(path: Path, *, overwrite: bool) -> None:
    """Make sure that a new run may be written here, without touching anything.

    Args:
        path: The folder; may not exist yet.
        overwrite: Whether a run that is there may be replaced.

    Raises:
        RunError: Something is there that must not be lost.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is a file; choose another --out")
    if not _occupied(path):
        return
    if not _is_ours(path / "config.json"):
        raise RunError(f"{path} holds files that are no run, and they are not overwritten; choose another --out")
    if not overwrite:
        raise RunError(f"{path} already holds a run; add --force to replace it, or choose another --out")


@contextmanager
def claim(path: Path, *, overwrite: bool) -> Iterator[None]:
    """Make an empty run folder, or empty one, and hold its lock.

    Raises:
        RunError: Something is there that must not be lost, or another process trains there.
    """
    check_free(path, overwrite=overwrite)
    try:
        (path / LOCK).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make the run folder {path}: {error.strerror or error}") from error
    with locked(path):
        check_free(path, overwrite=overwrite)  # somebody may have been quicker
        _clear(path)
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the system lets go of it when the process ends, however it ends.

    Raises:
        RunError: Another process holds it, or it cannot be written.
    """
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(f"another process is training in {path}; wait for it, or choose another --out") from error
    except OSError as error:
        raise RunError(f"could not write {path / LOCK}: {error.strerror or error}") from error
    try:
        _sweep(path)
        yield
    finally:
        lock.release()


def next_free(root: Path, name: str) -> Path:
    """``root/name-1``, or the next number that is not taken; made at once, so that nobody else takes it.

    Raises:
        RunError: It cannot be made.
    """
    number = 0
    while True:
        number += 1
        path = root / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if root.is_dir():
                continue
            raise RunError(f"{root} is a file; name a run folder with --out") from None
        except OSError as error:
            raise RunError(f"could not make the run folder {path}: {error.strerror or error}") from error
        return path


def _is_ours(config: Path) -> bool:
    """Whether a ``config.json`` is that of a run, of whatever version, perhaps damaged: its format comes first."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    try:
        content = json.loads(text)
    except ValueError:
        return re.match(r'\{\s*"format": \d', text) is not None
    return isinstance(content, dict) and isinstance(content.get("format"), int)


def _occupied(path: Path) -> bool:
    """Whether a folder holds anything but a range test, or what a run leaves that was killed before it began."""
    history = path / "metrics.jsonl"
    left = {path / LOCK.parent, path / LOCK, path / RANGE_PICTURE}
    for name in ("metrics.jsonl", "environment.json", "config.json"):
        left |= {*path.glob(f".{name}.*.part")}
    if history.is_file() and not history.stat().st_size and not (path / "config.json").exists():
        left |= {history, path / "environment.json", *path.glob("checkpoint/*step-000000000.pt*")}
    return bool({*path.iterdir(), *(path / LOCK.parent).glob("*")} - left)


def _sweep(path: Path) -> None:
    """Remove what a process that was killed in the middle of writing left; only the holder of the lock writes these."""
    for pattern in (*(f".{name}.*.part" for name in WRITTEN), "checkpoint/.*.part", "weights/.*.part"):
        for litter in path.glob(pattern):
            with suppress(OSError):  # it is in nobody's way; a folder that cannot be written is noticed soon enough
                litter.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove what a run consists of and nothing else; ``config.json`` goes last, so a crash leaves a run folder."""
    ours = ("checkpoint/*.pt", "weights/epoch-*.safetensors", "plots/*.png", "plots/*.svg", ".*.part")
    for pattern in (*ours, "tensorboard/events.out.tfevents.*"):
        for file in path.glob(pattern):
            file.unlink()
    for name in ("report.html", *WRITTEN):
        (path / name).unlink(missing_ok=True)
