"""The parts of a report below its headline, each with its heading, its figures and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from convscope.naming import duration
from convscope.report import markup
from convscope.report.again import python_source
from convscope.report.drawings import Drawing
from convscope.report.material import Material
from convscope.report.wording import NOT_NOTED, memory, percent, plural
from convscope.train import TrainConfig

OPEN = 20  # rows up to which a table is open from the start
UNKNOWN = "\N{EN DASH}"  # what no image says anything about

Drawings = Mapping[str, Drawing]
Facts = list[tuple[str, str, str]]


def sections(material: Material, drawings: Drawings) -> list[tuple[str, str, str]]:
    """Every part: its anchor, its name in the list of parts, and its HTML."""
    return [
        ("images", "Images", _images(material, drawings)),
        ("learning", "Learning", _learning(material, drawings)),
        ("classes", "Classes", _classes(material, drawings)),
        ("mistakes", "Mistakes", _looking(material, drawings)),
        ("settings", "Settings", _settings(material)),
        ("machine", "Machine and time", _machine(material)),
        ("again", "Do it again", _again(material)),
    ]


def _cards(drawings: Drawings, *names: str) -> str:
    """Those of these figures that exist, side by side."""
    cards = [drawings[name].card() for name in names if name in drawings]
    return markup.grid(*cards) if cards else ""


def _images(material: Material, drawings: Drawings) -> str:
    dataset, see = material.dataset, material.run.preprocess
    height, width = dataset.image_size
    counts = dataset.train.counts()
    balance = f"{min(counts):,} to {max(counts):,}" if min(counts) != max(counts) else f"{counts[0]:,}"
    facts = [
        ("Data set", material.images_title, ""),
        ("Training images", f"{len(dataset.train):,}", ""),
        ("Test images", f"{len(dataset.test):,}", ""),
        ("Classes", f"{len(dataset.classes):,}", ""),
        ("Training images of a class", balance, ""),
        ("Stored size", f"{dataset.channels} x {height} x {width}", ""),
        ("Size that the network sees", f"{see.channels} x {see.image_size[0]} x {see.image_size[1]}", ""),
        ("Subtracted mean, of values 0 to 1", ", ".join(f"{value:.4f}" for value in see.mean), ""),
        ("Divided by", ", ".join(f"{value:.4f}" for value in see.std), ""),
    ]
    lead = f"What the network was shown, and how: {material.images_title}."
    cards = markup.grid(drawings["images"].card(), markup.facts("The data", facts))
    return markup.section("images", "The images", lead, cards)


def _learning(material: Material, drawings: Drawings) -> str:
    cards = _cards(drawings, "loss", "accuracy", "learning-rate")
    if not cards:
        return markup.section("learning", "How it learned", "Nothing was measured before the training stopped.")
    lead = "From the first step to the last. The dotted line is a network that only guesses."
    if not material.epochs:
        lead = "No epoch was finished, so there are only the measurements between steps."
    numbers = markup.details("All epochs in numbers", _epochs_table(material)) if material.epochs else ""
    return markup.section("learning", "How it learned", lead, cards, numbers)


HEADERS = {
    "lr": "learning rate",
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "images_per_second": "images/s",
    "train_seconds": "training time",
    "val_seconds": "validation time",
    "test_seconds": "test time",
    "seconds": "time since the start",
}


def _epochs_table(material: Material) -> str:
    names = list(dict.fromkeys(name for row in material.epochs for name in row.values))
    rows = [
        [
            str(row.epoch),
            f"{row.step:,}",
            *(_number(name, row.values[name]) if name in row.values else "" for name in names),
        ]
        for row in material.epochs
    ]
    headers = ["epoch", "steps", *(HEADERS.get(name, name.replace("_", " ")) for name in names)]
    return markup.table("After each epoch", headers, rows)


def _number(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return percent(value, 2)
    if name.endswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if name == "images_per_second" else f"{value:.4g}"


def _classes(material: Material, drawings: Drawings) -> str:
    lead = f"All {plural(len(material.evaluation), 'test image')}, class by class."
    table = f'<div class="card">\n{_class_table(material)}\n</div>'
    if len(material.evaluation.classes) > OPEN:
        table = markup.details("All classes in numbers", table)
    return markup.section(
        "classes", "What it gets right and wrong", lead, _cards(drawings, "confusion", "per-class"), table
    )


def _class_table(material: Material) -> str:
    evaluation = material.evaluation
    rows = []
    for label, score in enumerate(evaluation.per_class):
        said = evaluation.confusion[label].clone()
        said[label] = 0
        wrong = f"{evaluation.classes[int(said.argmax())]} ({int(said.max()):,})" if said.any() else "nothing"
        if not score.support:
            rows.append([score.name, *3 * [UNKNOWN], "0", UNKNOWN])
            continue
        rows.append([score.name, *map(percent, (score.precision, score.recall, score.f1)), f"{score.support:,}", wrong])
    seen = [score for score in evaluation.per_class if score.support]
    means = [sum(getattr(score, name) for score in seen) / len(seen) for name in ("precision", "recall", "f1")]
    some = len(seen) < len(evaluation.per_class)
    averaged = f"mean of the {len(seen):,} with test images" if some else "mean of the classes"
    rows.append([averaged, *map(percent, means), f"{len(evaluation):,}", ""])
    headers = ["class", "precision", "recall", "F1", "test images", "most often taken for"]
    return markup.table("Precision, recall and F1 on the test images", headers, rows, spare=headers[-1])


def _looking(material: Material, drawings: Drawings) -> str:
    lead = "Numbers say how often; pictures say why."
    if "mistakes" not in drawings:
        lead = f"It made no mistake on the {plural(len(material.evaluation), 'test image')}."
    if "filters" not in drawings:
        lead += " It has no convolution whose filters could be shown."
    return markup.section("mistakes", "Looking closer", lead, _cards(drawings, "mistakes", "filters"))


GROUPS = {"optimizer": "Optimiser", "schedule": "Schedule", "execution": "Execution", "saving": "Saving"}


def _settings(material: Material) -> str:
    asked, usual = material.config.to_dict(), TrainConfig().to_dict()
    top = {name: value for name, value in asked.items() if name not in GROUPS}
    cards = [markup.facts("Training", _compared(top, usual))]
    cards += [markup.facts(title, _compared(asked[name], usual[name])) for name, title in GROUPS.items()]
    described = material.run.config["model"]
    arguments = [(name, str(value), "") for name, value in described.get("arguments", {}).items()]
    network = [
        ("Name", str(described.get("name") or "none"), ""),
        ("Class", str(described.get("class", type(material.model).__name__)), ""),
        ("Parameters", f"{material.parameters:,}", ""),
        *arguments,
    ]
    lead = "Every setting by the name of its flag. Those in blue were changed from the default."
    return markup.section("settings", "Settings", lead, markup.grid(markup.facts("Network", network), *cards))


def _compared(asked: dict[str, Any], usual: dict[str, Any]) -> Facts:
    """Each setting; a changed one with its default as the remark."""
    return [
        (
            f"--{name.replace('_', '-')}",
            _setting(value),
            "" if value == usual[name] else f"default {_setting(usual[name])}",
        )
        for name, value in asked.items()
    ]


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _machine(material: Material) -> str:
    cards = [markup.facts("Time and memory", list(_times(material)))]
    for title, names in (("Where it ran", ("plan", "hardware")), ("Versions", ("versions",))):
        values = {key: value for name in names for key, value in material.about(name).items()}
        noted = [(key.replace("_", " "), str(value), "") for key, value in values.items()]
        cards.append(markup.facts(title, noted or [("environment.json", NOT_NOTED, "")]))
    lead = "Times depend on the machine; they are as measured during this run."
    return markup.section("machine", "Machine and time", lead, markup.grid(*cards))


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
    if speeds := material.noted("images_per_second"):
        yield "Training speed (median)", f"{median(speeds):,.0f} images/s", ""
        yield "Slowest and fastest epoch", f"{min(speeds):,.0f} and {max(speeds):,.0f} images/s", ""
    peak = material.end.values.get("peak_memory_bytes") if material.end else None
    yield "Peak RAM of the process", memory(peak) if peak else NOT_NOTED, ""


def _again(material: Material) -> str:
    command = material.command
    if command:
        lead = "This command repeats the run."
    elif material.environment:
        lead = "The run was started from Python. These lines repeat it."
    else:
        lead = "How the run was started is not noted. These lines of Python repeat it."
    words = markup.code(command or python_source(material))
    seed = (
        f"The seed {material.config.seed} fixes the initial weights and the order of the images. {_sameness(material)}"
    )
    return markup.section("again", "Do it again", lead, words, markup.paragraph(seed, kind="lead after"))


def _sameness(material: Material) -> str:
    """How equal a second run can be: sums on an accelerator are added up in no fixed order."""
    device, threads = material.device, material.about("plan").get("threads")
    exactly = "on the same machine, with the same versions and the same number of threads"
    if device is None:
        return f"On the CPU the numbers come out the same {exactly}; on an accelerator, and elsewhere, close to it."
    if device == "cpu":
        counted = f" ({threads})" if threads else ""
        return f"On the CPU the numbers come out the same {exactly}{counted}; elsewhere they are close, not the same."
    return f"This run was computed on {device}, where the numbers come out close, not the same, even on one machine."
