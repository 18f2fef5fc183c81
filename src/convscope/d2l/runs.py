"""Run folders for the trainings of a program that knows nothing of them, asked for from outside.

``convscope notebook FILE --runs DIR`` names a folder in the variable ``CONVSCOPE_RUNS``; each ``Trainer.fit`` of the
program then has a run folder in it, ``DIR/1-LeNet`` for the first. The same program started again finds them and goes
on where it was stopped.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

RUNS = "CONVSCOPE_RUNS"
_numbers = itertools.count(1)


def next_folder(model: str, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder of the next training of this process; None where nobody asked for any.

    Args:
        model: What is trained.
        environment: Where to look; None takes the process's own.

    Example:
        >>> next_folder("LeNet", {}) is None
        True
    """
    root = (os.environ if environment is None else environment).get(RUNS, "").strip()
    return Path(root) / f"{next(_numbers)}-{model}" if root else None
