"""``convscope look``: what is inside a network, and how it behaves, as pictures in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tyro.conf import Positional

from convscope import data, models
from convscope.cli.console import Switch, load_data, parse, print_json, progress_bar, read_images
from convscope.cli.evaluate import check_classes
from convscope.deploy import restore_model
from convscope.errors import RunError
from convscope.naming import unknown_name
from convscope.report import save_figure
from convscope.report.atlas import IMAGES, Atlas, Plate, sample
from convscope.train import Run, find_device


@dataclass(frozen=True, kw_only=True)
class Words:
    """Draw what is inside a network and how it behaves: filters, maps, evidence, shifts, borders, probes."""

    network: Positional[str]
    """Run folder, or the name of a network, which then has fresh weights unless --weights names others."""
    images: Positional[tuple[Path, ...]] = ()
    """Image files to look at; by default test images of different classes."""
    out: Path
    """Folder to write the pictures to."""
    force: Switch = False
    """Write into a folder that is not empty; pictures of the same names are replaced, nothing else."""
    data: str | None = None
    """Data set or folder; by default the images that the run was trained on, or digits for the name of a network."""
    data_dir: Path | None = None
    """Where the files of a named data set are."""
    weights: Path | None = None
    """File of weights for the name of a network."""
    layer: str | None = None
    """Path of the layer for patches and Grad-CAM; by default the last convolution."""
    samples: int = 200
    """Test images that shares and means are taken over."""
    max_shift: int = 3
    """Largest shift in pixels of the network's input."""
    batch_size: int = 250
    """Images at a time."""
    device: str = "auto"
    """Where to compute."""
    json: Switch = False
    """Print one JSON object with the numbers behind the pictures."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "look")
    _refuse(asked.out, force=asked.force)
    device = find_device(asked.device)
    model, dataset, preprocess, title = _open(asked)
    height, width = dataset.image_size
    decoded = [data.decode(file, image_size=(height, width), channels=dataset.channels) for file in asked.images]
    atlas = Atlas(
        model.to(device),
        dataset,
        preprocess,
        torch.stack(decoded) if decoded else sample(dataset, IMAGES),
        layer=asked.layer,
        samples=asked.samples,
        max_shift=asked.max_shift,
        batch_size=asked.batch_size,
    )
    _make(asked.out)
    written = _draw(atlas, asked.out)
    if asked.json:
        figures = [{"file": str(file), "shows": plate.shows, "numbers": plate.numbers} for file, plate in written]
        print_json({"title": title, "figures": figures})
        return 0
    print(f"{title}: {len(written)} pictures")
    for file, plate in written:
        print(f"{file}\n    {plate.shows}")
    return 0


def _refuse(out: Path, *, force: bool) -> None:
    """Refuse a folder in which something could be lost, before anything is computed."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; choose another --out")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ValueError(f"{out} is not empty; add --force to write into it, or choose another --out")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make the folder {out}: {error.strerror or error}") from error


def _open(asked: Words) -> tuple[nn.Module, data.Dataset, data.Preprocess, str]:
    """The network, the images, what lies between them, and a title."""
    if (Path(asked.network) / "config.json").is_file() or asked.network not in models.names():
        return _open_run(asked)
    known = models.info(asked.network)
    dataset = read_images(asked.data or "digits", data_dir=asked.data_dir)
    size = max(dataset.image_size) if min(dataset.image_size) >= known.min_image_size else known.image_size
    torch.manual_seed(0)
    model = models.create(
        asked.network, in_channels=dataset.channels, num_classes=len(dataset.classes), image_size=size
    )
    if asked.weights is not None:
        models.load_weights(model, asked.weights)
    fresh = "fresh weights" if asked.weights is None else asked.weights.name
    preprocess = data.Preprocess.of(dataset, image_size=size)
    return model.eval(), dataset, preprocess, f"{asked.network} ({fresh}) on {dataset.name}"


def _open_run(asked: Words) -> tuple[nn.Module, data.Dataset, data.Preprocess, str]:
    if not Path(asked.network).exists() and "/" not in asked.network:
        hint = "convscope models; or name a run folder"
        raise unknown_name("network", asked.network, models.names(), hint=hint)
    run = Run.open(asked.network)
    if asked.weights is not None:
        raise ValueError(f"{run.path} has weights of its own; --weights is for the name of a network")
    dataset = load_data(run, name=asked.data, data_dir=asked.data_dir)
    check_classes(run, dataset)
    return restore_model(run), dataset, run.preprocess, run.title


def _draw(atlas: Atlas, out: Path) -> list[tuple[Path, Plate]]:
    """Write each picture as soon as it is drawn, so that nothing is lost when a later one fails."""
    written: list[tuple[Path, Plate]] = []
    with progress_bar("drawing") as progress:
        for done, step in enumerate(atlas.steps):
            progress(done, len(atlas.steps))
            for plate in step():
                file = out / f"{plate.name}.png"
                save_figure(plate.figure, file)
                written.append((file, plate))
    return written
