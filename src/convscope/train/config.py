"""Every knob of training, once: its name, its unit and its default."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from convscope.data.augment import AugmentConfig

UNITS = {"s": 1, "m": 60, "h": 3600}


def _at_least(name: str, value: float, least: float, *, above: bool = False) -> None:
    """Refuse a number that is too small, or that is no number at all."""
    if not math.isfinite(value) or value < least or (above and value == least):
        flag = name.replace("_", "-")
        raise ValueError(f"--{flag} must be {'above' if above else 'at least'} {least:g}, got {value}")


def _share(name: str, value: float) -> None:
    """Refuse what is no share below the whole."""
    if not 0 <= value < 1:
        flag = name.replace("_", "-")
        raise ValueError(f"--{flag} must be in 0 <= {name} < 1, got {value}")


def seconds_of(text: str) -> float:
    """A duration as a person types it: ``60s``, ``5m``, ``1h``, or plain seconds.

    Raises:
        ValueError: It is no duration.

    Example:
        >>> seconds_of("5m")
        300.0
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"expected a duration such as 60s, 5m or 1h, got {text!r}")
    return seconds


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
    nesterov: bool = False
    """Look ahead along the momentum (Nesterov); for sgd."""
    clip_grad: float = 0.0
    """Largest norm of the whole gradient; 0 lets every gradient through."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one step: a larger batch in the memory of a small one."""
    norm_bias_lr: float = 1.0
    """Factor on the learning rate of the shifts of norms."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each layer to the one before it, for finetuning; 1 treats all alike."""
    ema: float = 0.0
    """Share that an exponential moving average of the weights keeps at each step; 0 uses the weights themselves."""

    def __post_init__(self) -> None:
        _at_least("lr", self.lr, 0, above=True)
        _at_least("weight_decay", self.weight_decay, 0)
        _at_least("clip_grad", self.clip_grad, 0)
        _at_least("accumulate", self.accumulate, 1)
        _at_least("norm_bias_lr", self.norm_bias_lr, 0)
        _share("momentum", self.momentum)
        _share("ema", self.ema)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"--layer-decay must be in 0 < factor <= 1, got {self.layer_decay}")
        if self.nesterov and (self.opt != "sgd" or not self.momentum):
            raise ValueError("--nesterov looks ahead along a momentum: it goes with --opt sgd and a --momentum above 0")


RISE = 0.25


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves, step by step."""

    sched: Literal["constant", "cosine", "one-cycle", "triangle"] = "one-cycle"
    """Shape: constant; half a cosine down to 0; up and along a cosine down to 0; up and straight down to 0."""
    rise: float = RISE
    """Share of a one-cycle or triangle run in which the rate rises."""
    warmup_epochs: float = 0.0
    """Epochs of linear rise before a constant or cosine schedule; one-cycle has its own."""

    def __post_init__(self) -> None:
        _at_least("warmup_epochs", self.warmup_epochs, 0)
        _share("rise", self.rise)
        if self.sched in ("one-cycle", "triangle") and self.warmup_epochs:
            raise ValueError(f"--warmup-epochs goes with --sched constant or cosine; {self.sched} rises by itself")
        if self.sched in ("constant", "cosine") and self.rise != RISE:
            raise ValueError(f"--rise goes with --sched one-cycle or triangle; {self.sched} takes --warmup-epochs")


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """Where and how the arithmetic runs."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, mps, xpu; auto takes an accelerator when there is one."""
    threads: int = 0
    """CPU threads; 0 chooses by measuring."""
    precision: Literal["auto", "reduced", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; weights stay float32. Auto takes the fastest that agrees with float32 on a batch; reduced,
    unmeasured, takes bfloat16 or float16 where the device computes it natively, and float32 elsewhere."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Order of the axes of images and kernels in memory; auto takes the faster."""
    compile: bool = False
    """Let torch.compile make the network's own code; worth it for long runs."""
    deterministic: bool = False
    """Measure nothing and use only operations that always give the same bits, even where they are slower."""
    sync_bn: bool = False
    """Let batch norm see the whole batch where several processes share it."""
    log_interval: int = 50
    """Steps between two looks at the running loss; on an accelerator each look waits for it."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 0)
        _at_least("log_interval", self.log_interval, 1)


@dataclass(frozen=True, kw_only=True)
class SavingConfig:
    """Which weights are kept."""

    keep: str = "last"
    """Weights kept: last; best (on the validation images); or all, or a number: of so many epochs beside the last."""
    checkpoint_every: str = "60s"
    """Time between two checkpoints within an epoch: 60s, 5m, 1h; 0 saves after each epoch only."""
    patience: int = 0
    """Stop after this many epochs without a better one on the validation images; 0 never stops early."""

    def __post_init__(self) -> None:
        _at_least("patience", self.patience, 0)
        if self.keep not in ("last", "best", "all") and not (self.keep.isdecimal() and int(self.keep)):
            raise ValueError(f"--keep must be last, best, all or a number of epochs, got {self.keep!r}")
        try:
            seconds_of(self.checkpoint_every)
        except ValueError as error:
            raise ValueError(f"--checkpoint-every: {error}") from None

    @property
    def epochs_kept(self) -> int | None:
        """How many epochs' weights lie beside the last ones; None is all of them."""
        return None if self.keep == "all" else int(self.keep) if self.keep.isdecimal() else 0


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole training run, apart from the network and the images.

    Raises:
        ValueError: A number out of range, or choosing by a validation split that does not exist.

    Example:
        >>> TrainConfig(epochs=3, optimizer=OptimizerConfig(opt="sgd", lr=0.1)).optimizer.lr
        0.1
    """

    epochs: float = 10
    """Passes over the training images; 1.5 ends in the middle of the second."""
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
    class_weights: Literal["none", "balanced"] = "none"
    """Weight of each class in the loss: all alike, or in inverse proportion to its number of images."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Images of an epoch: each once in a new order, or drawn so that every class is as frequent."""
    freeze_epochs: int = 0
    """Epochs in which only the head learns, for finetuning."""
    test_flip: bool = False
    """Average the scores of an image and its mirror image wherever the network is evaluated or predicts."""
    evaluate_every: int = 1
    """Epochs between two measurements on the held-out images; the last epoch is always measured."""
    val_fraction: float = 0.0
    """Share of the training images held out for validation; at 0 the curve is on the test images."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    saving: SavingConfig = field(default_factory=SavingConfig)

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 0, above=True)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("evaluate_every", self.evaluate_every, 1)
        _at_least("seed", self.seed, 0)
        if self.seed >= 2**63:
            raise ValueError(f"--seed must be below 2^63, got {self.seed}")
        if self.image_size is not None:
            _at_least("image_size", self.image_size, 1)
        _share("label_smoothing", self.label_smoothing)
        _share("val_fraction", self.val_fraction)
        if not 0 <= self.freeze_epochs < self.epochs:
            raise ValueError(
                f"--freeze-epochs must be in 0 <= epochs < {self.epochs}, the whole run, got {self.freeze_epochs}"
            )
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

    @property
    def epochs_begun(self) -> int:
        """How many epochs there are, the last one perhaps cut short."""
        return math.ceil(self.epochs)

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
            "augment": AugmentConfig,
            "optimizer": OptimizerConfig,
            "schedule": ScheduleConfig,
            "execution": ExecutionConfig,
            "saving": SavingConfig,
        }
        return cls(**{name: groups[name](**value) if name in groups else value for name, value in values.items()})
