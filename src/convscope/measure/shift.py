"""What moving an image by a few pixels does to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convscope.data import Preprocess
from convscope.measure.features import answers, find_layers
from convscope.measure.intervals import Mean, Share
from convscope.measure.undisturbed import batches, check_images, scores, undisturbed

Mode = Literal["circular", "zero"]
_MODES = ("circular", "zero")


@dataclass(frozen=True, eq=False)
class ShiftConsistency:
    """How often the class of an image stays when the image moves; see ``shift_consistency``.

    Args:
        unchanged: Images whose class stays through every shift.
        agreement: ``(2k+1, 2k+1)`` float64: the share of images whose class stays, for each shift. Rows are pixels
            down, columns pixels to the right, both from ``-k`` to ``k``, in steps of ``step``.
        max_shift: ``k`` in pixels of the network's input.
        mode: What comes in at the border.
        step: Pixels from one shift that was tried to the next; above 1 the table has fewer rows and columns.
    """

    unchanged: Share
    agreement: Tensor
    max_shift: int
    mode: str
    step: int = 1

    @property
    def mean_agreement(self) -> float:
        """Share of images whose class stays, averaged over all shifts but none."""
        count = self.agreement.numel()
        return float((self.agreement.sum() - 1) / (count - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "unchanged": self.unchanged.to_dict(),
            "mean_agreement": self.mean_agreement,
            "max_shift": self.max_shift,
            "mode": self.mode,
            "step": self.step,
            "agreement": self.agreement.tolist(),
        }


def shifted(inputs: Tensor, down: int, right: int, *, fill: Tensor | None = None) -> Tensor:
    """Move images; what leaves on one side comes in on the other, or ``fill`` does.

    Args:
        inputs: ``(N, C, H, W)``.
        down: Pixels; negative moves up. At most ``H``.
        right: Pixels; negative moves left. At most ``W``.
        fill: ``(C,)`` values for the pixels that come in; None takes those that left.

    Returns:
        ``(N, C, H, W)``.

    Example:
        >>> strip = torch.tensor([1.0, 2, 3]).view(1, 1, 1, 3)
        >>> shifted(strip, 0, 1).flatten().tolist(), shifted(strip, 0, 1, fill=torch.zeros(1)).flatten().tolist()
        ([3.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    """
    moved = inputs.roll((down, right), (2, 3))
    if fill is not None:
        value = fill.to(inputs).view(-1, 1, 1)
        if down:
            moved[:, :, slice(0, down) if down > 0 else slice(down, None)] = value
        if right:
            moved[:, :, :, slice(0, right) if right > 0 else slice(right, None)] = value
    return moved


def shift_consistency(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    max_shift: int = 3,
    mode: Mode = "circular",
    *,
    step: int = 1,
    batch_size: int = 500,
) -> ShiftConsistency:
    """Move each image by every shift up to ``max_shift`` pixels and see whether its class stays.

    Images are moved after preprocessing, so a pixel is one of the network's input. An image's class is what the network
    says of it in place, right or wrong.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, and left as it was.
        images: ``(N, C, h, w)`` uint8.
        preprocess: What the model was trained with.
        max_shift: ``k``: all ``(2k+1)**2`` shifts of at most so many pixels down and to the right are tried.
        mode: ``"circular"`` lets in what leaves on the other side; ``"zero"`` lets in black.
        step: Pixels from one shift to the next, a divisor of ``max_shift``: fewer passes for a network that costs much.
        batch_size: Images at a time.

    Returns:
        Shares of images, with Wilson's interval.

    Raises:
        ValueError: No images, an unknown ``mode``, a shift that is not in 1 to the image's side minus 1, or a step
            that does not divide it.

    Example:
        >>> blind = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))  # sees only the mean
        >>> images = torch.randint(0, 256, (8, 1, 6, 6), dtype=torch.uint8)
        >>> shift_consistency(blind, images, Preprocess((6, 6), (0.5,), (0.5,)), 2).unchanged.value
        1.0

    Source:
        Zhang, "Making convolutional networks shift-invariant again", 2019;
        Azulay and Weiss, "Why do deep convolutional networks generalize so poorly to small image transformations?",
        2019.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
    if not 1 <= max_shift < min(preprocess.image_size):
        raise ValueError(
            f"max_shift must be 1 to {min(preprocess.image_size) - 1} pixels for images of "
            f"{preprocess.image_size[0]}x{preprocess.image_size[1]}, got {max_shift}"
        )
    if step < 1 or max_shift % step:
        raise ValueError(f"step must divide max_shift, which is {max_shift}; got {step}")
    black = torch.tensor([-mean / std for mean, std in zip(preprocess.mean, preprocess.std, strict=True)])
    reach = range(-max_shift, max_shift + 1, step)
    agreeing = torch.zeros(len(reach), len(reach), dtype=torch.int64)
    unchanged = 0
    with undisturbed(model) as device, torch.no_grad():
        for x in batches(images, preprocess, batch_size=batch_size, device=device):
            said = scores(model, x).argmax(1)  # -> n
            always = torch.ones_like(said, dtype=torch.bool)
            for row, down in enumerate(reach):
                for column, right in enumerate(reach):
                    if not down and not right:  # said already
                        agreeing[row, column] += len(x)
                        continue
                    moved = shifted(x, down, right, fill=black if mode == "zero" else None)
                    same = scores(model, moved).argmax(1) == said
                    agreeing[row, column] += int(same.sum())
                    always &= same
            unchanged += int(always.sum())
    return ShiftConsistency(Share(unchanged, len(images)), agreeing.double() / len(images), max_shift, mode, step)


