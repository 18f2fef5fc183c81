"""Every knob of training, once: its name, its unit and its default."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


def _at_least(name: str, value: float, least: float, *, above: bool = False) -> None:
    """Refuse a number that is too small, or that is no number at all."""
    if not math.isfinite(value) or value < least or (above and value == least):
        flag = name.replace("_", "-")
        raise ValueError(f"--{flag} must be {'above' if above else 'at least'} {least:g}, got {value}")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes a step."""

    opt: Literal["sgd", "adamw"] = "adamw"
    """Optimiser."""
    lr: float = 0.01
    """Peak learning rate."""
    momentum: float = 0.9
    """Share of the last step kept in the next; AdamW uses it as its first beta."""
    weight_decay: float = 0.01
    """Decay of weight matrices and kernels; biases and norms never decay."""
    clip_grad: float = 0.0
    """Largest norm of the whole gradient; 0 lets every gradient through."""

    def __post_init__(self) -> None:
        _at_least("lr", self.lr, 0, above=True)
        _at_least("weight_decay", self.weight_decay, 0)
        _at_least("clip_grad", self.clip_grad, 0)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"--momentum must be in 0 <= momentum < 1, got {self.momentum}")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves, step by step."""

    sched: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    """Shape: constant; half a cosine down to 0; or up for a quarter of the run and down to 0."""
    warmup_epochs: float = 0.0
    """Epochs of linear rise before a constant or cosine schedule; one-cycle has its own."""

    def __post_init__(self) -> None:
        _at_least("warmup_epochs", self.warmup_epochs, 0)
        if self.sched == "one-cycle" and self.warmup_epochs:
            raise ValueError("--warmup-epochs goes with --sched constant or cosine; one-cycle rises by itself")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how the arithmetic runs."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, mps, xpu; auto takes an accelerator when there is one."""
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's choice."""
    log_interval: int = 50
    """Steps between two looks at the running loss; on an accelerator each look waits for it."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 0)
        _at_least("log_interval", self.log_interval, 1)


@dataclass(frozen=True, kw_only=True)
class SavingConfig:
    """Which weights are kept."""

    keep: Literal["last", "best"] = "last"
    """Weights in model.safetensors: of the last epoch, or of the best one on the validation images."""
    patience: int = 0
    """Stop after this many epochs without a better one on the validation images; 0 never stops early."""

    def __post_init__(self) -> None:
        _at_least("patience", self.patience, 0)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole training run, apart from the network and the images.

    Raises:
        ValueError: A number out of range, or choosing by a validation split that does not exist.

    Example:
        >>> TrainConfig(epochs=3, optimizer=OptimizerConfig(opt="sgd", lr=0.1)).optimizer.lr
        0.1
    """

    epochs: int = 10
    """Passes over the training images."""
    batch_size: int = 64
    """Images in a step."""
    seed: int = 0
    """Decides initial weights, the order of images and dropout."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes, 0 to below 1."""
    image_size: int | None = None
    """Side in pixels of the square images that the network sees, resized batch by batch; none keeps the stored size."""
    normalize: bool = True
    """Subtract the training images' mean and divide by their deviation; otherwise values are 0 to 1."""
    val_fraction: float = 0.0
    """Share of the training images held out for validation; at 0 the curve is on the test images."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    saving: SavingConfig = field(default_factory=SavingConfig)

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 1)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise ValueError(f"--seed must be below 2^63, got {self.seed}")
        if self.image_size is not None:
            _at_least("image_size", self.image_size, 1)
        for name in ("label_smoothing", "val_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be in 0 <= share < 1, got {getattr(self, name)}")
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"--warmup-epochs must be below the {self.epochs} epochs of the run, got {self.schedule.warmup_epochs}"
            )
        if not self.val_fraction and (self.saving.keep == "best" or self.saving.patience):
            asked = "--keep best" if self.saving.keep == "best" else "--patience"
            raise ValueError(
                f"{asked} chooses by a validation split, and there is none: choosing by the test images would flatter "
                "the result; add --val-fraction 0.1"
            )

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, for ``config.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of ``to_dict``.

        Raises:
            TypeError: A name that this version does not know.
        """
        groups = {
            "optimizer": OptimizerConfig,
            "schedule": ScheduleConfig,
            "execution": ExecutionConfig,
            "saving": SavingConfig,
        }
        return cls(**{name: groups[name](**value) if name in groups else value for name, value in values.items()})
