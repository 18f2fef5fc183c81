"""``convscope evaluate``: how good a run is on test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from convscope.cli.console import Switch, load_data, messages, parse, print_json, results
from convscope.data import Dataset, fingerprint
from convscope.deploy import restore_model
from convscope.errors import DataError
from convscope.measure import Calibration, Comparison, Evaluation, compare, evaluate
from convscope.train import Run, find_device

NAMED = 10  # classes that a message names
DECODING = {"image_size", "channels", "cache_dir"}  # what a source says of how files are read, not of which


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
    if asked.top_k is not None and not 1 <= asked.top_k <= len(run.classes):
        raise ValueError(f"--top-k must be 1 to {len(run.classes)}, the number of classes; got {asked.top_k}")
    dataset = images_for(run, name=asked.data, data_dir=asked.data_dir)
    result = _judge(run, dataset, asked)
    comparison = None if asked.against is None else _compare(run, result, dataset, asked)
    if asked.json:
        against = {} if comparison is None else {"against": {"run": str(asked.against), **comparison.to_dict()}}
        print_json({**result.to_dict(top_k=asked.top_k), **against})
        return 0
    _print(result, f"{run.title}, {len(result):,} test image{'s' * (len(result) > 1)} of {dataset.name}", asked.top_k)
    if comparison is not None:
        _print_comparison(comparison, str(asked.run), str(asked.against))
    return 0


def images_for(run: Run, *, name: str | None = None, data_dir: Path | None = None) -> Dataset:
    """Images that a run can be judged by, stored as those that it was trained on.

    Without a name they are the run's own; when these have changed since, that is said on stderr.

    Raises:
        DataError: They cannot be read, show other classes than the run tells apart, or have other channels.
    """
    dataset = load_data(run, name=name, data_dir=data_dir)
    if name is None and fingerprint(dataset) != run.config["data"]["fingerprint"]:
        messages().print(
            f"note: the images of {dataset.name} are not those that {run.path} was trained on; they have changed "
            "since, and test images of now may have been training images then",
            style="yellow", soft_wrap=True,
        )  # fmt: skip
    if dataset.classes != run.classes:
        raise DataError(
            f"{run.path} tells apart {_some(run.classes)}; {dataset.name} has "
            f"{_how_classes_differ(run.classes, dataset.classes)}"
        )
    if dataset.channels != run.preprocess.channels:
        raise DataError(
            f"{run.path} sees images of {run.preprocess.channels} channel(s), {dataset.name} has {dataset.channels}"
        )
    return dataset


def _some(names: Sequence[str]) -> str:
    """A few names of many."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")


def _how_classes_differ(expected: Sequence[str], came: Sequence[str]) -> str:
    if sorted(expected) == sorted(came):
        return f"the same classes in another order: {_some(came)}"
    if not set(expected) & set(came):
        return f"other classes: {_some(came)}"
    missing, strange = ([n for n in one if n not in other] for one, other in ((expected, came), (came, expected)))
    parts = [f"{what} {_some(names)}" for what, names in (("lacks", missing), ("has besides", strange)) if names]
    return f"{len(came):,} classes, and {' and '.join(parts)}"


def _judge(run: Run, dataset: Dataset, asked: Words) -> Evaluation:
    device = find_device(asked.device)
    return evaluate(
        run.scorer(restore_model(run)), dataset.test, run.preprocess, batch_size=asked.batch_size, device=device
    )


def _compare(run: Run, result: Evaluation, dataset: Dataset, asked: Words) -> Comparison:
    """Judge the other run by the same images, unless it may have learned from them.

    Each run has them decoded at the size that its own training images were stored at.
    """
    other = Run.open(asked.against or "")
    theirs = images_for(other, name=asked.data, data_dir=asked.data_dir)
    if asked.data is None and not _learned_from_the_same(run, dataset, other, theirs):
        raise DataError(
            f"{run.path} and {other.path} learned from different images, so test images of one may be training images "
            "of the other; name images that neither has seen with --data"
        )
    return compare(result, _judge(other, theirs, asked))


def _learned_from_the_same(run: Run, dataset: Dataset, other: Run, theirs: Dataset) -> bool:
    """Whether both runs had the same training images, be it at two sizes."""
    learned = [each.config["data"]["fingerprint"] for each in (run, other)]
    if learned[0] == learned[1]:
        return True
    unchanged = learned == [fingerprint(dataset), fingerprint(theirs)]
    first, second = ({k: v for k, v in each.source.items() if k not in DECODING} for each in (dataset, theirs))
    return unchanged and first == second


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
