"""Looking at a network without leaving a trace, and reading what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convscope.measure.tracing.guard import set_mode, untouched
from convscope.measure.tracing.inventory import Inventory

if TYPE_CHECKING:
    from convscope.data import Preprocess


def device_of(model: nn.Module) -> torch.device:
    """Where the model lives, by its first parameter or buffer; the CPU when it has neither."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[torch.device]:
    """Put a model in eval mode for a while; afterwards it is as it was, also when something raises.

    What comes back is what ``tracing.untouched`` lists: modes, parameters, buffers, gradients, attributes, hooks and
    random numbers. All weights are copied for it, because writes into them are not watched here.

    Args:
        model: On any device, where it stays.

    Yields:
        The device to bring inputs to.

    Raises:
        ValueError: A layer is lazy: it has no weights before it has seen a batch.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Flatten())
        >>> with undisturbed(net) as device:
        ...     net.training, device.type
        (False, 'cpu')
        >>> net.training
        True
    """
    inventory = Inventory.of(model)
    if inventory.lazy:
        raise ValueError(
            f"{inventory.lazy} has no shape before the network has seen images: call the model on one batch first"
        )
    device = device_of(model)
    with untouched(inventory) as originals:
        originals.keep_all()
        set_mode(inventory, training=False)
        yield device


@contextmanager
def recording() -> Iterator[None]:
    """Record operations for gradients whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def check_images(images: Tensor, batch_size: int = 1) -> None:
    """Refuse an empty batch, and whatever is no batch of images.

    Raises:
        ValueError: Not ``(N, C, H, W)``, ``N`` is 0, or ``batch_size`` is below 1.
    """
    if images.ndim != 4:
        raise ValueError(f"expected images (N, C, H, W), got shape {tuple(images.shape)}")
    if not len(images):
        raise ValueError("there is nothing to look at: expected at least one image, got none")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def batches(
    images: Tensor, preprocess: Preprocess, *, batch_size: int, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Yield ``(n, C, H, W)`` float32, ready for the network, from ``(N, C, h, w)`` uint8.

    Raises:
        ValueError: There are no images, or ``batch_size`` is below 1.
    """
    check_images(images, batch_size)
    for start in range(0, len(images), batch_size):
        yield preprocess(images[start : start + batch_size].to(device))


def scores(model: nn.Module, inputs: Tensor) -> Tensor:
    """Class scores ``(N, K)`` float32 of a model, or one sentence that says why there are none.

    Raises:
        TypeError: The model gives something else than a tensor.
        ValueError: The tensor is no ``(N, K)``, or holds NaN or infinity.
    """
    output: object = model(inputs)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"expected the model to give one tensor of scores (N, K), got a {type(output).__name__}; "
            "wrap it in a module whose forward gives only the scores"
        )
    if output.ndim != 2 or len(output) != len(inputs):
        raise ValueError(
            f"expected the model to give scores (N, K) for {len(inputs)} images, got shape {tuple(output.shape)}"
        )
    output = output.float()
    if not bool(output.isfinite().all()):
        raise ValueError(f"the model gives scores that are no numbers: {_where_not_finite(model)}")
    return output


def _where_not_finite(model: nn.Module) -> str:
    names = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if not names:
        return "its weights are finite, so the inputs are not, or a layer divides by zero or overflows"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"there is NaN or infinity in its weights {', '.join(names[:3])}{more}"
