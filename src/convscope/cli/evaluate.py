"""``convscope evaluate``: how good a run is on test images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from convscope.cli.console import Switch, load_data, parse, print_json, results
from convscope.deploy import restore_model
from convscope.errors import DataError
from convscope.measure import Evaluation, evaluate
from convscope.train import Run, find_device


@dataclass(frozen=True, kw_only=True)
class Words:
    """Measure a run on test images: accuracy, precision and recall per class, confusion matrix."""

    run: Positional[Path]
    """Run folder."""
    data: str | None = None
    """Other images with the same classes; by default the test images of the data it was trained on."""
    data_dir: Path | None = None
    """Where the files of a named data set are."""
    batch_size: int = 500
    """Images at a time."""
    device: str = "auto"
    """Where to compute."""
    json: Switch = False
    """Print one JSON object, with accuracy at the top."""


def main(words: list[str]) -> int:
    """Run the verb."""
    asked = parse(words, Words, "evaluate")
    run = Run.open(asked.run)
    model = restore_model(run)
    dataset = load_data(run, name=asked.data, data_dir=asked.data_dir)
    if dataset.classes != run.classes:
        raise DataError(
            f"{run.path} tells apart {', '.join(run.classes)}; {dataset.name} has other classes: "
            f"{', '.join(dataset.classes)}"
        )
    result = evaluate(
        model, dataset.test, run.preprocess, batch_size=asked.batch_size, device=find_device(asked.device)
    )
    if asked.json:
        print_json(result.to_dict())
    else:
        _print(result, f"{run.title}, {len(result):,} test images of {dataset.name}")
    return 0


def _print(result: Evaluation, title: str) -> None:
    out = results()
    out.print(title, markup=False)
    out.print(f"accuracy {result.accuracy:.4f}   loss {result.loss:.4f}\n")
    scores = Table(box=None, header_style="dim", padding=(0, 1))
    scores.add_column("class")
    for title in ("precision", "recall", "F1", "images"):
        scores.add_column(title, justify="right")
    for score in result.per_class:
        row = (f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}", f"{score.support:,}")
        scores.add_row(Text(score.name), *row)
    out.print(scores)
    out.print("\nconfusion matrix: a row is what an image is, a column what it was called")
    confusion = Table(box=None, header_style="dim", padding=(0, 1))
    confusion.add_column("")
    for number in range(len(result.classes)):
        confusion.add_column(str(number), justify="right")
    for number, (name, counts) in enumerate(zip(result.classes, result.confusion.tolist(), strict=True)):
        label = name if name == str(number) else f"{number} {name}"
        cells = (Text(str(n or "·"), style="bold" if i == number else "") for i, n in enumerate(counts))
        confusion.add_row(Text(label), *cells)
    out.print(confusion)
