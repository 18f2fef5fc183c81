"""How far a layer sees in effect: from gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.measure.receptive import LayerField, receptive_field
from convscope.measure.summary import not_numbers
from convscope.measure.tracing import full_size, materialised, untouched


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """How much every pixel of the image moves the centre unit of a layer, and where it could at all.

    Args:
        influence: ``(H, W)`` float64: the gradient's size, averaged over images and image channels.
        sigma: Standard deviation of the influence along ``(H, W)``, in pixels.
        theory: The exact receptive field of the same unit.
        images: How many were averaged.
    """

    influence: Tensor
    sigma: tuple[float, float]
    theory: LayerField
    images: int

    @property
    def share(self) -> float:
        """Width at 2 sigma to both sides, over the width of the theoretical field, along ``H``."""
        return 4 * self.sigma[0] / self.theory.size[0]


def effective_receptive_field(
    model: nn.Module, images: Tensor | Sequence[int], layer: str | None = None, *, count: int = 16
) -> EffectiveField:
    """How strongly each pixel really moves the centre of a layer: mostly a blob much smaller than the exact field.

    The centre unit's channels are added up, and the size of its gradient is averaged over images and their channels.

    Args:
        model: Any module that takes one batch of images; it is run in eval mode and left as it was.
        images: ``(N, C, H, W)`` as the network takes them, or a size ``(C, H, W)`` for images of random numbers.
        layer: Path of a module. Default: the last one before a layer that looks at everything.
        count: How many random images.

    Raises:
        ValueError: See ``receptive_field``; or weights that are NaN or have no values, or a unit that nothing moves.

    Example:
        >>> blurs = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(6)))
        >>> _ = [nn.init.constant_(conv.weight, 1 / 9) for conv in blurs]
        >>> round(effective_receptive_field(blurs, (1, 31, 31)).sigma[0], 6)
        2.0

    Source:
        Luo, Li, Urtasun and Zemel, "Understanding the effective receptive field in deep convolutional neural
        networks", 2016.
    """
    if not isinstance(images, Tensor):
        size = full_size(images)
        images = torch.randn((count, *size[1:]), generator=torch.Generator().manual_seed(0))
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), got {tuple(images.shape)}")
    theory = receptive_field(model, (1, *images.shape[1:]), layer)
    broken = not_numbers(model)
    if broken:
        raise ValueError(
            f"weights hold NaN, so gradients say nothing: {', '.join(broken[:3])}; train again from before"
        )
    gradient = _centre_gradient(materialised(model, (1, *images.shape[1:])), images, theory)
    influence = gradient.abs().double().mean((0, 1)).cpu()  # N,C,H,W -> H,W
    if not bool(influence.sum() > 0):
        raise ValueError(
            f"nothing moves the centre of {theory.layer!r}: its gradient is zero everywhere; try other images"
        )
    return EffectiveField(influence, (_deviation(influence.sum(1)), _deviation(influence.sum(0))), theory, len(images))


def _centre_gradient(model: nn.Module, images: Tensor, theory: LayerField) -> Tensor:
    """Of the sum over images and channels of the layer's chosen unit, for every pixel: ``(N, C, H, W)``."""
    weight = next(model.parameters(), torch.empty(0))
    if weight.is_meta:
        raise ValueError("the weights are on the meta device and have no values; create the network on a real one")
    captured: list[Tensor] = []
    row, column = theory.region.unit
    with untouched(model), torch.inference_mode(False), torch.enable_grad():
        for module in model.modules():
            vars(module)["training"] = False
        x = images.detach().to(weight.device, weight.dtype if weight.numel() else images.dtype).requires_grad_()
        handle = model.get_submodule(theory.layer).register_forward_hook(lambda *call: captured.append(_first(call[2])))
        try:
            model(x.clone())  # a copy, because the first layer may work in place
        finally:
            handle.remove()
        out = captured[-1]
        centre = out[..., row, column] if out.ndim == 4 else out
        (gradient,) = torch.autograd.grad(centre.sum(), x)
    return gradient


def _first(result: object) -> Tensor:
    """The first tensor of what a module returned, as it is now: a later layer may write into it."""
    while not isinstance(result, Tensor):
        result = next(iter(result.values() if isinstance(result, dict) else result))  # type: ignore[call-overload]
    return result.clone()


def _deviation(weights: Tensor) -> float:
    """Standard deviation of positions ``0, 1, ...`` that have these weights."""
    places = torch.arange(len(weights), dtype=torch.float64)
    share = weights / weights.sum()
    middle = (share * places).sum()
    return float((share * (places - middle) ** 2).sum().sqrt())
