"""What a terminal would show in the end of a text that was written to it."""

from __future__ import annotations

import re

_ERASE = r"\x1b\[[012]?K"
_DROPPED = re.compile(
    rf"(?!{_ERASE})(?:"
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles and links
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # other strings for the terminal itself
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|\Z)"  # CSI: colours and places
    r"|\x1b[ -/]*[0-~]?)"  # what is shorter, and what was cut off
)
_MOVES = re.compile(rf"(\r|\x08|{_ERASE})")


def plain(text: str) -> str:
    r"""A text without escape sequences, in which each line is as it was left after it was written over.

    Places on other lines are not obeyed: what was written after a step up stands below.

    Example:
        >>> plain("\x1b[31mred\x1b[0m\n 10%|#  |\r100%|###|\n")
        'red\n100%|###|\n'
    """
    return "\n".join(_left(line) for line in _DROPPED.sub("", text).split("\n"))


def _left(line: str) -> str:
    shown: list[str] = []
    at = 0
    for part in _MOVES.split(line):
        if part == "\r":
            at = 0
        elif part == "\b":
            at = max(at - 1, 0)
        elif part.startswith("\x1b"):
            shown = _erased(shown, at, part[2:-1])
        elif part:
            shown += " " * (at - len(shown))
            shown[at : at + len(part)] = part
            at += len(part)
    return "".join(shown)


def _erased(shown: list[str], at: int, which: str) -> list[str]:
    """A line from which the end is erased, or with 1 its beginning, or with 2 all."""
    if which == "1":
        return [" "] * min(at + 1, len(shown)) + shown[at + 1 :]
    return [] if which == "2" else shown[:at]
