"""What our training loop costs beyond the arithmetic.

Batch 128, float32, Fashion-MNIST: a training epoch of ``Trainer`` over its first images against a loop written by hand
over float tensors that are already normalised, with the same optimiser, the same memory format, the same batches in the
same order and nothing else in it: no metrics, no checks, no schedule, no logging. The two alternate in one process, so
that a slow minute of the machine slows both; ``--images 60000`` makes a turn a whole epoch.

    python benchmarks/overhead.py [--model lenet|resnet18] [--rounds 21] [--images 12800] [--threads 2] [--json]

``resnet18`` is the book's: images at 96 pixels, resized by both batch by batch, 640 of them unless told otherwise.
Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache). Targets: ratio at most 1.05 for LeNet, 1.01 for ResNet-18.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from _common import publish, spread
from convscope import data, models
from convscope.train import ExecutionConfig, TrainConfig, Trainer
from convscope.train.optim import build_optimizer


@dataclasses.dataclass(frozen=True)
class Task:
    """What both sides train, and on how much of it a turn is judged."""

    model: str
    images: int
    size: int
    target: str
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"

    @property
    def order(self) -> torch.memory_format:
        """The memory format as PyTorch has it."""
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def network(self) -> nn.Module:
        """A new one, the same every time."""
        torch.manual_seed(0)
        stem = "imagenet" if self.model == "resnet18" else "auto"
        model = models.create(self.model, in_channels=1, num_classes=10, image_size=self.size, stem=stem)
        return model.to(memory_format=self.order)  # type: ignore[call-overload, no-any-return]

    def config(self, threads: int) -> TrainConfig:
        """The default recipe in float32, as the loop by hand computes."""
        execution = ExecutionConfig(
            device="cpu", threads=threads, precision="float32", memory_format=self.memory_format
        )
        return TrainConfig(epochs=1, batch_size=128, image_size=self.size, execution=execution)


TASKS = {
    "lenet": Task("lenet", 12_800, 28, "ratio <= 1.05"),
    "resnet18": Task("resnet18", 640, 96, "ratio <= 1.01", "channels_last"),
}


def ours(task: Task, dataset: data.Dataset, threads: int) -> float:
    """Seconds of one training epoch, as the run itself records it."""
    with tempfile.TemporaryDirectory() as folder:
        run = Trainer(task.config(threads)).fit(task.network(), dataset, out=f"{folder}/run")
        return run.history.of("epoch")[0].values["train_seconds"]


def by_hand(task: Task, config: TrainConfig, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one epoch of the bare loop."""
    model = task.network()
    optimizer = build_optimizer(model, config.optimizer)
    began = time.perf_counter()
    for rows in torch.split(data.epoch_order(len(labels), config.seed, 0), config.batch_size):
        x = images[rows]
        if task.size != x.shape[-1]:
            x = F.interpolate(x, (task.size, task.size), mode="bilinear")
        loss = F.cross_entropy(model(x.contiguous(memory_format=task.order)), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


def asked() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(TASKS), default="lenet")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--images", type=int, default=0, help="of a turn; 0 is 12,800 for lenet and 640 for resnet18")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    return parser.parse_args()


def main() -> None:
    """Alternate the two and compare pair by pair."""
    words = asked()
    torch.set_num_threads(words.threads)
    task, whole = TASKS[words.model], data.load("fashion-mnist")
    count = words.images or task.images
    dataset = dataclasses.replace(
        whole, train=whole.train.take(torch.arange(count)), test=whole.test.take(torch.arange(128))
    )
    config = task.config(words.threads)
    images = data.Preprocess.of(dataset)(dataset.train.images)
    contestants: dict[str, Callable[[], float]] = {
        "ours": lambda: ours(task, dataset, words.threads),
        "by_hand": lambda: by_hand(task, config, images, dataset.train.labels),
    }
    for warm_up in contestants.values():
        warm_up()
    pairs = []
    for number in range(words.rounds):
        order = sorted(contestants, reverse=bool(number % 2))  # whoever goes first may find a cooler processor
        seconds = {name: contestants[name]() for name in order}
        pairs.append((seconds["ours"], seconds["by_hand"]))
        if not words.json:
            print(f"ours {seconds['ours']:.2f} s   by hand {seconds['by_hand']:.2f} s")
    result = {
        "what": f"a training epoch of {task.model} over {count:,} images of Fashion-MNIST at {task.size} px, batch 128",
        "ours_seconds": spread([a for a, _ in pairs]),
        "by_hand_seconds": spread([b for _, b in pairs]),
        "ratio": spread([a / b for a, b in pairs]),
        "target": task.target,
    }
    if not words.json:
        print(f"ratio, median of {words.rounds} pairs: {result['ratio']['median']:.3f}")  # type: ignore[index]
    publish("overhead" if words.model == "lenet" else f"overhead_{words.model}", result, as_json=words.json)


if __name__ == "__main__":
    main()
