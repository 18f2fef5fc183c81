"""One table of every network that has a name here."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from convscope.naming import natural_key, unknown_name

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a network before it is built.

    Args:
        name: What to type.
        build: The function that makes it.
        description: One line.
        year: Of the paper.
        paper: Where it was published.
        in_channels: ``C`` of the images it was published with.
        num_classes: Classes it was published with.
        image_size: Side in pixels of the images it was published with.
        min_image_size: The smallest side that it accepts.
        parameters: Learned numbers at the published sizes; a test holds it to the truth.
    """

    name: str
    build: Builder
    description: str
    year: int
    paper: str
    in_channels: int
    num_classes: int
    image_size: int
    min_image_size: int
    parameters: int


@dataclass(frozen=True)
class ModelSpec:
    """How a network was made, so that a run can make it again: ``create(spec.name, **spec.arguments)``."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


_MODELS: dict[str, ModelInfo] = {}


def register(
    *,
    description: str,
    year: int,
    paper: str,
    image_size: int,
    min_image_size: int,
    parameters: int,
    in_channels: int = 3,
    num_classes: int = 1000,
) -> Callable[[Builder], Builder]:
    """Give a builder function a place in the table, under its own name.

    Raises:
        ValueError: The name is taken.
    """

    def add(build: Builder) -> Builder:
        name = build.__name__
        if name in _MODELS:
            raise ValueError(
                f"model {name!r} is registered twice: by {_MODELS[name].build.__module__} and {build.__module__}"
            )
        _MODELS[name] = ModelInfo(
            name, build, description, year, paper, in_channels, num_classes, image_size, min_image_size, parameters
        )
        return build

    return add


def names(pattern: str = "*") -> list[str]:
    """Every registered name that fits a shell pattern, in natural order (``vgg9`` before ``vgg11``).

    Example:
        >>> names("le*")
        ['lenet']
    """
    return sorted(fnmatch.filter(_MODELS, pattern), key=natural_key)


def info(name: str) -> ModelInfo:
    """What is known of one network.

    Raises:
        ValueError: No such name; the nearest ones are suggested.
    """
    if name not in _MODELS:
        raise unknown_name("model", name, names(), hint="convscope models")
    return _MODELS[name]


def create(
    name: str,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network, initialised and ready; every shape in it is known.

    Args:
        name: One of ``names()``.
        in_channels: ``C`` of the images, 1 for grey, 3 for colour. Default: as published.
        num_classes: Scores to give for each image. Default: as published.
        image_size: Side of the images in pixels. Default: as published.
        options: What this network offers beyond these.

    Returns:
        A module that maps ``(N, in_channels, image_size, image_size)`` to ``(N, num_classes)``. Its ``spec``
        attribute tells how to make it again.

    Raises:
        ValueError: Unknown name, a size below the network's smallest, or a number that is not positive.

    Example:
        >>> import torch
        >>> net = create("lenet", num_classes=3, image_size=32)
        >>> net(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 3])
    """
    known = info(name)
    arguments: dict[str, Any] = {
        "in_channels": known.in_channels if in_channels is None else in_channels,
        "num_classes": known.num_classes if num_classes is None else num_classes,
        "image_size": known.image_size if image_size is None else image_size,
        **options,
    }
    for argument in ("in_channels", "num_classes"):
        if arguments[argument] < 1:
            raise ValueError(f"{argument} must be at least 1, got {arguments[argument]}")
    if arguments["image_size"] < known.min_image_size:
        raise ValueError(
            f"{name} needs images of at least {known.min_image_size}x{known.min_image_size} pixels, "
            f"got image_size={arguments['image_size']}; enlarge them with --image-size {known.image_size}"
        )
    model = known.build(**arguments)
    setattr(model, "spec", ModelSpec(name, arguments))  # noqa: B010 - a plain value, which nn.Module's types do not foresee
    return model
