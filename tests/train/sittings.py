"""Trainings that may be killed: each is a process of its own, forked from one that has imported everything already.

Run as a program. Every line on stdin is a job, every line on stdout says how one ended::

    {"words": ["train", "--out", ...], "log": FILE, "fault": {...}}     the command line
    {"run": FOLDER, "settings": {...}, "log": FILE, "fault": {...}}     a Trainer with a network and images made here
    {"wake": PROCESS}                                                   goes on with one that was stopped

``fault`` says what happens and when: ``{"after_step": 3, "signal": 9}``, ``{"before_fsync": 2, "signal": 9}``,
``{"evaluating": 1, "signal": 15}``, ``{"after_seconds": 0.4}``, ``{"after_step": 3, "file_size": 1000}``,
``{"after_step": 3, "poison": true}``, ``{"as_nobody": true}``.
"""

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

import convscope.cli.train  # noqa: F401 - imported here, once, and not in every process
from convscope import data
from convscope.cli import main
from convscope.data import Dataset, ImageSet
from convscope.errors import ConvscopeError, TrainingInterrupted
from convscope.train import TrainConfig, Trainer
from convscope.train.events import Event, Noted

NOBODY = 65534


class Net(nn.Module):
    """With everything whose state is easily lost: dropout draws, batch norm counts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.conv, self.norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))  # N,1,8,8 -> N,8,6,6
        x = nn.functional.adaptive_max_pool2d(x, 2).flatten(1)  # -> N,32
        return self.head(self.drop(x))


def images(count: int, seed: int) -> ImageSet:
    """Noise with a brighter stripe whose place is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 90, (count, 1, 8, 8), generator=generator)
    for image, label in zip(noise, labels.tolist(), strict=True):
        image[0, 1 + 2 * label] += 60
    return ImageSet(noise.to(torch.uint8), labels, ("top", "middle", "bottom"))


def dataset(seed: int = 1) -> Dataset:
    return Dataset("stripes", images(240, seed), images(90, 2), mean=(0.2,), std=(0.17,))


# ---- what may go wrong


def strike(fault: dict[str, Any], optimizer: torch.optim.Optimizer | None = None) -> None:
    """What happens when the moment has come."""
    if optimizer is not None and fault.get("poison"):
        with torch.no_grad():
            optimizer.param_groups[0]["params"][0].fill_(torch.nan)
    if "signal" in fault:
        os.kill(os.getpid(), fault["signal"])
    if "file_size" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["file_size"], resource.RLIM_INFINITY))


def when(number: int, act: Callable[..., None]) -> Callable[..., None]:
    """Something that acts when it is called for the ``number``-th time."""
    calls = 0

    def called(*values: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act(*values)

    return called


def arm(fault: dict[str, Any]) -> None:
    """Arrange for one fault in this process."""
    if "after_step" in fault:
        register_optimizer_step_post_hook(when(fault["after_step"], lambda optimizer, *_: strike(fault, optimizer)))
    if "before_fsync" in fault:
        syncing, real = when(fault["before_fsync"], lambda: strike(fault)), os.fsync

        def fsync(file: int) -> None:
            syncing()
            real(file)

        os.fsync = fsync
    if "evaluating" in fault:
        looked = when(fault["evaluating"], lambda: strike(fault))

        def forward(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if type(module).__name__ in ("Net", "LeNet") and not module.training and len(inputs[0]) > 2:
                looked()

        register_module_forward_pre_hook(forward)
    if "after_seconds" in fault:
        signal.setitimer(signal.ITIMER_REAL, fault["after_seconds"])  # nobody handles it, so the system kills
    if "as_nobody" in fault and os.geteuid() == 0:
        os.setuid(NOBODY)


# ---- the trainings


def train(folder: Path, settings: dict[str, Any], *, data_seed: int = 1, force: bool = False) -> int:
    """Begin or go on, whichever the folder asks for; what is said goes to stderr as the command line says it."""
    heard: list[Event] = []
    try:
        config = TrainConfig.from_dict(settings)
        if (folder / "config.json").exists():
            Trainer.resume(folder, Net(), dataset(data_seed), config=config, force=force, listeners=[heard.append])
        else:
            Trainer(config).fit(Net(), dataset(data_seed), out=folder)
        sys.stderr.write("\n".join(event.text for event in heard if isinstance(event, Noted)))
    except ConvscopeError as error:
        sys.stderr.write(f"convscope: {error}")
        return 130 if isinstance(error, TrainingInterrupted) else 1
    return 0


def sit(job: dict[str, Any]) -> int:
    """In the process of its own: to the end, or until the fault ends it."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setsid()
    try:
        arm(job.get("fault", {}))
        if "words" in job:
            return main(job["words"])
        more = {name: job[name] for name in ("data_seed", "force") if name in job}
        return train(Path(job["run"]), job["settings"], **more)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    torch.set_num_threads(1)
    data.load("digits")
    for line in sys.stdin:
        job = json.loads(line)
        if "wake" in job:
            process = job["wake"]
            os.kill(process, signal.SIGCONT)
        else:
            process = os.fork()
            if process == 0:
                os._exit(sit(job))
        _, status = os.waitpid(process, os.WUNTRACED)
        stopped = os.WIFSTOPPED(status)
        code = None if stopped else os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps({"process": process, "code": code}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
