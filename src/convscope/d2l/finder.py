"""Finds our names where a program says ``from d2l import torch as d2l``.

A finder in front of all others answers for the package ``d2l``, whether the real one is installed or not. Nothing on
the disk is touched, and another process knows nothing of it. In a notebook, commands that would install the real one
over it are left out and say so.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from convscope import __version__
from convscope.d2l import installs
from convscope.d2l.voice import say

BOOK, NAMES, OURS = "d2l", "d2l.torch", "convscope.d2l.torch"
INTERFACE = "1.0.3"
"""The version of the book's library whose names these are."""


class _Package(Loader):
    """Makes the package ``d2l``: empty, as the real one is."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = f"The names of convscope.d2l under the book's name, {BOOK}."
        module.__dict__["__version__"] = f"{INTERFACE}+convscope.{__version__}"


class _Names(Loader):
    """Gives the one module that holds the names, so that what is patched in ``d2l.torch`` is patched in ours."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(OURS)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # its own again, by which importlib.reload finds its file


class BookFinder(MetaPathFinder):
    """Answers for ``d2l`` and everything in it; other names are left to the finders behind."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What stands behind a name.

        Raises:
            ImportError: A part of the book's library other than the one for PyTorch.
        """
        if fullname == BOOK:
            return spec_from_loader(BOOK, _Package(), is_package=True)
        if fullname == NAMES:
            return spec_from_loader(NAMES, _Names())
        if fullname.startswith(f"{BOOK}."):
            raise ImportError(
                f"convscope has the book's names for PyTorch only, got {fullname}; "
                f"write: from d2l import torch as d2l (in the book, choose the tab pytorch)"
            )
        return None


def activate(shell: Any = None) -> None:
    """Let ``d2l`` be ours from here on, and say so on stderr the first time.

    Args:
        shell: The IPython shell whose cells shall not install the real one; None takes the one that runs, if any.

    Raises:
        ImportError: The real ``d2l`` is imported already; what holds it would go on using it.
    """
    there = sys.modules.get(BOOK)
    if there is not None and not isinstance(getattr(there.__spec__, "loader", None), _Package):
        raise ImportError(
            f"the book's own d2l ({_place(there)}) is imported already, and what uses it would go on doing so; "
            "restart Python (in Jupyter: Kernel, Restart) and run `import convscope.d2l.activate` before anything "
            "imports d2l"
        )
    if not _active():
        sys.meta_path.insert(0, BookFinder())
        say(f"from here on `from d2l import torch as d2l` gives convscope.d2l {__version__}; no file was changed")
    shell = _running_shell() if shell is None else shell
    if shell is not None:
        installs.add_to(shell)


def deactivate(shell: Any = None) -> None:
    """Let the next import of ``d2l`` find what is installed; who imported ours keeps it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, BookFinder)]
    if isinstance(getattr(getattr(sys.modules.get(BOOK), "__spec__", None), "loader", None), _Package):
        sys.modules.pop(NAMES, None)
        del sys.modules[BOOK]
    shell = _running_shell() if shell is None else shell
    if shell is not None:
        installs.remove_from(shell)


def _active() -> bool:
    return any(isinstance(finder, BookFinder) for finder in sys.meta_path)


def _running_shell() -> Any:
    """The IPython shell of this process; None outside IPython, which is then not imported either."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "of no file")
