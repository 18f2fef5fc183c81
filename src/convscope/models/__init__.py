"""Networks by name: one file per family, one registry."""

from convscope.models import (  # noqa: F401 - importing a family registers it
    alexnet,
    convscope_net,
    densenet,
    googlenet,
    lenet,
    nin,
    preact,
    regnet,
    resnet,
    resnet_cifar,
    vgg,
)
from convscope.models.registry import Accuracy, ModelInfo, ModelSpec, create, info, names, register
from convscope.models.weights import LoadReport, WeightsError, load_weights

__all__ = [
    "Accuracy",
    "LoadReport",
    "ModelInfo",
    "ModelSpec",
    "WeightsError",
    "create",
    "info",
    "load_weights",
    "names",
    "register",
]
