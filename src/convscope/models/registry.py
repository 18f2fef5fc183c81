"""One table of every network that has a name here."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from convscope.naming import natural_key, unknown_name
from convscope.ops._arguments import flag

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class Accuracy:
    """A published result of a network.

    Args:
        top1: Per cent of the test images whose first guess is right.
        dataset: The test images.
        source: Who published it, and under which conditions.
    """

    top1: float
    dataset: str
    source: str


def torchvision_v1(top1: float | None) -> Accuracy | None:
    """ImageNet accuracy of torchvision's first weights, as its ``Weights.meta`` gives it; ``None`` stays ``None``."""
    return None if top1 is None else Accuracy(top1, "ImageNet-1K", "torchvision IMAGENET1K_V1, single crop, 224 px")


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
        macs: Multiplications with addition for one image of the published size, of convolutions and dense layers
            and nothing else; a test holds it to the truth.
        accuracy: The published accuracy where there is one to cite.
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
    macs: int
    accuracy: Accuracy | None = None

    def accepts(self, height: int, width: int) -> bool:
        """Whether images of this size can be shown as they are: square, and not too small."""
        return height == width >= self.min_image_size

    @property
    def options(self) -> tuple[str, ...]:
        """What ``create`` takes for this network beyond the shapes, in order of the alphabet."""
        return tuple(
            sorted(set(inspect.signature(self.build).parameters) - {"in_channels", "num_classes", "image_size"})
        )


@dataclass(frozen=True)
class ModelSpec:
    """How a network was made, so that a run can make it again: ``create(spec.name, **spec.arguments)``.

    Where it lives and in which dtype is no part of it: the same network can be made again elsewhere.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


_MODELS: dict[str, ModelInfo] = {}


def register(
    name: str | None = None,
    *,
    description: str,
    year: int,
    paper: str,
    image_size: int,
    min_image_size: int,
    parameters: int,
    macs: int,
    accuracy: Accuracy | None = None,
    in_channels: int = 3,
    num_classes: int = 1000,
) -> Callable[[Builder], Builder]:
    """Give a builder a place in the table: under its own name, or under another one where a family shares a builder.

    Raises:
        ValueError: The name is taken.
    """

    def add(build: Builder) -> Builder:
        known_as = name or build.__name__
        if known_as in _MODELS:
            first, second = (inspect.getmodule(getattr(b, "func", b)) for b in (_MODELS[known_as].build, build))
            raise ValueError(
                f"model {known_as!r} is registered twice: by {getattr(first, '__name__', '?')} "
                f"and {getattr(second, '__name__', '?')}"
            )
        _MODELS[known_as] = ModelInfo(
            name=known_as,
            build=build,
            description=description,
            year=year,
            paper=paper,
            in_channels=in_channels,
            num_classes=num_classes,
            image_size=image_size,
            min_image_size=min_image_size,
            parameters=parameters,
            macs=macs,
            accuracy=accuracy,
        )
        return build

    return add


def names(pattern: str = "*") -> list[str]:
    """Every registered name that fits a shell pattern, in natural order (``vgg9`` before ``vgg11``).

    Example:
        >>> names("resnet??")
        ['resnet18', 'resnet34', 'resnet50']
    """
    return sorted(fnmatch.filter(_MODELS, pattern), key=natural_key)


def info(name: str) -> ModelInfo:
    """What is known of one network.

    Raises:
        ValueError: No such name; the nearest ones are suggested.
        TypeError: The name is no string.
    """
    if name not in tuple(_MODELS):  # also asks about what cannot be a key
        raise unknown_name("model", name, names(), hint="convscope models")
    return _MODELS[name]


def _check(known: ModelInfo, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse what the network cannot be made with."""
    for option in options:
        if option not in known.options:
            has = f"it has: {', '.join(known.options)}" if known.options else "it has none"
            raise ValueError(f"{known.name} has no option {option!r}; {has}")
        if inspect.signature(known.build).parameters[option].annotation in (bool, "bool"):
            flag(option, options[option])
    for argument in ("in_channels", "num_classes", "image_size"):
        value = arguments[argument]
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{argument} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{argument} must be at least 1, got {value}")
    if arguments["image_size"] < known.min_image_size:
        raise ValueError(
            f"{known.name} needs images of at least {known.min_image_size}x{known.min_image_size} pixels, "
            f"got image_size={arguments['image_size']}; enlarge them with --image-size {known.image_size}"
        )


def create(
    name: str,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network, initialised and ready; every shape in it is known.

    Args:
        name: One of ``names()``.
        in_channels: ``C`` of the images, 1 for grey, 3 for colour. Default: as published.
        num_classes: Scores to give for each image. Default: as published.
        image_size: Side of the images in pixels. Default: as published.
        device: Where the weights are made. On ``"meta"`` they have shapes and no values, at no cost.
        dtype: Of the weights; they are drawn in PyTorch's default dtype and then converted.
        options: What this network offers beyond these, see ``info(name).options``. All have ``stem``:
            ``"imagenet"`` is a beginning for photographs, ``"small"`` one that keeps the few pixels of small images,
            ``"auto"`` (default) takes the small one up to 64 pixels. One of the two was published, by ``image_size``.

    Returns:
        A module that maps ``(N, in_channels, image_size, image_size)`` to ``(N, num_classes)``. Its ``spec``
        attribute tells how to make it again.

    Raises:
        ValueError: Unknown name or option, a size below the network's smallest, or a number that is not positive.
        TypeError: A number that is not whole, or a switch that is not ``True`` or ``False``.

    Example:
        >>> net = create("lenet", num_classes=3, image_size=32)
        >>> net(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 3])
        >>> create("resnet18", in_channels=1, num_classes=10, image_size=28).spec.arguments
        {'in_channels': 1, 'num_classes': 10, 'image_size': 28}
    """
    known = info(name)
    arguments: dict[str, Any] = {
        "in_channels": known.in_channels if in_channels is None else in_channels,
        "num_classes": known.num_classes if num_classes is None else num_classes,
        "image_size": known.image_size if image_size is None else image_size,
        **options,
    }
    _check(known, arguments, options)
    with nullcontext() if device is None else torch.device(device):
        model = known.build(**arguments)
    if dtype is not None:
        model = model.to(dtype)
    setattr(model, "spec", ModelSpec(name, arguments))  # noqa: B010 - a plain value, which nn.Module's types do not foresee
    return model
