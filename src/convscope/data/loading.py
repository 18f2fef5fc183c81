"""``load``: from a name or a folder to a data set, wherever it comes from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convscope.data.catalog import CATALOG, DataInfo, info
from convscope.data.embedded import digits, from_cifar, from_idx
from convscope.data.finding import cache_folder, obtain
from convscope.data.folders import scan_folder
from convscope.data.packing import open_or_pack
from convscope.data.statistics import mean_std
from convscope.data.types import Dataset

OnSkip = Callable[[Path, str], None]


def load(
    name_or_folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    strict: bool = False,
    on_skip: OnSkip | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Load a data set by name, or a folder of pictures.

    A name wins over a folder of the same name; write ``./mnist`` for the folder. Named data sets keep their stored
    size and their published split (``digits``: about a fifth held out, always the same).

    A folder holds ``train/CLASS/`` and ``test/CLASS/`` or ``val/CLASS/``, or just ``CLASS/``. Its pictures are decoded
    once and packed into the cache; after that they are mapped into memory, so that more images than memory work.
    It is packed again when a file's name, size or time of change differs.

    Args:
        name_or_folder: One of ``names()``, or a folder.
        data_dir: Where the files of a named data set are looked for first; then in the folder named by the environment
            variable ``CONVSCOPE_DATA``, then in the cache. Refused for what has no such files.
        download: False never touches the network. Named data sets only.
        image_size: Side in pixels, or ``(H, W)``, to which a folder's pictures are cut; None means the median of their
            short sides, at most 64. Folders only, as all that follow up to ``on_skip``.
        channels: 1 makes a folder's pictures grey, 3 makes them colour; None means grey if every one is. A named data
            set has its own, and other ones are refused.
        test_fraction: Share of each class to hold out where the folder has no test split, in 0..1.
        seed: Which share. Not the seed of training: the same test images for every training seed.
        strict: Stop at the first picture that cannot be read.
        on_skip: Called with the path of each picture that was left out, and what is wrong with it, also when the pack
            was made earlier; None gives one warning that names them.
        progress: Called with what is done and what there is in all: bytes of the file being downloaded for a name, two
            steps for each picture for a folder. Not called when nothing needs to be done.
        cache_dir: Instead of the user's cache folder.

    Returns:
        The data set; its ``source`` holds the arguments that load it again.

    Raises:
        ValueError: No data set has this name and no folder either, a number is out of range, or ``data_dir`` or
            ``channels`` does not go with the data set.
        DataError: Files are missing, damaged or not laid out as expected; the message says what to type.

    Example:
        >>> load("digits").train
        ImageSet(1,438 images, 1x8x8, 10 classes)
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    if isinstance(name_or_folder, str) and name_or_folder in CATALOG:
        return _load_name(CATALOG[name_or_folder], channels, data_dir, cache_dir, download, progress)
    if name_or_folder == "":
        raise ValueError("expected a data set or a folder, got an empty name; `convscope data list` shows the names")
    folder = Path(name_or_folder).expanduser()
    if not folder.exists() and not _looks_like_path(name_or_folder):
        info(str(name_or_folder))  # raises, with the nearest names
    if data_dir is not None:
        raise ValueError(f"{folder}: a folder of pictures is read where it is; leave out --data-dir")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size and (image_size[0], image_size[1])
    if size is not None and min(size) < 1:
        raise ValueError(f"image_size must be positive, got {image_size}")
    scan = scan_folder(folder, test_fraction=test_fraction, seed=seed)
    pack = open_or_pack(
        scan,
        cache_folder(cache_dir) / "packs",
        image_size=size,
        channels=channels,
        variant=f"{test_fraction} {seed}" if scan.split_by_seed else "",
        strict=strict,
        progress=progress,
    )
    _report([(scan.root / path, reason) for path, reason in pack.meta.skipped], scan.root, on_skip)
    height, width = pack.meta.shape[1:]
    source: dict[str, Any] = {
        "name_or_folder": str(scan.root),
        "image_size": width if height == width else [height, width],
    }
    if channels is not None:
        source["channels"] = channels
    if scan.split_by_seed:
        source |= {"test_fraction": test_fraction, "seed": seed}
    if cache_dir is not None:
        source["cache_dir"] = _absolute(cache_dir)
    return Dataset(scan.root.name, pack.train, pack.test, pack.meta.mean, pack.meta.std, source)


def _load_name(
    entry: DataInfo,
    channels: int | None,
    data_dir: str | Path | None,
    cache_dir: str | Path | None,
    download: bool,
    progress: Callable[[int, int], None] | None,
) -> Dataset:
    own = entry.image_shape[0]
    if channels not in (None, own):
        raise ValueError(f"{entry.name} has {own} channel{'s' * (own > 1)}, not {channels}; only folders are converted")
    source: dict[str, Any] = {"name_or_folder": entry.name}
    if entry.form == "embedded":
        if data_dir is not None:
            raise ValueError(f"{entry.name} comes with scikit-learn and has no files; leave out --data-dir")
        train, test = digits()
    else:
        _, contents = obtain(entry, data_dir=data_dir, cache_dir=cache_dir, download=download, progress=progress)
        train, test = from_idx(entry, contents) if entry.form == "idx" else from_cifar(entry, contents)
        folders = {"data_dir": data_dir, "cache_dir": cache_dir}
        source |= {key: _absolute(value) for key, value in folders.items() if value is not None}
    mean, std = mean_std(train.images)
    return Dataset(entry.name, train, test, mean, std, source)


def _looks_like_path(value: str | Path) -> bool:
    separators = [mark for mark in (os.sep, os.altsep) if mark]
    return isinstance(value, Path) or value.startswith((".", "~")) or any(mark in value for mark in separators)


def _absolute(folder: str | Path) -> str:
    return str(Path(folder).expanduser().resolve())


def _report(skipped: list[tuple[Path, str]], root: Path, on_skip: OnSkip | None) -> None:
    if on_skip:
        for path, reason in skipped:
            on_skip(path, reason)
    elif skipped:
        shown = "\n".join(f"  {reason}" for _, reason in skipped[:10])
        more = f"\n  and {len(skipped) - 10} more" if len(skipped) > 10 else ""
        plural = "pictures were" if len(skipped) > 1 else "picture was"
        warnings.warn(f"{len(skipped)} {plural} left out of {root}:\n{shown}{more}", UserWarning, stacklevel=3)
