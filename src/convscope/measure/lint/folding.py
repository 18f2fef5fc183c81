"""Rules about operators that undo or repeat each other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import LAYOUT, Network, Weighted, place
from convscope.measure.lint.registry import rule
from convscope.measure.tracing import Node, Value

NORMS = frozenset(["native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "batch_norm"])
LINEAR = LAYOUT | NORMS | {"avg_pool2d", "_adaptive_avg_pool2d", "mean", "constant_pad_nd"}
"""Operators through which a sum of images becomes the sum of what they become; a norm does in eval mode."""


@rule(
    "bias-before-norm",
    severity="info",
    what="A convolution or a dense layer with a bias, and a batch norm right behind it.",
    why="The norm subtracts the mean and with it the bias, whose gradient is 0 in training: it costs memory and time "
    "for nothing",
    paper='Ioffe and Szegedy, "Batch normalization", 2015',
    change="Make the layer with `bias=False`.",
)
def bias_before_norm(network: Network) -> Iterator[Hit]:
    layers = {layer.node.index: layer for layer in network.weighted}
    for node in network.trace.nodes:
        if node.operator not in NORMS:
            continue
        made_by = network.before(node.reads("input")[0], alone=True)
        layer = layers.get(made_by.index) if made_by else None
        if layer and layer.bias is not None:
            what = f"its {layer.bias.count} biases are cancelled by {place(node)}."
            yield Hit(place(layer.node), what)


def _width(network: Network, layer: Weighted, value: int) -> int:
    """Channels for a convolution, numbers of one image for a dense layer."""
    shape = network.shape(value)
    return shape[1] if layer.kind == "convolution" else math.prod(shape[1:])


def _on_purpose(network: Network, first: Weighted, second: Weighted) -> bool:
    """Whether two linear layers say with fewer weights what one could: a bottleneck, groups, or 1xk after kx1."""
    if first.kind == second.kind == "convolution":
        a, b = first.weight.shape[2:], second.weight.shape[2:]
        if any(n.arguments.get("groups", 1) > 1 for n in (first.node, second.node)):
            return True
        if any(x == 1 < y for x, y in zip(a, b, strict=True)) and any(y == 1 < x for x, y in zip(a, b, strict=True)):
            return True
    narrow = _width(network, second, second.input)
    ends = _width(network, first, first.input), _width(network, second, second.node.outputs[0])
    return narrow < min(ends)


@rule(
    "missing-nonlinearity",
    severity="warning",
    what="Two convolutions or dense layers with nothing between them but norms, averages and views. A narrow layer "
    "between wide ones, grouped convolutions and pairs such as 1x3 and 3x1 are left out: they are factorised on "
    "purpose.",
    why="Two linear layers are one linear layer: together they can do nothing that a single one could not, away from "
    "the border",
    paper='Leshno et al., "Multilayer feedforward networks with a nonpolynomial activation function can approximate '
    'any function", 1993',
    change="Put an activation between them, for example `nn.ReLU()`.",
)
def missing_nonlinearity(network: Network) -> Iterator[Hit]:
    layers = {layer.node.index: layer for layer in network.weighted}
    for second in network.weighted:
        made_by = network.before(second.input, LINEAR, alone=True)
        first = layers.get(made_by.index) if made_by else None
        if first is None or _on_purpose(network, first, second):
            continue
        yield Hit(place(second.node), f"it folds into one layer with {place(first.node)}: {_folded(first, second)}.")


def _folded(first: Weighted, second: Weighted) -> str:
    if first.kind == second.kind == "convolution":
        a, b = first.weight.shape[2:], second.weight.shape[2:]
        stride, dilation = first.node.arguments["stride"], second.node.arguments["dilation"]
        own = first.node.arguments["dilation"]
        spans = [(own[i] * (a[i] - 1) + 1) + stride[i] * dilation[i] * (b[i] - 1) for i in range(len(a))]
        names = ("x".join(map(str, size)) for size in (a, b, spans))
        return "{} and {} without an activation between them see no more than one {}".format(*names)
    return f"there is no activation between a {first.kind} and a {second.kind}"


@rule(
    "final-softmax",
    severity="warning",
    what="A network that ends in a softmax in training.",
    why="`nn.CrossEntropyLoss` takes the logarithm of a softmax itself; done twice, scores lie between 0 and 1, the "
    "loss cannot come near 0 and gradients are small",
    paper='Goodfellow, Bengio and Courville, "Deep learning", 2016',
    change="Return the scores as they are, and call `.softmax(1)` on them where probabilities are shown.",
)
def final_softmax(network: Network) -> Iterator[Hit]:
    nodes, values, outputs = _last_pass(network)
    makers = {value: node for node in nodes for value in node.outputs}
    for output in outputs:
        node = makers.get(output)
        while node is not None and node.operator in LAYOUT:
            node = makers.get(node.inputs[0][1])
        if node is not None and node.operator == "_softmax":
            classes = values[output].shape[-1]
            lowest = math.log(1 + (classes - 1) / math.e)
            what = f"it ends in a softmax over {classes} classes, so that cross-entropy cannot fall below {lowest:.3f}."
            yield Hit(place(node), what)


def _last_pass(network: Network) -> tuple[tuple[Node, ...], tuple[Value, ...], tuple[int, ...]]:
    """Operators, values and outputs in training mode; in eval mode where the network refuses to train."""
    seen = network.trace if network.training.refused else network.training
    return seen.nodes, seen.values, seen.outputs
