"""How a network begins: with strides for photographs, or keeping the few pixels of small images."""

from __future__ import annotations

from typing import Literal, get_args

Stem = Literal["auto", "imagenet", "small"]

SMALL_UP_TO = 64
"""The largest side in pixels for which ``"auto"`` takes the small stem."""


def use_small_stem(stem: Stem, image_size: int, *, imagenet_from: int) -> bool:
    """Whether a network for such images begins with its small stem.

    Args:
        stem: What was asked for; ``"auto"`` decides by ``image_size``.
        image_size: Side of the images in pixels.
        imagenet_from: The smallest side that survives the network's ImageNet stem and all that follows.

    Raises:
        ValueError: An unknown ``stem``, or images that the ImageNet stem would shrink to nothing.

    Example:
        >>> use_small_stem("auto", 32, imagenet_from=8), use_small_stem("auto", 224, imagenet_from=8)
        (True, False)
    """
    if stem not in get_args(Stem):
        raise ValueError(f"stem must be one of {', '.join(map(repr, get_args(Stem)))}, got {stem!r}")
    if stem == "imagenet" and image_size < imagenet_from:
        raise ValueError(
            f"stem='imagenet' needs images of at least {imagenet_from}x{imagenet_from} pixels in this network, "
            f"got image_size={image_size}; use stem='small'"
        )
    return stem == "small" or (stem == "auto" and image_size < max(SMALL_UP_TO + 1, imagenet_from))
