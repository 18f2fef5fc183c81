"""Run a network once and write down what happened; then once more to see what training would keep."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from convscope.measure.tracing.graph import ModuleFacts, ParameterFacts, Trace
from convscope.measure.tracing.guard import Originals, plain_eager, set_mode, untouched
from convscope.measure.tracing.inventory import Inventory
from convscope.measure.tracing.recorder import Recorder, ValuesNeeded, flat
from convscope.measure.tracing.refusal import refusal


def full_size(input_size: Sequence[int]) -> tuple[int, ...]:
    """``(C, H, W)`` as a batch of one, ``(N, C, H, W)`` as it is.

    Raises:
        TypeError: Not whole numbers.
        ValueError: Another number of axes, or a number below 1.

    Example:
        >>> full_size((3, 32, 32))
        (1, 3, 32, 32)
    """
    size = tuple(input_size)
    if any(not isinstance(n, int) or isinstance(n, bool) for n in size):
        raise TypeError(f"input_size must be whole numbers (C, H, W) or (N, C, H, W), got {input_size!r}")
    if len(size) not in (3, 4) or min(size) < 1:
        raise ValueError(f"input_size must be (C, H, W) or (N, C, H, W), each at least 1, got {input_size!r}")
    return size if len(size) == 4 else (1, *size)


def materialised(model: nn.Module, size: tuple[int, ...]) -> nn.Module:
    """The model itself; when layers are lazy, a copy of it whose layers have seen one batch and know their shapes."""
    return _known(model, size).model


def _known(model: nn.Module, size: tuple[int, ...]) -> Inventory:
    """The inventory of a model whose shapes are all known."""
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps a module
    inventory = Inventory.of(model)
    scripted = next((p for p, m in inventory.modules.items() if isinstance(m, torch.jit.ScriptModule)), None)
    if scripted is not None:
        what = f"layer {scripted!r} is" if scripted else "this is"
        raise TypeError(f"{what} a TorchScript module, which hides its layers; give the nn.Module that it was made of")
    if not inventory.lazy:
        return inventory
    inventory = Inventory.of(copy.deepcopy(model, _lazy_copies(inventory)))
    with untouched(nn.Identity()), plain_eager(), torch.no_grad():
        modes = [(module, module.training) for module in inventory.modules.values()]
        set_mode(inventory, training=False)
        _forward(inventory, Recorder(inventory, Originals(()), meta=False, keep=False), size, _home(inventory))
        for module, training in modes:
            module.training = training
    return Inventory.of(inventory.model)


def _lazy_copies(inventory: Inventory) -> dict[int, Any]:
    """Copies of what has no shape, by identity: ``deepcopy`` knows no way to copy such buffers, or loses their kind."""
    copies: dict[int, Any] = {}
    for tensor in inventory.tensors:
        if nn.parameter.is_lazy(tensor):
            kind: Any = type(tensor)
            options: dict[str, Any] = {"device": tensor.device, "dtype": tensor.dtype}
            if isinstance(tensor, nn.parameter.UninitializedParameter):
                options["requires_grad"] = tensor.requires_grad
            copies[id(tensor)] = kind(**options)
    return copies


def _images(inventory: Inventory, size: tuple[int, ...], device: torch.device) -> Tensor:
    """What the network is given: nothing but a shape on ``meta``, random numbers elsewhere."""
    dtypes = (p.dtype for p in inventory.parameters.values() if p.is_floating_point())
    dtype = next(dtypes, torch.get_default_dtype())
    if device.type == "meta":
        return torch.empty(size, dtype=dtype, device=device)
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device, dtype)


def _forward(
    inventory: Inventory, recorder: Recorder, size: tuple[int, ...], device: torch.device, *, advise: bool = True
) -> list[Tensor]:
    """The tensors that the network returns for images.

    Raises:
        ValueError: The network refuses them; the message names the layer.
        ValuesNeeded: It has to run again with values.
    """
    model, images = inventory.model, _images(inventory, size, device)
    recorder.value_of(images)
    try:
        with recorder.watching():
            result = model(images)
    except ValuesNeeded:
        raise
    except Exception as error:
        if recorder.meta and _shapes_are_not_enough(error):
            raise ValuesNeeded(f"{type(error).__name__} in {recorder.path or 'the network'}") from error
        raise refusal(model, size, recorder.refused, error, works=_works(inventory) if advise else None) from error
    tensors = list(flat(result))
    if not tensors:
        raise ValueError(
            f"{type(model).__name__}.forward returned {type(result).__name__} without a tensor in it; "
            "expected a tensor, or a tuple, list or dict of tensors"
        )
    return tensors


def _shapes_are_not_enough(error: Exception) -> bool:
    """Whether something was raised for want of values, so that a run with values may do better."""
    said = str(error).lower()
    return isinstance(error, ValuesNeeded | NotImplementedError) or "meta" in said or "incompatible tensor type" in said


def _home(inventory: Inventory) -> torch.device:
    """Where the weights are."""
    return next((p.device for p in inventory.parameters.values()), torch.device("cpu"))


def _works(inventory: Inventory) -> Callable[[tuple[int, ...]], bool]:
    """A function that tells whether the network accepts a size; values are computed only where its way needs them."""

    def runs(size: tuple[int, ...], device: torch.device) -> bool:
        with untouched(inventory) as originals, plain_eager(), torch.no_grad():
            set_mode(inventory, training=False)
            if device.type != "meta":
                originals.keep_all()
            recorder = Recorder(inventory, originals, meta=device.type == "meta", keep=False)
            try:
                with recorder.watching():
                    inventory.model(_images(inventory, size, device))
            except Exception as error:
                if recorder.meta and _shapes_are_not_enough(error):
                    raise ValuesNeeded(str(error)) from error
                return False  # whatever it is, this size does not work
            return True

    def accepts(size: tuple[int, ...]) -> bool:
        try:
            return runs(size, torch.device("meta"))
        except ValuesNeeded:
            return runs(size, _home(inventory))

    return accepts


@dataclass(frozen=True)
class Kept:
    """What autograd keeps for the backward pass.

    Args:
        bytes: By the module that ran when it was kept; None when that could not be measured, or was not asked.
        note: What a reader must know of it.
    """

    bytes: dict[str, int] | None = None
    note: str = ""


def trace(model: nn.Module, input_size: Sequence[int]) -> Trace:
    """Run a network once, in eval mode, and write down every operator.

    The network is left as it was, bit for bit, also when it raises. It runs on ``meta``: shapes are computed, values
    are not, and nothing takes memory. A network that looks at values runs once on its own device with random images.

    Args:
        model: Any module that takes one batch of images.
        input_size: ``(C, H, W)`` in pixels, or ``(N, C, H, W)``; without ``N`` it is one image.

    Raises:
        ValueError: The network refuses images of this size; the message names the layer and sizes that would work.

    Example:
        >>> seen = trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), (1, 8, 8))
        >>> [(node.path, node.operator, seen.values[node.outputs[0]].shape) for node in seen.nodes]
        [('0', 'convolution', (1, 4, 6, 6)), ('1', 'relu', (1, 4, 6, 6))]
    """
    return trace_and_kept(model, input_size, training=False)[0]


def trace_and_kept(model: nn.Module, input_size: Sequence[int], *, training: bool = True) -> tuple[Trace, Kept]:
    """``trace``, and what autograd keeps when the network runs once more, in training mode.

    Memory that is kept twice counts once, for who kept it first. Parameters, buffers and views of them do not count.
    A batch norm refuses to learn from a single value; then what one image takes is worked out from two and three.
    """
    size = full_size(input_size)
    inventory = _known(model, size)
    try:
        return _run(inventory, size, torch.device("meta"), training=training)
    except ValuesNeeded as reason:
        device = _home(inventory)
        if device.type == "meta":
            raise ValueError(
                f"{type(inventory.model).__name__} looks at values ({reason}), and on the meta device there are none; "
                "give it weights on a real device"
            ) from None
        return _run(inventory, size, device, training=training, why=str(reason))


def _run(
    inventory: Inventory, size: tuple[int, ...], device: torch.device, *, training: bool, why: str = ""
) -> tuple[Trace, Kept]:
    with untouched(inventory) as originals, plain_eager():
        set_mode(inventory, training=False)
        recorder = Recorder(inventory, originals, meta=device.type == "meta", keep=True)
        with torch.no_grad():
            outputs = tuple(recorder.value_of(t) for t in _forward(inventory, recorder, size, device))
        kept = _kept_for_backward(inventory, originals, size, device) if training else Kept()
    traced = Trace(
        model=type(inventory.model).__name__,
        input_size=size,
        device=str(device),
        nodes=tuple(recorder.nodes),
        values=tuple(recorder.values),
        calls=tuple(recorder.calls),
        modules=_modules(inventory),
        parameters={
            id(p): ParameterFacts(name, p.numel(), p.numel() * p.element_size(), p.requires_grad)
            for name, p in inventory.parameters.items()
        },
        input=0,
        outputs=outputs,
        notes=(_about_values(why, recorder),) if why else (),
    )
    return traced, kept


def _about_values(reason: str, recorder: Recorder) -> str:
    if recorder.reads_values_in:
        places = ", ".join(dict.fromkeys(path or "forward" for path in recorder.reads_values_in))
        return f"the way through the network depends on values (in {places}): this is the way of one random image"
    return f"measured with random values on a real device, because shapes alone were not enough ({reason})"


def _modules(inventory: Inventory) -> dict[str, ModuleFacts]:
    return {
        path: ModuleFacts(
            type(module).__name__,
            tuple((name, id(p)) for name, p in vars(module)["_parameters"].items() if p is not None),
        )
        for path, module in inventory.modules.items()
    }


def _kept_for_backward(inventory: Inventory, originals: Originals, size: tuple[int, ...], device: torch.device) -> Kept:
    try:
        try:
            return Kept(_kept(inventory, originals, size, device))
        except ValueError as error:
            if size[0] > 1:
                return Kept(None, _why_unknown(error))
        two, three = (_kept(inventory, originals, (n, *size[1:]), device) for n in (2, 3))
        note = "memory for training was worked out from 2 and 3 images, because it did not run in training mode on 1"
        return Kept({path: 2 * two.get(path, 0) - three[path] for path in three}, note)
    except (ValueError, ValuesNeeded) as error:
        return Kept(None, _why_unknown(error))


def _why_unknown(error: Exception) -> str:
    cause = error.__cause__ or error
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return f"memory for training is not known, because the network did not run in training mode: {reason}"


def _kept(inventory: Inventory, originals: Originals, size: tuple[int, ...], device: torch.device) -> dict[str, int]:
    """Bytes by the module that ran when autograd kept them."""
    kept: Counter[str] = Counter()
    held: list[Tensor] = []
    set_mode(inventory, training=True)
    recorder = Recorder(inventory, originals, meta=device.type == "meta", keep=False)
    counted = {t.untyped_storage()._cdata for t in inventory.tensors}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counted:
            counted.add(storage._cdata)
            held.append(tensor)  # so that the identity of its memory is not given to another
            kept[recorder.path] += storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
        _forward(inventory, recorder, size, device, advise=False)
    return dict(kept)
