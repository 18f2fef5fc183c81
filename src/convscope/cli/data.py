"""``convscope data``: which images there are, and what they look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from tyro.conf import Positional

from convscope import data
from convscope.cli.console import Switch, messages, parse, print_json, progress_bar, read_images, results
from convscope.naming import unknown_name

USAGE = """usage: convscope data list | get NAME | show NAME_OR_FOLDER

  list  the data sets that have a name
  get   download one now, so that it is there when there is no network
  show  classes, counts, mean and deviation; with --out a sheet of pictures

Each takes --help."""


@dataclass(frozen=True, kw_only=True)
class ListWords:
    """List the data sets that have a name."""

    json: Switch = False
    """Print a list of objects."""


@dataclass(frozen=True, kw_only=True)
class GetWords:
    """Download a data set now, verified, so that it is there when there is no network."""

    name: Positional[str]
    """Its name; `convscope data list` shows them."""
    data_dir: Path | None = None
    """Where to look first, and to download to; by default the user's cache folder."""


@dataclass(frozen=True, kw_only=True)
class ShowWords:
    """Show what a data set holds."""

    source: Positional[str]
    """Name, or folder with an image folder for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set are."""
    image_size: int | None = None
    """Side in pixels that the pictures of a folder are brought to."""
    out: Path | None = None
    """File to write a labelled contact sheet to: .png, .svg or .pdf."""
    force: Switch = False
    """Replace the file that --out names."""
    json: Switch = False
    """Print one JSON object."""


def main(words: list[str]) -> int:
    """Run the verb that follows ``data``."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    verbs: dict[str, Callable[[list[str]], int]] = {"list": _list, "get": _get, "show": _show}
    if words[0] not in verbs:
        raise unknown_name("data verb", words[0], verbs, hint="convscope data --help")
    return verbs[words[0]](words[1:])


def _list(words: list[str]) -> int:
    asked = parse(words, ListWords, "data list")
    entries = [data.info(name) for name in data.names()]
    if asked.json:
        print_json(
            [
                {
                    "name": entry.name,
                    "description": entry.description,
                    "train_images": entry.train_images,
                    "test_images": entry.test_images,
                    "image_shape": list(entry.image_shape),
                    "classes": list(entry.classes),
                    "licence": entry.licence,
                    "homepage": entry.homepage,
                }
                for entry in entries
            ]
        )
        return 0
    table = Table(box=None, header_style="dim", padding=(0, 1))
    for title, justify in (
        ("name", "left"),
        ("train", "right"),
        ("test", "right"),
        ("image", "left"),
        ("what", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for entry in entries:
        shape = "x".join(map(str, entry.image_shape))
        table.add_row(entry.name, f"{entry.train_images:,}", f"{entry.test_images:,}", shape, entry.description)
    results().print(table)
    return 0


def _get(words: list[str]) -> int:
    asked = parse(words, GetWords, "data get")
    with progress_bar(f"fetching {asked.name}") as progress:
        folder = data.get(asked.name, data_dir=asked.data_dir, progress=progress)
    print(f"{asked.name} is part of scikit-learn; there is nothing to fetch" if folder is None else folder)
    return 0


def _show(words: list[str]) -> int:
    asked = parse(words, ShowWords, "data show")
    if asked.out is not None and asked.out.exists() and not asked.force:
        raise ValueError(f"{asked.out} exists; add --force to replace it")
    dataset = read_images(asked.source, data_dir=asked.data_dir, image_size=asked.image_size)
    if asked.json:
        print_json(_summary(dataset))
    else:
        _print(dataset)
    if asked.out is not None:
        from convscope.report import save_figure
        from convscope.report.figures import contact_sheet

        save_figure(contact_sheet(dataset), asked.out)
        messages().print(f"contact sheet: {asked.out}", soft_wrap=True)
    return 0


def _summary(dataset: data.Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "image_shape": list(dataset.train.images.shape[1:]),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "classes": [
            {"name": name, "train": train, "test": test}
            for name, train, test in zip(dataset.classes, dataset.train.counts(), dataset.test.counts(), strict=True)
        ],
    }


def _print(dataset: data.Dataset) -> None:
    out = results()
    shape = "x".join(map(str, dataset.train.images.shape[1:]))
    out.print(
        f"{dataset.name}: {len(dataset.train):,} training and {len(dataset.test):,} test images, {shape} (C x H x W)",
        markup=False,
    )
    numbers = [" ".join(f"{value:.4f}" for value in values) for values in (dataset.mean, dataset.std)]
    out.print(f"mean {numbers[0]}   deviation {numbers[1]}   (of training values in 0..1, per channel)\n")
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("label", justify="right")
    table.add_column("class")
    table.add_column("train", justify="right")
    table.add_column("test", justify="right")
    for label, (name, train, test) in enumerate(
        zip(dataset.classes, dataset.train.counts(), dataset.test.counts(), strict=True)
    ):
        table.add_row(str(label), name, f"{train:,}", f"{test:,}")
    out.print(table)
