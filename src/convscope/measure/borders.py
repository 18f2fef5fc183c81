"""How much less a network makes of the pixels at the border of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.measure.attribution import input_gradients
from convscope.measure.intervals import Mean


def path_counts(
    height: int, width: int, depth: int, *, kernel_size: int = 3, padded: bool = True
) -> tuple[tuple[int, ...], ...]:
    """Ways from each input pixel to any output of a stack of convolutions with stride 1, counted exactly.

    A pixel at the border is under fewer windows than one in the middle, and the layers multiply that. With all
    weights 1 these numbers are the gradient of the sum of all outputs.

    Args:
        height: ``H`` of the image in pixels.
        width: ``W`` of the image in pixels.
        depth: Layers.
        kernel_size: ``k`` of the square kernels, odd.
        padded: True keeps the size with ``k // 2`` zeros on each side; False pads nothing.

    Returns:
        ``H`` rows of ``W`` whole numbers, without limit.

    Raises:
        ValueError: A number below 1, an even kernel, or nothing left of the image.

    Example:
        >>> path_counts(3, 3, 1)
        ((4, 6, 4), (6, 9, 6), (4, 6, 4))
        >>> [path_counts(15, 15, depth)[0][0] for depth in (1, 2, 3)]  # the squares of 2, 5, 13
        [4, 25, 169]

    Source:
        The ways along one axis from an end are the sequence A005773 of the OEIS.
    """
    if min(height, width, depth, kernel_size) < 1 or kernel_size % 2 == 0:
        raise ValueError(
            "expected a height, width and depth of at least 1 and an odd kernel_size, "
            f"got {height}, {width}, {depth} and {kernel_size}"
        )
    if not padded and min(height, width) <= depth * (kernel_size - 1):
        raise ValueError(f"{depth} layers of {kernel_size}x{kernel_size} leave nothing of {height}x{width} pixels")
    rows, columns = (_along(length, depth, kernel_size, padded) for length in (height, width))
    return tuple(tuple(row * column for column in columns) for row in rows)


def _along(length: int, depth: int, kernel_size: int, padded: bool) -> list[int]:
    """The ways along one axis, from the last layer back to the first."""
    reach = kernel_size // 2
    ways = [1] * (length if padded else length - depth * (kernel_size - 1))
    for _ in range(depth):
        if not padded:  # a layer that pads nothing has an input longer than its output, with no way out at its ends
            ways = [0] * reach + ways + [0] * reach
        ways = [sum(ways[max(0, i - reach) : i + reach + 1]) for i in range(len(ways))]
    return ways


@dataclass(frozen=True, eq=False)
class BorderEffect:
    """How strongly the winning score hangs on each pixel.

    Args:
        map: ``(H, W)`` float32: mean over images of the absolute gradient of the winning score, summed over channels.
        rings: The same mean over all pixels at distance 0, 1, 2 ... from the border, relative to the mean over
            the whole image: 1 is an even share.
    """

    map: Tensor
    rings: tuple[Mean, ...]


def border_effect(model: nn.Module, inputs: Tensor, *, batch_size: int = 100) -> BorderEffect:
    """Measure by gradients what the border is worth to a network.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, and left as it was.
        inputs: ``(N, C, H, W)`` float, as the model sees them.
        batch_size: Images at a time.

    Returns:
        The map, and each ring's share with Student's 95 % interval over images. An image to which no score answers
        at all (every gradient is zero) counts as an even share.

    Raises:
        ValueError: No images, or scores that are no numbers.

    Example:
        >>> even = nn.Sequential(nn.Flatten(), nn.Linear(25, 2))
        >>> _ = nn.init.ones_(even[1].weight)
        >>> [ring.value for ring in border_effect(even, torch.rand(2, 1, 5, 5)).rings]
        [1.0, 1.0, 1.0]
    """
    strength = input_gradients(model, inputs, batch_size=batch_size).abs().sum(1)  # N,C,H,W -> N,H,W
    whole = strength.double().mean((1, 2))  # -> N
    rings = []
    for inside in _rings(*strength.shape[1:]):
        share = strength[:, inside].double().mean(1) / whole
        rings.append(Mean.of(torch.where(whole > 0, share, 1.0)))
    return BorderEffect(strength.mean(0), tuple(rings))


def ring_means(values: Tensor) -> tuple[float, ...]:
    """The mean at distance 0, 1, 2 ... from the border, relative to the mean over all of ``(H, W)``.

    Example:
        >>> ring_means(torch.tensor([[1.0, 1, 1], [1, 10, 1], [1, 1, 1]]))
        (0.5, 5.0)
    """
    values = values.double()
    return tuple(float(values[inside].mean() / values.mean()) for inside in _rings(*values.shape))


def _rings(height: int, width: int) -> list[Tensor]:
    """Masks ``(H, W)`` of the pixels at each distance from the border."""
    down, right = (torch.minimum(torch.arange(n), torch.arange(n).flip(0)) for n in (height, width))
    distance = torch.minimum(down[:, None], right[None, :])
    return [distance == ring for ring in range(int(distance.max()) + 1)]
