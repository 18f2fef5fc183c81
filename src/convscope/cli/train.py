"""``convscope train``: a network, images, settings; a run folder with a report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from convscope import data, deploy, models, report
from convscope.cli.console import Switch, load_data, messages, parse, print_json, read_images
from convscope.cli.live import display
from convscope.naming import duration
from convscope.train import Run, TrainConfig, Trainer, check_free, recipe


@dataclass(frozen=True, kw_only=True)
class Words:
    """Train a network on images and leave a run folder with weights, history, figures and report.html."""

    model: str = "lenet"
    """Network; `convscope models` lists them."""
    data: str = "digits"
    """Data set, or a folder with an image folder for each class; `convscope data list` shows the names."""
    data_dir: Path | None = None
    """Where the files of a named data set are, before the usual places are searched."""
    strict: Switch = False
    """Stop at the first unreadable image instead of leaving it out."""
    recipe: str = "default"
    """Named settings that the flags below change: default, or textbook (the book's plain SGD)."""
    out: Path | None = None
    """Run folder to make; by default the next free runs/MODEL-DATA-NUMBER."""
    force: Switch = False
    """Replace the run that --out holds."""
    resume: Path | None = None
    """Run folder of a stopped training to go on with; takes no other flag but --data-dir and --json."""
    json: Switch = False
    """Print the result as one JSON object."""
    settings: TrainConfig = field(default_factory=TrainConfig)


def main(words: list[str]) -> int:
    """Run the verb."""
    _refuse_flags_beside_resume(words)
    base = Words(recipe=_recipe_name(words))
    asked = parse(words, Words, "train", default=dataclasses.replace(base, settings=recipe(base.recipe)))
    console, began = messages(), time.perf_counter()
    if asked.resume is not None:
        run, model, dataset = _resume(asked, console)
    else:
        run, model, dataset = _start(asked, words, console)
    page = report.write(run, model, dataset)
    _print_result(run, page, time.perf_counter() - began, as_json=asked.json)
    return 0


def _recipe_name(words: list[str]) -> str:
    """The recipe is read first, because it sets what the other flags default to; the last one typed counts."""
    name = "default"
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--recipe":
            name = after
        elif word.startswith("--recipe="):
            name = word.partition("=")[2]
    return name


def _refuse_flags_beside_resume(words: list[str]) -> None:
    """A run goes on with its own settings; a flag that would change them must not be swallowed."""
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    others = sorted(flags - {"--resume", "--data-dir", "--json", "-h", "--help"})
    if "--resume" in flags and others:
        raise ValueError(
            f"--resume goes on with the run's own settings and takes only --data-dir and --json beside it; "
            f"leave out {', '.join(others)}"
        )


def _start(asked: Words, words: list[str], console: Console) -> tuple[Run, nn.Module, data.Dataset]:
    known, settings = models.info(asked.model), asked.settings
    if asked.out is not None:
        check_free(asked.out, overwrite=asked.force)  # now, and not after minutes of reading images
    dataset = read_images(asked.data, data_dir=asked.data_dir, image_size=settings.image_size, strict=asked.strict)
    (height, width), size = dataset.image_size, settings.image_size
    if size is None and not known.accepts(height, width):
        size = known.image_size
        console.print(f"{asked.model} sees the {height}x{width} images of {dataset.name} resized to {size}x{size}")
    settings = dataclasses.replace(settings, image_size=size)
    torch.manual_seed(settings.seed)
    model = models.create(
        asked.model,
        in_channels=dataset.channels,
        num_classes=len(dataset.classes),
        image_size=size or height,
    )
    with display(console) as listener:
        run = Trainer(settings, listeners=[listener]).fit(
            model, dataset, out=asked.out, overwrite=asked.force, command=shlex.join(["convscope", "train", *words])
        )
    return run, model, dataset


def _resume(asked: Words, console: Console) -> tuple[Run, nn.Module, data.Dataset]:
    run = Run.open(asked.resume or "")
    dataset = load_data(run, data_dir=asked.data_dir)
    model = deploy.make_model(run)
    with display(console) as listener:
        run = Trainer.resume(run.path, model, dataset, listeners=[listener])
    return run, model, dataset


def _print_result(run: Run, page: Path, seconds: float, *, as_json: bool) -> None:
    final = run.history.of("end")[-1].values
    if as_json:
        accuracy, loss = final["test_accuracy"], final["test_loss"]
        print_json({"accuracy": accuracy, "loss": loss, "seconds": seconds, "run": str(run.path), "report": str(page)})
        return
    print(f"test accuracy {final['test_accuracy']:.4f} in {duration(seconds)}; the weights are in {run.path}")
    print(f"report: {page}")
