"""``convscope models``: what can be trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tyro.conf import Positional

from convscope import models
from convscope.cli.console import Switch, parse, print_json, results
from convscope.naming import unknown_name

GAP = 2  # spaces between columns


@dataclass(frozen=True, kw_only=True)
class Words:
    """List the networks that can be trained: parameters, cost, published accuracy, paper."""

    pattern: Positional[str] = "*"
    """Shell pattern, for example 'resnet*'."""
    json: Switch = False
    """Print a list of objects."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "models")
    names = models.names(asked.pattern)
    if not names:
        raise unknown_name("model", asked.pattern, models.names(), hint="convscope models")
    known = [models.info(name) for name in names]
    if asked.json:
        print_json([_described(info) for info in known])
    else:
        _print(known)
    return 0


def _described(info: models.ModelInfo) -> dict[str, Any]:
    """Everything that is known, and what ``create`` takes beyond the shapes."""
    return {**{k: v for k, v in dataclasses.asdict(info).items() if k != "build"}, "options": list(info.options)}


def _print(known: list[models.ModelInfo]) -> None:
    """A line for each network; where the terminal is too narrow for that, what it is goes to a second line."""
    out = results()
    papers = list(dict.fromkeys((info.year, info.paper) for info in known))
    header = ("model", "parameters", "MACs", "at", "top-1", "paper")
    rows = [_cells(info, papers.index((info.year, info.paper)) + 1) for info in known]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    one_line = sum(widths) + GAP * len(widths) + max(len(info.description) for info in known) <= out.width
    out.print(_line(header, widths) + (" " * GAP + "what it is" if one_line else ""), style="dim")
    for info, row in zip(known, rows, strict=True):
        out.print(_line(row, widths) + (" " * GAP if one_line else "\n    ") + info.description)
    out.print("\n" + "\n".join(_notes(known, papers)))
    if not one_line:
        out.print("\nA wider terminal shows each network on one line; --json prints all that is known.")


def _cells(info: models.ModelInfo, paper: int) -> tuple[str, ...]:
    """What stands in the columns."""
    size = f"{info.in_channels}x{info.image_size}x{info.image_size}"
    top1 = f"{info.accuracy.top1:.2f} %" if info.accuracy else ""
    return info.name, f"{info.parameters:,}", _count(info.macs), size, top1, f"({paper})"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Names to the left, numbers to the right."""
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return (" " * GAP).join([cells[0].ljust(widths[0]), *numbers])


def _notes(known: list[models.ModelInfo], papers: list[tuple[int, str]]) -> list[str]:
    """What the columns mean, who measured, and the papers by number."""
    sources: dict[tuple[str, str], list[str]] = {}
    for info in known:
        if info.accuracy:
            sources.setdefault((info.accuracy.dataset, info.accuracy.source), []).append(info.name)
    alone = len({dataset for dataset, _ in sources}) == len(sources)  # one source for each set of images
    return [
        "MACs: multiply-adds in convolutions and dense layers for one image of the size 'at'; FLOPs are twice that",
        *(
            f"top-1{'' if alone or len(names) > 1 else f' of {names[0]}'} on {dataset}: {source}"
            for (dataset, source), names in sorted(sources.items())
        ),
        *(f"({number}) {paper}, {year}" for number, (year, paper) in enumerate(papers, 1)),
    ]


def _count(number: int) -> str:
    """A large number with three figures that count.

    Example:
        >>> _count(1_814_073_344), _count(416_520)
        ('1.81 G', '417 k')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)
