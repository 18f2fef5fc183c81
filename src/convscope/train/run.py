"""A run folder: everything that is known of one training, and its only state.

``config.json``        what was asked: network, images, preprocessing, every setting
``environment.json``   where it ran: hardware, versions, plan, command
``metrics.jsonl``      what happened: one row per epoch and per logged step
``model.safetensors``  the weights
``checkpoint/``        what is needed to go on
``report.html``, ``plots/``  what to look at
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from convscope.data import Preprocess
from convscope.errors import RunError
from convscope.files import read_json, replacing, write_bytes, write_json
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
        """Begin a run in a folder that was claimed.

        Raises:
            RunError: The folder cannot be written.
        """
        run = cls(path, {"format": FORMAT, **config})
        write_json(path / "environment.json", environment)
        write_bytes(path / "metrics.jsonl", b"")
        write_json(path / "config.json", run.config)
        return run

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

    @property
    def environment(self) -> dict[str, Any]:
        """The contents of ``environment.json``."""
        environment: dict[str, Any] = read_json(self.path / "environment.json")
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
        about = {"model": self.config["model"], "classes": self.classes, "input": self.config["input"]}
        # One key: safetensors writes several in random order, and equal weights should be equal files.
        metadata = {"convscope": json.dumps(about)}
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        with replacing(self.path / "model.safetensors") as beside:
            beside.write_bytes(save(tensors, metadata))

    def load_weights(self, model: nn.Module) -> None:
        """Read ``model.safetensors`` into a network of the same shapes. Nothing is ever unpickled.

        Raises:
            RunError: The file is missing, is no safetensors file, or holds weights of another network.
        """
        path = self.path / "model.safetensors"
        if not path.is_file():
            complete = any(row.kind == "end" for row in self.history.rows)
            advice = (
                "train again" if complete else f"no epoch is complete; convscope train --resume {self.path} goes on"
            )
            raise RunError(f"{path} is missing: {advice}")
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
