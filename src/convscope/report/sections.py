"""The parts of a report below its headline, each with its heading, its figures and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from convscope.report import markup
from convscope.report.again import python_source
from convscope.report.drawings import Drawing
from convscope.report.machine import machine
from convscope.report.material import Material
from convscope.report.speed import COLUMNS, speed
from convscope.report.wording import OPEN, UNKNOWN, percent, plural
from convscope.train import Plan, TrainConfig

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
        ("speed", "Speed", speed(material)),
        ("machine", "Machine and plan", machine(material)),
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
    varied = drawings["augmentation"].card() if "augmentation" in drawings else ""
    cards = markup.grid(drawings["images"].card(), varied, markup.facts("The data", facts))
    return markup.section("images", "The images", lead, cards)


def _learning(material: Material, drawings: Drawings) -> str:
    cards = _cards(drawings, "loss", "accuracy", "learning-rate", "gradient-norm")
    if not cards:
        return markup.section("learning", "How it learned", "Nothing was measured before the training stopped.")
    lead = "From the first step to the last. “Guessing” is a network that has learned nothing."
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
}


def _epochs_table(material: Material) -> str:
    """What was learned, epoch by epoch; how fast is in a table of its own."""
    names = list(dict.fromkeys(name for row in material.epochs for name in row.values if name not in COLUMNS))
    rows = [
        [
            str(row.epoch),
            f"{row.step:,}",
            *(_number(name, row.values[name]) if name in row.values else UNKNOWN for name in names),
        ]
        for row in material.epochs
    ]
    headers = ["epoch", "steps", *(HEADERS.get(name, name.replace("_", " ")) for name in names)]
    return markup.table("After each epoch", headers, rows)


def _number(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return percent(value, 2)
    return f"{value:.4g}"


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


TITLES = {"augment": "Augmentation", "optimizer": "Optimiser"}


def _settings(material: Material) -> str:
    asked, usual = material.config.to_dict(), TrainConfig().to_dict()
    groups = [field.name for field in fields(TrainConfig) if is_dataclass(getattr(material.config, field.name))]
    top = {name: value for name, value in asked.items() if name not in groups}
    cards = [markup.facts("Training", _compared(top, usual))]
    cards += [markup.facts(TITLES.get(name, name.capitalize()), _compared(asked[name], usual[name])) for name in groups]
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


def _again(material: Material) -> str:
    command = material.command
    if command:
        lead = "This command repeats the run."
    elif material.environment:
        lead = "The run was started from Python. These lines repeat it."
    else:
        lead = "How the run was started is not noted. These lines of Python repeat it."
    if material.changed:
        began = "This command began the run" if command else "These lines have the latest settings"
        lead = f"{began}, and nothing repeats it at once: it went on in another way, as told under “Machine and plan”."
    words = markup.code(command or python_source(material))
    varied = (
        ", the order of the images and how each is varied"
        if material.config.augment.active
        else (" and the order of the images")
    )
    seed = f"The seed {material.config.seed} fixes the initial weights{varied}. {_sameness(material)}"
    return markup.section("again", "Do it again", lead, words, markup.paragraph(seed, kind="lead after"))


def _sameness(material: Material) -> str:
    """How equal a second run can be: sums in another order, or on an accelerator in none, have other last bits."""
    plan, deterministic = material.plan, material.config.execution.deterministic
    exactly = "give equal bits on the same machine, with the same versions and with the same plan"
    if plan is None:
        return (
            f"On the CPU equal runs {exactly}; on an accelerator, and elsewhere, they come close. --deterministic "
            "keeps to operations that always give the same bits, and its plan does not depend on measuring."
        )
    if plan.device != "cpu" and not deterministic:
        return (
            f"This run was computed on {plan.device}, where equal runs come close and are not the same, even on one "
            "machine; --deterministic keeps to operations that always give the same bits, even where they are slower."
        )
    return f"Equal runs {exactly} ({plan.words}); elsewhere they come close. {_same_plan(material, plan)}".rstrip()


def _same_plan(material: Material, plan: Plan) -> str:
    """Whether a repeat has the same plan, and how to see to it."""
    asked = material.config.execution
    if asked.deterministic:
        return "--deterministic was on, so the plan does not depend on measuring."
    free = {
        "--precision": (asked.precision == "auto", plan.precision),
        "--memory-format": (asked.memory_format == "auto", plan.memory_format),
        "--threads": (asked.threads == 0 and plan.device == "cpu", plan.threads),
    }
    pins = [f"{flag} {value}" for flag, (is_free, value) in free.items() if is_free]
    if not pins:
        return "The settings fix the plan."
    return (
        f"A repeat may measure and take another plan: {' '.join(pins)} fixes this one, and --deterministic takes one "
        "without measuring."
    )
