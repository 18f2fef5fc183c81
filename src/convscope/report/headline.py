"""The top of a report: the answer, how sure it is, and what a reader must know before believing it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from statistics import median

from convscope.naming import duration
from convscope.report import markup
from convscope.report.material import Material
from convscope.report.wording import NOT_NOTED, after_epochs, interval, memory, percent, plural

DIFFERENT = 0.005  # accuracy; another device or library version stays below it


def headline(material: Material) -> str:
    """What was trained on what, how well it does, what that took, and every caveat."""
    parts = [
        '<p class="eyebrow">convscope · report of a training run</p>',
        f"<h1>{markup.text(material.title)}</h1>",
        markup.paragraph(_lead(material), kind="lead"),
        _answer(material),
        _stats(material),
        *(markup.paragraph(note, kind=f"note {kind}".strip()) for kind, note in notes(material)),
    ]
    return "\n".join(parts)


def _lead(material: Material) -> str:
    dataset = material.dataset
    height, width = dataset.image_size
    color = {1: "grey", 3: "colour"}.get(dataset.channels, f"{dataset.channels}-channel")
    return (
        f"A network of {plural(material.parameters, 'parameter')} learned to tell "
        f"{plural(len(dataset.classes), 'class', 'classes')} apart from {plural(len(dataset.train), f'{color} image')} "
        f"of {height} \N{MULTIPLICATION SIGN} {width} pixels."
    )


def _answer(material: Material) -> str:
    """The test accuracy, large, beside what it means."""
    evaluation = material.evaluation
    total, right = len(evaluation), material.right
    low, high = interval(right, total)
    commonest = max(score.support for score in evaluation.per_class) / total
    number = percent(evaluation.accuracy, 2 if total >= 20_000 else 1).partition("\N{NO-BREAK SPACE}")[0]
    fine = (
        f"On new images of the same kind expect {percent(low)} to {percent(high)} (95 % interval). Always saying the "
        f"commonest class would give {percent(commonest)}, the mark on the bar."
    )
    return (
        '<div class="answer">\n'
        f'<p class="big">{markup.text(number)}<small> %</small></p>\n'
        f'<div>\n<p class="what">Test accuracy: {right:,} of {plural(total, "image")} right</p>\n'
        f"{markup.paragraph(fine, kind='fine')}\n</div>\n"
        f'<div class="meter" aria-hidden="true"><i style="width:{100 * evaluation.accuracy:.2f}%"></i>'
        f'<b style="left:{100 * commonest:.2f}%"></b></div>\n'
        f'<p class="mark" aria-hidden="true"><span style="{_beside(commonest)}">commonest class: '
        f"{markup.text(percent(commonest))}</span></p>\n</div>"
    )


def _beside(share: float) -> str:
    """Where the words of a mark on the bar stand, so that they never leave the card."""
    return f"left:{100 * share:.2f}%" if share <= 0.5 else f"right:{100 * (1 - share):.2f}%"


def _stats(material: Material) -> str:
    """What it took, in a row of small cards."""
    speeds = material.noted("images_per_second")
    peak = material.end.values.get("peak_memory_bytes") if material.end else None
    pairs = [
        ("Epochs", f"{material.epochs_done:,} of {material.config.epochs_begun:,}"),
        ("Test loss", f"{material.evaluation.loss:.3f} nats"),
        ("Time", duration(material.seconds) if material.seconds is not None else NOT_NOTED),
        ("Images per second", f"{median(speeds):,.0f}" if speeds else NOT_NOTED),
        ("Peak RAM", memory(peak) if peak else NOT_NOTED),
        ("Parameters", f"{material.parameters:,}"),
    ]
    lines = (f"<div><dt>{markup.text(name)}</dt><dd>{markup.text(value)}</dd></div>" for name, value in pairs)
    return '<dl class="stats">\n' + "\n".join(lines) + "\n</dl>"


def notes(material: Material) -> Iterator[tuple[str, str]]:
    """What must be known before the numbers are believed: a kind (``"warning"`` or nothing) and a text."""
    config, end = material.config, material.end
    if end is None:
        yield "warning", _unfinished(material)
    elif material.epochs_done < config.epochs_begun:
        yield (
            "",
            f"Stopped early, after {plural(material.epochs_done, 'epoch')} of {config.epochs_begun:,}: "
            f"{plural(config.saving.patience, 'epoch')} brought no better validation accuracy.",
        )
    if material.changed:
        yield (
            "warning",
            f"This training went on in another way than it began (--force): {'; '.join(material.changed)}. The "
            "settings below are the latest ones.",
        )
    logged = end.values.get("test_accuracy") if end else None
    if logged is not None and abs(logged - material.evaluation.accuracy) > DIFFERENT:
        yield (
            "warning",
            f"At the end of the training {percent(logged)} of the test images were right. The weights or the images of "
            "this report are not the same.",
        )
    if material.history.split == "val":
        chosen = (
            f" The weights of epoch {material.best_epoch} did best on them and were kept."
            if material.best_epoch
            else ""
        )
        yield (
            "",
            f"{percent(config.val_fraction)} of the training images were held out for validation, and the curves below "
            f"are on them.{chosen} The test images were used for the final number only.",
        )
    elif config.val_fraction:
        yield "", f"{percent(config.val_fraction)} of the training images were held out for validation."
    else:
        yield (
            "",
            f"No validation images were held out: the curve {after_epochs(config)} is on the test images. Nothing was "
            "selected by it; the weights are simply the latest. Whoever now changes a setting because of this curve "
            "begins to choose by the test images; --val-fraction 0.1 avoids that.",
        )


def _unfinished(material: Material) -> str:
    """What is known of a training without an end."""
    rows = material.history.rows
    done = plural(material.epochs_done, "epoch") if material.epochs_done else "no epoch"
    step = f" (the last row is of step {rows[-1].step:,})" if rows else ""
    return (
        f"This training has not reached its end: {done} of {material.config.epochs_begun:,} complete{step}. It was "
        "interrupted, its loss diverged, or it is still going on. All judgements here are of the weights as they are "
        f"now. Go on with: convscope train --resume {shlex.quote(str(material.run.path))}"
    )
