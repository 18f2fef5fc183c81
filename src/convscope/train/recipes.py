"""Named settings, some of them with the network that they were found for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from convscope.data.augment import AugmentConfig
from convscope.naming import unknown_name
from convscope.train.config import ExecutionConfig, OptimizerConfig, SavingConfig, ScheduleConfig, TrainConfig


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


def _speedrun(epochs: float, optimizer: OptimizerConfig) -> TrainConfig:
    """What the fast recipes for Fashion-MNIST on a few CPU cores share; ``benchmarks/speedrun.py`` measures them."""
    return TrainConfig(
        epochs=epochs,
        batch_size=128,
        label_smoothing=0.1,
        test_flip=True,
        evaluate_every=1000,  # the last epoch alone
        augment=AugmentConfig(flip="alternate"),
        optimizer=optimizer,
        schedule=ScheduleConfig(sched="triangle"),
        execution=ExecutionConfig(precision="reduced", memory_format="channels_last"),  # too short to be measured first
        saving=SavingConfig(checkpoint_every="0"),
    )


_NESTEROV = OptimizerConfig(opt="sgd", lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
_ADAMW = OptimizerConfig(opt="adamw", lr=6e-3, weight_decay=0.05)

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
        Recipe("speedrun-90", _speedrun(1, _NESTEROV), "convscope_s"),
        Recipe("speedrun-92", _speedrun(4, _ADAMW), "convscope_m"),
        Recipe("speedrun-93", _speedrun(6, _ADAMW), "convscope_l"),
        Recipe(
            "speedrun-94",
            dataclasses.replace(
                _speedrun(20, dataclasses.replace(_ADAMW, lr=5e-3)),
                augment=AugmentConfig(flip="alternate", shift=1, erase=0.25),
            ),
            "convscope_xl",
        ),
        Recipe(
            "accurate",
            dataclasses.replace(
                _speedrun(28, dataclasses.replace(_ADAMW, lr=5e-3)),
                augment=AugmentConfig(flip="alternate", shift=1, erase=0.25),
                evaluate_every=1,
                saving=SavingConfig(),
            ),
            "convscope_xxl",
        ),
        Recipe(
            "finetune",
            TrainConfig(
                batch_size=32,
                label_smoothing=0.1,
                freeze_epochs=2,
                augment=AugmentConfig(flip="random", crop=0.5),
                optimizer=OptimizerConfig(lr=1e-3, weight_decay=0.05, layer_decay=0.75),
            ),
        ),
    )
}
"""``default``: AdamW, one cycle, normalised images; the best found for a small network in ten epochs.
``textbook``: plain SGD at a constant 0.1, batches of 128, values 0 to 1, as in "Dive into Deep Learning", chapter 7.
``speedrun-90``, ``-92``, ``-93``, ``-94``: Fashion-MNIST to about that accuracy as fast as two CPU cores can.
``accurate``: Fashion-MNIST as well as a network of 630,000 parameters learns it in an hour or two of a CPU core.
``finetune``: from weights trained on other images: the head alone at first, then all, early layers slowest."""


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
