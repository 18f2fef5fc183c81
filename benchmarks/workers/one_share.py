"""One process of a training that ``scaling.py`` starts; the first one prints images per second as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json

import torch

from convscope import data, models
from convscope.train import ExecutionConfig, TrainConfig, Trainer, join


def main() -> None:
    """Train one epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    asked = parser.parse_args()
    whole = data.load("fashion-mnist")
    train, test = whole.train.take(torch.arange(asked.images)), whole.test.take(torch.arange(500))
    execution = ExecutionConfig(device="cpu", threads=asked.threads, precision="float32", memory_format="contiguous")
    config = TrainConfig(epochs=1, batch_size=128 // asked.processes, execution=execution)
    torch.manual_seed(0)
    model = models.create(asked.model, in_channels=1, num_classes=10, image_size=28)
    with join() as world:
        run = Trainer(config).fit(model, dataclasses.replace(whole, train=train, test=test), out=asked.out)
        if world.main:
            print(json.dumps({"images_per_second": run.history.of("epoch")[0].values["images_per_second"]}))


main()
