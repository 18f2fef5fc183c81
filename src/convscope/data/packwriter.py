"""Decoding a folder of pictures in parallel, straight into the files of a pack; never holds more than a chunk."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import median_low
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from convscope.data.decoding import decode, pillow_warnings, survey
from convscope.data.folders import FolderScan, PictureFile
from convscope.data.statistics import Histogram
from convscope.errors import DataError

FORMAT = 3  # raise it whenever the same files would give other bytes
LARGEST_DEFAULT_SIDE = 64
CHUNK_BYTES = 32 << 20  # of decoded images, at once
CHUNK_FILES = 1024
MAX_THREADS = 16

T = TypeVar("T")


@dataclass(frozen=True)
class PackMeta:
    """What a pack says about itself, in ``meta.json``.

    Args:
        format: ``FORMAT`` of the code that wrote it.
        root: The folder of pictures.
        shape: ``(C, H, W)``.
        classes: Class names.
        train: Images in the training split.
        test: Images in the test split.
        mean: Per channel over the training split, of values scaled to 0..1.
        std: Per channel over the training split, of values scaled to 0..1.
        skipped: Pictures that could not be read: path below the root, and what is wrong.
    """

    format: int
    root: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[tuple[str, str], ...]


def write_pack(
    scan: FolderScan,
    folder: Path,
    *,
    image_size: tuple[int, int] | None,
    channels: int | None,
    strict: bool,
    progress: Callable[[int, int], None] | None,
) -> PackMeta:
    """Write ``{train,test}.{images,labels}`` of a scanned folder; arguments as in ``open_or_pack``.

    Raises:
        DataError: As in ``open_or_pack``.
        OSError: The files cannot be written.
    """
    steps = 2 * (len(scan.train) + len(scan.test))
    with _workers(scan.root, strict=strict, steps=steps, progress=progress) as workers:
        train, test = ([*workers.map(survey, split, CHUNK_FILES)] for split in (scan.train.files(), scan.test.files()))
        _require_images(scan, [file for file, _ in train], [file for file, _ in test])
        channels = channels or (1 if all(grey for _, (grey, _) in train + test) else 3)
        side = min(LARGEST_DEFAULT_SIDE, median_low(short for _, (_, short) in train))
        shape = (channels, *(image_size or (side, side)))
        _require_space(folder, (len(train) + len(test)) * (math.prod(shape) + 8))
        histogram = Histogram(channels)
        kept = [
            _write_split(folder / "train", [file for file, _ in train], shape, workers, histogram),
            _write_split(folder / "test", [file for file, _ in test], shape, workers, None),
        ]
    _require_images(scan, *kept)
    mean, std = histogram.mean_std()
    return PackMeta(
        FORMAT, str(scan.root), shape, scan.classes, len(kept[0]), len(kept[1]), mean, std, tuple(workers.skipped)
    )


def _write_split(
    stem: Path, files: list[PictureFile], shape: tuple[int, int, int], workers: _Workers, histogram: Histogram | None
) -> list[PictureFile]:
    """Decode the files of a split and append them to its two files; returns those that could be read."""
    channels, height, width = shape
    chunk = max(1, min(CHUNK_FILES, CHUNK_BYTES // math.prod(shape)))
    kept: list[PictureFile] = []

    def read(path: Path) -> Tensor:
        return decode(path, image_size=(height, width), channels=channels)

    with stem.with_suffix(".images").open("wb") as images:
        decoded = workers.map(read, files, chunk)
        while done := [*islice(decoded, chunk)]:
            batch = torch.stack([pixels for _, pixels in done])  # N,C,H,W
            if histogram:
                histogram.add(batch)
            images.write(batch.numpy().data)
            kept += [file for file, _ in done]
    stem.with_suffix(".labels").write_bytes(np.array([file.label for file in kept], "<i8").tobytes())
    return kept


class _Workers:
    """Threads that look at pictures; what cannot be read is noted, or stops everything when strict."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        root: Path,
        *,
        strict: bool,
        steps: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.pool, self.root, self.strict, self.progress = pool, root, strict, progress
        self.skipped: list[tuple[str, str]] = []
        self.done, self.steps = 0, steps

    def map(
        self, look: Callable[[Path], T], files: Sequence[PictureFile], chunk: int
    ) -> Iterator[tuple[PictureFile, T]]:
        """Yield each readable file, in order, with what ``look`` returned; the next chunk is looked at meanwhile."""

        def attempt(file: PictureFile) -> T | DataError:
            try:
                return look(self.root / file.path)
            except DataError as error:
                return error

        parts = (files[start : start + chunk] for start in range(0, len(files), chunk))
        begun = ((part, self.pool.map(attempt, part)) for part in parts)
        for (part, results), _ in pairwise(chain(begun, [((), iter(()))])):
            for file, result in zip(part, results, strict=True):
                if isinstance(result, DataError):
                    self._skip(file, result)
                else:
                    self._step(1)
                    yield file, result

    def _skip(self, file: PictureFile, error: DataError) -> None:
        if self.strict:
            raise DataError(f"{error} (strict: stopped at the first unreadable picture)") from error
        self.skipped.append((file.path, str(error)))
        self._step(1)

    def _step(self, count: int) -> None:
        self.done += count
        if self.progress:
            self.progress(self.done, self.steps)


@contextmanager
def _workers(
    root: Path, *, strict: bool, steps: int, progress: Callable[[int, int], None] | None
) -> Iterator[_Workers]:
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), "convscope-decode")
    try:
        with pillow_warnings():
            yield _Workers(pool, root, strict=strict, steps=steps, progress=progress)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C only the pictures under way are finished


def _require_images(scan: FolderScan, train: Sequence[PictureFile], test: Sequence[PictureFile]) -> None:
    """Refuse to go on when unreadable files emptied a class of the training split, or the test split."""
    alive = {file.label for file in train}
    for label, name in enumerate(scan.classes):
        if label not in alive:
            lost = [file.path for file in scan.train.files() if file.label == label]
            raise DataError(
                f"none of the {len(lost)} training pictures of class {name!r} in {scan.root} can be read, "
                f"for example {lost[0]}; replace them or remove the folder"
            )
    if not test:
        raise DataError(f"none of the {len(scan.test)} test pictures in {scan.root} can be read; replace them")


def _require_space(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes needed")
