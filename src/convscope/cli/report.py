"""``convscope report``: the page of a run, written again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from convscope import report
from convscope.cli.console import parse
from convscope.cli.evaluate import images_for
from convscope.deploy import restore_model
from convscope.train import Run


@dataclass(frozen=True, kw_only=True)
class Words:
    """Write report.html and plots/ of a run again."""

    run: Positional[Path]
    """Run folder."""
    data_dir: Path | None = None
    """Where the files of a named data set are."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "report")
    run = Run.open(asked.run)
    model = restore_model(run)
    print(report.write(run, model, images_for(run, data_dir=asked.data_dir)))
    return 0
