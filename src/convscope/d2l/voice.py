"""What this package has to say besides warnings: one sentence on stderr, in every kind of program."""

from __future__ import annotations

import sys


def say(sentence: str) -> None:
    """Write a line ``convscope: ...`` to stderr, at once."""
    sys.stderr.write(f"convscope: {sentence}\n")
    sys.stderr.flush()
