"""PyTorch's optimisers, without waiting for its compiler.

``torch.optim`` tells ``torch.compile`` to keep out of its methods, and imports all of the compiler to say so: one to
two seconds of every training, more than a short one takes. The same methods, unwrapped, do the same work; a network is
compiled in any case apart from its optimiser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as it was written, below what was wrapped around it."""
    written: Callable[..., Any] = inspect.unwrap(method)
    return written


def _plain_step(optimizer: type[Optimizer]) -> Callable[..., Any]:
    """One step, not differentiable itself."""
    return torch.no_grad()(_plain(optimizer.step))


class _Lean(Optimizer):
    """The methods that every optimiser shares."""

    add_param_group = _plain(Optimizer.add_param_group)
    zero_grad = _plain(Optimizer.zero_grad)
    state_dict = _plain(Optimizer.state_dict)
    load_state_dict = _plain(Optimizer.load_state_dict)


class LeanSGD(_Lean, SGD):
    """``torch.optim.SGD``.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = LeanSGD([weight], lr=0.1)
        >>> (2 * weight).sum().backward()
        >>> optimizer.step()
        >>> round(weight.item(), 3)
        0.8
    """

    step = _plain_step(SGD)


class LeanAdamW(_Lean, AdamW):
    """``torch.optim.AdamW``; see ``LeanSGD``."""

    step = _plain_step(AdamW)
