"""Processes that train together, forked from one that has imported everything already; no ``torchrun`` takes part.

Run as a program. Every line on stdin is a job, every line on stdout has the exit codes of its processes::

    {"scene": NAME, "size": PROCESSES, "logs": FOLDER, "job": NAME, "environment": {...}, ...}

Those of one ``job`` find the same store, as workers that are started again. ``scene`` is a function below; it gets the
whole job. What a process writes goes to ``logs/RANK.out`` and ``logs/RANK.err``.
"""

import json
import os
import signal
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from convscope import data
from convscope.cli import main
from convscope.errors import ConvscopeError, TrainingInterrupted
from convscope.train import TrainConfig, Trainer, distributed, join
from convscope.train.exchange import Exchange
from train.sittings import Net, dataset, when

Job = dict[str, Any]


class Unused(nn.Module):
    """One layer that nobody uses, and one that is used where the process says so."""

    def __init__(self, *, here: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.here = here
        self.always, self.sometimes, self.never = nn.Linear(64, 3), nn.Linear(64, 3), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return self.always(x) + self.sometimes(x) if self.here else self.always(x)


def answer(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")


def no_unpickling(*_: Any) -> None:
    raise AssertionError("bytes of another process were unpickled")


# ---- scenes


def typed(job: Job) -> int:
    """The command line; after so many steps one process ``fails`` as an allocator does, or ``dies``."""
    if job.get("fails", {}).get("rank") == int(os.environ["RANK"]):
        register_optimizer_step_post_hook(when(job["fails"]["after_step"], out_of_memory))
    if job.get("dies", {}).get("rank") == int(os.environ["RANK"]):
        register_optimizer_step_post_hook(when(job["dies"]["after_step"], die))
    return main(job["words"])


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory(*_: object) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


def trained(job: Job) -> int:
    """Begin or go on; ``stop`` asks one process to stop after so many steps."""
    dist.distributed_c10d._tensor_to_object = no_unpickling
    if job.get("stop", {}).get("rank") == int(os.environ["RANK"]):
        step = job["stop"]["after_step"]
        register_optimizer_step_post_hook(when(step, lambda *_: os.kill(os.getpid(), signal.SIGTERM)))
    config, folder = TrainConfig.from_dict(job["settings"]), Path(job["run"])
    try:
        if (folder / "config.json").exists():
            Trainer.resume(folder, Net(), dataset())
        else:
            Trainer(config).fit(Net(), dataset(), out=folder)
    except TrainingInterrupted:
        return 130
    return 0


def counted(job: Job) -> int:
    """How often gradients are exchanged in an epoch, and the sizes of what is sent."""
    sent, real = [], dist.all_reduce

    def all_reduce(tensor: torch.Tensor, *more: Any, **how: Any) -> Any:
        if how.get("async_op"):
            sent.append(tensor.numel())
        return real(tensor, *more, **how)

    dist.all_reduce = all_reduce
    run = Trainer(TrainConfig.from_dict(job["settings"])).fit(Net(), dataset(), out=job["run"])
    answer(sent=len(sent), sizes=sorted(set(sent)), steps=run.history.of("end")[0].step)
    return 0


def exchanged(job: Job) -> int:
    """The gradients of a network of which parts are not used, in this process or in none."""
    with join() as world:
        model = Unused(here=world.rank == 1)
        generator = torch.Generator().manual_seed(7 + world.rank)
        with Exchange(model, world) as exchange:
            for last in (False, True):
                with exchange.summing(when=last):
                    model(torch.randn(4, 64, generator=generator)).square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        answer(**{name: None if g is None else g.flatten().tolist() for name, g in gradients.items()})
    return 0


def spoken(job: Job) -> int:
    """Everything that goes by words, and a wait that is longer than any sum would wait."""
    distributed.PATIENCE = timedelta(seconds=2)
    with join() as world:
        told = world.tell({"path": f"é{world.rank}", "none": None})
        gathered = world.gather([world.rank, "x"])
        collected = world.collect({"half": torch.full((2,), world.rank, dtype=torch.bfloat16)})
        began = time.monotonic()
        with world.in_turn(0):
            if world.main:
                time.sleep(4)
        waited = time.monotonic() - began
        spread = torch.arange(3.0) + world.rank
        world.spread([spread, torch.tensor(world.rank)])
        answer(
            told=told,
            gathered=gathered,
            collected=[share["half"].tolist() for share in collected],
            waited=waited,
            spread=spread.tolist(),
            left=world.messages._store.num_keys() if world.main else None,
        )
        world.tell("seen")
    return 0


def unlike(job: Job) -> int:
    """Every process has a network of its own shape, or ends in another way of its own."""
    with join() as world:
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5 + world.rank), nn.Linear(5 + world.rank, 3))
        Trainer(TrainConfig.from_dict(job["settings"])).fit(net, dataset(), out=job["run"])
    return 0


# ---- the processes


def play(job: Job, rank: int, port: int) -> int:
    for number, name in ((1, f"{rank}.out"), (2, f"{rank}.err")):
        os.dup2(os.open(Path(job["logs"]) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(job["size"]), "LOCAL_WORLD_SIZE": str(job["size"])}
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "none"}
    os.environ |= job.get("environment", {})
    try:
        return globals()[job["scene"]](job)
    except ConvscopeError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}")
        return 1
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    torch.set_num_threads(1)
    data.load("digits")
    stores: dict[str, dist.TCPStore] = {}
    for line in sys.stdin:
        job = json.loads(line)
        # As torchrun does: the store lies with who starts the processes, and outlives them.
        store = stores.setdefault(job.get("job", line), dist.TCPStore("127.0.0.1", 0, is_master=True))
        processes = []
        for rank in range(job["size"]):
            process = os.fork()
            if process == 0:
                os._exit(play(job, rank, store.port))
            processes.append(process)
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
