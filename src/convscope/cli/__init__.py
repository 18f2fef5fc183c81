"""The verbs of ``convscope``: one file each, which parses, calls and prints."""

from convscope.cli.entry import main

__all__ = ["main"]
