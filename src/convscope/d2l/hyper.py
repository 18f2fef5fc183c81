"""How the book's classes grow: methods added from outside, and arguments that become attributes by themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any


def add_to_class(Class: type) -> Callable[[Any], None]:
    """Make the function below a method of a class that is there already.

    What it decorates is gone afterwards: the name is ``None``, as in the book. Methods of ours may be replaced in the
    same way, and whatever was replaced is what runs.

    Args:
        Class: Any class, also one of this package.

    Example:
        >>> class Net: ...
        >>> @add_to_class(Net)
        ... def depth(self):
        ...     return 18
        >>> Net().depth(), depth
        (18, None)

    Source:
        Zhang et al., "Dive into Deep Learning", section 3.2.
    """

    def register(obj: Any) -> None:
        setattr(Class, obj.__name__, obj)

    return register


class HyperParameters:
    """Gives a class ``save_hyperparameters``."""

    hparams: dict[str, Any]

    def save_hyperparameters(self, ignore: Iterable[str] = ()) -> None:
        """Store every local variable of the calling function in ``self.hparams`` and as an attribute of its name.

        All of them count, not the arguments alone: what was computed before the call is stored too. ``self``, names
        that begin with an underscore and those to ``ignore`` are left out. ``hparams`` holds the latest call only, so
        of a class and its base the one that calls last has it; the attributes of both stay. It looks one frame up:
        called through a wrapper it would store the wrapper's variables.

        Args:
            ignore: Names to leave out, or one.

        Example:
            >>> class Net(HyperParameters):
            ...     def __init__(self, lr, verbose=False):
            ...         width = 64
            ...         self.save_hyperparameters(ignore=["verbose"])
            >>> net = Net(lr=0.1)
            >>> net.hparams, net.width
            ({'lr': 0.1, 'width': 64}, 64)

        Source:
            Zhang et al., "Dive into Deep Learning", sections 3.2 and 23.7.
        """
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        if caller is None:
            raise RuntimeError("save_hyperparameters must be called by a function of this Python program")
        left_out = {"self", *([ignore] if isinstance(ignore, str) else ignore)}
        self.hparams = {
            name: value
            for name, value in dict(caller.f_locals).items()
            if name not in left_out and not name.startswith("_")
        }
        for name, value in self.hparams.items():
            setattr(self, name, value)
