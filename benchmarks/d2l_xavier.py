"""What it costs the book's AlexNet that its initial weights are not the intended ones.

Its ``net.apply(init_cnn)`` meets lazy layers, which have no weights yet: nothing is drawn from Xavier's distribution,
and PyTorch's own initial weights stay. The same network is trained so, and with one line more, ``apply_init``, which
draws them after a first pass; nothing else differs. In the published notebooks an accuracy of .881 (20 runs, when
layers were not lazy) became .833 (11 runs), while versions of PyTorch changed too.

    python benchmarks/d2l_xavier.py [--seeds 3] [--images 10000] [--batch-size 32] [--narrower 8] [--epochs 10]
                                    [--threads 1] [--json]

Reduced against the book: 65 pixels instead of 224 (the fewest that the strides allow), all widths divided by
``--narrower``, 10,000 training images in batches of 32 instead of 60,000 in batches of 128, which are two thirds of the
steps; the whole test split. Learning rate .01, ten epochs, dropout and layers are the book's. Needs the Fashion-MNIST
files (CONVSCOPE_DATA or the cache). Writes ``results/d2l_xavier.json``.
"""

from __future__ import annotations

import argparse
import os
import warnings
from typing import Any

import torch

from _common import arguments, publish, spread
from book_networks import AlexNet
from convscope.d2l import torch as d2l

PIXELS = 65
LEARNS = 0.2  # accuracy from which the plateau of equal scores, .1, is left behind


def train(asked: argparse.Namespace, seed: int, *, xavier: bool) -> dict[str, Any]:
    """One training, with what ``init_cnn`` said about it."""
    torch.manual_seed(seed)
    images = d2l.FashionMNIST(batch_size=asked.batch_size, resize=(PIXELS, PIXELS))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = AlexNet(lr=0.01, narrower=asked.narrower)
    model.board.display = False
    if xavier:
        model.apply_init([next(iter(images.get_dataloader(True)))[0]], d2l.init_cnn)
    trainer = d2l.Trainer(max_epochs=asked.epochs, num_gpus=1)
    trainer.fit(model, images)
    lines = {name: [round(float(point.y), 4) for point in line] for name, line in model.board.data.items()}
    return {
        "seed": seed,
        "layers_skipped_with_a_warning": len(told),
        "val_acc": lines["val_acc"],
        "train_loss": lines["train_loss"],
        "first_epoch_that_learned": next((i for i, y in enumerate(lines["val_acc"], 1) if y > LEARNS), None),
    }


def main() -> None:
    """Train both ways with each seed."""
    asked = arguments(__doc__, seeds=3, images=10_000, batch_size=32, narrower=8, epochs=10, threads=1)
    torch.set_num_threads(asked.threads)
    os.environ["CONVSCOPE_LIMIT"] = str(asked.images)  # as ``convscope notebook --limit`` does
    ways: dict[str, Any] = {"skipped": [], "drawn": []}
    for seed in range(asked.seeds):
        for way, runs in ways.items():
            runs.append(train(asked, seed, xavier=way == "drawn"))
            if not asked.json:
                print(f"seed {seed}, Xavier {way}: {' '.join(f'{y:.3f}' for y in runs[-1]['val_acc'])}", flush=True)
    sizes = {name: getattr(asked, name) for name in ("images", "batch_size", "narrower", "epochs")}
    result = {
        "what": "AlexNet of the book, reduced, with Xavier's weights skipped as published and with them drawn",
        "settings": {**sizes, "pixels": PIXELS, "lr": 0.01},
        "last_val_acc": {way: spread([run["val_acc"][-1] for run in runs]) for way, runs in ways.items()},
        "runs": ways,
    }
    publish("d2l_xavier", result, as_json=asked.json)


if __name__ == "__main__":
    main()
