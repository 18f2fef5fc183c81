"""Networks by name: one file per family, one registry."""

from convscope.models import lenet as _lenet  # noqa: F401 - importing a family registers it
from convscope.models.registry import ModelInfo, ModelSpec, create, info, names, register

__all__ = ["ModelInfo", "ModelSpec", "create", "info", "names", "register"]
