"""The short names that the book's markdown files use for PyTorch's own functions and methods.

In the published notebooks they are written out; a program may use either form.
"""

# Programs find them as d2l.abs, d2l.float32 ...: what they hide in this module is wanted nowhere here.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

nn_Module = nn.Module

ones_like = torch.ones_like
ones = torch.ones
zeros_like = torch.zeros_like
zeros = torch.zeros
tensor = torch.tensor
arange = torch.arange
meshgrid = torch.meshgrid
sin = torch.sin
sinh = torch.sinh
cos = torch.cos
cosh = torch.cosh
tanh = torch.tanh
linspace = torch.linspace
exp = torch.exp
log = torch.log
normal = torch.normal
rand = torch.rand
randn = torch.randn
matmul = torch.matmul
int32 = torch.int32
int64 = torch.int64
float32 = torch.float32
concat = torch.cat
stack = torch.stack
abs = torch.abs
eye = torch.eye
sigmoid = torch.sigmoid
batch_matmul = torch.bmm


def numpy(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The numbers of a tensor on the CPU as an array, without its gradient."""
    return x.detach().numpy(*args, **kwargs)


def size(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """How many numbers a tensor has."""
    return x.numel(*args, **kwargs)


def reshape(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.reshape``."""
    return x.reshape(*args, **kwargs)


def to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """``x.to``."""
    return x.to(*args, **kwargs)


def reduce_sum(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.sum``."""
    return x.sum(*args, **kwargs)


def reduce_mean(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.mean``."""
    return x.mean(*args, **kwargs)


def argmax(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.argmax``."""
    return x.argmax(*args, **kwargs)


def astype(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.type``."""
    return x.type(*args, **kwargs)


def transpose(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.t``: rows and columns of a matrix changed about."""
    return x.t(*args, **kwargs)


def expand_dims(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.unsqueeze``."""
    return x.unsqueeze(*args, **kwargs)


def swapaxes(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.swapaxes``."""
    return x.swapaxes(*args, **kwargs)


def repeat(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``x.repeat``."""
    return x.repeat(*args, **kwargs)
