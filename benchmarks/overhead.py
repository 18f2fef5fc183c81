"""What our training loop costs beyond the arithmetic.

LeNet, batch 128, float32, Fashion-MNIST: a training epoch of ``Trainer`` over its first images against a loop written
by hand over float tensors that are already normalised, with the same optimiser, the same batches in the same order and
nothing else in it: no metrics, no checks, no schedule, no logging. The two alternate in one process about every second,
so that a slow minute of the machine slows both; ``--images 60000`` makes a turn a whole epoch.

    python benchmarks/overhead.py [--rounds 21] [--images 12800] [--threads 2] [--json]

Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache). Target: ratio at most 1.05.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time

import torch
from torch.nn import functional as F

from _common import arguments, publish, spread
from convscope import data, models
from convscope.train import ExecutionConfig, TrainConfig, Trainer
from convscope.train.optim import build_optimizer

CONFIG = TrainConfig(epochs=1, batch_size=128)


def ours(dataset: data.Dataset, threads: int) -> float:
    """Seconds of one training epoch, as the run itself records it."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, execution=ExecutionConfig(device="cpu", threads=threads))
    with tempfile.TemporaryDirectory() as folder:
        run = Trainer(config).fit(models.create("lenet"), dataset, out=f"{folder}/run")
        return run.history.of("epoch")[0].values["train_seconds"]


def by_hand(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one epoch of the bare loop."""
    torch.manual_seed(0)
    model = models.create("lenet")
    optimizer = build_optimizer(model, CONFIG.optimizer)
    began = time.perf_counter()
    for rows in torch.split(data.epoch_order(len(labels), CONFIG.seed, 0), CONFIG.batch_size):
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


def main() -> None:
    """Alternate the two and compare pair by pair."""
    asked = arguments(__doc__, rounds=21, images=12_800, threads=2)
    torch.set_num_threads(asked.threads)
    whole = data.load("fashion-mnist")
    dataset = dataclasses.replace(
        whole, train=whole.train.take(torch.arange(asked.images)), test=whole.test.take(torch.arange(1000))
    )
    images = data.Preprocess.of(dataset)(dataset.train.images)
    labels = dataset.train.labels
    by_hand(images, labels)
    ours(dataset, asked.threads)
    contestants = {"ours": lambda: ours(dataset, asked.threads), "by_hand": lambda: by_hand(images, labels)}
    pairs = []
    for number in range(asked.rounds):
        order = sorted(contestants, reverse=bool(number % 2))  # whoever goes first may find a cooler processor
        seconds = {name: contestants[name]() for name in order}
        pairs.append((seconds["ours"], seconds["by_hand"]))
        if not asked.json:
            print(f"ours {seconds['ours']:.2f} s   by hand {seconds['by_hand']:.2f} s")
    result = {
        "what": f"a training epoch of LeNet over {asked.images:,} images of Fashion-MNIST, batch 128, float32",
        "ours_seconds": spread([a for a, _ in pairs]),
        "by_hand_seconds": spread([b for _, b in pairs]),
        "ratio": spread([a / b for a, b in pairs]),
        "target": "ratio <= 1.05",
    }
    if not asked.json:
        print(f"ratio, median of {asked.rounds} pairs: {result['ratio']['median']:.3f}")  # type: ignore[index]
    publish("overhead", result, as_json=asked.json)


if __name__ == "__main__":
    main()
