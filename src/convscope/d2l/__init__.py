"""The names of "Dive into Deep Learning" over our engine.

``torch``     every name, as ``from d2l import torch as d2l`` offers them
``activate``  makes that line find ours
``limits``    shorter training for a quick look, without a change to the program
``runs``      a run folder for each training, without a change to the program
``markdown``  the book's own files, taken apart into cells

``from convscope import d2l`` serves as well: a name that is asked for here is looked up in ``torch``, which is loaded
then and not before, because what only reads files has no need of PyTorch.
"""

from importlib import import_module
from typing import Any

_MODULES = ("activate", "finder", "limits", "markdown", "runs", "torch")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # what Python itself looks for in a package
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.torch"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(import_module(f"{__name__}.torch"))})


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext convscope.d2l``: from here on ``from d2l import torch as d2l`` finds ours."""
    import_module(f"{__name__}.finder").activate(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext convscope.d2l``: the next import of ``d2l`` finds whatever is installed."""
    import_module(f"{__name__}.finder").deactivate(shell)
