"""One epoch of training and its evaluation with convscope, in its own environment; prints the seconds as JSON."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

import torch
from _peer import asked, timed
from torch import nn

from convscope import __version__, data, models
from convscope.train import ExecutionConfig, OptimizerConfig, TrainConfig, Trainer
from convscope.train.bench import Bench
from convscope.train.objective import Classification
from convscope.train.probe import peak_macs
from convscope.train.way import Way


def peak_share(model: nn.Module, size: int, found: dict[str, Any]) -> dict[str, float]:
    """Multiply-adds a second of the training, as a share of what a product of two matrices reaches here and now."""
    batch, plan = (torch.randn(128, 1, size, size), torch.zeros(128, dtype=torch.int64)), found["plan"]
    macs = Bench(model, Classification(), batch).macs(Way(device=plan["device"], threads=plan["threads"])) / 128
    peak = peak_macs(plan["device"], plan["precision"], plan["threads"])
    return {"peak_share": macs * found["epoch"]["images_per_second"] / peak, "peak_macs_per_second": peak}


def main() -> None:
    """Time ``Trainer.fit``, the measuring of the plan and the writing of the run folder included."""
    words = asked()
    torch.set_num_threads(words.threads)
    dataset = data.load("fashion-mnist", data_dir=words.data)
    if words.images:
        keep = torch.arange(words.images)
        dataset = dataclasses.replace(dataset, train=dataset.train.take(keep), test=dataset.test.take(keep))
    execution = ExecutionConfig(threads=words.threads)
    if words.model == "resnet18":  # what the plan finds for a run that is long enough to measure it
        execution = dataclasses.replace(execution, precision="reduced", memory_format="channels_last")
    config = TrainConfig(
        epochs=1,
        batch_size=128,
        image_size=None if words.size == 28 else words.size,
        optimizer=OptimizerConfig(
            opt="sgd", lr=0.1 if words.model == "lenet" else 0.01, momentum=0.0, weight_decay=0.0
        ),
        execution=execution,
    )
    torch.manual_seed(0)
    stem = "imagenet" if words.model == "resnet18" else "auto"
    model = models.create(words.model, in_channels=1, num_classes=10, image_size=words.size, stem=stem)

    def fit() -> dict[str, object]:
        with tempfile.TemporaryDirectory() as folder:
            run = Trainer(config).fit(model, dataset, out=f"{folder}/run")
            return {"plan": run.environment["plan"], "epoch": dict(run.history.of("epoch")[-1].values)}

    timed(fit, name="convscope", version=__version__, afterwards=lambda found: peak_share(model, words.size, found))


main()
