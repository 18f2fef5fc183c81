"""What a network makes of images that a person would still recognise: inverted, brighter, turned, partly covered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data import Preprocess
from convscope.measure.intervals import Mean, Share
from convscope.measure.undisturbed import batches, scores, undisturbed

Change = Callable[[Tensor], Tensor]

BRIGHTNESS = (-0.5, -0.25, 0.25, 0.5)
ANGLES = (-30.0, -15.0, 15.0, 30.0)


@dataclass(frozen=True)
class Response:
    """What one change does; see ``sensitivity``.

    Args:
        kind: ``"inverted"``, ``"brightness"`` or ``"rotation"``.
        amount: Added brightness, black to white being 1; degrees against the clock; 0 for ``"inverted"``.
        unchanged: Images whose class stays.
        drop: Probability that the class of the unchanged image loses, 0..1; negative where it gains.
        right: Images called what they are after the change; None without labels.
    """

    kind: str
    amount: float
    unchanged: Share
    drop: Mean
    right: Share | None

    @property
    def label(self) -> str:
        """A few words for tables and figures."""
        if self.kind == "inverted":
            return "black and white swapped"
        if self.kind == "brightness":
            return f"{100 * abs(self.amount):g} % {'brighter' if self.amount > 0 else 'darker'}"
        return f"turned {abs(self.amount):g}° {'left' if self.amount > 0 else 'right'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "amount": self.amount,
            "unchanged": self.unchanged.to_dict(),
            "drop": self.drop.to_dict(),
            "right": None if self.right is None else self.right.to_dict(),
        }


def invert(values: Tensor) -> Tensor:
    """Swap black and white: ``1 - values``."""
    return 1 - values


def brighten(values: Tensor, by: float) -> Tensor:
    """Add to every value and cut off what leaves 0..1.

    Example:
        >>> brighten(torch.tensor([0.2, 0.9]), 0.5).tolist()
        [0.699999988079071, 1.0]
    """
    return (values + by).clamp(0, 1)


def rotate(values: Tensor, degrees: float) -> Tensor:
    """Turn images about their middle, against the clock; bilinear, black where nothing was.

    Args:
        values: ``(N, C, H, W)`` in 0..1, 0 being black.
        degrees: Of the angle.

    Example:
        >>> corner = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
        >>> rotate(corner, 90).round(decimals=3).abs().tolist()
        [[[[0.0, 0.0], [1.0, 0.0]]]]
    """
    height, width = values.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Where each output pixel comes from, in coordinates that run from -1 to 1 along both axes.
    turn = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    matrix = torch.tensor(turn, dtype=values.dtype, device=values.device).expand(len(values), 2, 3)
    grid = F.affine_grid(matrix, list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def sensitivity(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    *,
    labels: Tensor | None = None,
    brightness: Sequence[float] = BRIGHTNESS,
    angles: Sequence[float] = ANGLES,
    batch_size: int = 500,
) -> tuple[Response, ...]:
    """Swap black and white, change the brightness, turn the images, and count whose class stays.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, in eval mode, and left as it was.
        images: ``(N, C, h, w)`` uint8.
        preprocess: What the model was trained with. Changes are made at the size that the network sees.
        labels: ``(N,)`` int64, the truth, for the accuracy after each change.
        brightness: What to add, black to white being 1.
        angles: Degrees against the clock.
        batch_size: Images at a time.

    Returns:
        One row for each change; shares with Wilson's interval, the mean drop with Student's.

    Raises:
        ValueError: No images, or labels that do not fit them.

    Example:
        >>> blind = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> _ = nn.init.zeros_(blind[1].weight)
        >>> images = torch.randint(0, 256, (8, 1, 4, 4), dtype=torch.uint8)
        >>> rows = sensitivity(blind, images, Preprocess((4, 4), (0.5,), (0.5,)))
        >>> len(rows), rows[0].label, str(rows[0].unchanged)
        (9, 'black and white swapped', '100.0 % (67.6 to 100.0)')
    """
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(f"expected one label for each of {len(images)} images, got shape {tuple(labels.shape)}")
    changes: list[tuple[str, float, Change]] = [("inverted", 0.0, invert)]
    changes += [("brightness", by, partial(brighten, by=by)) for by in brightness]
    changes += [("rotation", angle, partial(rotate, degrees=angle)) for angle in angles]
    same: list[list[Tensor]] = [[] for _ in changes]
    drop: list[list[Tensor]] = [[] for _ in changes]
    said: list[list[Tensor]] = [[] for _ in changes]
    with undisturbed(model) as device, torch.no_grad():
        for x in batches(images, preprocess, batch_size=batch_size, device=device):
            usual, values = scores(model, x).softmax(1), _values(x, preprocess)
            sure, called = usual.max(1)  # -> n, n
            for i, (_, _, change) in enumerate(changes):
                now = scores(model, _inputs(change(values), preprocess)).softmax(1)
                said[i].append(now.argmax(1).cpu())
                same[i].append((now.argmax(1) == called).cpu())
                drop[i].append((sure - now.gather(1, called[:, None]).squeeze(1)).cpu())
    return tuple(
        Response(
            kind,
            float(amount),
            Share(int(torch.cat(same[i]).sum()), len(images)),
            Mean.of(torch.cat(drop[i])),
            None if labels is None else Share(int((torch.cat(said[i]) == labels).sum()), len(images)),
        )
        for i, (kind, amount, _) in enumerate(changes)
    )


def _statistics(preprocess: Preprocess, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, ``(C, 1, 1)`` each."""
    mean, std = (torch.tensor(v, dtype=like.dtype, device=like.device) for v in (preprocess.mean, preprocess.std))
    return mean.view(-1, 1, 1), std.view(-1, 1, 1)


def _values(inputs: Tensor, preprocess: Preprocess) -> Tensor:
    """What the network sees, back in 0..1."""
    mean, std = _statistics(preprocess, inputs)
    return inputs * std + mean


def _inputs(values: Tensor, preprocess: Preprocess) -> Tensor:
    """Values in 0..1 as the network sees them."""
    mean, std = _statistics(preprocess, values)
    return (values - mean) / std
