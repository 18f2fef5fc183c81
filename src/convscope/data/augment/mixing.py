"""Mixup and cutmix: an image made of two, and a label that says how much of each."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.data.augment.config import AugmentConfig


@dataclass(frozen=True)
class Mix:
    """How the images of one batch are mixed.

    Args:
        own: What an image keeps of itself and its label, 0 to 1.
        box: Top, bottom, left and right of what comes from the other image; None blends all pixels.
    """

    own: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(config: AugmentConfig, key: int, *, size: tuple[int, int]) -> Mix:
    """Mixup or cutmix for one batch; where both are on, either with the same probability.

    Args:
        config: Mixup, cutmix or both are on.
        key: Of the seed, the epoch and the batch.
        size: ``(H, W)``.

    Source:
        Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018;
        Yun et al., "CutMix", 2019, where too a box is cut off at the border and counts by what is left of it.
    """
    draw = random.Random(key)  # on the host: a draw on the device would have to be waited for to cut a box
    alphas = [("mixup", config.mixup), ("cutmix", config.cutmix)]
    kind, alpha = draw.choice([(kind, alpha) for kind, alpha in alphas if alpha])
    own = draw.betavariate(alpha, alpha)
    if kind == "mixup":
        return Mix(own)
    box = []
    for side in size:
        length, centre = int(side * math.sqrt(1 - own)), draw.randrange(side)
        box += [max(0, centre - length // 2), min(side, centre - length // 2 + length)]
    top, bottom, left, right = box
    return Mix(1 - (bottom - top) * (right - left) / (size[0] * size[1]), (top, bottom, left, right))


def blend(x: Tensor, mix: Mix) -> Tensor:
    """Mix each image with the one before it in the batch, the first with the last.

    Batches are shuffled, so the one before is one at random, and never the image itself unless it is alone.

    Args:
        x: ``(N, C, H, W)`` floats; may be changed.
        mix: How.

    Returns:
        ``(N, C, H, W)``.
    """
    other = x.roll(1, 0)
    if mix.box is None:
        return other.lerp_(x, mix.own)
    top, bottom, left, right = mix.box
    x[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return x


def probabilities(labels: Tensor, classes: int, own: float) -> Tensor:
    """Labels ``(N,)`` int64 of mixed images to ``(N, classes)`` float32, each row with the sum 1."""
    mine, other = (
        torch.zeros(len(labels), classes, device=labels.device).scatter_(1, label[:, None], share)
        for label, share in ((labels, own), (labels.roll(1, 0), 1 - own))
    )
    return mine.add_(other)
