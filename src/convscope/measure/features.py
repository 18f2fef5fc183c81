"""What every layer of a network gives for an image, and what its convolutions have learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from convscope.measure.undisturbed import check_images, undisturbed
from convscope.naming import unknown_name

Reduce = Callable[[Tensor], Tensor]


def leaves(model: nn.Module) -> tuple[str, ...]:
    """Paths of the modules that hold no other module, in the order of declaration; the model itself is ``""``.

    Example:
        >>> leaves(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Flatten())))
        ('0', '1.0', '1.1')
    """
    return tuple(name for name, module in model.named_modules() if not any(module.children()))


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module of that path.

    Raises:
        ValueError: There is none; the nearest paths are named.

    Example:
        >>> find_layer(nn.Sequential(nn.ReLU()), "O")
        Traceback (most recent call last):
        ValueError: unknown layer 'O'; expected one of: 0.
    """
    known: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    if layer not in known:
        raise unknown_name("layer", layer, [name for name in known if name])
    return known[layer]


def activations(
    model: nn.Module, inputs: Tensor, layers: Sequence[str] | None = None, *, batch_size: int = 256
) -> dict[str, Tensor]:
    """What layers give for images.

    Each value is copied at the moment it is given, so a layer that later works in place does not change it. A module
    that runs several times has a row for each: ``relu``, ``relu#2``, ``relu#3``.

    Args:
        model: Used where it is, in eval mode, and left as it was; no hook stays, also when it raises.
        inputs: ``(N, C, H, W)`` float, as the model sees them.
        layers: Paths of modules, as in ``model.named_modules()``; None takes every leaf that gives a tensor.
        batch_size: Images at a time.

    Returns:
        ``{path: (N, ...)}`` in the order in which the layers run, detached, on the CPU.

    Raises:
        ValueError: No images, or an unknown layer; or one that does not run, or does not give a row for each image.
        TypeError: A layer that was named gives something else than a tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(72, 10))
        >>> {layer: tuple(x.shape) for layer, x in activations(net, torch.zeros(5, 1, 8, 8)).items()}
        {'0': (5, 2, 6, 6), '1': (5, 2, 6, 6), '2': (5, 72), '3': (5, 10)}
    """
    return collect(model, inputs, layers, batch_size=batch_size)


def collect(
    model: nn.Module,
    inputs: Tensor,
    layers: Sequence[str] | None = None,
    *,
    batch_size: int = 256,
    reduce: Reduce | None = None,
) -> dict[str, Tensor]:
    """``activations`` with a function that makes each batch smaller before it is kept."""
    check_images(inputs, batch_size)
    return collect_from(model, torch.split(inputs, batch_size), layers, reduce=reduce)


def collect_from(
    model: nn.Module, parts: Iterable[Tensor], layers: Sequence[str] | None, *, reduce: Reduce | None = None
) -> dict[str, Tensor]:
    """``collect`` from batches that are made one after the other."""
    wanted = find_layers(model, layers)
    kept: dict[str, list[Tensor]] = {}
    with undisturbed(model) as device, torch.no_grad():
        for x in parts:
            for name, value in answers(model, x.to(device), wanted, strict=layers is not None, reduce=reduce):
                kept.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in kept.items()}


def find_layers(model: nn.Module, layers: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules of these paths; None takes every leaf.

    Raises:
        ValueError: There is none of that path.
    """
    return {name: find_layer(model, name) for name in (leaves(model) if layers is None else layers)}


def answers(
    model: nn.Module, x: Tensor, wanted: dict[str, nn.Module], *, strict: bool, reduce: Reduce | None = None
) -> list[tuple[str, Tensor]]:
    """Names and values of one batch in the order of running; the caller sees to it that the model is undisturbed.

    Args:
        model: Run once.
        x: ``(N, C, H, W)`` float on the model's device.
        wanted: Modules by their paths.
        strict: Whether a module is refused that does not run, or gives no tensor with a row for each image.
        reduce: See ``collect``.
    """
    seen: list[tuple[str, Tensor]] = []
    calls: dict[str, int] = {}

    def listen(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if not isinstance(output, Tensor) or not output.ndim or len(output) != len(x):
                if strict:
                    raise _refuse(name, output, len(x))
                return
            calls[name] = calls.get(name, 0) + 1
            value = output.detach() if reduce is None else reduce(output.detach())
            key = name if calls[name] == 1 else f"{name}#{calls[name]}"
            seen.append((key, value.to("cpu", copy=True)))

        return hook

    handles = [module.register_forward_hook(listen(name)) for name, module in wanted.items()]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    silent = [name for name in wanted if name not in calls] if strict else []
    if silent:
        raise ValueError(f"layer {silent[0]!r} does not run when the model is given images")
    return seen


def _refuse(name: str, output: object, count: int) -> Exception:
    if isinstance(output, Tensor):
        return ValueError(f"layer {name!r} gives shape {tuple(output.shape)}, and no row for each of {count} images")
    return TypeError(f"layer {name!r} gives a {type(output).__name__}; expected a tensor: name a layer inside it")


def filters(model: nn.Module) -> dict[str, Tensor]:
    """The weights of every two-dimensional convolution.

    Returns:
        ``{path: (C_out, C_in / groups, k_h, k_w)}`` in the order of declaration: copies, float32, on the CPU.

    Raises:
        ValueError: The model has no convolution, or weights that are NaN, infinite or not yet made.

    Example:
        >>> {layer: tuple(w.shape) for layer, w in filters(nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU())).items()}
        {'0': (6, 1, 5, 5)}
    """
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if isinstance(module.weight, nn.UninitializedParameter):
            raise ValueError(f"layer {name!r} is lazy and has no weights yet; give the model an image first")
        if not bool(module.weight.isfinite().all()):
            raise ValueError(f"there is NaN or infinity in the weights of layer {name!r}")
        found[name] = module.weight.detach().to("cpu", torch.float32, copy=True)
    if not found:
        raise ValueError(f"{type(model).__name__} has no convolution (no nn.Conv2d), so it has no filters to show")
    return found
