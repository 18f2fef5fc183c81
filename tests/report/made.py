"""Runs, images and judgements made by hand, so that every number in a report is known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.data import Dataset, ImageSet, Preprocess
from convscope.measure import Evaluation
from convscope.train import History, Row, Run, TrainConfig


def image_set(classes: tuple[str, ...], *, per_class: int, channels: int = 1, side: int = 8, seed: int = 0) -> ImageSet:
    """Noise of which each class has its own brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(classes)).repeat(per_class)
    noise = torch.randint(0, 100, (len(labels), channels, side, side), generator=generator)
    images = noise + (labels * 150 // len(classes)).view(-1, 1, 1, 1)
    return ImageSet(images.to(torch.uint8), labels, classes)


def dataset(classes: tuple[str, ...] = ("cat", "dog", "owl"), *, channels: int = 1, side: int = 8) -> Dataset:
    train = image_set(classes, per_class=6, channels=channels, side=side)
    test = image_set(classes, per_class=4, channels=channels, side=side, seed=1)
    return Dataset("creatures", train, test, (0.5,) * channels, (0.25,) * channels)


def network(data: Dataset, *, filters: int = 4, kernel: int = 3) -> nn.Module:
    torch.manual_seed(0)
    judge = nn.Linear(filters, len(data.classes))
    return nn.Sequential(nn.Conv2d(data.channels, filters, kernel), nn.AdaptiveAvgPool2d(1), nn.Flatten(), judge)


def evaluation(data: Dataset, *, wrong: int = 0) -> Evaluation:
    """Right but for the first ``wrong`` images, which are called the next class, each less surely than the last."""
    labels, classes = data.test.labels, len(data.classes)
    probabilities = torch.full((len(labels), classes), 0.1 / (classes - 1))
    said = labels.clone()
    said[:wrong] = (said[:wrong] + 1) % classes
    probabilities[torch.arange(len(labels)), said] = 0.9
    for i in range(wrong):
        probabilities[i] = (0.02 + 0.001 * i) / (classes - 1)
        probabilities[i, said[i]] = 0.98 - 0.001 * i
    return Evaluation(probabilities, labels, data.classes)


def epoch(number: int, *, split: str = "test", steps: int = 20) -> Row:
    values = {
        "lr": 0.01 / number,
        "train_loss": 1.5 / number,
        "train_accuracy": 1 - 0.4 / number,
        "train_seconds": 2.0,
        "images_per_second": 1000.0 + number,
        f"{split}_loss": 1.75 / number,
        f"{split}_accuracy": 1 - 0.5 / number,
        f"{split}_seconds": 0.25,
        "seconds": 2.5 * number,
    }
    return Row("epoch", number, number * steps, values)


def step(number: int, *, steps: int = 20) -> Row:
    values = {"lr": 0.02 / number, "train_loss": 3.0 / number, "train_accuracy": 1 - 0.9 / number}
    return Row("step", 1 + (number - 1) // steps, number, values)


def end(number: int, accuracy: float) -> Row:
    values = {"test_loss": 0.5, "test_accuracy": accuracy, "seconds": 83.0, "peak_memory_bytes": 300.0 * 2**20}
    return Row("end", number, 20 * number, values)


def history(epochs: int = 3, *, split: str = "test") -> History:
    return History(tuple(epoch(number, split=split) for number in range(1, epochs + 1)))


def run(
    folder: Path,
    data: Dataset,
    rows: tuple[Row, ...] = (),
    *,
    config: TrainConfig | None = None,
    command: str | None = "convscope train --data creatures --epochs 3",
    described: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    plan: dict[str, Any] | None = None,
    trials: list[dict[str, Any]] | None = None,
) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    made = Run.create(
        folder,
        {
            "model": described
            or {"class": "made:Network", "name": "tiny", "arguments": {"in_channels": 1, "num_classes": 3}},
            "data": {"name": data.name, "source": source or {}, "classes": list(data.classes)},
            "input": Preprocess.of(data).to_dict(),
            "train": (config or TrainConfig(epochs=3)).to_dict(),
        },
        {
            "started": "2026-05-04T03:02:01+00:00",
            "command": command,
            "plan": plan or {"device": "cpu", "device_name": "Abacus 3", "dtype": "float32", "threads": 2},
            "trials": trials or [],
            "hardware": {"cpu": "Abacus 3", "cores": 4},
            "versions": {"convscope": "0.0.9", "torch": "2.6.1"},
        },
    )
    for row in rows:
        made.append(row)
    return made
