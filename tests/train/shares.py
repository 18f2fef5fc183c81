"""One process of a training that ``test_distributed.py`` starts with torchrun.

``python shares.py FOLDER SETTINGS [die_at_step]``: settings are JSON for ``TrainConfig``; with ``die_at_step`` the
second process of the first start kills itself there.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from convscope import data
from convscope.train import Run, TrainConfig, Trainer, join

FIRST_START = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"


def build() -> nn.Module:
    """Without batch norm, whose statistics would be those of a share."""
    torch.manual_seed(5)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32, 10)),
    )


def main() -> None:
    """Train, or go on after a restart."""
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    if len(sys.argv) > 3 and os.environ["RANK"] == "1" and FIRST_START:
        left = iter(range(int(sys.argv[3]), -1, -1))
        register_optimizer_step_post_hook(
            lambda *_: os.kill(os.getpid(), signal.SIGKILL) if next(left, None) == 1 else None
        )
    digits = data.load("digits")
    with join() as world:
        if (Path(folder) / "config.json").exists() and Run.open(folder).begun_by(world.job):
            run = Trainer.resume(folder, build(), digits)
        else:
            run = Trainer(TrainConfig.from_dict(settings)).fit(build(), digits, out=folder)
        if world.main:
            sys.stdout.write(str(Run.open(run.path).history.of("end")[0].values["test_accuracy"]))


if __name__ == "__main__":
    main()
