"""How to do it again: the command of a run, or the lines of Python that do the same."""

from __future__ import annotations

from collections.abc import Callable
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
    make: Callable[[], Any] = type(value)
    usual = make()
    changed = [
        f"{field.name}={source_of(getattr(value, field.name))}"
        for field in fields(value)
        if getattr(value, field.name) != getattr(usual, field.name)
    ]
    return f"{type(value).__name__}({', '.join(changed)})"


def python_source(material: Material) -> str:
    """A short program that trains the same network on the same images with the same settings."""
    described, source = material.run.config["model"], material.run.config["data"].get("source")
    config = source_of(material.config)
    names = [
        "TrainConfig",
        "Trainer",
        *(f"{group}Config" for group in ("Execution", "Optimizer", "Saving", "Schedule")),
    ]
    used = sorted(name for name in names if name == "Trainer" or f"{name}(" in config)
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
            f"run = Trainer({config}).fit(model, dataset)",
        ]
    )


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
