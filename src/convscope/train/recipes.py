"""Named settings, some of them with the network that they were found for."""

from __future__ import annotations

from dataclasses import dataclass

from convscope.naming import unknown_name
from convscope.train.config import ExecutionConfig, OptimizerConfig, ScheduleConfig, TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A name for a way to train.

    Args:
        name: As typed after ``--recipe``.
        config: Every setting.
        model: The network that the settings were found for; None where they fit any.
    """

    name: str
    config: TrainConfig
    model: str | None = None


RECIPES: dict[str, Recipe] = {
    entry.name: entry
    for entry in (
        Recipe("default", TrainConfig()),
        Recipe(
            "textbook",
            TrainConfig(
                batch_size=128,
                optimizer=OptimizerConfig(opt="sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
                schedule=ScheduleConfig(sched="constant"),
                execution=ExecutionConfig(precision="float32"),
                normalize=False,
            ),
        ),
    )
}
"""``default``: AdamW, one cycle, normalised images; the best found for a small network in ten epochs.
``textbook``: plain SGD at a constant 0.1, batches of 128, values 0 to 1, as in "Dive into Deep Learning", chapter 7."""


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: No such recipe; the nearest names are suggested.

    Example:
        >>> recipe("textbook").config.optimizer.opt
        'sgd'
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
