"""``convscope models``: what can be trained."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from tyro.conf import Positional

from convscope import models
from convscope.cli.console import Switch, parse, print_json, results
from convscope.naming import unknown_name


@dataclass(frozen=True, kw_only=True)
class Words:
    """List the networks that can be trained, with their parameters."""

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
        print_json([{k: v for k, v in vars(info).items() if k != "build"} for info in known])
        return 0
    table = Table(box=None, header_style="dim", padding=(0, 1))
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("images")
    table.add_column("what it is")
    for info in known:
        images = f"{info.in_channels}x{info.image_size}x{info.image_size}"
        table.add_row(info.name, f"{info.parameters:,}", images, f"{info.description} ({info.year})")
    results().print(table, markup=False)
    return 0
