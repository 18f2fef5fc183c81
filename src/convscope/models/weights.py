"""Weights from files: what torchvision, timm or you saved, read without running anything, and fitted when asked."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError


class WeightsError(ConvscopeError):
    """A file of weights is missing, damaged, unsafe, or does not fit the network."""


@dataclass(frozen=True)
class LoadReport:
    """What became of a file of weights.

    Args:
        loaded: Keys whose values were taken as they are.
        adapted: Keys whose values were fitted to the network, each with a sentence that says how.
        kept: Keys of the network that are not in the file and keep their value (counters of batch norms).
        ignored: Keys of the file that this network has no use for (the extra heads of GoogLeNet).
    """

    loaded: tuple[str, ...]
    adapted: Mapping[str, str]
    kept: tuple[str, ...]
    ignored: tuple[str, ...]


def load_weights(
    model: nn.Module, path: str | Path, *, adapt_head: bool = False, adapt_stem: bool = False
) -> LoadReport:
    """Read a file of weights into a network; either everything fits, or nothing is changed.

    Args:
        model: Any network; those of ``create`` take files of torchvision, and of timm for ResNet, ResNeXt, DenseNet,
            VGG and RegNetX.
        path: A ``.safetensors`` file, or ``.pt`` or ``.pth`` as ``torch.save`` writes it.
        adapt_head: When the file has another number of classes, leave the last layer (or all of a module called
            ``head``) as it was drawn.
        adapt_stem: When the file has another number of image channels, give each channel of the first convolution
            the sum over the file's channels, divided by the number of new ones. So one grey channel gives what the
            same picture in three equal channels gave.

    Returns:
        What was loaded, adapted, kept and ignored.

    Raises:
        WeightsError: The file is missing, damaged, wants to run code, or does not fit; every key that is missing,
            unexpected or of another shape is named.

    Example:
        >>> import tempfile
        >>> from convscope.models import create
        >>> grey, colour = create("lenet"), create("lenet", in_channels=3, num_classes=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "lenet.safetensors"
        ...     safetensors.torch.save_file(grey.state_dict(), file)
        ...     report = load_weights(colour, file, adapt_head=True, adapt_stem=True)
        >>> len(report.loaded), sorted(report.adapted)
        (7, ['classifier.5.bias', 'classifier.5.weight', 'features.0.weight'])
    """
    path = Path(path)
    if any(value.is_meta for value in model.state_dict().values()):
        raise WeightsError(
            f"{path} was not read: the network is on device meta and holds no values; create it on another"
        )
    found = _as_torchvision(_read(path))
    optional = tuple(getattr(model, "optional_weights", ()))
    ignored = tuple(key for key in found if optional and key.startswith(optional))
    for key in ignored:
        del found[key]

    own = model.state_dict()
    adapted: dict[str, str] = {}
    if adapt_stem:
        adapted |= _adapt_stem(model, own, found)
    if adapt_head:
        adapted |= _adapt_head(model, own, found)
    counters = tuple(k for k in own if k not in found and k.endswith("num_batches_tracked"))
    found |= {key: own[key] for key in counters}  # files from before PyTorch 0.4.1 have none
    _refuse_misfits(path, own, found)
    model.load_state_dict(found)
    loaded = tuple(k for k in own if k not in adapted and k not in counters)
    return LoadReport(loaded, adapted, counters, ignored)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, whatever wraps them."""
    if not path.is_file():
        raise WeightsError(f"there is no file of weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):  # these bytes are no pickle at all
            raise WeightsError(f"{path} is damaged or no file of weights") from error
        raise WeightsError(
            f"{path} holds more than tensors, and opening it could run code; it was not opened. Ask for a "
            ".safetensors file, or save only the state_dict() where you trust the file"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, LookupError) as error:
        raise WeightsError(f"{path} is damaged or no file of weights: {error}") from error
    return _unwrap(path, content)


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    """Training scripts put the weights beside other things, and wrappers put a word before every key."""
    while isinstance(content, Mapping):
        inner = [content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    named = isinstance(content, Mapping) and all(isinstance(k, str) for k in content)
    if not named or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"expected a state_dict in {path}: tensors by name; got {type(content).__name__}")
    for prefix in _common_prefixes(content):
        content = {key.removeprefix(prefix): value for key, value in content.items()}
    return dict(content)


def _common_prefixes(content: Mapping[str, Any]) -> list[str]:
    """Words of wrappers that stand before every key, from the outside in, in whatever order they were wrapped."""
    found, rest = [], list(content)
    while prefix := next((p for p in _WRAPPERS if all(key.startswith(p) for key in rest)), None):
        found.append(prefix)
        rest = [key.removeprefix(prefix) for key in rest]
    return found


_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile
_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # torchvision's DenseNet files from before module names could not hold a dot
    (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
    # timm's VGG: dense layers written as convolutions
    (r"^pre_logits\.fc1\.", "classifier.0."),
    (r"^pre_logits\.fc2\.", "classifier.3."),
    # timm's RegNet
    (r"^stem\.conv\.", "stem.0."),
    (r"^stem\.bn\.", "stem.1."),
    (r"^s(\d)\.b(\d+)\.", lambda m: f"trunk_output.block{m[1]}.block{m[1]}-{int(m[2]) - 1}."),
    (r"(block\d-\d+)\.conv([123])\.", lambda m: f"{m[1]}.f.{'abc'[int(m[2]) - 1]}."),
    (r"(block\d-\d+)\.downsample\.", r"\1.proj."),
    (r"(block\d-\d+\.(?:f\.[abc]|proj))\.conv\.", r"\1.0."),
    (r"(block\d-\d+\.(?:f\.[abc]|proj))\.bn\.", r"\1.1."),
)


def _as_torchvision(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under torchvision's names, which are ours."""
    head = "classifier.6." if any(key.startswith("pre_logits.") for key in found) else "fc."
    renamed = {}
    for key, value in found.items():
        for pattern, name in ((r"^head\.fc\.", head), *_NAMES):
            key = re.sub(pattern, name, key)
        if key.startswith("classifier.") and value.ndim == 4:  # timm's VGG: out,in,7,7 -> out,in*7*7
            value = value.flatten(1)
        renamed[key] = value
    return renamed


def _adapt_stem(model: nn.Module, own: Mapping[str, Tensor], found: dict[str, Tensor]) -> dict[str, str]:
    """Fit the first convolution to another number of channels; nothing happens where it fits."""
    first = next((name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)), None)
    key = f"{first}.weight"
    if first is None or key not in found or found[key].ndim != 4:
        return {}
    weight, channels = found[key], own[key].shape[1]
    if weight.shape[1] == channels:
        return {}
    found[key] = weight.sum(dim=1, keepdim=True).div(channels).expand(-1, channels, -1, -1).contiguous()
    return {key: f"sum over {weight.shape[1]} channels, divided by {channels}"}


def _adapt_head(model: nn.Module, own: Mapping[str, Tensor], found: dict[str, Tensor]) -> dict[str, str]:
    """Keep the head as it is where only its number of classes differs; nothing happens where it fits.

    The head is the module called ``head``, where a network has one, and the last layer otherwise.
    """
    layers = [name for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    head = "head" if hasattr(model, "head") else layers[-1] if layers else ""
    keys = [key for key in own if head and key.startswith(f"{head}.") and key in found]
    if not keys or all(own[k].shape == found[k].shape for k in keys):
        return {}
    (ours, *fan_in), (theirs, *their_fan_in) = own[keys[0]].shape, found[keys[0]].shape
    if fan_in != their_fan_in:
        return {}
    for key in keys:
        found[key] = own[key]
    return dict.fromkeys(keys, f"kept as drawn: the file has {theirs} classes, the network {ours}")


def _refuse_misfits(path: Path, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Name every key that keeps the file from fitting."""
    missing = [key for key in own if key not in found]
    unexpected = [key for key in found if key not in own]
    shapes = [
        f"{key} (file {tuple(found[key].shape)}, network {tuple(own[key].shape)})"
        for key in own
        if key in found and own[key].shape != found[key].shape
    ]
    integers = [
        f"{key} ({found[key].dtype})"
        for key in own
        if key in found and own[key].is_floating_point() and not found[key].is_floating_point()
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "not of floats": integers}
    lines = [f"  {what}: {', '.join(keys)}" for what, keys in problems.items() if keys]
    if not lines:
        return
    if shapes and not missing and not unexpected:
        lines.append("  another number of classes or of image channels is fitted by adapt_head=True or adapt_stem=True")
    raise WeightsError("\n".join([f"{path} does not fit this network; nothing was loaded", *lines]))