@dataclass(frozen=True)
class LayerEquivariance:
    """How far a layer's output is from moving along with the image.

    Args:
        layer: Its path in the model.
        error: 0 when it moves along exactly; relative to the size of the output, so 2 at most.
    """

    layer: str
    error: Mean


def equivariance_error(
    model: nn.Module,
    inputs: Tensor,
    layers: Sequence[str] | None = None,
    *,
    max_shift: int = 3,
    batch_size: int = 100,
) -> tuple[LayerEquivariance, ...]:
    """Whether feature maps move when the image moves, layer by layer.

    The image is moved in a circle by 1 to ``max_shift`` pixels, along each axis. The layer's answer is compared with
    its answer to the image in place, moved by as many positions as fit best, from none to the shift: a layer that
    halves the image is to move half as far. The error of an image is the length of what is left over, divided by the
    length of the longer of the two answers, averaged over all shifts; a layer that is silent both times moved along.
    Layers without positions are to stay as they are.

    Args:
        model: Used where it is, and left as it was.
        inputs: ``(N, C, H, W)`` float, as the model sees them.
        layers: Paths of modules; None takes every leaf.
        max_shift: In pixels of the input.
        batch_size: Images at a time.

    Returns:
        One row for each layer, in the order in which they run, with the mean over images and Student's interval.

    Raises:
        ValueError: No images, an unknown layer, ``max_shift`` is not in 1 to the image's side minus 1, or a layer
            gives NaN or infinity.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.MaxPool2d(2))
        >>> conv, pool = equivariance_error(net, torch.rand(4, 1, 8, 8))
        >>> conv.error.value < 1e-6 < pool.error.value
        True
    """
    check_images(inputs, batch_size)
    if not 1 <= max_shift < min(inputs.shape[2:]):
        raise ValueError(f"max_shift must be 1 to {min(inputs.shape[2:]) - 1} pixels, got {max_shift}")
    wanted, strict = find_layers(model, layers), layers is not None
    errors: dict[str, list[Tensor]] = {}
    moves = [(axis, pixels) for axis in (2, 3) for pixels in range(1, max_shift + 1)]
    with undisturbed(model) as device, torch.no_grad():
        for part in torch.split(inputs, batch_size):
            x = part.to(device)
            still = dict(answers(model, x, wanted, strict=strict))
            sums = {name: torch.zeros(len(x), dtype=torch.float64) for name in still}
            for axis, pixels in moves:
                moved = dict(answers(model, x.roll(pixels, axis), wanted, strict=strict))
                if list(moved) != list(still):
                    raise ValueError("which layers run depends on where the image is, so they cannot be compared")
                for name, after in moved.items():
                    sums[name] += _left_over(still[name], after, axis, pixels)
            for name, total in sums.items():
                if not bool(total.isfinite().all()):
                    raise ValueError(f"layer {name!r} gives NaN or infinity, so nothing can be said of how it moves")
                errors.setdefault(name, []).append(total / len(moves))
    return tuple(LayerEquivariance(name, Mean.of(torch.cat(parts))) for name, parts in errors.items())


def _length(values: Tensor) -> Tensor:
    """``(N,)`` float64, added up in double precision without a copy of everything in it."""
    length: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1, dtype=torch.float64)
    return length


def _left_over(before: Tensor, after: Tensor, axis: int, pixels: int) -> Tensor:
    """``(N,)`` float64: the relative distance at the best alignment."""
    size = torch.maximum(_length(before), _length(after))
    candidates = range(min(pixels, before.shape[axis] - 1) + 1) if before.ndim == 4 else range(1)
    distances = [_length(after - (before.roll(step, axis) if step else before)) for step in candidates]
    nearest: Tensor = torch.stack(distances).amin(0)
    return torch.where(size == 0, 0.0, nearest / size)
