"""Rules about the values of weights before training."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import LAYOUT, Network, Weighted, place
from convscope.measure.lint.registry import rule
from convscope.measure.summary import not_numbers

SATURATING = frozenset(["sigmoid", "tanh", "sigmoid_", "tanh_"])
FEWEST = 32  # weights from which a distribution can be recognised
CERTAIN = 20.0  # of a true draw, one in e^20 is not recognised


def _bound(weight: Tensor) -> float:
    """Up to where PyTorch draws the weights of a convolution or a dense layer: ``1 / sqrt(fan_in)``."""
    return 1 / math.sqrt(weight[0].numel())


def as_pytorch_draws(weight: Tensor) -> bool | None:
    """Whether a weight is an untouched draw of PyTorch's default, uniform up to ``1 / sqrt(fan_in)``.

    It is when its largest value lies just below that bound, and its variance is that of the uniform distribution
    within five standard errors. A step of training breaks the bound, other initialisers have others.

    Args:
        weight: ``(O, I, ...)`` of a convolution or a dense layer.

    Returns:
        None when it cannot be told: with few weights, or when Xavier's draw would look the same.

    Example:
        >>> from torch import nn
        >>> weight = nn.Linear(100, 50).weight.detach()
        >>> as_pytorch_draws(weight), as_pytorch_draws(nn.init.xavier_uniform_(weight))
        (True, False)
        >>> as_pytorch_draws(weight[:2, :2]) is None
        True
    """
    count, bound, largest = weight.numel(), _bound(weight), float(weight.abs().max())
    if count < FEWEST:
        return None
    spread = float(weight.float().square().mean()) / (bound**2 / 3)
    uniform = abs(spread - 1) <= 5 * math.sqrt(4 / 5 / count)  # var(x^2) / mean(x^2)^2 = 4/5
    if not (uniform and bound * (1 - CERTAIN / count) <= largest <= bound * (1 + 1e-6)):
        return False
    xavier = math.sqrt(6 / (weight[0].numel() + len(weight) * weight[0, 0].numel()))
    likely = largest <= xavier * (1 + 1e-6) and count * math.log(xavier / bound) < CERTAIN
    return None if likely else True


def _value(network: Network, layer: Weighted) -> Tensor:
    return network.model.get_parameter(layer.weight.state or "").detach()


def _once(network: Network) -> list[Weighted]:
    """Each weight once, by the layer that reads it first."""
    return list({layer.weight.state: layer for layer in reversed(network.weighted)}.values())[::-1]


def _is_last(network: Network, layer: Weighted) -> bool:
    """Whether nothing but layout lies between a layer and what the network returns."""
    made_by = [network.before(output) for output in network.trace.outputs]
    return any(node is layer.node for node in made_by)


def _saturates(network: Network, layer: Weighted) -> str | None:
    """The sigmoid or tanh that reads a layer's output."""
    value = layer.node.outputs[0]
    while True:
        readers = network.readers.get(value, [])
        if len(readers) != 1:
            return None
        if readers[0].operator in SATURATING:
            return readers[0].operator.removesuffix("_")
        if readers[0].operator not in LAYOUT:
            return None
        value = readers[0].outputs[0]


@rule(
    "default-weights",
    severity="warning",
    needs="weights",
    what="Weights exactly as PyTorch draws them, uniform up to 1 / sqrt(fan in), where that was hardly meant: before a "
    "sigmoid or tanh, or while other layers of the same kind in the network were initialised. The last layer is "
    "left out in the second case: a new head is usual.",
    why="PyTorch's default is a third of the variance that keeps signals alive, so deep sigmoid networks start on a "
    "plateau; and an initialiser applied while layers are lazy, or to one class of layers only, skips the rest "
    "without a word",
    paper='Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010',
    change="Apply the initialiser after the layers have shapes: `convscope.nn.xavier_uniform(model)` for sigmoids and "
    "tanh, `convscope.nn.kaiming(model)` for ReLU.",
)
def default_weights(network: Network) -> Iterator[Hit]:
    layers = _once(network)
    drawn = {layer.node.index: as_pytorch_draws(_value(network, layer)) for layer in layers}
    for layer in layers:
        if not drawn[layer.node.index]:
            continue
        same = [each for each in layers if each.kind == layer.kind and _is_plain(each)]
        others = sum(drawn[each.node.index] is False for each in same)
        saturating, bound = _saturates(network, layer), _bound(_value(network, layer))
        as_drawn = f"its {layer.weight.count:,} weights are as PyTorch draws them, uniform up to {bound:.4g}"
        if saturating:
            yield Hit(place(layer.node), f"{as_drawn}, and a {saturating} follows.")
        elif others and not _is_last(network, layer):
            what = f"{as_drawn}, while {others} of {len(same)} {layer.kind}s are not."
            yield Hit(place(layer.node), what, severity="info")


def _is_plain(layer: Weighted) -> bool:
    """Whether a weight belongs to a layer that PyTorch draws by its default; attention has another."""
    return (layer.weight.state or "").rpartition(".")[2] == "weight"


@rule(
    "constant-weights",
    severity="error",
    needs="weights",
    what="A convolution or dense layer whose weights are all the same number. All zeros are let pass in a last layer "
    "and at the end of a residual branch, where that is a known way to start.",
    why="Channels that start equal get equal gradients and stay copies of one another; behind zeros nothing learns",
    paper='Goodfellow, Bengio and Courville, "Deep learning", 2016',
    change="Draw the weights at random: `convscope.nn.kaiming(model)`.",
)
def constant_weights(network: Network) -> Iterator[Hit]:
    for layer in _once(network):
        weight = _value(network, layer)
        value = float(weight.flatten()[0])
        if weight.numel() < 2 or len(weight) < 2 or not bool((weight == value).all()):
            continue
        if value == 0 and (_is_last(network, layer) or _is_added(network, layer)):
            continue
        yield Hit(place(layer.node), f"all {weight.numel():,} weights are {value:g}.")


def _is_added(network: Network, layer: Weighted) -> bool:
    """Whether a layer's output is added to something that depends on the images."""
    readers = network.readers.get(layer.node.outputs[0], [])
    return any(
        node.operator in ("add", "add_") and all(network.sees_images(value) for _, value in node.inputs)
        for node in readers
    )


@rule(
    "weights-not-finite",
    severity="error",
    needs="weights",
    what="Parameters or buffers that hold NaN.",
    why="One NaN makes every score NaN, and no step of training takes it away",
    paper='Goldberg, "What every computer scientist should know about floating-point arithmetic", 1991',
    change="Load weights from before the loss became NaN, and train with a smaller learning rate or clipped gradients.",
)
def weights_not_finite(network: Network) -> Iterator[Hit]:
    named = {**dict(network.model.named_parameters()), **dict(network.model.named_buffers())}
    for name in not_numbers(network.model):
        count, total = int(named[name].isnan().sum()), named[name].numel()
        yield Hit(name.rpartition(".")[0] or "forward", f"{count:,} of {total:,} numbers in {name} are NaN.")
