"""Which pixels, and which places of a feature map, a score hangs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.measure.features import find_layer
from convscope.measure.undisturbed import check_images, recording, scores, undisturbed


def _chosen(given: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor]:
    """``(N,)`` scores of the targets, or of the winners, and the ``(N,)`` targets."""
    if targets is None:
        targets = given.argmax(1)
    targets = targets.to(given.device)
    if targets.shape != given.shape[:1]:
        raise ValueError(f"expected one target for each of {len(given)} images, got shape {tuple(targets.shape)}")
    if int(targets.min()) < 0 or int(targets.max()) >= given.shape[1]:
        raise ValueError(f"expected targets in 0..{given.shape[1] - 1}, got {int(targets.min())}..{int(targets.max())}")
    return given.gather(1, targets[:, None]).squeeze(1), targets


def _parts(inputs: Tensor, targets: Tensor | None, batch_size: int) -> list[tuple[Tensor, Tensor | None]]:
    check_images(inputs, batch_size)
    if targets is not None and targets.shape != inputs.shape[:1]:
        raise ValueError(f"expected one target for each of {len(inputs)} images, got shape {tuple(targets.shape)}")
    starts = range(0, len(inputs), batch_size)
    return [(inputs[i : i + batch_size], None if targets is None else targets[i : i + batch_size]) for i in starts]


def input_gradients(
    model: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, batch_size: int = 100
) -> Tensor:
    """The gradient of a class score with respect to every pixel; its absolute value is called saliency.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, in eval mode, and left as it was.
        inputs: ``(N, C, H, W)`` float, as the model sees them.
        targets: ``(N,)`` int64, the classes to ask for; None asks for the one with the highest score.
        batch_size: Images at a time.

    Returns:
        ``(N, C, H, W)`` float32 on the CPU: score per unit of input, positive where more of it raises the score.

    Raises:
        ValueError: No images, targets that do not fit, or scores that are no numbers or do not hang on the input.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> got = input_gradients(net, torch.rand(1, 1, 2, 2), torch.tensor([1]))
        >>> torch.equal(got.flatten(), net[1].weight[1])
        True

    Source:
        Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", 2013.
    """
    gradients = []
    with undisturbed(model) as device, recording():
        for part, wanted in _parts(inputs, targets, batch_size):
            x = part.detach().to(device).float().clone().requires_grad_()
            chosen, _ = _chosen(scores(model, x), wanted)
            if not chosen.requires_grad:
                raise ValueError("the scores do not hang on the images by any operation that has a gradient")
            (gradient,) = torch.autograd.grad(chosen.sum(), x)
            gradients.append(gradient.detach().cpu())
    return torch.cat(gradients)


@dataclass(frozen=True, eq=False)
class GradCam:
    """Where in a feature map the evidence for a class is.

    Args:
        maps: ``(N, h, w)`` float32, 0 or above, at the size of the layer's feature maps.
        layer: Its path.
        targets: ``(N,)`` int64, the classes that were asked for.
    """

    maps: Tensor
    layer: str
    targets: Tensor

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """``(N, H, W)``, bilinear, each image scaled so that its largest value is 1; all 0 stays so."""
        large = F.interpolate(self.maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        return large / large.amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def grad_cam(
    model: nn.Module,
    inputs: Tensor,
    layer: str | None = None,
    targets: Tensor | None = None,
    *,
    batch_size: int = 100,
) -> GradCam:
    """Weigh the channels of a layer by their mean gradient, add them up, and keep what speaks for the class.

    Args:
        model: Maps ``(N, C, H, W)`` to scores ``(N, K)``; used where it is, in eval mode, and left as it was.
        inputs: ``(N, C, H, W)`` float, as the model sees them.
        layer: Path of a module that gives ``(N, c, h, w)``; None takes the last convolution that runs. Of a module
            that runs several times the last run counts.
        targets: ``(N,)`` int64, the classes to ask for; None asks for the one with the highest score.
        batch_size: Images at a time.

    Raises:
        ValueError: No images, no convolution, an unknown layer, targets that do not fit, or a layer that gives no
            feature maps or none that the scores hang on.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        >>> cam = grad_cam(net, torch.rand(2, 1, 8, 8))
        >>> cam.layer, cam.maps.shape, bool((cam.maps >= 0).all())
        ('0', torch.Size([2, 6, 6]), True)

    Source:
        Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
    """
    check_images(inputs, batch_size)
    layer = last_convolution(model, inputs) if layer is None else layer
    module = find_layer(model, layer)
    maps, asked = [], []
    with undisturbed(model) as device, recording():
        for part, wanted in _parts(inputs, targets, batch_size):
            x = part.detach().to(device).float().clone().requires_grad_()
            given, features = _scores_and_features(model, module, layer, x)
            chosen, classes = _chosen(given, wanted)
            (gradient,) = torch.autograd.grad(chosen.sum(), features, allow_unused=True)
            if gradient is None:
                raise ValueError(f"the scores do not hang on what layer {layer!r} gives last")
            weight = gradient.mean((2, 3), keepdim=True)  # n,c,h,w -> n,c,1,1
            maps.append((weight * features).sum(1).relu().detach().float().cpu())  # -> n,h,w
            asked.append(classes.cpu())
    return GradCam(torch.cat(maps), layer, torch.cat(asked))


def last_convolution(model: nn.Module, inputs: Tensor) -> str:
    """The path of the ``Conv2d`` that runs last, which need not be the last that was declared.

    Args:
        model: Used where it is, in eval mode, and left as it was.
        inputs: ``(N, C, H, W)`` float; the first image is enough.

    Raises:
        ValueError: There is none, or none that runs.
    """
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise ValueError(f"{type(model).__name__} has no convolution (no nn.Conv2d); name a layer that gives maps")
    ran: list[str] = []

    def listen(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    handles = [module.register_forward_hook(listen(name)) for name, module in convolutions.items()]
    try:
        with undisturbed(model) as device, torch.no_grad():
            model(inputs[:1].to(device))
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise ValueError(f"no convolution of {type(model).__name__} runs when it is given images; name a layer")
    return ran[-1]


def _scores_and_features(model: nn.Module, module: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The scores, and what the layer gave at its last run, joined by the graph."""
    kept: list[Tensor] = []

    def hook(_: nn.Module, __: object, output: object) -> object:
        if not isinstance(output, Tensor) or output.ndim != 4:
            came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer {layer!r} gives no feature maps (N, c, h, w), but {came}")
        kept.append(output)
        return output.clone()  # so that a later layer which works in place does not change what was kept

    handle = module.register_forward_hook(hook)
    try:
        given = scores(model, x)
    finally:
        handle.remove()
    if not kept:
        raise ValueError(f"layer {layer!r} does not run when the model is given images")
    return given, kept[-1]
