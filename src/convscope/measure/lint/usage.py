"""Rules about what never runs, what no gradient reaches, and what is used or overwritten twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.loss import _Loss

from convscope.measure.lint.finding import Hit
from convscope.measure.lint.network import Network, place
from convscope.measure.lint.registry import rule
from convscope.measure.tracing import Call, Node

ACTIVATIONS = frozenset((
    "relu", "hardtanh", "sigmoid", "tanh", "gelu", "silu", "mish", "elu", "leaky_relu", "hardswish", "hardsigmoid",
    "softplus", "threshold", "clamp_min", "_prelu_kernel", "log_sigmoid_forward", "rrelu_with_noise",
))  # fmt: skip
AUTOGRAD = 'Paszke et al., "Automatic differentiation in PyTorch", 2017'


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@rule(
    "refuses-training",
    severity="error",
    what="A network that runs in eval mode and raises in training mode.",
    why="Nothing can be learned, and what depends on training could not be checked",
    paper=AUTOGRAD,
    change="Call `model.train()` and then the model on two images, and mend what it says.",
)
def refuses_training(network: Network) -> Iterator[Hit]:
    if network.training.refused:
        count, *size = network.trace.input_size
        images = "x".join(map(str, (max(2, count), *size)))
        yield Hit("forward", f"in training mode, for images {images}, it raises {network.training.refused}.")


def _unused(network: Network) -> dict[str, nn.Module]:
    """Layers that neither ran in eval mode nor in training mode, and whose weights nobody read either."""
    runs = (network.trace, network.training)
    ran = {call.path for run in runs for call in run.calls}
    read = {value.state for run in runs for value in run.values if value.state}
    return {
        path: module
        for path, module in network.model.named_modules()
        if path not in ran and _is_layer(module) and not any(name.startswith(f"{path}.") for name in read)
    }


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.Identity | nn.Sequential | nn.ModuleList | nn.ModuleDict | _Loss):
        return False
    own = any(True for _ in module.parameters(recurse=False))
    return own or (type(module).__module__.startswith("torch.nn.modules.") and not any(module.children()))


@rule(
    "unused-layer",
    severity="warning",
    what="A layer that is registered and takes no part in `forward`, neither in eval mode nor in training mode.",
    why="Its parameters are stored, sent and counted for nothing, and training on several devices stops at them; often "
    "a line is missing in `forward`",
    paper='Li et al., "PyTorch distributed: experiences on accelerating data parallel training", 2020',
    change="Call it in `forward`, or delete it.",
)
def unused_layer(network: Network) -> Iterator[Hit]:
    for path, module in _unused(network).items():
        count = sum(p.numel() for p in module.parameters(recurse=False))
        what = f"{type(module).__name__} with {count:,} parameters never runs."
        yield Hit(path, what, severity=None if count else "info")


@rule(
    "no-gradient",
    severity="warning",
    what="Parameters that take part in `forward` and that no gradient reaches (`.detach()`, `torch.no_grad()`, "
    "`.item()`, rounding), although they ask for one. Frozen ones are counted as info.",
    why="They stay as they were drawn, however long the training",
    paper=AUTOGRAD,
    change="Remove what cuts the graph, or say that it is meant: `parameter.requires_grad_(False)`.",
)
def no_gradient(network: Network) -> Iterator[Hit]:
    named = dict(network.model.named_parameters())
    if network.training.refused or not named:
        return
    unused = tuple(f"{path}." for path in _unused(network))
    cut = [name for name, p in named.items()
           if p.requires_grad and name not in network.training.reached and not name.startswith(unused)]  # fmt: skip
    if cut:
        count, total = sum(named[name].numel() for name in cut), sum(p.numel() for p in named.values())
        where = cut[0].rpartition(".")[0] or "forward"
        yield Hit(where, f"no gradient reaches {count:,} of {total:,} parameters: {_some(cut)}.")
    frozen = [name for name, p in named.items() if not p.requires_grad]
    if frozen:
        count, total = sum(named[name].numel() for name in frozen), sum(p.numel() for p in named.values())
        yield Hit(
            frozen[0].rpartition(".")[0] or "forward",
            f"{count:,} of {total:,} parameters are frozen: {_some(frozen)}.",
            "Nothing, if it is meant; else `parameter.requires_grad_(True)`.",
            "info",
        )


def _around(network: Network, node: Node) -> Call | None:
    """The run of the module whose child ran an operator."""
    parent = node.path.rpartition(".")[0]
    runs = [call for call in network.trace.calls if call.path == parent and call.start <= node.index < call.stop]
    return max(runs, key=lambda call: call.start, default=None) if node.path else None


@rule(
    "overwritten-input",
    severity="warning",
    what="An activation that works in place on a value which somebody else reads, too: one that was read before, or "
    "one that came into the block from outside and goes on beside it.",
    why="The other reader gets another value than the code seems to say, such as a shortcut that carries `relu(x)` in "
    "place of `x`, or the backward pass stops because a value it needs is gone",
    paper=AUTOGRAD,
    change="Leave out `inplace=True`.",
)
def overwritten_input(network: Network) -> Iterator[Hit]:
    for node in network.trace.nodes:
        if not node.operator.endswith("_") or node.operator.removesuffix("_") not in ACTIVATIONS:
            continue
        old, new = node.inputs[0][1], node.outputs[0]
        before = [each for each in _readers(network, old) if each is not node and each.index < node.index]
        after, around, maker = _readers(network, new), _around(network, node), network.makers.get(old)
        outside = around is not None and (maker is None or maker.index < around.start)
        if before:
            what = f"{node.operator} overwrites what {place(before[0])} ({before[0].operator}) read before."
            yield Hit(place(node), what)
        elif outside and len(after) > 1:
            what = f"{node.operator} overwrites what came into {_block(node)} from outside, and {len(after)} read it " \
                f"afterwards: {_some([f'{place(each)} ({each.operator})' for each in after])}."  # fmt: skip
            yield Hit(place(node), what)


def _block(node: Node) -> str:
    return node.path.rpartition(".")[0] or "the network"


def _readers(network: Network, value: int) -> list[Node]:
    return [node for node in network.readers.get(value, []) if node.operator != "written_through"]


@rule(
    "reused-activation",
    severity="info",
    what="One activation module that runs more than once in a forward pass.",
    why="Hooks cannot tell its runs apart: attributions such as DeepLIFT come out wrong, and recorded activations "
    "overwrite each other",
    paper='Shrikumar, Greenside and Kundaje, "Learning important features through propagating activation '
    'differences", 2017',
    change="Make one module for each place: `self.act1 = nn.ReLU()`, `self.act2 = nn.ReLU()`.",
)
def reused_activation(network: Network) -> Iterator[Hit]:
    runs = Counter(call.path for call in network.trace.calls)
    for call in network.trace.last_calls.values():
        inside = {network.trace.nodes[i].operator.removesuffix("_") for i in range(call.start, call.stop)}
        if runs[call.path] > 1 and inside & ACTIVATIONS and not any(network.model.get_submodule(call.path).children()):
            yield Hit(call.path, f"{network.trace.modules[call.path].kind} runs {runs[call.path]} times.")
