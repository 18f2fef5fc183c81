"""Why a network refuses images of a size, and which sizes it would take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from torch import nn

SIDES = (*range(1, 65), 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)
"""Sides in pixels that are tried, from small to large."""
PATIENCE = 3.0  # seconds for trying sizes


def refusal(
    model: nn.Module,
    size: tuple[int, ...],
    where: tuple[str, tuple[tuple[int, ...], ...]] | None,
    error: Exception,
    *,
    works: Callable[[tuple[int, ...]], bool] | None,
) -> ValueError:
    """The error that says which layer refused what, and what would work.

    Args:
        model: The network.
        size: ``(N, C, H, W)`` that it was given.
        where: The innermost layer that raised, and the shapes it was given.
        error: What it raised.
        works: Whether the network takes a size; None gives no advice.
    """
    path, shapes = where or ("", (size,))
    name = type(model).__name__
    layer = f"layer {path!r} ({type(model.get_submodule(path)).__name__})" if path else f"{name}.forward"
    given = " and ".join("x".join(map(str, shape)) for shape in shapes) or "no tensor"
    if isinstance(error, TypeError) and "required positional argument" in str(error) and not path:
        return ValueError(
            f"{str(error).rstrip('.')}; a network is measured with one batch of images and nothing else: "
            "wrap it in a module whose forward gives it the rest"
        )
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ValueError(
        f"{name} does not take images of {'x'.join(map(str, size[1:]))}: {layer} was given {given} and said: "
        f"{said.rstrip('.')}" + (f". {_advice(model, size, works)}" if works else "")
    )


def _advice(model: nn.Module, size: tuple[int, ...], works: Callable[[tuple[int, ...]], bool]) -> str:
    first = next((m for m in model.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    channels = list(dict.fromkeys((size[1], *([first.in_channels] if first is not None else []), 1, 3)))
    until = time.monotonic() + PATIENCE
    for count in channels:
        if count != size[1] and works((size[0], count, *size[2:])):
            return f"It would take {count} channels: {count}x{size[2]}x{size[3]}"
        sides = []
        for side in SIDES:
            if time.monotonic() > until:
                break
            if works((size[0], count, side, side)):
                sides.append(side)
        if sides:
            return f"Square images that it takes: {count}x{_ranges(sides)} pixels"
    return (
        "No square image of up to 512 pixels was found that it takes; "
        "its forward must take one batch of images, in floats"
    )


def _ranges(sides: Iterable[int]) -> str:
    """Sizes in words, neighbours joined.

    Example:
        >>> _ranges([28, 29, 30, 31])
        '28x28 to 31x31'
        >>> _ranges([32, 512])
        '32x32 and 512x512'
    """
    tried = list(SIDES)
    runs: list[list[int]] = []
    for side in sides:
        if runs and tried.index(side) == tried.index(runs[-1][-1]) + 1:
            runs[-1].append(side)
        else:
            runs.append([side])
    said = [f"{r[0]}x{r[0]} to {r[-1]}x{r[-1]}" if len(r) > 1 else f"{r[0]}x{r[0]}" for r in runs]
    if len(said) > 4:
        said = [*said[:4], "..."]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
