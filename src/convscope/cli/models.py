"""``convscope models``: what can be trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from tyro.conf import Positional

from convscope import models
from convscope.cli.console import Switch, parse, print_json, results
from convscope.naming import unknown_name

WIDE = 110  # columns of a terminal from which sizes, published accuracy and papers fit beside the descriptions


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
    out = results()
    wide = out.width >= WIDE
    papers = list(dict.fromkeys((info.year, info.paper) for info in known))
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("model", no_wrap=True)
    for title in ("parameters", "MACs", *(("at", "top-1", "paper") if wide else ())):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what it is")
    for info in known:
        size = f"{info.in_channels}x{info.image_size}x{info.image_size}"
        top1 = f"{info.accuracy.top1:.2f} %" if info.accuracy else ""
        provenance = (size, top1, f"({papers.index((info.year, info.paper)) + 1})") if wide else ()
        table.add_row(info.name, f"{info.parameters:,}", _count(info.macs), *provenance, info.description)
    out.print(table)
    if wide:
        sources = {(info.accuracy.dataset, info.accuracy.source) for info in known if info.accuracy}
        notes = [
            "MACs: multiply-adds in convolutions and dense layers for one image of the size 'at'; FLOPs are twice that"
        ]
        notes += [f"top-1 on {dataset}: {source}" for dataset, source in sorted(sources)]
        notes += [f"({number}) {paper}, {year}" for number, (year, paper) in enumerate(papers, 1)]
        out.print("\n" + "\n".join(notes))
    else:
        out.print(f"\nSizes, published accuracy and papers: in a terminal of {WIDE} columns, or with --json")


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
