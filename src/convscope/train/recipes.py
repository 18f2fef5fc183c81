"""Named training settings."""

from __future__ import annotations

from convscope.naming import unknown_name
from convscope.train.config import OptimizerConfig, ScheduleConfig, TrainConfig

RECIPES: dict[str, TrainConfig] = {
    "default": TrainConfig(),
    "textbook": TrainConfig(
        batch_size=128,
        optimizer=OptimizerConfig(opt="sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
        schedule=ScheduleConfig(sched="constant"),
        normalize=False,
    ),
}
"""``default``: AdamW, one cycle, normalised images; the best found for a small network in ten epochs.
``textbook``: plain SGD at a constant 0.1, batches of 128, values 0 to 1, as in "Dive into Deep Learning", chapter 7."""


def recipe(name: str) -> TrainConfig:
    """The settings of that name.

    Raises:
        ValueError: No such recipe; the nearest names are suggested.

    Example:
        >>> recipe("textbook").optimizer.opt
        'sgd'
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
