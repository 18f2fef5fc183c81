"""An exponential moving average of the weights, often a better network than the last step left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _Place(NamedTuple):
    """Where a module keeps a tensor: looked up each time, since a forward pass may put a new buffer there."""

    name: str
    holder: dict[str, Any]
    key: str

    @property
    def tensor(self) -> Tensor:
        """What lies there now, without gradient."""
        value: Tensor = self.holder[self.key]
        return value.detach()


class WeightAverage:
    """A moving average of a model's parameters and buffers, step by step.

    Each update moves the average by the share ``1 - d`` towards the weights. ``d`` rises from 0.1 to ``decay`` as
    ``min(decay, (1 + t) / (10 + t))``, where ``t`` counts the updates before: early on the initial weights are
    forgotten as fast as they are outgrown, and a short run is not dominated by where it began.

    Running statistics of norms are averaged as well, so that they fit the averaged weights. Buffers of whole numbers
    (a count of batches) are copied; so are buffers that held an infinity when the average began (a mask), because the
    difference of two infinities is no number.

    Args:
        model: Already on its device and in its memory format. It is not kept alive for longer than its tensors.
        decay: Share that the average keeps at each step, in 0..1; 0.999 looks back about a thousand steps.

    Raises:
        ValueError: ``decay`` is not in 0 <= decay < 1.

    Example:
        >>> net = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(net.weight)
        >>> average = WeightAverage(net, decay=0.9)
        >>> _ = nn.init.ones_(net.weight)
        >>> average.update()
        >>> with average.swapped():
        ...     round(net.weight.item(), 3)
        0.9
        >>> net.weight.item()
        1.0

    Source:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the rise of ``d`` is that of
        TensorFlow's ``ExponentialMovingAverage``, and of timm's ``ModelEmaV3``, which averages buffers too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in 0 <= decay < 1, got {decay}")
        self.decay = decay
        self._places = _places(model)
        self.begin()

    def begin(self) -> None:
        """Forget everything and begin with the weights as they are now."""
        self.updates = 0
        self._tensors = [place.tensor.clone() for place in self._places]
        self._mixes = [_can_mix(tensor) for tensor in self._tensors]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; once after each step of the optimiser."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = [place.tensor for place in self._places]
        averages, weights = self._those(self._tensors, mixed=True), self._those(live, mixed=True)
        if averages:
            torch._foreach_lerp_(averages, weights, 1 - keep)
        for mine, theirs in zip(self._those(self._tensors, mixed=False), self._those(live, mixed=False), strict=True):
            mine.copy_(theirs)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Give the model the averages for a while; afterwards it has its own weights back, bit for bit.

        Values are copied and no tensor is exchanged, so addresses and memory formats stay what compiled code and
        optimisers know. It takes the memory of one more copy of the weights while it lasts.
        """
        live = [place.tensor.clone() for place in self._places]
        try:
            self.write()
            yield
        finally:
            self._write(live)

    @property
    def buffers(self) -> list[Tensor]:
        """The averages of what is no parameter; live, and to be written to in place only."""
        there = zip(self._places, self._tensors, strict=True)
        return [mine for place, mine in there if not isinstance(place.holder[place.key], nn.Parameter)]

    def write(self) -> None:
        """Give the model the averages for good."""
        self._write(self._tensors)

    def state(self) -> dict[str, Any]:
        """Plain values and the averages by name, for a checkpoint; not copied."""
        tensors = {place.name: tensor for place, tensor in zip(self._places, self._tensors, strict=True)}
        copied = [place.name for place, mixes in zip(self._places, self._mixes, strict=True) if not mixes]
        return {"updates": self.updates, "tensors": tensors, "copied": copied}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``state``, for the same network.

        Raises:
            ValueError: The state is of another network; nothing was changed.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in state["tensors"].items()}
        expected = {place.name: tuple(mine.shape) for place, mine in zip(self._places, self._tensors, strict=True)}
        if shapes != expected:
            name = next(n for n in (*expected, *shapes) if expected.get(n) != shapes.get(n))
            raise ValueError(
                f"the saved average is of another network: {name} is {shapes.get(name, 'missing')} there "
                f"and {expected.get(name, 'missing')} here"
            )
        self.updates = state["updates"]
        for place, mine in zip(self._places, self._tensors, strict=True):
            mine.copy_(state["tensors"][place.name])
        self._mixes = [place.name not in state["copied"] for place in self._places]

    def _those(self, tensors: list[Tensor], *, mixed: bool) -> list[Tensor]:
        return [tensor for tensor, mixes in zip(tensors, self._mixes, strict=True) if mixes == mixed]

    @torch.no_grad()
    def _write(self, tensors: list[Tensor]) -> None:
        for place, tensor in zip(self._places, tensors, strict=True):
            place.tensor.copy_(tensor)


def _can_mix(tensor: Tensor) -> bool:
    """Whether averaging makes sense: numbers with a fraction, none of them infinite."""
    return (tensor.is_floating_point() or tensor.is_complex()) and bool(torch.isfinite(tensor).all())


def _places(model: nn.Module) -> list[_Place]:
    """Every parameter and buffer once, parameters first."""
    modules = [*model.named_modules()]
    holders = [(prefix, module._parameters) for prefix, module in modules]
    holders += [(prefix, module._buffers) for prefix, module in modules]
    places, seen = [], set()
    for prefix, holder in holders:
        for key, tensor in holder.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                places.append(_Place(f"{prefix}.{key}".lstrip("."), holder, key))
    return places
