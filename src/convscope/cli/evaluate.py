"""``convscope evaluate``: how good a run is on test images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from convscope.cli.console import Switch, load_data, parse, print_json, results
from convscope.data import Dataset
from convscope.deploy import restore_model
from convscope.errors import DataError
from convscope.measure import Calibration, Comparison, Evaluation, compare, evaluate
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
    against: Path | None = None
    """Another run folder: say whether the difference on the same test images is more than chance."""
    top_k: int | None = None
    """Also count images whose class is among the so many most probable ones."""
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
    dataset = load_data(run, name=asked.data, data_dir=asked.data_dir)
    check_classes(run, dataset)
    if asked.top_k is not None and not 1 <= asked.top_k <= len(run.classes):
        raise ValueError(f"--top-k must be 1 to {len(run.classes)}, the number of classes; got {asked.top_k}")
    result = _judge(run, dataset, asked)
    comparison = None if asked.against is None else _compare(run, result, dataset, asked)
    if asked.json:
        against = {} if comparison is None else {"against": {"run": str(asked.against), **comparison.to_dict()}}
        print_json({**result.to_dict(top_k=asked.top_k), **against})
        return 0
    _print(result, f"{run.title}, {len(result):,} test images of {dataset.name}", asked.top_k)
    if comparison is not None:
        _print_comparison(comparison, str(asked.run), str(asked.against))
    return 0


def check_classes(run: Run, dataset: Dataset) -> None:
    """Refuse images of other classes than the run tells apart.

    Raises:
        DataError: Their names or their order differ.
    """
    if dataset.classes != run.classes:
        raise DataError(
            f"{run.path} tells apart {', '.join(run.classes)}; {dataset.name} has other classes: "
            f"{', '.join(dataset.classes)}"
        )


def _judge(run: Run, dataset: Dataset, asked: Words) -> Evaluation:
    device = find_device(asked.device)
    return evaluate(restore_model(run), dataset.test, run.preprocess, batch_size=asked.batch_size, device=device)


def _compare(run: Run, result: Evaluation, dataset: Dataset, asked: Words) -> Comparison:
    """Judge the other run by the same images, unless it may have learned from them."""
    other = Run.open(asked.against or "")
    check_classes(other, dataset)
    learned = [each.config["data"].get("fingerprint") for each in (run, other)]
    if learned[0] != learned[1] and asked.data is None:
        raise DataError(
            f"{run.path} and {other.path} learned from different images, so test images of one may be training images "
            "of the other; name images that neither has seen with --data"
        )
    if other.preprocess.channels != dataset.channels:
        raise DataError(
            f"{other.path} sees images of {other.preprocess.channels} channels, {dataset.name} has {dataset.channels}"
        )
    return compare(result, _judge(other, dataset, asked))


def _print_comparison(comparison: Comparison, first: str, second: str) -> None:
    out = results()
    out.print()
    out.print(comparison.sentence(first, second), markup=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column("count", justify="right")
    for count, what in (
        (comparison.both_right, "both right"),
        (comparison.only_first, f"only {first} right"),
        (comparison.only_second, f"only {second} right"),
        (comparison.both_wrong, "both wrong"),
    ):
        table.add_row(f"{count:,}", Text(what))
    out.print(table)


def _calibration_line(calibration: Calibration) -> str:
    over = 100 * calibration.overconfidence
    way = "too sure" if over > 0 else "not sure enough"
    error = 100 * calibration.expected_error
    return f"expected calibration error {error:.1f} points; on the whole {abs(over):.1f} points {way}"


def _print(result: Evaluation, title: str, top_k: int | None) -> None:
    out = results()
    out.print(title, markup=False)
    low, high = result.share_right.interval
    out.print(f"accuracy {result.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f})   loss {result.loss:.4f}")
    if top_k is not None:
        share = result.top_k(top_k)
        low, high = share.interval
        out.print(f"top-{top_k} accuracy {share.value:.4f} (95 % interval {low:.4f} to {high:.4f})")
    out.print(_calibration_line(result.calibration()) + "\n")
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
