"""From words to a verb, and from an error to one sentence and an exit code."""

from __future__ import annotations


def main() -> int:
    """Run the program."""
    return 2
