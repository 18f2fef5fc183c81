"""Which places of an image its class hangs on: cover them one after the other and see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.data import Preprocess
from convscope.measure.undisturbed import batches, scores, undisturbed


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What covering each place takes from the class; see ``occlusion``.

    Args:
        drop: ``(N, H, W)`` float32: probability that the class loses, averaged over all squares that cover the pixel.
        targets: ``(N,)`` int64, the classes that were watched.
        sure: ``(N,)`` float32, their probability with nothing covered.
        side: Of the covering square, in pixels.
    """

    drop: Tensor
    targets: Tensor
    sure: Tensor
    side: int


def occlusion(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    *,
    side: int | None = None,
    stride: int | None = None,
    fill: float | None = None,
    batch_size: int = 500,
) -> Occlusion:
    """Slide a square over each image and note how much probability its class loses.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, in eval mode, and left as it was.
        images: ``(N, C, h, w)`` uint8.
        preprocess: What the model was trained with. Squares cover pixels of the size that the network sees.
        side: Of the square in pixels; None takes a fifth of the image.
        stride: Pixels from one place to the next; None takes half of ``side``. The last place ends with the image.
        fill: Value of the square, 0 black to 1 white; None takes the training images' mean of each channel.
        batch_size: Images at a time.

    Raises:
        ValueError: No images, or a number out of range.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
        >>> images = torch.randint(0, 256, (3, 1, 6, 6), dtype=torch.uint8)
        >>> occlusion(net, images, Preprocess((6, 6), (0.5,), (0.5,)), side=2).drop.shape
        torch.Size([3, 6, 6])

    Source:
        Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
    """
    height, width = preprocess.image_size
    side = max(1, round(min(height, width) / 5)) if side is None else side
    stride = max(1, side // 2) if stride is None else stride
    if not 1 <= side <= min(height, width) or not 1 <= stride <= side:
        raise ValueError(
            f"expected a side of 1 to {min(height, width)} pixels and a stride of 1 to the side, "
            f"got {side} and {stride}"
        )
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    cover = (torch.zeros_like(mean) if fill is None else (fill - mean) / std).view(-1, 1, 1)
    places = [(top, left) for top in _places(height, side, stride) for left in _places(width, side, stride)]
    drops, targets, sure = [], [], []
    with undisturbed(model) as device, torch.no_grad():
        for x in batches(images, preprocess, batch_size=batch_size, device=device):
            before, called = scores(model, x).softmax(1).max(1)  # -> n, n
            total, times = x.new_zeros(len(x), height, width), x.new_zeros(height, width)
            for top, left in places:
                covered = x.clone()
                window = slice(top, top + side), slice(left, left + side)
                covered[:, :, window[0], window[1]] = cover.to(x)
                now = scores(model, covered).softmax(1).gather(1, called[:, None]).squeeze(1)
                total[:, window[0], window[1]] += (before - now)[:, None, None]
                times[window] += 1
            drops.append((total / times).cpu())
            targets.append(called.cpu())
            sure.append(before.cpu())
    return Occlusion(torch.cat(drops), torch.cat(targets), torch.cat(sure), side)


def _places(length: int, side: int, stride: int) -> list[int]:
    """Where squares begin along an axis, so that every pixel is covered."""
    last = length - side
    return sorted({*range(0, last + 1, stride), last})
