"""torchvision as an oracle beside a PyTorch that was built for the CPU only.

torchvision's wheel carries compiled operators for CUDA. Without CUDA they do not load, and its Python code, which
describes the shapes of these operators at import, then finds none of them. Here their names are declared first,
with no implementation; the networks need none.
"""

import importlib
import importlib.util
import re
from pathlib import Path

import torch

INSTALL = "torchvision is not installed; beside torch 2.13: pip install --no-deps torchvision==0.28.0"

_library = torch.library.Library("torchvision", "FRAGMENT")  # declarations live as long as it does


def is_installed():
    return importlib.util.find_spec("torchvision") is not None


def import_networks():
    """``torchvision.models``; it must be installed."""
    if not torch.version.cuda:
        folder = Path(importlib.util.find_spec("torchvision").origin).parent
        source = (folder / "_meta_registrations.py").read_text()
        for name in set(re.findall(r'register_(?:meta|fake)\(\s*"(?:torchvision::)?(\w+)"', source)):
            if not hasattr(torch.ops.torchvision, name):
                _library.define(f"{name}(Tensor x) -> Tensor")
    return importlib.import_module("torchvision.models")
