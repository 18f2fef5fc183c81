"""What is needed to go on: saved whole, checked before use, read without unpickling any object."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from convscope.errors import RunError
from convscope.files import make_folder, replacing

KEPT = 2
CHUNK = 1 << 20  # bytes
SEAL = b"convscope blake2b "
SEAL_SIZE = len(SEAL) + 64  # and the digest in hexadecimal


@dataclass(kw_only=True)
class Checkpoint:
    """The state of a training between two steps.

    Args:
        epoch: Epochs that are complete.
        batch: Batches done of the epoch after those, by each process.
        step: Steps done in all, of whatever size they were.
        seconds: Time spent so far.
        epoch_seconds: Time spent on the training steps of an unfinished epoch.
        rows: Rows of history written so far.
        model: Its ``state_dict``.
        optimizer: Its ``state_dict``.
        rng: State of the generators (see ``rng_state``): one entry for each process, in the order of ranks.
        meters: Sums over the batches done of an unfinished epoch, and since the last logged step: two entries for each
            process, in the order of ranks.
        best: The best validation score so far and the epoch that reached it.
        average: State of the moving average of the weights; empty where none is kept.
        scaler: State of the gradient scaler; empty where there is none.
        world: How many processes trained together.
        images: Images done of the unfinished epoch by all processes: the position that survives when their number
            changes.
        data_seconds: Time spent waiting for batches of an unfinished epoch.
        objective: What a ``Stateful`` objective keeps; empty for others.
        ended_at: Images done of the last complete epoch by all processes, where the run was to end within it; otherwise
            0.
        held_seen: Whether images that are held out now were learned from in an earlier sitting; nothing is chosen by
            them then.
        config: What it was saved under, as ``config.json`` has it.
    """

    epoch: int
    batch: int
    step: int
    seconds: float
    epoch_seconds: float
    rows: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: list[dict[str, Tensor]]
    meters: list[list[dict[str, Tensor]]]
    best: dict[str, float]
    average: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    world: int = 1
    images: int = 0
    data_seconds: float = 0.0
    objective: dict[str, Any] = field(default_factory=dict)
    ended_at: int = 0
    held_seen: bool = False
    config: dict[str, Any] = field(default_factory=dict)


class CheckpointStore:
    """The two newest checkpoints of a run, in files named after their step.

    A file is a zip archive as ``torch.save`` writes it, and its comment is the BLAKE2 checksum of all the rest: one
    file is whole by itself, and ``torch.load(file, weights_only=True)`` reads it.

    Args:
        folder: ``checkpoint/`` of a run folder; made when needed.

    Example:
        >>> CheckpointStore(Path("runs/none/checkpoint")).newest(print)
        Traceback (most recent call last):
        convscope.errors.RunError: runs/none/checkpoint holds no checkpoint: this run cannot go on; start a new one
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Write ``step-000000123.pt``, whole or not at all, then let go of all others but the one before it.

        Files of later steps go too: they belong to a sitting that was damaged or given up.

        Raises:
            RunError: It could not be written; those from before are whole.
        """
        path = self.folder / f"step-{checkpoint.step:09d}.pt"
        make_folder(self.folder)
        with replacing(path) as beside, beside.open("w+b") as file:
            sealing = _Sealing(file)
            content = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
            torch.save(content, cast(BinaryIO, sealing))  # of a file it wants no more than these methods
            sealing.close()
        before = [other for other in self._files() if other < path]
        for other in set(self._files()) - {path, *before[: KEPT - 1]}:
            with suppress(OSError):  # Windows, while a virus scanner reads it; the next save tries again
                other.unlink(missing_ok=True)

    def newest(self, warn: Callable[[str], None]) -> Checkpoint:
        """Read the newest checkpoint that is whole. Nothing is ever unpickled.

        Args:
            warn: Told in one sentence when it is not the newest of all.

        Raises:
            RunError: There is none, or none is whole.
        """
        complaints = []
        for path in self._files():
            try:
                checkpoint = _read(path)
            except RunError as error:
                complaints.append(str(error))
                continue
            if complaints:
                warn(f"{'; '.join(complaints)}; going on from the one before it, of step {checkpoint.step:,}")
            return checkpoint
        if complaints:
            raise RunError(f"{'; '.join(complaints)}: this run cannot go on; start a new one")
        if (self.folder / "trainer.pt").exists():
            raise RunError(
                f"{self.folder / 'trainer.pt'} is of an earlier version of convscope, which trained in another way, so "
                "going on would not give what it would have given; start a new run"
            )
        raise RunError(f"{self.folder} holds no checkpoint: this run cannot go on; start a new one")

    @property
    def empty(self) -> bool:
        """Whether nothing was ever saved, not even the beginning."""
        return not self._files()

    def _files(self) -> list[Path]:
        """Newest first, by step and not by time: clocks jump."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)


class _Sealing:
    """Takes what ``torch.save`` writes, and adds its checksum as the comment of the zip archive.

    An exception from within ``torch.save`` would come out as one about its own positions, so an error of the file is
    kept until ``close``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, hashlib.blake2b(digest_size=32)
        self._error: OSError | None = None

    def write(self, content: bytes) -> int:
        if self._error is None:
            try:
                self._file.write(content)
                self._hash.update(content)
            except OSError as error:
                self._error = error
        return len(content)

    def flush(self) -> None:
        """Wanted by ``torch.save``; what is written reaches the disk when it is closed."""

    def close(self) -> None:
        """Write the comment, whose length is in the two bytes before it.

        Raises:
            OSError: This or an earlier write was refused.
        """
        if self._error is not None:
            raise self._error
        comment = SEAL + self._hash.hexdigest().encode()
        self._file.seek(-2, 2)
        self._file.write(len(comment).to_bytes(2, "little") + comment)
        self._file.flush()


def _read(path: Path) -> Checkpoint:
    """Check a file, then open it.

    Raises:
        RunError: It is damaged, or would need to run code to be read.
    """
    try:
        whole = _is_whole(path)
    except OSError as error:
        raise RunError(f"{path} could not be read ({error.strerror or error})") from error
    if not whole:
        raise RunError(f"{path} is damaged: it does not match its checksum")
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path} is no checkpoint of this version, and was not opened: {reason}") from error


def _is_whole(path: Path) -> bool:
    """Whether the contents still have the checksum that was written with them."""
    rest, digest = path.stat().st_size - SEAL_SIZE - 2, hashlib.blake2b(digest_size=32)
    if rest < 0:
        return False
    with path.open("rb") as file:
        while rest and (chunk := file.read(min(CHUNK, rest))):
            digest.update(chunk)
            rest -= len(chunk)
        digest.update(b"\0\0")  # the length of the comment, before there was one
        length, comment = file.read(2), file.read()
    return length == SEAL_SIZE.to_bytes(2, "little") and comment == SEAL + digest.hexdigest().encode()
