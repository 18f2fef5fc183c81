"""Whether the book's trainings end where its published notebooks ended.

Each cell is written as its readers write it (``book_networks.py``) and trained with the book's settings: all 60,000
images of Fashion-MNIST, ten epochs, batches of 128, learning rate .1, ``apply_init`` with ``init_cnn``. Compared are
the accuracy on the test images after the last epoch, and both curves epoch by epoch, with the lowest and highest of 11
published runs (``published/d2l.json``); accuracy in the book's way, the mean of batch means.

    python benchmarks/d2l_published.py [--seeds 1] [--threads 2] [--json]

A twelfth run of the same kind is the lowest or the highest of twelve with a chance of one in six, at every epoch; so a
value just outside is no surprise, and one far outside is. Seconds are not compared: ``d2l.py`` does that. Needs the
Fashion-MNIST files (CONVSCOPE_DATA or the cache). Writes ``results/d2l_published.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from _common import arguments, publish
from book_networks import BNLeNet, BNLeNetScratch
from convscope.d2l import torch as d2l

CELLS = {"lenet": d2l.LeNet, "batch-norm-scratch": BNLeNetScratch, "batch-norm-concise": BNLeNet}
CURVES = {"val_acc": "val_acc_batch_mean", "val_loss": "val_loss"}  # the book's name, and where ours keeps the same
EPOCHS, BATCH_SIZE, LR = 10, 128, 0.1


def train(cell: str, seed: int) -> dict[str, list[float]]:
    """The cell; every line of its board."""
    torch.manual_seed(seed)
    trainer = d2l.Trainer(max_epochs=EPOCHS, num_gpus=1)
    images = d2l.FashionMNIST(batch_size=BATCH_SIZE)
    model = CELLS[cell](lr=LR)
    model.board.display = False
    model.apply_init([next(iter(images.get_dataloader(True)))[0]], d2l.init_cnn)
    trainer.fit(model, images)
    return {name: [round(float(point.y), 4) for point in line] for name, line in model.board.data.items()}


def compared(lines: dict[str, list[float]], published: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """One run beside the published ones, with the epochs at which it leaves their range."""
    outside = {}
    for name, ours in CURVES.items():
        band = zip(lines[ours], published[name]["min"], published[name]["max"], strict=True)
        outside[name] = [epoch for epoch, (y, low, high) in enumerate(band, 1) if not low <= y <= high]
    return {
        "last_val_acc": lines["val_acc_batch_mean"][-1],
        "last_val_acc_over_images": lines["val_acc"][-1],
        "inside": published["val_acc"]["max"][-1] >= lines["val_acc_batch_mean"][-1] >= published["val_acc"]["min"][-1],
        "epochs_outside": outside,
        "curves": {name: lines[ours] for name, ours in CURVES.items()},
    }


def main() -> None:
    """Train each cell with each seed."""
    asked = arguments(__doc__, seeds=1, threads=2)
    torch.set_num_threads(asked.threads)
    published = json.loads((Path(__file__).parent / "published" / "d2l.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for cell in CELLS:
        band = published["cells"][cell]
        low, high = band["val_acc"]["min"][-1], band["val_acc"]["max"][-1]
        found[cell] = {"published_last_val_acc": {"n": published["runs"], "min": low, "max": high}, "runs": []}
        for seed in range(asked.seeds):
            run = {"seed": seed, **compared(train(cell, seed), band)}
            found[cell]["runs"].append(run)
            if not asked.json:
                print(
                    f"{cell}, seed {seed}: {run['last_val_acc']:.4f}, published {low:.4f} to {high:.4f}; "
                    f"epochs outside the published curves: {run['epochs_outside']}",
                    flush=True,
                )
    result = {
        "what": "the book's cells on convscope.d2l beside its published runs",
        "settings": {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "lr": LR},
        "published": published["source"],
        "cells": found,
    }
    publish("d2l_published", result, as_json=asked.json)


if __name__ == "__main__":
    main()
