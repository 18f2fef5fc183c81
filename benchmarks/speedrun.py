"""How long a recipe takes to its accuracy on Fashion-MNIST.

Each seed trains its recipe's network on all 60,000 images in this process. Time runs from the call of ``fit`` to the
last change of a weight: measuring the plan, checkpoints and measurements between epochs count, the last measurement
does not. The accuracy is that of the 10,000 test images with the last weights.

    python benchmarks/speedrun.py --recipe speedrun-90 [--seeds 5] [--threads 2] [--json]

Needs the Fashion-MNIST files (CONVSCOPE_DATA or the cache).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from typing import Any

import torch

from _common import publish, spread
from convscope import data, models
from convscope.train import RECIPES, Event, Logged, Recipe, Trainer, recipe

TARGETS = {
    "speedrun-90": "90 % in at most 10 s",
    "speedrun-92": "92.5 % in at most 40 s",
    "speedrun-93": "93.6 % in at most 75 s",
    "speedrun-94": "94.5 % in at most 300 s",
    "accurate": "95.0 % with less than a million parameters, whatever the time",
}


def run(chosen: Recipe, dataset: data.Dataset, seed: int, threads: int) -> dict[str, Any]:
    """Accuracy and seconds of one seed."""
    config = dataclasses.replace(
        chosen.config, seed=seed, execution=dataclasses.replace(chosen.config.execution, threads=threads)
    )
    torch.manual_seed(seed)
    model = models.create(
        chosen.model or "lenet", in_channels=1, num_classes=10, image_size=config.image_size or dataset.image_size[0]
    )
    last = 0.0

    def listen(event: Event) -> None:
        nonlocal last
        if isinstance(event, Logged) and event.row.kind == "epoch":
            last = time.perf_counter() - event.row.values.get("test_seconds", 0.0)

    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), time.process_time()
        done = Trainer(config, listeners=[listen]).fit(model, dataset, out=f"{folder}/run")
        return {
            "seed": seed,
            "accuracy": done.history.of("end")[0].values["test_accuracy"],
            "seconds": last - began,
            "processor_seconds": time.process_time() - worked,  # of all threads: what other programs delay not
            "curve": [row.values["test_accuracy"] for row in done.history.of("epoch") if "test_accuracy" in row.values],
            "images_per_second": done.history.of("epoch")[-1].values["images_per_second"],
        }


def main() -> None:
    """Run every seed and report mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="speedrun-90", choices=sorted(RECIPES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    dataset, chosen = data.load("fashion-mnist"), recipe(asked.recipe)
    runs = []
    for seed in range(asked.seeds):
        runs.append(run(chosen, dataset, seed, asked.threads))
        if not asked.json:
            print(f"seed {seed}: {runs[-1]['accuracy']:.4f} in {runs[-1]['seconds']:.1f} s")
    accuracies = [one["accuracy"] for one in runs]
    result = {
        "recipe": asked.recipe,
        "model": chosen.model,
        "target": TARGETS.get(asked.recipe),
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "seconds_mean": statistics.mean(one["seconds"] for one in runs),
        "seconds": spread([one["seconds"] for one in runs]),
        "runs": runs,
        "settings": chosen.config.to_dict(),
    }
    if not asked.json:
        print(f"mean {result['accuracy_mean']:.4f} in {result['seconds_mean']:.1f} s; target: {result['target']}")
    publish(f"speedrun_{asked.recipe}", result, as_json=asked.json)


if __name__ == "__main__":
    main()
