"""What a checkpoint takes along of a program in the book's style, beside weights and optimiser."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.d2l.board import OUR_DRAW, Point, Sample

if TYPE_CHECKING:
    from convscope.d2l.trainer import Trainer

COUNTERS = ("epoch", "train_batch_idx", "val_batch_idx")


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Counters, the points of the board, and the tensors that layers keep without registering them.

    The book's own batch normalisation binds its running mean and variance anew in each pass, as plain attributes that
    no ``state_dict`` knows of.
    """
    return {
        "counters": {name: getattr(trainer, name) for name in COUNTERS},
        "board": _points(trainer.model.board),
        "loose": {place: value.detach().clone() for place, value in _loose(trainer.model).items()},
    }


def give_back(trainer: Trainer, state: dict[str, Any]) -> None:
    """The inverse of ``state_of``, for a model of the same layers."""
    vars(trainer).update(state["counters"])
    _draw_again(trainer.model.board, state["board"])
    give_back_loose(trainer.model, state["loose"])


def give_back_loose(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Bind tensors to layers again, on the device of those whose place they take."""
    modules = dict(model.named_modules())
    for place, value in tensors.items():
        path, _, name = place.rpartition(".")
        before = getattr(modules[path], name, value)
        setattr(modules[path], name, value.clone().to(before.device) if isinstance(before, Tensor) else value.clone())


def _loose(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that are plain attributes of a layer, by their place in the network."""
    return {
        f"{path}.{name}": value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }


def _points(board: Any) -> dict[str, Any]:
    """Of the book's board: finished points and numbers that wait; nothing where the program draws by itself."""
    if getattr(board.draw, "__func__", None) is not OUR_DRAW or not hasattr(board, "raw_points"):
        return {}
    return {
        "data": {name: [tuple(map(_storable, point)) for point in line] for name, line in board.data.items()},
        "raw_points": {
            name: [tuple(map(_storable, sample)) for sample in waiting] for name, waiting in board.raw_points.items()
        },
    }


def _storable(value: Any) -> Any:
    """A number as a checkpoint holds it: NumPy's as tensors, which keep their kind."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    return torch.as_tensor(np.asarray(value)) if isinstance(value, np.generic | np.ndarray) else value


def _given(value: Any) -> Any:
    """The inverse of ``_storable``; what was a tensor before comes back as NumPy's, as all numbers of a board do."""
    return value.numpy()[()] if isinstance(value, Tensor) else value


def _draw_again(board: Any, points: dict[str, Any]) -> None:
    if points:
        board.data = OrderedDict(
            (name, [Point(*map(_given, point)) for point in line]) for name, line in points["data"].items()
        )
        waiting = points["raw_points"].items()
        board.raw_points = OrderedDict(
            (name, [Sample(*map(_given, sample)) for sample in samples]) for name, samples in waiting
        )
        board._show()
