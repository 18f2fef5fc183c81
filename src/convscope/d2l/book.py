"""The book's module itself: what a program has put there takes the place of ours."""

from __future__ import annotations

import sys
from typing import Any

MODULE = "convscope.d2l.torch"


def current(name: str) -> Any:
    """What a name of the book stands for at this moment.

    The book's library looks its own names up when they are used, and programs rely on it: whoever assigns
    ``d2l.show_images`` or ``d2l.ProgressBoard`` changes what ``visualize`` and ``Module`` do.

    Args:
        name: A name of ``convscope.d2l.torch``.

    Example:
        >>> import convscope.d2l.torch
        >>> current("cpu")()
        device(type='cpu')
    """
    return getattr(sys.modules[MODULE], name)
