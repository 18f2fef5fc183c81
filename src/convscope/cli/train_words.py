"""What was asked of ``convscope train``: the words, what they default to, and what does not go together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from convscope.cli.console import Switch, parse
from convscope.data.augment import trivial
from convscope.errors import RunError
from convscope.train import Run, TensorBoard, TrainConfig, World, recipe, started_by_torchrun


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
    """Refuse words that do not go together, and those that need a package that is not installed."""
    if started_by_torchrun() and asked.out is None and asked.resume is None:
        raise ValueError("torchrun starts a worker that died again, which must find its run: name it with --out")
    if asked.recipe == "finetune" and asked.init is None:
        raise ValueError("--recipe finetune starts from weights: name a run or a file of weights with --init")
    if asked.find_lr and asked.tensorboard:
        raise ValueError("--find-lr trains nothing that TensorBoard could show; leave --tensorboard out")
    if asked.tensorboard:
        TensorBoard()
    if asked.settings.augment.trivial:
        trivial.operations()
    return asked


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


def read(words: list[str]) -> tuple[Words, Words]:
    """What was asked, and what the words default to.

    Raises:
        ValueError: Words that do not go together.
        RunError: The run that is to go on cannot be read.
    """
    base = _defaults(words)
    asked = _checked(parse(words, Words, "train", default=base))
    if asked.resume is not None:
        _refuse_beside_resume(asked, words)
    return asked, base


def begun(asked: Words, base: Words, world: World) -> tuple[Words, Words, str]:
    """Where torchrun started a worker that died again, go on with what the same job has begun, and with nothing else.

    Returns:
        What to do, what the words default to, and what there is of this job: ``"nothing"``, ``"a part"`` or ``"done"``.
    """
    folder = asked.resume or asked.out
    if folder is None:
        return asked, base, "nothing"
    found = world.tell(_found(folder, world.job) if world.main else "")
    if found != "nothing" and asked.resume is None:
        asked = base = _going_on(dataclasses.replace(asked, force=False), Run.open(folder))
    return asked, base, found


def _found(folder: Path, job: str) -> str:
    """What there is of a job in a folder; nobody can go on with a run that cannot be opened, so it is of no job."""
    try:
        run = Run.open(folder)
    except RunError:
        return "nothing"
    if not run.begun_by(job):
        return "nothing"
    return "done" if run.history.of("end") else "a part"
