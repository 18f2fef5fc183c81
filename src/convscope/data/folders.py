"""A folder of pictures, one folder per class: which files there are and what each one is."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from convscope.data.finding import whereabouts
from convscope.data.splitting import stratified
from convscope.errors import DataError
from convscope.naming import natural_key

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2"),
}
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first that exists is the test split


class PictureFile(NamedTuple):
    """One picture: its path below the root, with forward slashes, and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Listing:
    """The pictures of one split in a fixed order.

    Args:
        entries: Path below the root, size in bytes and time of change in ns of each, with NUL between them, which no
            path can hold. Strings, because Python collects garbage among 60,000 small objects longer than it takes to
            read the folder.
        labels: The class of each.
    """

    entries: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.entries)

    def files(self) -> list[PictureFile]:
        """Each picture by itself."""
        return [
            PictureFile(entry.partition("\0")[0], label) for entry, label in zip(self.entries, self.labels, strict=True)
        ]

    def take(self, index: Tensor) -> Listing:
        """The pictures at these positions."""
        places = index.tolist()
        return Listing(tuple(self.entries[at] for at in places), tuple(self.labels[at] for at in places))


@dataclass(frozen=True)
class FolderScan:
    """The pictures of a folder in a fixed order, before any is opened.

    Args:
        root: The folder, absolute.
        classes: Class names in natural order, fixed by the training split.
        train: Pictures to learn from.
        test: Pictures to judge by.
        split_by_seed: True when the folder has no test split of its own.
    """

    root: Path
    classes: tuple[str, ...]
    train: Listing
    test: Listing
    split_by_seed: bool


def scan_folder(root: str | Path, *, test_fraction: float = 0.2, seed: int = 0) -> FolderScan:
    """List the pictures of ``root/{train,test}/CLASS/`` or ``root/CLASS/``.

    Pictures may lie deeper below their class. Hidden files and folders and files that are no pictures by name are
    passed over, and so are classes without any. Beside ``train`` the first of ``test``, ``testing``, ``val``,
    ``valid`` and ``validation`` that exists is the test split; others are left alone. A ``train`` with
    pictures in class folders is the training split also without any of them; test pictures are then held out of it.

    Args:
        root: The folder.
        test_fraction: Share of each class to hold out where the folder has no test split of its own.
        seed: Which share.

    Returns:
        What was found.

    Raises:
        ValueError: ``test_fraction`` or ``seed`` is out of range.
        DataError: There is no such folder, no picture, only one class, a class only in the test split, or nothing to
            hold out.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        fault = "a file, not a folder" if root.exists() else "not there: no such folder"
        raise DataError(f"{whereabouts(root)} is {fault}")
    root = root.resolve()
    folders = _subfolders(root)
    train_folder, test_folder = _pick(folders, TRAIN_NAMES), _pick(folders, TEST_NAMES)
    train = _pictures_by_class(root, root / train_folder) if train_folder else {}
    if train or (train_folder and test_folder):
        test = _pictures_by_class(root, root / test_folder) if test_folder else None
    else:
        train, test = _pictures_by_class(root, root), None
    classes = _classes(root, train, test)
    pictures = _list(train, classes)
    if test is not None:
        held = _list(test, classes)
        if not len(held):
            raise DataError(f"{root / str(test_folder)} has no pictures; {_layout(root)}")
        return FolderScan(root, classes, pictures, held, split_by_seed=False)
    keep, hold = stratified(torch.tensor(pictures.labels), test_fraction, seed)
    if not len(hold):
        raise DataError(
            f"every class in {root} has a single picture, so none can be held out for testing; add pictures"
        )
    return FolderScan(root, classes, pictures.take(keep), pictures.take(hold), split_by_seed=True)


def _subfolders(folder: Path) -> list[str]:
    """Names of the folders that are not hidden; links to folders count."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not _hidden(entry.name) and entry.is_dir()]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _pick(folders: list[str], wanted: tuple[str, ...]) -> str | None:
    by_name = {name.lower(): name for name in folders}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _pictures_by_class(root: Path, folder: Path) -> dict[str, list[str]]:
    """Entries of the pictures below each class folder, by class name; classes without any are left out."""
    below = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    found = {name: _pictures(folder / name, f"{below}{name}/") for name in _subfolders(folder)}
    return {name: pictures for name, pictures in found.items() if pictures}


def _pictures(folder: Path, prefix: str) -> list[str]:
    """Entries of every picture below a class folder, by path."""
    found, pending = [], [(str(folder), prefix)]
    while pending:
        place, prefix = pending.pop()
        with os.scandir(place) as inside:
            for item in inside:
                name = item.name
                if _hidden(name):
                    continue
                if name[name.rfind(".") :].lower() in SUFFIXES and item.is_file():
                    stat = item.stat()
                    found.append(f"{prefix}{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
                elif item.is_dir(follow_symlinks=False):  # a link below a class could lead round in a circle
                    pending.append((item.path, f"{prefix}{name}/"))
    return sorted(found)


def _classes(root: Path, train: dict[str, list[str]], test: dict[str, list[str]] | None) -> tuple[str, ...]:
    if not train:
        raise DataError(f"{root} has no pictures in class folders{_stray(root)}; {_layout(root)}")
    only_test = sorted(set(test or ()) - set(train), key=natural_key)
    if only_test:
        raise DataError(
            f"the test split of {root} has classes that the training split lacks: {', '.join(only_test)}; "
            "a network cannot learn what it never sees. Add training pictures or remove these folders"
        )
    if len(train) == 1:
        raise DataError(
            f"{root} has only one class, {next(iter(train))!r}, and a classifier needs two; {_layout(root)}"
        )
    return tuple(sorted(train, key=natural_key))


def _list(by_class: dict[str, list[str]], classes: tuple[str, ...]) -> Listing:
    """All classes one after the other, in the order of their labels."""
    parts = [by_class.get(name, []) for name in classes]
    labels = tuple(label for label, part in enumerate(parts) for _ in part)
    return Listing(tuple(itertools.chain.from_iterable(parts)), labels)


def _stray(root: Path) -> str:
    """What lies there instead of pictures in class folders."""
    suffixes = Counter(
        path.suffix.lower() or "no suffix" for path in root.rglob("*") if path.is_file() and not _hidden(path.name)
    )
    if not suffixes:
        return " (it is empty)"
    return f" (it has files ending in {', '.join(name for name, _ in suffixes.most_common(3))})"


def _layout(root: Path) -> str:
    return (
        "expected one of these layouts:\n"
        f"  {root.name}/train/CAT/1.png  {root.name}/train/DOG/2.jpg  {root.name}/test/CAT/3.png ...\n"
        f"  {root.name}/CAT/1.png        {root.name}/DOG/2.jpg        (test pictures are then held out by seed)"
    )
