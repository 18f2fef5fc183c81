"""How to do it again: the lines of Python that do the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from convscope.report.material import Material


def source_of(value: Any) -> str:
    """The Python that makes a value again; of a dataclass only what differs from its defaults.

    Example:
        >>> from convscope.train import OptimizerConfig, TrainConfig
        >>> source_of(TrainConfig(epochs=3, optimizer=OptimizerConfig(opt="sgd")))
        "TrainConfig(epochs=3, optimizer=OptimizerConfig(opt='sgd'))"
    """
    if not is_dataclass(value):
        return repr(value)
    changed = [f"{name}={source_of(setting)}" for name, setting in _changed(value)]
    return f"{type(value).__name__}({', '.join(changed)})"


def classes_of(value: Any) -> set[str]:
    """The names of the classes in ``source_of(value)``.

    Example:
        >>> from convscope.train import OptimizerConfig, TrainConfig
        >>> sorted(classes_of(TrainConfig(epochs=3, optimizer=OptimizerConfig(opt="sgd"))))
        ['OptimizerConfig', 'TrainConfig']
    """
    if not is_dataclass(value):
        return set()
    return {type(value).__name__}.union(*(classes_of(setting) for _, setting in _changed(value)))


def _changed(config: Any) -> Iterator[tuple[str, Any]]:
    """The settings of a dataclass that differ from its defaults."""
    usual = type(config)()
    for field in fields(config):
        setting = getattr(config, field.name)
        if setting != getattr(usual, field.name):
            yield field.name, setting


def python_source(material: Material) -> str:
    """A short program that trains the same network on the same images with the same settings."""
    described, source = material.run.config["model"], material.run.config["data"].get("source")
    used = sorted({"Trainer"} | classes_of(material.config))
    if source:
        dataset = f"data.load({_arguments(source)})"
    else:
        dataset = f"...  # {material.dataset.name!r} was made in memory"
    if described.get("name"):
        network = f"models.create({described['name']!r}, {_arguments(described['arguments'])})"
    else:
        network = f"...  # {described['class']}"
    return "\n".join(
        [
            "import torch",
            "",
            "from convscope import data, models",
            f"from convscope.train import {', '.join(used)}",
            "",
            f"dataset = {dataset}",
            f"torch.manual_seed({material.config.seed})  # decides the initial weights",
            f"model = {network}",
            f"run = Trainer({source_of(material.config)}).fit(model, dataset)",
        ]
    )


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
