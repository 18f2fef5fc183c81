"""``convscope train``: a network, images, settings; a run folder with a report."""

from __future__ import annotations

import dataclasses
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from convscope import data, deploy, models, report
from convscope.cli.console import Switch, load_data, messages, parse, print_json, progress_bar, read_images
from convscope.cli.entry import DONE, FAILED, INTERRUPTED
from convscope.cli.live import display
from convscope.errors import TrainingDiverged, TrainingInterrupted
from convscope.naming import duration
from convscope.report.figures import lr_range
from convscope.train import (
    ALONE,
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
    recipe,
    started_by_torchrun,
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """Train a network on images and leave a run folder with weights, history, figures and report.html."""

    model: str = "lenet"
    """Network; `convscope models` lists them."""
    init: Path | None = None
    """Weights to start from: a run folder, or a file of ours, torchvision's or timm's; head and stem are adapted."""
    data: str = "digits"
    """Data set, or a folder with an image folder for each class; `convscope data list` shows the names."""
    data_dir: Path | None = None
    """Where the files of a named data set are, before the usual places are searched."""
    strict: Switch = False
    """Stop at the first unreadable image instead of leaving it out."""
    recipe: str = "default"
    """Settings that other flags change: default, textbook, finetune, accurate, speedrun-90, speedrun-92, -93, -94."""
    out: Path | None = None
    """Run folder to make; by default the next free runs/MODEL-DATA-NUMBER."""
    force: Switch = False
    """Replace the run that --out holds; with --resume, go on although something differs."""
    resume: Path | None = None
    """Run folder of a stopped training to go on with; flags that change how it trains need --force beside them."""
    find_lr: Switch = False
    """Train nothing: raise the learning rate step by step, draw what the loss does, and suggest a rate."""
    tensorboard: Switch = False
    """Write the curves for TensorBoard too, into tensorboard/ of the run folder."""
    json: Switch = False
    """Print the result as one JSON object."""
    settings: TrainConfig = field(default_factory=TrainConfig)


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
        base = _defaults(words)
        asked = _checked(parse(words, Words, "train", default=base))
        if asked.resume is not None:
            _refuse_beside_resume(asked, words)
    asked, base, begun = _begun(asked, base, world)
    with world.in_turn(world.first_here):  # it packs a folder of pictures, and the others find it packed
        model, dataset, settings = _prepare(asked, base, messages())
    if asked.find_lr and not world.main:
        return 0  # one process is enough for it
    if asked.find_lr:
        return _find_lr(asked, Trainer(settings), model, dataset)
    if begun == "done":  # and something went wrong with the report
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


def _defaults(words: list[str]) -> Words:
    """A recipe, or the run that goes on, sets what the other flags default to; so it is read first."""
    if resumed := _last(words, "--resume"):
        return _going_on(Words(), Run.open(resumed))
    chosen = recipe(_last(words, "--recipe") or "default")
    return Words(recipe=chosen.name, model=chosen.model or "lenet", settings=chosen.config)


def _last(words: list[str], flag: str) -> str | None:
    """What was typed after a flag; the last one counts."""
    value = None
    for word, after in pairwise([*words, ""]):
        if word == flag:
            value = after
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def _going_on(asked: Words, run: Run) -> Words:
    """The words that go on with a run as it began."""
    source = dict(run.config["data"]["source"])
    return dataclasses.replace(
        asked,
        model=run.model_name,
        data=str(source.get("name_or_folder", run.config["data"]["name"])),
        settings=run.train_config,
        resume=run.path,
    )


def _checked(asked: Words) -> Words:
    """Refuse words that do not go together."""
    if started_by_torchrun() and asked.out is None and asked.resume is None:
        raise ValueError("torchrun starts a worker that died again, which must find its run: name it with --out")
    if asked.recipe == "finetune" and asked.init is None:
        raise ValueError("--recipe finetune starts from weights: name a run or a file of weights with --init")
    return asked


def _begun(asked: Words, base: Words, world: World) -> tuple[Words, Words, str]:
    """Where torchrun started a worker that died again, go on with what the same job has begun, and with nothing else.

    Returns:
        What to do, what the words default to, and what there is: ``"nothing"`` of this job, ``"a folder"`` with nothing
        to lose, ``"a part"``, or ``"done"``.
    """
    found, folder = "nothing", asked.resume or asked.out
    if folder is None:
        return asked, base, found
    if world.main and (folder / "config.json").exists() and Run.open(folder).begun_by(world.job):
        run = Run.open(folder)
        found = "done" if run.history.of("end") else "a folder" if run.checkpoints.empty else "a part"
    found = world.tell(found)
    if found == "a folder" and asked.resume is None:
        asked = dataclasses.replace(asked, force=True)
    elif found in ("a part", "done") and asked.resume is None:
        asked = base = _going_on(dataclasses.replace(asked, force=False), Run.open(folder))
    return asked, base, found


def _refuse_beside_resume(asked: Words, words: list[str]) -> None:
    """A run that goes on has its weights, settings and folder; words that would give it others are not ignored."""
    run = asked.resume
    refused = (
        ("--init", asked.init is not None, f"a new run from other weights is: convscope train --init {asked.init}"),
        (
            "--out",
            asked.out is not None,
            f"a new run from its weights is: convscope train --init {run} --out {asked.out}",
        ),
        ("--recipe", _last(words, "--recipe") is not None, "name the settings that are to change, with --force"),
        ("--find-lr", asked.find_lr, f"a range test from its weights is: convscope train --find-lr --init {run}"),
    )
    for flag, given, instead in refused:
        if given:
            raise ValueError(
                f"--resume goes on with the run in {run} as it is, and {flag} has no place there; {instead}"
            )


def _prepare(asked: Words, base: Words, console: Console) -> tuple[nn.Module, data.Dataset, TrainConfig]:
    """Read the images and make the network."""
    if asked.resume is not None:
        run = Run.open(asked.resume)
        same = asked.data == base.data
        dataset = load_data(run, data_dir=asked.data_dir) if same else _read(asked)
        model = deploy.make_model(run) if asked.model == run.model_name else _make(asked, dataset, asked.settings)
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
    folder = asked.out or next_free(Path("runs"), f"{asked.model}-{dataset.name}-find-lr")
    picture = folder / "lr_range.png"
    if picture.exists() and not asked.force:
        raise ValueError(f"{picture} is there already; add --force to replace it, or choose another --out")
    with progress_bar("raising the learning rate") as progress:
        found = trainer.find_lr(model, dataset, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
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
    if as_json:
        accuracy, loss = final["test_accuracy"], final["test_loss"]
        print_json({"accuracy": accuracy, "loss": loss, "seconds": seconds, "run": str(run.path), "report": str(page)})
        return
    print(f"test accuracy {final['test_accuracy']:.4f} in {duration(seconds)}; the weights are in {run.path}")
    print(f"report: {page}")
