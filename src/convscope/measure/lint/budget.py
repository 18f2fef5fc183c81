"""Rules about where the parameters are, and what ``groups`` means."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from convscope.measure.costs import macs
from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import LAYOUT, Network, Weighted, place
from convscope.measure.lint.registry import rule
from convscope.measure.rows import ancestors

MOST = 0.5  # share of the parameters in dense layers from which they are worth a word


def _flattened(network: Network, layer: Weighted) -> tuple[int, ...] | None:
    """``(C, H, W)`` of the map that a dense layer reads flattened; None when it reads one number per channel."""
    value = layer.input
    while len(network.shape(value)) != 4:
        node = network.makers.get(value)
        if node is None or node.operator not in LAYOUT:
            return None
        value = node.inputs[0][1]
    if network.shape(value)[0] != network.trace.input_size[0]:
        return None  # heads of attention are no map
    shape = network.shape(value)[1:]
    whole = math.prod(shape) == network.shape(layer.input)[-1]  # else it reads each place by itself
    return shape if whole and math.prod(shape[1:]) > 1 else None


@rule(
    "dense-share",
    severity="info",
    what="More than half of the parameters in dense layers, one of which reads a flattened map.",
    why="Such a layer has weights of its own for every place, overfits easily and ties the network to one image size; "
    "a global average has none",
    paper='Lin, Chen and Yan, "Network in network", 2013',
    change="Average over the map before the dense layer: `nn.AdaptiveAvgPool2d(1)`, `nn.Flatten()`, `nn.Linear(C, K)`.",
)
def dense_share(network: Network) -> Iterator[Hit]:
    dense = [layer for layer in network.weighted if layer.kind == "dense layer"]
    maps = {layer.node.index: _flattened(network, layer) for layer in dense}
    if not any(maps.values()) or len(dense) == len(network.weighted):
        return
    held = {t.state: t.count for layer in dense for t in (layer.weight, layer.bias) if t is not None}
    share, total = sum(held.values()), sum(p.count for p in network.trace.parameters.values())
    if share <= MOST * total:
        return
    work, of = (
        sum(macs(layer.node, network.trace) for layer in dense),
        sum(macs(n, network.trace) for n in network.trace.nodes),
    )
    first = next(layer for layer in dense if maps[layer.node.index])
    size = "x".join(map(str, maps[first.node.index] or ()))
    yield Hit(
        place(first.node),
        f"dense layers hold {share:,} of {total:,} parameters ({share / total:.1%}) and do {work / of:.1%} of the MACs;"
        f" this one reads a flattened {size} map.",
    )


def _said(network: Network, path: str) -> tuple[str, int] | None:
    """What the nearest module around a convolution that has an attribute for it says about groups."""
    for above in ancestors(path.rpartition(".")[0]) if path else ():
        attributes = vars(network.model.get_submodule(above))
        for name in ("groups", "num_groups", "cardinality"):
            said = attributes.get(name)
            if isinstance(said, int) and not isinstance(said, bool):
                return f"{above or type(network.model).__name__}.{name}", said
    return None


@rule(
    "group-width",
    severity="info",
    what="Groups that are fewer than they are wide. Networks of one number of groups for several numbers of channels "
    "(ResNeXt) or of one width (RegNet) are left out: they are built so on purpose. Where a module around "
    "the convolution has an attribute `groups` that equals the width, it is a warning.",
    why="Papers write 32x4d for 32 groups, each 4 wide; an argument that means the width but is called `groups` makes "
    "a few wide groups in place of many narrow ones, with several times the weights",
    paper='Xie et al., "Aggregated residual transformations for deep neural networks", 2017',
    change="Give `nn.Conv2d(..., groups=...)` the number of groups, and name number and width apart.",
)
def group_width(network: Network) -> Iterator[Hit]:
    grouped = [
        (layer, groups, layer.weight.shape[1])
        for layer in network.weighted
        if layer.kind == "convolution" and (groups := layer.node.arguments["groups"]) > 1 and layer.weight.shape[1] > 1
    ]
    counts: dict[int, set[int]] = defaultdict(set)
    widths: dict[int, set[int]] = defaultdict(set)
    for _, groups, width in grouped:
        counts[groups].add(width)
        widths[width].add(groups)
    designed = len(grouped) > 1 and (len(counts) == 1 or len(widths) == 1) and len(counts) != len(widths)
    for layer, groups, width in grouped:
        name, number = _said(network, layer.node.path) or ("", 0)
        named = number == width != groups
        if not named and (designed or number == groups or groups >= width):
            continue
        fewer = layer.weight.count * groups // width
        outs = layer.weight.shape[0]
        fits = f"; {width} groups of {groups} would have {fewer:,}" if outs % width == 0 else ""
        said = f"; {name} is {width}" if named else ""
        what = f"{groups} groups, each {width} channels wide, have {layer.weight.count:,} weights{fits}{said}."
        yield Hit(place(layer.node), what, severity="warning" if named else None)
