"""Where the files of a named data set are, and what to say when they are nowhere."""

from __future__ import annotations

import os
import warnings
from pathlib import Path, PurePosixPath

from convscope.data.catalog import DataInfo, info
from convscope.data.contents import OtherDataError
from convscope.data.download import Progress, Unreachable, fetch, make_folder, read_any
from convscope.errors import DataError

ENVIRONMENT = "CONVSCOPE_DATA"
PICKLED_CIFAR = "cifar-10-batches-py"


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Where downloads (``data/``) and packed folders (``packs/``) are kept: the user's cache unless told otherwise."""
    with warnings.catch_warnings():  # in a notebook it warns of missing widgets, and nobody has asked for a bar
        warnings.simplefilter("ignore")
        import pooch

    return Path(cache_dir).expanduser() if cache_dir else Path(pooch.os_cache("convscope"))


def whereabouts(path: Path) -> str:
    """A path as it was given, for a message; a relative one with the folder that it starts from."""
    return str(path) if path.is_absolute() else f"{path} (relative to {Path.cwd()})"


def get(
    name: str,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Make sure that the files of a named data set are on this machine, so that ``load`` works offline.

    Args:
        name: One of ``names()``.
        data_dir: Where to look first, and where to download to, into a folder ``name``; None means the cache.
        cache_dir: Instead of the user's cache folder.
        progress: Called with bytes done and bytes in all of the file under way.

    Returns:
        The folder that holds the files; None for a data set that needs none.

    Raises:
        ValueError: No data set has this name.
        DataError: The files are damaged, or missing and no mirror gives them.
    """
    entry = info(name)
    if not entry.needs_files:
        return None
    target = Path(data_dir).expanduser() if data_dir else cache_folder(cache_dir) / "data"
    make_folder(target)
    return obtain(entry, data_dir=data_dir, cache_dir=cache_dir, target=target / name, progress=progress)[0]


def obtain(
    entry: DataInfo,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
    target: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Path, dict[str, bytes]]:
    """Find the files of a data set, download them if need be, and read them.

    Looks in ``data_dir``, then in the folder named by the environment variable ``CONVSCOPE_DATA``, then in the cache;
    in each, in the folder itself, in ``NAME/`` and where torchvision would put the files.

    Returns:
        The folder, and verified contents by name.

    Raises:
        DataError: The files are damaged, or missing and not to be had; the message says where they were looked for
            and what to type.
    """
    store = cache_folder(cache_dir) / "data"
    target = target or store / entry.name
    roots = _roots(data_dir, store)
    remarks: list[str] = []
    for folder in _candidates(entry, roots):
        try:
            found = _read_all(folder, entry)
        except OtherDataError as error:
            remarks.append(str(error))
            continue
        except DataError as error:
            if folder == store / entry.name and download:
                break  # our own copy: replaced below
            raise DataError(
                f"{error}. Delete or replace that file, then type: convscope data get {entry.name}"
            ) from error
        if found is not None:
            return folder, found
    if download:
        try:
            return target, fetch(entry, target, progress)
        except Unreachable as error:
            remarks.append(f"Download failed: {error}")
    raise DataError(_missing(entry, roots, remarks))


def _roots(data_dir: str | Path | None, store: Path) -> list[Path]:
    roots = [store]
    if os.environ.get(ENVIRONMENT):
        roots.insert(0, Path(os.environ[ENVIRONMENT]).expanduser())
    if data_dir is not None:
        given = Path(data_dir).expanduser()
        if not given.is_dir():
            raise DataError(
                f"the data folder {whereabouts(given)} does not exist; give the folder that holds the files"
            )
        roots.insert(0, given)
    return roots


def _candidates(entry: DataInfo, roots: list[Path]) -> list[Path]:
    inner = PurePosixPath(entry.torchvision_folder)
    below = ("", entry.name, inner, PurePosixPath(entry.name) / inner.name, inner.name)
    return list(dict.fromkeys(root / part for root in roots for part in below))


def _read_all(folder: Path, entry: DataInfo) -> dict[str, bytes] | None:
    """Contents of every file, or None when one is missing; nothing is read before all are there."""
    for file in entry.files:
        unpacked = all((folder / content.name).is_file() for content in file.contents)
        if not unpacked and not (folder / file.name).is_file():
            return None
    found: dict[str, bytes] = {}
    for file in entry.files:
        found |= read_any(folder, file, entry) or {}
    return found


def _missing(entry: DataInfo, roots: list[Path], remarks: list[str]) -> str:
    files = ", ".join(file.name for file in entry.files)
    folders = ", ".join(map(str, roots))
    if entry.form == "cifar" and any((root / PICKLED_CIFAR).exists() for root in roots):
        remarks = [*remarks, f"{PICKLED_CIFAR} is there, but pickles can run code: only the binary version is read."]
    lines = [
        f"the files of {entry.name!r} are not on this machine: {files} (unpacked is as good)",
        f"Looked in: {folders} (in each also in {entry.name}/ and {entry.torchvision_folder}/)",
        *remarks,
        f"Type one of: convscope data get {entry.name} (on a connected machine; then copy the folder that it names), "
        "--data-dir FOLDER (if the files lie elsewhere), --data digits (needs no download)",
    ]
    return "\n".join(lines)
