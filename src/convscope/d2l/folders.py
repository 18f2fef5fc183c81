"""Run folders of the book's trainings: what can be kept, where, and going on with what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convscope.d2l.fashion import FashionMNIST, Split
from convscope.d2l.trainer import Trainer
from convscope.d2l.voice import say
from convscope.errors import RunError
from convscope.train import Plan, Run
from convscope.train.assembly import describe
from convscope.train.differences import differences
from convscope.train.events import History
from convscope.train.folder import claim, locked
from convscope.train.loop import Loop
from convscope.train.parts import Parts
from convscope.train.plan import environment


@dataclass(frozen=True)
class Place:
    """Where a training is kept.

    Args:
        path: The run folder.
        data: What is trained on.
        resume: Whether a run that is there goes on.
    """

    path: Path
    data: FashionMNIST
    resume: bool

    @property
    def begun(self) -> Run | None:
        """The run that goes on; None where a new one begins."""
        there = self.resume and (self.path / "config.json").is_file()
        return Run.open(self.path) if there else None

    @property
    def plan(self) -> Plan | None:
        """How the run that goes on was executed so far."""
        begun = self.begun
        return None if begun is None else Plan.from_dict(begun.environment["plan"])


def place(trainer: Trainer, data: Any, asked: Path | None) -> Place | None:
    """Where a training is kept: in the trainer's ``out``, or where whoever started the program wants it.

    Args:
        trainer: Has its model.
        data: What ``fit`` was called with.
        asked: A folder that the program knows nothing of; one that it names itself is preferred.

    Returns:
        None where only ``asked`` is given and cannot be; a line on stderr says why.

    Raises:
        ValueError: ``out`` is given and cannot be.
    """
    obstacle = _obstacle(trainer, data)
    out = trainer._asked.out
    if out is not None:
        if obstacle:
            raise ValueError(f"out={str(out)!r} {obstacle}; leave out= away")
        return Place(Path(out), data, trainer._asked.resume)
    if asked is None:
        return None
    if obstacle:
        say(f"{asked} {obstacle}: this training is not kept, and begins anew when the program is run again")
        return None
    return Place(asked, data, resume=True)


def _obstacle(trainer: Trainer, data: Any) -> str:
    """Why a run folder could not say what was trained; empty where it can."""
    if not trainer.loop_is_ours:
        return f"keeps a run of our own loop, and fit_epoch of {type(trainer).__name__} is another"
    if not isinstance(data, FashionMNIST) or side_of(data) is None:
        return (
            "keeps a run of FashionMNIST as it is published, in square images, whose folder says how to load them "
            f"again; got {type(data).__name__}{' with something else' * isinstance(data, FashionMNIST)}"
        )
    return ""


def side_of(data: FashionMNIST) -> int | None:
    """Pixels along a side of the square images; None where they are not square, or not as they were published."""
    if not (isinstance(data.train, Split) and isinstance(data.val, Split)):
        return None
    if any(split.transformed or not split.published for split in (data.train, data.val)):
        return None
    height, width = data.train.pixels.image_size
    return int(height) if height == width else None


@contextmanager
def kept(trainer: Trainer, place: Place, parts: Parts) -> Iterator[Loop]:
    """The loop of a run folder, at its beginning or where it was left; the folder is this process's meanwhile.

    Raises:
        RunError: The folder is taken, cannot be written, or holds another training.
    """
    about = describe(trainer.model, place.data.source, replace(parts.config, image_size=side_of(place.data)))
    begun = place.begun
    if begun is None:
        with claim(place.path, overwrite=False):
            Run.create(place.path, about, environment(parts.plan, command=None))
            trainer._run = Run.open(place.path)
            yield Loop(trainer._run, parts)
        return
    with locked(place.path):
        _check_same(begun, about)
        trainer._run = begun
        yield _restored(begun, parts)


def _restored(run: Run, parts: Parts) -> Loop:
    """The loop where its last checkpoint left it; a complete run is there as it ended."""
    loop, history, store = Loop(run, parts), run.history, run.checkpoints
    if store.empty and not history.rows:  # killed before its first checkpoint
        return loop
    loop.restore(store.newest(say), history)
    if history.of("end"):
        loop.ledger.rows = list(history.rows)
        parts.model.eval()
        say(f"{run.path} is complete: its weights and curves are taken from there, and nothing is trained")
        return loop
    run.rewrite_history(History(tuple(loop.ledger.rows)))
    run.note_sitting(environment(parts.plan, command=None))
    say(f"{run.path} goes on after epoch {loop.epoch} of {parts.epochs}")
    return loop


def _check_same(run: Run, about: Mapping[str, Any]) -> None:
    changed = differences(run.config, about)
    if changed:
        listed = "".join(f"\n  {line.removeprefix('--')}" for line in changed)
        raise RunError(f"{run.path} holds a run of another training; choose another out= for this one:{listed}")
