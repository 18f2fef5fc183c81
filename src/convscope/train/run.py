"""A run folder: everything that is known of one training, and its only state.

``config.json``        what was asked: network, images, preprocessing, every setting
``environment.json``   where it ran: hardware, versions, plan, command
``metrics.jsonl``      what happened: one row per epoch and per logged step
``model.safetensors``  the weights
``weights/``           the weights of single epochs, when asked for
``checkpoint/``        what is needed to go on
``report.html``, ``plots/``  what to look at
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from convscope.data import Preprocess
from convscope.errors import RunError
from convscope.files import make_folder, read_json, replacing, write_bytes, write_json
from convscope.nn import FlipAverage
from convscope.train.checkpoint import CheckpointStore
from convscope.train.config import TrainConfig
from convscope.train.events import History, Row

FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A folder on disk, opened.

    Args:
        path: The folder.
        config: The contents of ``config.json``.

    Example:
        >>> Run.open("runs/of-last-year")
        Traceback (most recent call last):
        convscope.errors.RunError: runs/of-last-year is no run folder: there is no config.json in it
    """

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a folder that a training left.

        Raises:
            RunError: It is no run folder, or one of another format.
        """
        path = Path(path)
        if not (path / "config.json").is_file():
            raise RunError(f"{path} is no run folder: there is no config.json in it")
        config = read_json(path / "config.json")
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            came = config.get("format") if isinstance(config, dict) else type(config).__name__
            raise RunError(f"{path / 'config.json'} has format {came}, and this version reads format {FORMAT}")
        missing = {"model", "data", "input", "train"} - set(config)
        if missing:
            raise RunError(f"{path / 'config.json'} is damaged: it lacks {', '.join(sorted(missing))}")
        run = cls(path, config)
        run._check()
        return run

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> Run:
        """Begin a run in a folder that was claimed; one that is killed meanwhile can be begun again or gone on with.

        Raises:
            RunError: The folder cannot be written.
        """
        run = cls.draft(path, config)
        run.write_beginning(environment)
        run.write_config()  # the last: it makes a folder a run, and a run knows its job
        return run

    @classmethod
    def draft(cls, path: Path, config: Mapping[str, Any]) -> Run:
        """A run of which nothing is written yet; its ``config`` is as JSON will give it back."""
        return cls(path, json.loads(json.dumps({"format": FORMAT, **config})))

    def having(self, config: Mapping[str, Any]) -> Run:
        """The same folder with other words for ``config.json``, which are not written yet."""
        return Run.draft(self.path, config)

    def write_beginning(self, environment: Mapping[str, Any]) -> None:
        """Write an empty history and where the run is executed; without ``config.json`` the folder is no run yet.

        Raises:
            RunError: The folder cannot be written.
        """
        write_bytes(self.path / "metrics.jsonl", b"")
        write_json(self.path / "environment.json", environment)

    def write_config(self) -> None:
        """Put ``config`` into ``config.json``, whole or not at all.

        Raises:
            RunError: The folder cannot be written.
        """
        write_json(self.path / "config.json", self.config)

    def _check(self) -> None:
        """Every entry that others rely on is there and of its kind, or the file is called damaged."""
        try:
            model, data = self.config["model"], self.config["data"]
            classes = self.classes
            size = tuple(int(side) for side in data["image_size"])
            expected = dict(model["arguments"])["num_classes"] if "name" in model else len(classes)
            named = all(isinstance(name, str) for name in (data["name"], data["fingerprint"], model["class"], *classes))
            whole = named and isinstance(data["source"], dict) and len(size) == 2 and len(classes) == expected > 0
            whole = whole and self.preprocess.channels > 0
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise RunError(f"{self.path / 'config.json'} is damaged: {type(error).__name__} {error}") from error
        if not whole:
            raise RunError(f"{self.path / 'config.json'} is damaged: its classes, sizes or names do not fit each other")

    @property
    def way_on(self) -> str:
        """What to type to go on: a command, where the command line can make the network and load the images again."""
        if "name" in self.config.get("model", {}) and self.config.get("data", {}).get("source"):
            return f"convscope train --resume {shlex.quote(str(self.path))}"
        return f"Trainer.resume({str(self.path)!r}, model, dataset)"

    @property
    def title(self) -> str:
        """The network and the images, for headings."""
        return f"{self.model_name} on {self.config['data']['name']}"

    @property
    def model_name(self) -> str:
        """The registered name, or the class of a network that has none."""
        return str(self.config["model"].get("name") or self.config["model"]["class"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the scores, in their order."""
        return tuple(self.config["data"]["classes"])

    @property
    def preprocess(self) -> Preprocess:
        """What images go through before the network sees them."""
        return Preprocess.from_dict(self.config["input"])

    @property
    def train_config(self) -> TrainConfig:
        """The settings of the training."""
        try:
            return TrainConfig.from_dict(self.config["train"])
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'config.json'} holds settings that this version refuses: {error}") from error

    def scorer(self, model: nn.Module) -> nn.Module:
        """The network as this run scores images: alone, or with the mirror image of each (``test_flip``)."""
        return FlipAverage(model) if self.train_config.test_flip else model

    @property
    def environment(self) -> dict[str, Any]:
        """The contents of ``environment.json``.

        Raises:
            RunError: It is missing or damaged.
        """
        environment = read_json(self.path / "environment.json")
        if not isinstance(environment, dict) or not isinstance(environment.get("resumed", []), list):
            raise RunError(f"{self.path / 'environment.json'} is damaged: it does not say how the run was executed")
        return environment

    @property
    def history(self) -> History:
        """The rows of ``metrics.jsonl``; a last line cut off by a crash is left out.

        Raises:
            RunError: The file is missing, or a line before the last is damaged.
        """
        path = self.path / "metrics.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise RunError(f"could not read {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise RunError(f"{path} is damaged: {error}") from error
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(Row.from_dict(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number < len(lines):
                    raise RunError(f"{path} is damaged in line {number}: {error!r}") from error
        return History(tuple(rows))

    @property
    def checkpoints(self) -> CheckpointStore:
        """What is needed to go on, in ``checkpoint/``."""
        return CheckpointStore(self.path / "checkpoint")

    def begun_by(self, job: str) -> bool:
        """Whether this very job began the run or went on with it.

        Args:
            job: Names what ``torchrun`` was started for, and is the same when it starts workers again; see ``World``.
        """
        if not job or not (self.path / "environment.json").exists():
            return False
        first = self.environment
        return job in [sitting.get("job") for sitting in (first, *first.get("resumed", []))]

    def note_sitting(self, environment: Mapping[str, Any]) -> None:
        """Add to ``environment.json`` that the training went on, and where."""
        try:
            first = self.environment
        except RunError:  # lost; what can be known from now on is better than nothing
            first = {}
        write_json(self.path / "environment.json", {**first, "resumed": [*first.get("resumed", []), dict(environment)]})

    def append(self, row: Row) -> None:
        """Add one line to ``metrics.jsonl``."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row.to_dict()) + "\n")
        except OSError as error:
            raise RunError(f"could not write {path}: {error.strerror or error}") from error

    def settle_history(self) -> None:
        """Wait until ``metrics.jsonl`` is on the disk: the checkpoint that is written next counts on it."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"could not write {path}: {error.strerror or error}") from error

    def rewrite_history(self, history: History) -> None:
        """Replace ``metrics.jsonl``, whole or not at all."""
        lines = "".join(json.dumps(row.to_dict()) + "\n" for row in history.rows)
        write_bytes(self.path / "metrics.jsonl", lines.encode())

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write ``model.safetensors`` with what a reader of that file alone needs to know.

        Args:
            state: A ``state_dict``; tensors may share storage and lie on any device.

        Raises:
            RunError: It could not be written; the previous file is whole.
        """
        self._write_weights(self.path / "model.safetensors", state)

    def save_epoch_weights(self, epoch: int, state: Mapping[str, Tensor], *, keep: int | None) -> None:
        """Write ``weights/epoch-0007.safetensors`` beside the last ones, and let go of all but the newest.

        Files of later epochs go too: they belong to a sitting that was given up.

        Args:
            epoch: Epochs that are complete, from 1.
            state: As for ``save_weights``.
            keep: How many epochs to keep; None keeps all of them, 0 writes none.

        Raises:
            RunError: It could not be written; the files of other epochs are whole.
        """
        if keep == 0:  # those of an earlier sitting stay
            return
        path = self._weights_file(epoch)
        make_folder(path.parent)
        self._write_weights(path, state)
        newest_first = [number for number in reversed(self.saved_epochs) if number <= epoch]
        for other in set(self.saved_epochs) - set(newest_first[:keep]):
            self._weights_file(other).unlink(missing_ok=True)

    @property
    def saved_epochs(self) -> tuple[int, ...]:
        """The epochs whose own weights are kept, in order."""
        numbers = (file.stem.partition("-")[2] for file in (self.path / "weights").glob("epoch-*.safetensors"))
        return tuple(sorted(int(number) for number in numbers if number.isdecimal()))

    def load_weights(self, model: nn.Module, *, epoch: int | None = None) -> None:
        """Read ``model.safetensors``, or an epoch's own weights, into a network of the same shapes.

        Nothing is ever unpickled.

        Args:
            model: Takes the weights; it is left as it was when they do not fit.
            epoch: One of ``saved_epochs``; None for the weights that the run was to keep.

        Raises:
            RunError: The file is missing, is no safetensors file, or holds weights of another network.
        """
        path = self.path / "model.safetensors" if epoch is None else self._weights_file(epoch)
        if not path.is_file():
            raise RunError(f"{path} is missing: {self._advice(epoch)}")
        try:
            state = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(
                f"{path} is not a whole safetensors file ({error}); pickled weights are refused, because opening one "
                "can run any program"
            ) from error
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        came = {name: tuple(value.shape) for name, value in state.items()}
        if expected != came:
            differing = sorted(name for name in expected.keys() | came.keys() if expected.get(name) != came.get(name))
            first = differing[0]
            raise RunError(
                f"{path} holds weights of another network than {self.model_name}: {len(differing)} tensors differ, "
                f"the first is {first!r}, expected {expected.get(first, 'none')}, got {came.get(first, 'none')}"
            )
        model.load_state_dict(state)

    def _weights_file(self, epoch: int) -> Path:
        return self.path / "weights" / f"epoch-{epoch:04d}.safetensors"

    def _advice(self, epoch: int | None) -> str:
        """What to do about weights that are missing."""
        if epoch is not None:
            kept = ", ".join(map(str, self.saved_epochs)) or "none; train with --keep all or a number"
            return f"epochs with their own weights: {kept}"
        if any(row.kind == "end" for row in self.history.rows):
            return "train again"
        return f"no epoch is complete; go on with: {self.way_on}"

    def _write_weights(self, path: Path, state: Mapping[str, Tensor]) -> None:
        about = {"model": self.config["model"], "classes": self.classes, "input": self.config["input"]}
        # One key: safetensors writes several in random order, and equal weights should be equal files.
        metadata = {"convscope": json.dumps(about)}
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        with replacing(path) as beside:
            beside.write_bytes(save(tensors, metadata))
