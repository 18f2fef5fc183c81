"""What is the Xavier start worth that the book skips? Its AlexNet with lazy layers as printed, and with ``apply_init``.

    python benchmarks/d2l_xavier.py [--seeds 3] [--epochs 15] [--images 3000] [--threads 1] [--json]

The book's AlexNet asks for Xavier's initial weights while its layers are lazy and have none, so it starts from those of
PyTorch. Both starts are trained through ``convscope.d2l`` with the same seeds. To fit a CPU's minutes, reduced against
the book are: the images' side (65 pixels instead of 224, the smallest at which every layer of AlexNet has something to
see), their number (3,000 of each split instead of 60,000 and 10,000), the channels and units of every hidden layer (a
quarter, which leaves the ratio of incoming to outgoing channels as it is, and with it how Xavier differs from PyTorch's
rule) and the batch (32 instead of 128, for the plateau at the beginning is counted in steps). Learning rate, layers,
strides and dropout are the book's. Needs the Fashion-MNIST files. Writes ``results/d2l_xavier.json``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import warnings
from typing import Any

import torch

from _common import publish
from book_networks import alexnet
from convscope.d2l import torch as d2l
from convscope.d2l.limits import Limits

SIDE, WIDTH, BATCH = 65, 0.25, 32
LEARNING = 0.3  # accuracy from which on a network is no longer on the plateau where it gives one answer to everything
STARTS = ("skipped", "xavier")


def train(start: str, seed: int, epochs: int) -> dict[str, Any]:
    """One training; accuracy over images after each epoch."""
    torch.manual_seed(seed)
    data = d2l.FashionMNIST(batch_size=BATCH, resize=(SIDE, SIDE))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="init_cnn leaves")  # it is what is measured here
        model = alexnet(d2l, width=WIDTH)(lr=0.01)
    model.board.display = False
    if start == "xavier":
        model.apply_init([next(iter(data.get_dataloader(True)))[0]], d2l.init_cnn)
    d2l.Trainer(max_epochs=epochs).fit(model, data)
    accuracies = [float(point.y) for point in model.board.data["val_acc"]]
    learning = (epoch for epoch, accuracy in enumerate(accuracies, start=1) if accuracy >= LEARNING)
    return {
        "last_accuracy": accuracies[-1],
        "first_epoch_off_the_plateau": next(learning, None),
        "accuracies": [round(accuracy, 4) for accuracy in accuracies],
    }


def main() -> None:
    """Train both ways with each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 3), ("epochs", 15), ("images", 3000), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    os.environ |= Limits(images=asked.images).environment()
    runs: dict[str, list[dict[str, Any]]] = {start: [] for start in STARTS}
    for seed in range(asked.seeds):
        for start in STARTS:
            run = train(start, seed, asked.epochs)
            runs[start].append(run)
            if not asked.json:
                print(f"seed {seed}, {start}: {run['last_accuracy']:.4f}, {run['accuracies']}", flush=True)
    last = {start: [run["last_accuracy"] for run in runs[start]] for start in STARTS}
    result = {
        "what": f"the book's AlexNet at {SIDE} px, {WIDTH:g} of its width, {asked.images} images, batch {BATCH}, "
        f"learning rate 0.01, {asked.epochs} epochs",
        "mean_last_accuracy": {start: statistics.mean(last[start]) for start in STARTS},
        "difference_per_seed": [a - b for a, b in zip(last["xavier"], last["skipped"], strict=True)],
        "runs": runs,
    }
    publish("d2l_xavier", result, as_json=asked.json)


if __name__ == "__main__":
    main()
