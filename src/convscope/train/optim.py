"""Optimisers, with weight decay only where it belongs."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from convscope.train.config import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """An optimiser over all trainable parameters in two groups: those that decay and those that do not.

    Kernels and weight matrices (two axes or more) decay; biases and the scales and shifts of norms do not: shrinking
    them limits nothing that the weights before them could not undo, and costs accuracy.

    Args:
        model: Its parameters with ``requires_grad`` are optimised.
        config: Which optimiser, with which numbers.

    Raises:
        ValueError: The model has nothing to train.

    Source:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019 (AdamW).
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError(f"{type(model).__name__} has no trainable parameters")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.opt == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    return AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)
