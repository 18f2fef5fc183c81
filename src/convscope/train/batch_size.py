"""Whether batches of a size can be learned from, the last one of an epoch included."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.train.distributed import World


def check_batches(size: int, images: int, world: World) -> None:
    """Make sure that every process has an image in every batch.

    Args:
        size: Images of a batch in one process.
        images: In an epoch.
        world: The processes that share a batch.

    Raises:
        ValueError: There are too few images, or too few in the last batch.
    """
    if size * world.size > images:
        each = f" x {world.size} processes" if world.size > 1 else ""
        raise ValueError(
            f"--batch-size {size}{each} is more than the {images:,} training images; "
            f"expected 1 to {images // world.size}"
        )
    if 0 < images % (size * world.size) < world.size:
        raise ValueError(
            f"{_leaves(size, images, world)}, and each process needs an image{_instead(size, images, world, least=1)}"
        )


def check_norms(size: int, images: int, world: World, *, model: nn.Module, probe: Tensor) -> None:
    """Make sure that batch norm has something to normalise in every process, where a batch may have a single image.

    Args:
        size: Images of a batch in one process.
        images: In an epoch.
        world: The processes that share a batch.
        model: In eval mode.
        probe: A few images as it sees them, ``(N, C, H, W)``.

    Raises:
        ValueError: A batch norm would see one number of each channel.
    """
    alone = size == 1 or 0 < images % (size * world.size) < 2 * world.size
    if not alone or not _some_norm_needs_two(model, probe):
        return
    what = f"--batch-size {size} is too small" if size == 1 else _leaves(size, images, world)
    raise ValueError(
        f"{what}, and batch norm cannot normalise one image alone where it has one pixel"
        f"{_instead(size, images, world, least=2)}"
    )


def _some_norm_needs_two(model: nn.Module, probe: Tensor) -> bool:
    """Whether a batch norm has one number of each image and channel, or cannot be seen in a forward pass."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return False
    pixels: dict[nn.Module, int] = {}

    def look(norm: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs = args[0] if args else named["input"]  # N,C or N,C,L or N,C,H,W
        pixels[norm] = min(pixels.get(norm, inputs.numel()), inputs.shape[2:].numel())

    hooks = [norm.register_forward_pre_hook(look, with_kwargs=True) for norm in norms]
    try:
        with torch.no_grad():
            model(probe)
    finally:
        for hook in hooks:
            hook.remove()
    return any(pixels.get(norm, 1) == 1 for norm in norms)


def _leaves(size: int, images: int, world: World) -> str:
    rest = images % (size * world.size)
    return f"--batch-size {size} leaves {rest} image{'s' if rest > 1 else ''} in the last batch of an epoch"


def _instead(size: int, images: int, world: World, *, least: int) -> str:
    """Name the next smaller size with which every process always has that many images, or else the next larger one."""

    def suits(other: int) -> bool:
        rest = images % (other * world.size)
        return not rest or rest >= least * world.size

    others = chain(range(size - 1, least - 1, -1), range(max(size + 1, least), images // world.size + 1))
    other = next(filter(suits, others), None)
    return "" if other is None else f"; try --batch-size {other}"
