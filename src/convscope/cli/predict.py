"""``convscope predict``: what is on a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from tyro.conf import Positional

from convscope.cli.console import Switch, messages, parse, print_json, results
from convscope.deploy import Classifier


@dataclass(frozen=True, kw_only=True)
class Words:
    """Say what is on photographs of your own; they go through what the training images went through."""

    run: Positional[Path]
    """Run folder."""
    images: Positional[tuple[Path, ...]]
    """Image files."""
    top: int = 3
    """How many guesses for each."""
    device: str = "auto"
    """Where to compute."""
    json: Switch = False
    """Print a list of objects, one for each image."""


def main(words: list[str]) -> int:
    """Run the verb; 1 when a file could not be read, after all others were answered."""
    asked = parse(words, Words, "predict")
    if not asked.images:
        raise ValueError("name at least one image: convscope predict RUN IMAGE...")
    predictions = Classifier.open(asked.run, device=asked.device).predict(asked.images, top=asked.top)
    if asked.json:
        print_json([prediction.to_dict() for prediction in predictions])
    else:
        table = Table(box=None, show_header=False, padding=(0, 1))
        table.add_column(overflow="fold")
        for _ in range(asked.top):
            table.add_column(no_wrap=True)
        for prediction in predictions:
            guesses = (f"{guess.name} {guess.probability:.1%}" for guess in prediction.guesses)
            if prediction.error is None:
                table.add_row(prediction.file, *guesses)
        if table.row_count:
            results().print(table)
    for prediction in predictions:
        if prediction.error is not None:
            messages().print(f"convscope: {prediction.error}", soft_wrap=True)
    return 1 if any(prediction.error for prediction in predictions) else 0
