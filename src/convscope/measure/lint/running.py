"""Apply the rules to a network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from convscope.measure.lint.finding import SEVERITIES, Finding
from convscope.measure.lint.network import Network
from convscope.measure.lint.registry import RULES, chosen
from convscope.measure.tracing import full_size, materialised, trace

if TYPE_CHECKING:
    from convscope.data import Preprocess


def _inputs(images: Tensor, size: tuple[int, ...], preprocess: Preprocess | None) -> Tensor:
    """Images as the network sees them.

    Raises:
        TypeError: No tensor.
        ValueError: Another shape than was said, none at all, or bytes without a ``preprocess``.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor (N, C, H, W), got {type(images).__name__}")
    if preprocess is not None:
        images = preprocess(images)
    elif not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}: give preprocess=, which makes of them what the network sees")
    if images.ndim != 4 or tuple(images.shape[1:]) != size[1:] or not len(images):
        expected = ", ".join(map(str, size[1:]))
        raise ValueError(f"expected images (N, {expected}) as input_size says, got shape {tuple(images.shape)}")
    return images


def lint(
    model: nn.Module,
    input_size: Sequence[int],
    *,
    images: Tensor | None = None,
    preprocess: Preprocess | None = None,
    only: Collection[str] | None = None,
    ignore: Collection[str] = (),
) -> list[Finding]:
    """Look for what its author may not have meant in a network, which is left as it was, bit for bit.

    Shapes are looked at on ``meta``. Rules that need values run when the weights have some; of these, the one about
    dead ReLUs runs the network on ``images``, or on a few random ones.

    Args:
        model: Any module that takes one batch of images. Lazy layers are made real on a copy.
        input_size: ``(C, H, W)`` in pixels, or ``(N, C, H, W)``.
        images: ``(N, C, H, W)``, float as the network sees them, or uint8 with a ``preprocess``.
        preprocess: Makes of bytes what the network sees.
        only: Names of the rules to apply. Default: all; they are in ``RULES``.
        ignore: Names of the rules to leave out.

    Returns:
        Findings, errors first, then warnings, then what is good to know. Where rules could not be applied, because
        the weights have no values, the last finding is named ``not-applied`` and says which.

    Raises:
        TypeError: ``model`` is no module, ``images`` no tensor, or ``input_size`` holds other than whole numbers.
        ValueError: The network refuses images of this size, the images have another, or there is no such rule.

    Example:
        >>> conv, thin = nn.Conv2d(1, 4, kernel_size=3, padding=1), nn.Conv2d(4, 4, kernel_size=1, stride=2)
        >>> net = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(), thin)
        >>> for finding in lint(net, (1, 9, 9)):
        ...     print(finding)
        warning: skipped-pixels at 3: a 1x1 kernel with stride 2x2 reads 1 of 4 pixels.
        info: bias-before-norm at 0: its 4 biases are cancelled by 1.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}; call the class to make one")
    rules, size = chosen(only, ignore), full_size(input_size)
    inputs = None if images is None else _inputs(images, size, preprocess)
    real = materialised(model, size)
    network = Network(real, trace(real, size), inputs)
    empty = next((name for name, t in (*real.named_parameters(), *real.named_buffers()) if t.is_meta), None)
    applied = [r for r in rules if empty is None or r.needs == "shapes"]
    order = {name: i for i, name in enumerate(RULES)}
    found = [finding for each in applied for finding in each.findings(network)]
    found.sort(key=lambda f: (SEVERITIES.index(f.severity), order[f.rule]))
    left_out = [r.name for r in rules if r not in applied]
    return [*found, _not_applied(left_out, empty)] if empty and left_out else found


def _not_applied(rules: list[str], empty: str) -> Finding:
    """Says which rules looked at nothing, and why."""
    return Finding(
        "not-applied",
        "info",
        "forward",
        f"{', '.join(rules)} were not applied: {empty} is on the meta device and has no values.",
        "These rules look at the values of weights",
        "Create the network on a real device, or load its weights, and ask again.",
    )
