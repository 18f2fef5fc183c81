"""What a network consists of, walked through once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_LAZY = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)


def _of_script(module: nn.Module) -> dict[str, dict[str, Any]]:
    """What a module holds that was made by TorchScript, which keeps it elsewhere.

    Raises:
        TypeError: It is another module whose ``__init__`` did not call ``super().__init__()``.
    """
    if not isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"{type(module).__name__} is no complete nn.Module: call super().__init__() first in its __init__"
        )
    return {
        "_parameters": dict(module.named_parameters(recurse=False)),
        "_buffers": dict(module.named_buffers(recurse=False)),
        "_modules": dict(module.named_children()),
    }


@dataclass(frozen=True, eq=False)
class Inventory:
    """Modules and tensors of a network, each once, under the first name that leads to it.

    Args:
        model: The network.
        modules: By path; ``""`` is the network itself.
        parameters: By name.
        buffers: By name.
    """

    model: nn.Module
    modules: dict[str, nn.Module]
    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> Inventory:
        """Walk through a network."""
        modules: dict[str, nn.Module] = {}
        parameters: dict[str, nn.Parameter] = {}
        buffers: dict[str, Tensor] = {}
        met: set[int] = set()
        waiting: list[tuple[str, nn.Module]] = [("", model)]
        while waiting:
            path, module = waiting.pop()
            if id(module) in met:
                continue
            met.add(id(module))
            modules[path] = module
            start = f"{path}." if path else ""
            attributes = vars(module) if "_parameters" in vars(module) else _of_script(module)
            for kind, found in (("_parameters", parameters), ("_buffers", buffers)):
                for name, tensor in attributes[kind].items():
                    if tensor is not None and id(tensor) not in met:
                        met.add(id(tensor))
                        found[start + name] = tensor
            children = [(start + name, child) for name, child in attributes["_modules"].items() if child is not None]
            waiting.extend(reversed(children))
        return cls(model, modules, parameters, buffers)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (*self.parameters.values(), *self.buffers.values())

    @property
    def lazy(self) -> str | None:
        """The first parameter or buffer that does not know its shape yet; None when all do."""
        named = (*self.parameters.items(), *self.buffers.items())
        return next((name for name, tensor in named if isinstance(tensor, _LAZY)), None)
