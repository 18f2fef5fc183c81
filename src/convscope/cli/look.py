"""``convscope look``: what is inside a network, and how it behaves, as pictures in a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from tyro.conf import Positional

from convscope import data, models
from convscope.cli.console import Switch, messages, parse, print_json, progress_bar, read_images
from convscope.cli.entry import is_about_words
from convscope.cli.evaluate import images_for
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
    image_size: int | None = None
    """Side in pixels that a network by name sees; by default that of the images, if it can be so small."""
    samples: int | None = None
    """Test images that shares and means are taken over; by default 200, and fewer of a network that costs much."""
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
    if atlas.allowance.sentence:
        messages().print(atlas.allowance.sentence, soft_wrap=True)
    drawn = _draw(atlas, asked.out)
    _tell(drawn, title, json=asked.json)
    if drawn.stopped:
        raise KeyboardInterrupt  # after what there is was named
    return 0 if not drawn.refused else 1


@dataclass
class Drawn:
    """What came of drawing.

    Args:
        written: Files and what they show.
        refused: Figures that this network has nothing for, and why.
        stopped: Whether somebody pressed Ctrl-C before the end.
    """

    written: list[tuple[Path, Plate]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False


def _tell(drawn: Drawn, title: str, *, json: bool) -> None:
    """Results on stdout, and what is missing on stderr."""
    if json:
        figures = [{"file": str(file), "shows": plate.shows, "numbers": plate.numbers} for file, plate in drawn.written]
        print_json({"title": title, "complete": not (drawn.refused or drawn.stopped), "figures": figures})
    else:
        print(f"{title}: {len(drawn.written)} picture{'s' * (len(drawn.written) != 1)}")
        for file, plate in drawn.written:
            print(f"{file}\n    {plate.shows}")
    for name, reason in drawn.refused:
        messages().print(f"convscope: no {name}: {reason}", soft_wrap=True)


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
    size = asked.image_size
    if size is None:
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
    if asked.image_size is not None:
        raise ValueError(f"{run.path} sees images as it was trained; --image-size is for the name of a network")
    dataset = images_for(run, name=asked.data, data_dir=asked.data_dir)
    return restore_model(run), dataset, run.preprocess, run.title


def _draw(atlas: Atlas, out: Path) -> Drawn:
    """Write each picture as soon as it is drawn, so that nothing is lost when a later one fails or nobody waits."""
    drawn, steps = Drawn(), atlas.steps
    with progress_bar("drawing") as progress:
        live = messages().is_terminal
        for done, (name, step) in enumerate(steps.items()):
            progress(done, len(steps))
            if not live:
                messages().print(f"drawing {done + 1} of {len(steps)}: {name}")
            try:
                for plate in step():
                    file = out / f"{plate.name}.png"
                    save_figure(plate.figure, file)
                    drawn.written.append((file, plate))
            except ValueError as error:
                if not is_about_words(error):
                    raise
                drawn.refused.append((name, str(error)))
            except KeyboardInterrupt:
                drawn.stopped = True
                break
    return drawn
