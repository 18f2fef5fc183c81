"""What a recipe reaches: LeNet on Fashion-MNIST, ten epochs, several seeds.

    python benchmarks/recipes.py [--recipe default] [--seeds 3] [--threads 2] [--json]

Seconds are those of ``Trainer.fit``: ten training epochs, ten evaluations on the test images, everything saved. Eleven
published runs of the book's LeNet, whose settings the recipe ``textbook`` has, reach .728 +- .007 (.718 to .737).
Writes ``results/recipe_NAME.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time

import torch

from _common import publish, spread
from convscope import data, models
from convscope.train import ExecutionConfig, Trainer, recipe


def main() -> None:
    """Train once for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    dataset = data.load("fashion-mnist")
    accuracies, seconds = [], []
    for seed in range(asked.seeds):
        config = dataclasses.replace(
            recipe(asked.recipe).config, seed=seed, execution=ExecutionConfig(device="cpu", threads=asked.threads)
        )
        torch.manual_seed(seed)
        model = models.create("lenet")
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = Trainer(config).fit(model, dataset, out=f"{folder}/run")
            seconds.append(time.perf_counter() - began)
            accuracies.append(run.history.of("end")[0].values["test_accuracy"])
        if not asked.json:
            print(f"seed {seed}: test accuracy {accuracies[-1]:.4f} in {seconds[-1]:.1f} s", flush=True)
    result = {
        "recipe": asked.recipe,
        "settings": json.loads(json.dumps(recipe(asked.recipe).config.to_dict())),
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracies": accuracies,
        "seconds": spread(seconds),
    }
    if not asked.json:
        print(f"{asked.recipe}: {result['accuracy_mean']:.4f} mean of {asked.seeds}")
    publish(f"recipe_{asked.recipe}", result, as_json=asked.json)


if __name__ == "__main__":
    main()
