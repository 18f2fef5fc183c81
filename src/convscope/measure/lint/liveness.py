"""The rule about ReLUs that never let anything through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscope.measure.costs import macs
from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import Network
from convscope.measure.lint.registry import rule
from convscope.measure.lint.watching import home, watched
from convscope.measure.tracing.guard import Originals
from convscope.measure.tracing.inventory import Inventory
from convscope.measure.tracing.recorder import Recorder

aten = torch.ops.aten
RELUS = frozenset([aten.relu.default, aten.relu_.default])
OF_IMAGES, OF_NOISE = 0.5, 0.9  # share of dead channels from which it is said
BUDGET = 10_000_000_000  # MACs to spend on random images
BATCH = 32

Place = tuple[str, int]
"""A module, and the how-manieth ReLU in it."""


class _Watch(Recorder):  # type: ignore[no-untyped-call]
    """Run operators, and note which channels of every ReLU were ever above zero."""

    def __init__(self, inventory: Inventory, originals: Originals, *, meta: bool, keep: bool) -> None:
        super().__init__(inventory, originals, meta=meta, keep=keep)
        self.alive: dict[Place, Tensor] = {}
        self._count: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if func in RELUS and result.ndim > 1:
            at = self.path or "forward", self._count[self.path]
            self._count[self.path] += 1
            alive = ~(result <= 0).transpose(0, 1).flatten(1).all(1)  # NaN counts as alive
            self.alive[at] = alive | self.alive[at] if at in self.alive else alive
        return result

    def next_batch(self) -> None:
        """Count ReLUs from the beginning."""
        self._count.clear()


def _noise(network: Network) -> Tensor:
    """Random images, as many as the budget allows: 2 for a VGG at 224 pixels, 32 for a LeNet."""
    cost = sum(macs(node, network.trace) for node in network.trace.nodes) // network.trace.input_size[0]
    count = max(2, min(BATCH, BUDGET // max(cost, 1)))
    dtype = network.trace.values[network.trace.input].dtype
    draws = torch.randn(count, *network.trace.input_size[1:], generator=torch.Generator().manual_seed(0))
    return draws.to(dtype)


def live_channels(model: nn.Module, images: Tensor) -> dict[Place, Tensor]:
    """For every ReLU, which of its channels let anything through, anywhere in any of the images, in eval mode.

    Args:
        model: It is left as it was.
        images: ``(N, C, H, W)`` as the network sees them.
    """
    with watched(model, _Watch, training=False, meta=False, keep=False) as watch:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH].to(home(model), copy=True)  # the network may write into it
            watch.next_batch()
            with watch.watching():
                model(batch)
    return watch.alive


@rule(
    "dead-relu",
    severity="warning",
    needs="values",
    what="A ReLU many of whose channels are zero for every place of every image: from 50 % of them for images that "
    "are given, from 90 % for random ones, which excite little in a trained network.",
    why="A ReLU that is zero for all images has gradient 0, so what feeds it never learns again",
    paper='Lu, Shin, Su and Karniadakis, "Dying ReLU and initialization: theory and numerical examples", 2019',
    change="Train with a smaller learning rate or a warm-up, initialise with `convscope.nn.kaiming(model)`, put a "
    "batch norm before it, or use `nn.LeakyReLU`.",
)
def dead_relu(network: Network) -> Iterator[Hit]:
    given = network.images is not None
    images = network.images if network.images is not None else _noise(network)
    least = OF_IMAGES if given else OF_NOISE
    for (path, nth), alive in live_channels(network.model, images).items():
        dead, channels = int((~alive).sum()), len(alive)
        if dead < least * channels or not dead:
            continue
        which = f"ReLU number {nth + 1} in it: " if nth else ""
        source = (
            f"the {len(images)} images given"
            if given
            else f"{len(images)} random images (noise; give images= of yours)"
        )
        yield Hit(path, f"{which}{dead} of {channels} channels ({dead / channels:.0%}) are zero for all of {source}.")
