"""What a network consists of, walked through once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Inventory:
    """Modules and tensors of a network, each once, under the first name that leads to it.

    Args:
        model: The network.
        modules: By path; ``""`` is the network itself.
        parameters: By name.
        buffers: By name.
        others: Tensors that are plain attributes of modules.
    """

    model: nn.Module
    modules: dict[str, nn.Module]
    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]
    others: tuple[Tensor, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Inventory:
        """Walk through a network."""
        modules: dict[str, nn.Module] = {}
        parameters: dict[str, nn.Parameter] = {}
        buffers: dict[str, Tensor] = {}
        others: list[Tensor] = []
        met: set[int] = set()
        waiting: list[tuple[str, nn.Module]] = [("", model)]
        while waiting:
            path, module = waiting.pop()
            if id(module) in met:
                continue
            met.add(id(module))
            modules[path] = module
            start = f"{path}." if path else ""
            attributes = vars(module)
            for kind, found in (("_parameters", parameters), ("_buffers", buffers)):
                for name, tensor in attributes[kind].items():
                    if tensor is not None and id(tensor) not in met:
                        met.add(id(tensor))
                        found[start + name] = tensor
            others.extend(value for value in attributes.values() if isinstance(value, Tensor))
            children = [(start + name, child) for name, child in attributes["_modules"].items() if child is not None]
            waiting.extend(reversed(children))
        return cls(model, modules, parameters, buffers, tuple(others))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (*self.parameters.values(), *self.buffers.values(), *self.others)

    @property
    def lazy(self) -> bool:
        """Whether a layer does not know its shape yet."""
        return any(nn.parameter.is_lazy(t) for t in (*self.parameters.values(), *self.buffers.values()))
