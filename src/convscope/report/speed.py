"""The part of a report on speed: images and multiply-adds a second, waiting, memory, and what they mean together."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from convscope.naming import duration
from convscope.report import markup
from convscope.report.material import Material
from convscope.report.wording import NOT_NOTED, OPEN, UNKNOWN, memory, percent, plural, rate

MUCH = 0.25  # share of the training time in batches from which they, and not the steps, are what to look at

COLUMNS = {
    "images_per_second": "images/s",
    "train_seconds": "training",
    "data_seconds": "of it, getting batches",
    "macs_per_second": "multiply-adds",
    "peak_share": "of the machine's peak",
    "val_seconds": "validating",
    "test_seconds": "testing",
    "seconds": "since the start",
}
"""What a row of an epoch says about speed, and the heading of it."""


def speed(material: Material) -> str:
    """The whole part."""
    cards = [markup.facts("Time and memory", list(_times(material)))]
    if speeds := list(_speeds(material)):
        cards.insert(0, markup.facts("Speed", speeds))
    table = _table(material) if material.epochs else ""
    if len(material.epochs) > OPEN:
        table = markup.details("Each epoch in numbers", table)
    elif table:
        table = f'<div class="card">\n{table}\n</div>'
    return markup.section("speed", "How fast it went", _meaning(material), markup.grid(*cards), table)


def _meaning(material: Material) -> str:
    """The numbers in a sentence or two."""
    speeds, share, peak = material.noted("images_per_second"), _waiting(material), material.noted("peak_share")
    if not speeds:
        return "No epoch was finished, so its speed is not known. Times depend on the machine."
    said = f"In the median epoch it learned from {plural(round(median(speeds)), 'image')} a second."
    if share is not None:
        meaning = "the images hold it up" if share >= MUCH else "the steps themselves set the pace"
        said += f" Getting batches ready took {percent(share)} of the training time, so {meaning}."
    if peak:
        said += (
            f" It reached {percent(median(peak))} of the multiply-adds a second that this machine does in a product of "
            "two large matrices; the rest of the time goes into memory, small layers and everything that is no "
            "multiply-add."
        )
    return said


def _waiting(material: Material) -> float | None:
    """The share of the training time in which there was no batch to compute with; None where that was not noted."""
    rows = [row.values for row in material.epochs if {"data_seconds", "train_seconds"} <= set(row.values)]
    total = sum(values["train_seconds"] for values in rows)
    return sum(values["data_seconds"] for values in rows) / total if total else None


def _speeds(material: Material) -> Iterator[tuple[str, str, str]]:
    """Images and arithmetic, each in the median over the epochs."""
    if speeds := material.noted("images_per_second"):
        yield "Images per second (median)", f"{median(speeds):,.0f}", ""
        yield "Slowest and fastest epoch", f"{min(speeds):,.0f} and {max(speeds):,.0f} images/s", ""
    share = _waiting(material)
    if share is not None:
        yield "Training time in getting batches", percent(share), ""
    if macs := material.noted("macs_per_second"):
        yield "Multiply-adds (median)", rate(median(macs)), ""
    plan, shares = material.plan, material.noted("peak_share")
    if shares:
        yield "Share of the machine's peak (median)", percent(median(shares)), ""
    if shares and plan is not None and plan.peak_macs_per_second:
        yield f"That peak, in {plan.precision}", rate(plan.peak_macs_per_second), ""


def _times(material: Material) -> Iterator[tuple[str, str, str]]:
    """What was measured of time and memory."""
    started = material.environment.get("started")
    yield "Started", str(started).replace("T", " ") if started else NOT_NOTED, ""
    if material.seconds is not None:
        yield "Whole training", duration(material.seconds), ""
    split = material.history.split
    named = {
        "train_seconds": "Training, an epoch",
        f"{split}_seconds": f"{'Testing' if split == 'test' else 'Validation'}, an epoch",
    }
    for name, title in named.items():
        if values := material.noted(name):
            yield f"{title} (median)", duration(median(values)), ""
    end = material.end.values if material.end else {}
    peak, on_device = end.get("peak_memory_bytes"), end.get("peak_device_bytes")
    yield "Peak RAM of the process", memory(peak) if peak else NOT_NOTED, ""
    if on_device:
        yield "Peak memory on the accelerator", memory(on_device), ""


def _table(material: Material) -> str:
    """A row for each epoch, with the columns that were measured."""
    names = [name for name in COLUMNS if any(name in row.values for row in material.epochs)]
    rows = [
        [str(row.epoch), *(_number(name, row.values[name]) if name in row.values else UNKNOWN for name in names)]
        for row in material.epochs
    ]
    return markup.table("Time and speed of each epoch", ["epoch", *(COLUMNS[name] for name in names)], rows)


def _number(name: str, value: float) -> str:
    if name == "images_per_second":
        return f"{value:,.0f}"
    if name == "macs_per_second":
        return rate(value)
    return percent(value) if name == "peak_share" else duration(value)
