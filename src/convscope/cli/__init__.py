"""The verbs of ``convscope``: one file each, which parses, calls and prints."""

from convscope.cli.main import main

__all__ = ["main"]
