"""The names of the book's library for PyTorch, ``from d2l import torch as d2l``, over our engine.

Everything that the convolutional chapters use is here: names that the book's markdown uses for PyTorch's own are in
``tensors``. Names of other chapters raise an ``AttributeError`` that says where they belong and what serves instead.
Modules that the book's library happens to hold (``d2l.nn``, ``d2l.plt``, ``d2l.np`` ...) are here too; those that take
long to load are loaded when asked for.
"""

import collections
import inspect
import math
import os
import random
import re
import time
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from convscope.d2l.board import ProgressBoard
from convscope.d2l.datamodule import DataModule
from convscope.d2l.devices import cpu, gpu, num_gpus, try_all_gpus, try_gpu
from convscope.d2l.drawing import Animator, plot, set_axes, set_figsize, show_images, use_svg_display
from convscope.d2l.elsewhere import missing
from convscope.d2l.fashion import FashionMNIST
from convscope.d2l.hyper import HyperParameters, add_to_class
from convscope.d2l.legacy import (
    accuracy,
    evaluate_accuracy_gpu,
    get_dataloader_workers,
    get_fashion_mnist_labels,
    load_data_fashion_mnist,
    train_ch6,
)
from convscope.d2l.module import Classifier, Module
from convscope.d2l.networks import LeNet, Residual, ResNeXtBlock, corr2d, init_cnn
from convscope.d2l.tensors import (
    abs,
    arange,
    argmax,
    astype,
    batch_matmul,
    concat,
    cos,
    cosh,
    exp,
    expand_dims,
    eye,
    float32,
    int32,
    int64,
    linspace,
    log,
    matmul,
    meshgrid,
    nn_Module,
    normal,
    numpy,
    ones,
    ones_like,
    rand,
    randn,
    reduce_mean,
    reduce_sum,
    repeat,
    reshape,
    sigmoid,
    sin,
    sinh,
    size,
    stack,
    swapaxes,
    tanh,
    tensor,
    to,
    transpose,
    zeros,
    zeros_like,
)
from convscope.d2l.timing import Accumulator, Timer
from convscope.d2l.trainer import Trainer

_LOADED_LATER = {
    "Image": ("PIL.Image", "pillow"),
    "backend_inline": ("matplotlib_inline.backend_inline", "matplotlib-inline"),
    "data": ("torch.utils.data", "torch"),
    "display": ("IPython.display", "ipython"),
    "np": ("numpy", "numpy"),
    "pd": ("pandas", "pandas"),
    "plt": ("matplotlib.pyplot", "matplotlib"),
    "requests": ("requests", "requests"),
    "torchvision": ("torchvision", "torchvision"),
    "transforms": ("torchvision.transforms", "torchvision"),
}
"""Names of modules: where each comes from, and what to install for it."""


def __getattr__(name: str) -> Any:
    """A module that is loaded now, or the words for a name that is not here.

    Raises:
        AttributeError: There is no such name; the message says what serves instead.
    """
    if name.startswith("__"):  # what Python itself looks for in a module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _LOADED_LATER:
        raise missing(name, __dir__())
    module, package = _LOADED_LATER[name]
    try:
        loaded = import_module(module)
    except ImportError as error:
        raise AttributeError(f"d2l.{name} is {module}, which could not be loaded; pip install {package}") from error
    globals()[name] = loaded
    return loaded


def __dir__() -> list[str]:
    return sorted({name for name in globals() if not name.startswith("_")} | set(_LOADED_LATER))


__all__ = [
    "Accumulator",
    "Animator",
    "Classifier",
    "DataModule",
    "F",
    "FashionMNIST",
    "HyperParameters",
    "LeNet",
    "Module",
    "ProgressBoard",
    "ResNeXtBlock",
    "Residual",
    "Timer",
    "Trainer",
    "abs",
    "accuracy",
    "add_to_class",
    "arange",
    "argmax",
    "astype",
    "batch_matmul",
    "collections",
    "concat",
    "corr2d",
    "cos",
    "cosh",
    "cpu",
    "evaluate_accuracy_gpu",
    "exp",
    "expand_dims",
    "eye",
    "float32",
    "get_dataloader_workers",
    "get_fashion_mnist_labels",
    "gpu",
    "init_cnn",
    "inspect",
    "int32",
    "int64",
    "linspace",
    "load_data_fashion_mnist",
    "log",
    "math",
    "matmul",
    "meshgrid",
    "nn",
    "nn_Module",
    "normal",
    "num_gpus",
    "numpy",
    "ones",
    "ones_like",
    "os",
    "plot",
    "rand",
    "randn",
    "random",
    "re",
    "reduce_mean",
    "reduce_sum",
    "repeat",
    "reshape",
    "set_axes",
    "set_figsize",
    "show_images",
    "sigmoid",
    "sin",
    "sinh",
    "size",
    "stack",
    "swapaxes",
    "tanh",
    "tensor",
    "time",
    "to",
    "torch",
    "train_ch6",
    "transpose",
    "try_all_gpus",
    "try_gpu",
    "use_svg_display",
    "zeros",
    "zeros_like",
]
