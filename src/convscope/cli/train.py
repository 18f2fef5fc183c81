"""``convscope train``: a network, images, settings; a run folder with a report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from convscope import data, deploy, models, report
from convscope.cli.console import load_data, messages, print_json, progress_bar, read_images
from convscope.cli.entry import DONE, FAILED, INTERRUPTED
from convscope.cli.live import display
from convscope.cli.train_words import Words, begun, read
from convscope.errors import TrainingDiverged, TrainingInterrupted
from convscope.naming import duration
from convscope.report.figures import lr_range
from convscope.train import (
    ALONE,
    RANGE_PICTURE,
    Listener,
    OtherProcessFailed,
    Run,
    TensorBoard,
    TrainConfig,
    Trainer,
    World,
    check_free,
    join,
    next_free,
)


def main(words: list[str]) -> int:
    """Run the verb, in every process of the run."""
    world = ALONE
    try:
        with join() as world:
            return _main(words, world)
    except (OtherProcessFailed, TrainingDiverged, TrainingInterrupted, KeyboardInterrupt) as error:
        if world.main:
            raise
        # What happens to all is said by the first process, and what happened to another one by that.
        return INTERRUPTED if isinstance(error, (TrainingInterrupted, KeyboardInterrupt)) else FAILED


def _main(words: list[str], world: World) -> int:
    began = time.perf_counter()
    with world.in_turn(0):  # one process says what is wrong with the words
        asked, base = read(words)
    asked, base, there = begun(asked, base, world)
    with world.in_turn(world.first_here):  # it packs a folder of pictures, and the others find it packed
        model, dataset, settings = _prepare(asked, base, messages())
    if asked.find_lr and not world.main:
        return 0  # one process is enough for it
    if asked.find_lr:
        return _find_lr(asked, Trainer(settings), model, dataset)
    if there == "done":  # and something went wrong with the report
        run = Run.open(asked.resume or Path())
        run.load_weights(model)
    else:
        run = _train(asked, settings, model, dataset, words=words, world=world)
    if world.main:
        page = report.write(run, model, dataset)
        _print_result(run, page, time.perf_counter() - began, as_json=asked.json)
    return DONE


def _train(
    asked: Words, settings: TrainConfig, model: nn.Module, dataset: data.Dataset, *, words: list[str], world: World
) -> Run:
    """Begin, or go on; the first process shows how it goes."""
    with ExitStack() as stack:
        listeners: list[Listener] = [stack.enter_context(display(messages()))] if world.main else []
        if asked.tensorboard and world.main:
            listeners.append(TensorBoard())
        if asked.resume is not None:
            return Trainer.resume(asked.resume, model, dataset, config=settings, force=asked.force, listeners=listeners)
        command = shlex.join(["convscope", "train", *words])
        trainer = Trainer(settings, listeners=listeners)
        return trainer.fit(model, dataset, out=asked.out, overwrite=asked.force, command=command)


# ---- before the training


def _prepare(asked: Words, base: Words, console: Console) -> tuple[nn.Module, data.Dataset, TrainConfig]:
    """Read the images and make the network."""
    if asked.resume is not None:
        run = Run.open(asked.resume)
        dataset = _images_again(run, asked, base)
        model = deploy.make_model(run) if asked.model == run.model_name else _make(asked, dataset, asked.settings)
        if asked.settings.image_size != base.settings.image_size:
            _check_size(model, dataset, asked)
        return model, dataset, asked.settings
    known = models.info(asked.model)
    if asked.out is not None and not asked.find_lr:
        check_free(asked.out, overwrite=asked.force)  # now, and not after minutes of reading images
    dataset = _read(asked)
    (height, width), size = dataset.image_size, asked.settings.image_size
    if size is None and not known.accepts(height, width):
        size = known.image_size
        console.print(f"{asked.model} sees the {height}x{width} images of {dataset.name} resized to {size}x{size}")
    settings = dataclasses.replace(asked.settings, image_size=size)
    model = _make(asked, dataset, settings)
    if asked.init is not None:
        _start_from(model, asked.init, console)
    return model, dataset, settings


def _images_again(run: Run, asked: Words, base: Words) -> data.Dataset:
    """The images of a run that goes on, or others that are asked for; a folder is read in the size that is asked."""
    if asked.data != base.data:
        return _read(asked)
    size = asked.settings.image_size
    other: dict[str, Any] = {"image_size": size} if size != base.settings.image_size else {}
    return load_data(run, data_dir=asked.data_dir, strict=asked.strict, **other)


def _check_size(model: nn.Module, dataset: data.Dataset, asked: Words) -> None:
    """Refuse a size that a network which was made for another one cannot see.

    Raises:
        ValueError: It cannot.
    """
    size = asked.settings.image_size
    height, width = (size, size) if size is not None else dataset.image_size
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(2, dataset.channels, height, width))
    except RuntimeError as error:
        raise ValueError(
            f"{asked.model} of this run was made for images of another size and cannot see {height}x{width}; leave "
            "--image-size as it was, or start a new run"
        ) from error


def _read(asked: Words) -> data.Dataset:
    return read_images(asked.data, data_dir=asked.data_dir, image_size=asked.settings.image_size, strict=asked.strict)


def _make(asked: Words, dataset: data.Dataset, settings: TrainConfig) -> nn.Module:
    torch.manual_seed(settings.seed)
    return models.create(
        asked.model,
        in_channels=dataset.channels,
        num_classes=len(dataset.classes),
        image_size=settings.image_size or dataset.image_size[0],
    )


def _start_from(model: nn.Module, weights: Path, console: Console) -> None:
    """Load weights and say what was adapted."""
    file = weights / "model.safetensors" if weights.is_dir() else weights
    loaded = models.load_weights(model, file, adapt_head=True, adapt_stem=True)
    console.print(f"{len(loaded.loaded)} tensors come from {file}", soft_wrap=True)
    for name, how in loaded.adapted.items():
        console.print(f"  {name}: {how}", soft_wrap=True)


def _find_lr(asked: Words, trainer: Trainer, model: nn.Module, dataset: data.Dataset) -> int:
    """The learning-rate range test: a picture and two suggestions."""
    if asked.out is not None and (asked.out / RANGE_PICTURE).exists() and not asked.force:
        there = asked.out / RANGE_PICTURE
        raise ValueError(f"{there} is there already; add --force to replace it, or choose another --out")
    with progress_bar("raising the learning rate") as progress:
        found = trainer.find_lr(model, dataset, progress=progress)
    folder = asked.out or next_free(Path("runs"), f"{asked.model}-{dataset.name}-find-lr")
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / RANGE_PICTURE
    report.save_figure(lr_range(found, title=f"{asked.model} on {dataset.name}"), picture)
    if asked.json:
        print_json({**found.to_dict(), "picture": str(picture)})
        return 0
    print(found)
    print(f"picture: {picture}")
    return 0


# ---- after it


def _print_result(run: Run, page: Path, seconds: float, *, as_json: bool) -> None:
    final = run.history.of("end")[-1].values
    accuracy, loss = final.get("test_accuracy"), final.get("test_loss")  # a task of one's own may have neither
    if as_json:
        print_json({"accuracy": accuracy, "loss": loss, "seconds": seconds, "run": str(run.path), "report": str(page)})
        return
    found = [
        f"test {name} {value:.4f}" for name, value in (("accuracy", accuracy), ("loss", loss)) if value is not None
    ]
    print(f"{(found or ['done'])[0]} in {duration(seconds)}; the weights are in {run.path}")
    print(f"report: {page}")
