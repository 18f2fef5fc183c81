"""A folder of pictures, decoded once into files that are mapped into memory ever after."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from convscope.data.folders import FolderScan
from convscope.data.packwriter import FORMAT, PackMeta, write_pack
from convscope.data.types import ImageSet
from convscope.errors import DataError

ABANDONED_SECONDS = 24 * 3600  # a half-made pack of that age belongs to a process that was killed


@dataclass(frozen=True)
class Pack:
    """An opened pack: two splits on memory maps and what is known about them."""

    meta: PackMeta
    train: ImageSet
    test: ImageSet


def open_or_pack(
    scan: FolderScan,
    packs: Path,
    *,
    image_size: tuple[int, int] | None,
    channels: int | None = None,
    variant: str = "",
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pack:
    """Open the pack of a scanned folder, or make it when there is none or its files changed.

    Args:
        scan: The pictures.
        packs: Where packs are kept.
        image_size: ``(H, W)`` in pixels; None means the median short side of the pictures, at most 64, for both.
        channels: 1 or 3; None means 1 when every picture is grey, and 3 otherwise.
        variant: Further settings that choose among packs of the same folder.
        strict: Stop at the first picture that cannot be read, instead of leaving it out.
        progress: Called with steps done and steps in all: two for each picture, its header and its pixels.

    Raises:
        DataError: A picture is unreadable and ``strict``; a class or a split has no readable picture; no space left.
    """

    def slot(size: tuple[int, int] | None, colours: int | None) -> str:
        named = size[0] if size and size[0] == size[1] else size
        return _hash(str(scan.root), str(named), str(colours), variant)

    contents = _hash(str(FORMAT), repr(scan.classes), *("\0".join(split.entries) for split in (scan.train, scan.test)))
    # What was packed without naming a size or channels serves whoever names those that it has.
    choices = itertools.product(dict.fromkeys((image_size, None)), dict.fromkeys((channels, None)))
    opened = (open_pack(packs / f"{slot(*choice)}-{contents}") for choice in choices)
    pack = next((pack for pack in opened if pack and _fits(pack.meta, image_size, channels)), None)
    if pack is None:
        own = slot(image_size, channels)
        folder = packs / f"{own}-{contents}"
        pack = _make(scan, folder, image_size=image_size, channels=channels, strict=strict, progress=progress)
        for stale in packs.glob(f"{own}-*"):
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
    if strict and pack.meta.skipped:
        raise DataError(f"{pack.meta.skipped[0][1]} (strict: stopped at the first unreadable picture)")
    return pack


def open_pack(folder: Path) -> Pack | None:
    """Map a pack into memory; None when it is not there or not whole.

    Raises:
        DataError: It is whole, but the system refuses to map it.
    """
    try:
        values: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
        if values.get("format") != FORMAT:
            return None
        meta = PackMeta(**{name: _tuples(value) for name, value in values.items()})
        return Pack(meta, _map(folder, "train", meta.train, meta), _map(folder, "test", meta.test, meta))
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:  # making it again would not help
            raise DataError(
                f"the packed images in {folder} cannot be mapped: no address space left; look at `ulimit -v`"
            ) from error
        return None  # whatever else is wrong with it, it is made again


def _fits(meta: PackMeta, image_size: tuple[int, int] | None, channels: int | None) -> bool:
    return image_size in (None, meta.shape[1:]) and channels in (None, meta.shape[0])


def _make(
    scan: FolderScan,
    folder: Path,
    *,
    image_size: tuple[int, int] | None,
    channels: int | None,
    strict: bool,
    progress: Callable[[int, int], None] | None,
) -> Pack:
    """Write a pack beside its final name and rename it: a pack with its final name is whole.

    One process at a time: others that want the same pack, on this machine or on another one, wait and find it made.
    """
    work: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            if made := open_pack(folder):
                return made
            shutil.rmtree(folder, ignore_errors=True)  # damaged, if there at all
            _sweep(folder.parent)
            work = folder.parent / f".packing-{uuid.uuid4().hex}"
            work.mkdir()
            meta = write_pack(scan, work, image_size=image_size, channels=channels, strict=strict, progress=progress)
            (work / "meta.json").write_text(json.dumps(asdict(meta), indent=1), "utf-8")
            _settle(work, folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fault = "has no space left" if full else f"cannot be written ({error.strerror or error})"
        raise DataError(
            f"the cache folder {folder.parent} {fault} while packing {scan.root}; free some space or choose another"
        ) from error
    finally:
        if work:
            shutil.rmtree(work, ignore_errors=True)
    pack = open_pack(folder)
    if pack is None:
        raise DataError(f"the packed images of {scan.root} in {folder} could not be read back; is the disk in order?")
    return pack


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of a pack, which the system lets go of when the process ends, however it ends."""
    path = folder.parent / f".{folder.name}.lock"
    with ExitStack() as held:
        # Where a file system has no locks, two processes may do the same work: the first to rename its pack wins.
        with suppress(NotImplementedError):
            held.enter_context(FileLock(path))
        try:
            yield
        finally:
            with suppress(OSError):  # Windows, while others wait for it; the last of them removes it
                path.unlink(missing_ok=True)


def _settle(work: Path, folder: Path) -> None:
    try:
        work.rename(folder)
    except OSError:
        if open_pack(folder) is None:  # otherwise another process was faster, with the same result
            raise


def _sweep(packs: Path) -> None:
    for work in packs.glob(".packing-*"):
        if time.time() - work.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(work, ignore_errors=True)


def _map(folder: Path, split: str, count: int, meta: PackMeta) -> ImageSet:
    """Map ``(N, C, H, W)`` bytes and read ``(N,)`` labels.

    The map is read-only: a writable one, even a private one, is charged against memory and refused when it is larger.
    """
    values = count * math.prod(meta.shape)
    images, labels = folder / f"{split}.images", folder / f"{split}.labels"
    if images.stat().st_size != values or labels.stat().st_size != 8 * count:
        raise ValueError(f"{folder} is not whole")
    mapped = np.memmap(images, np.uint8, "r", shape=(count, *meta.shape))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        pixels = torch.from_numpy(mapped)
    targets = torch.from_numpy(np.fromfile(labels, "<i8").astype(np.int64))
    return ImageSet(pixels, targets, meta.classes, mapped=True)


def _hash(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
