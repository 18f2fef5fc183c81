"""Do the book's training cells give here what the book shows? LeNet and both LeNets with batch norm, ten whole epochs.

    python benchmarks/d2l_published.py [--seeds 3] [--epochs 10] [--threads 2] [--json]

Every cell is trained through ``convscope.d2l`` once for each seed and set beside eleven published runs of the same cell
(``published/d2l.json``): the accuracy of the last epoch against their range, and each point of the curves against the
band from the smallest to the largest of them. Accuracy is the book's mean of batch means here, for that is what was
published. A twelfth run of the very same program would have 2 chances in 12 to fall outside at any one point; so a rank
test says whether the two groups of last accuracies differ by more than chance (Mann-Whitney, two-sided), and a curve is
judged by the share of its points inside. Needs the Fashion-MNIST files. Writes ``results/d2l_published.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from scipy.stats import mannwhitneyu

from _common import publish
from book_networks import bn_lenet
from convscope.d2l import torch as d2l

PUBLISHED = Path(__file__).parent / "published" / "d2l.json"
CELLS = {
    "LeNet": d2l.LeNet,
    "BNLeNet": bn_lenet(d2l, scratch=False),
    "BNLeNetScratch": bn_lenet(d2l, scratch=True),
}
LINES = {"train_loss": "train_loss", "val_loss": "val_loss", "val_acc": "val_acc_batch_mean"}
"""Lines of the book, and where the board has the same numbers here."""


def train(kind: type, seed: int, epochs: int) -> dict[str, list[float]]:
    """The cell as the book has it, but for the seed; the points of each line."""
    torch.manual_seed(seed)
    data = d2l.FashionMNIST(batch_size=128)
    model = kind(lr=0.1)
    model.board.display = False
    model.apply_init([next(iter(data.get_dataloader(True)))[0]], d2l.init_cnn)
    d2l.Trainer(max_epochs=epochs, num_gpus=1).fit(model, data)
    return {line: [float(point.y) for point in model.board.data[name]] for line, name in LINES.items()}


def beside(runs: list[dict[str, list[float]]], published: dict[str, Any]) -> dict[str, Any]:
    """Our runs of a cell, and where they lie among the published ones."""
    last = [run["val_acc"][-1] for run in runs]
    theirs = published["last_accuracies"]
    return {
        "last_accuracies": last,
        "mean": statistics.mean(last),
        "published_range": [min(theirs), max(theirs)],
        "published_mean": statistics.mean(theirs),
        "inside_the_range": sum(min(theirs) <= accuracy <= max(theirs) for accuracy in last),
        "chance_of_such_ranks": float(mannwhitneyu(last, theirs).pvalue),
        "share_of_points_inside_the_band": {
            line: [share_inside(run[line], published["bands"][line]) for run in runs] for line in LINES
        },
        "curves": [{line: [round(y, 4) for y in points] for line, points in run.items()} for run in runs],
    }


def share_inside(points: list[float], band: list[list[float]]) -> float:
    """How many points of a line lie between the smallest and the largest of the published ones."""
    inside = [low <= y <= high for y, (low, high) in zip(points, band, strict=False)]
    return sum(inside) / len(inside)


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    cells = {}
    for name, kind in CELLS.items():
        runs = [train(kind, seed, asked.epochs) for seed in range(asked.seeds)]
        found = cells[name] = beside(runs, published["cells"][name])
        if not asked.json:
            low, high = found["published_range"]
            print(
                f"{name}: {', '.join(f'{accuracy:.4f}' for accuracy in found['last_accuracies'])}; published "
                f"{low:.4f} to {high:.4f}; chance {found['chance_of_such_ranks']:.2f}",
                flush=True,
            )
    what = f"cells of the book through convscope.d2l, {asked.epochs} epochs, seeds 0 to {asked.seeds - 1}"
    publish("d2l_published", {"what": what, "published": published["source"], "cells": cells}, as_json=asked.json)


if __name__ == "__main__":
    main()
