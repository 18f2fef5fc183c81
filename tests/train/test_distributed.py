"""Several processes are one training: the same sums, the same files, and a worker that dies is started again."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convscope import data
from convscope.cli import train_words
from convscope.measure import evaluate
from convscope.train import (
    ExecutionConfig,
    OptimizerConfig,
    Run,
    SavingConfig,
    ScheduleConfig,
    TrainConfig,
    Trainer,
)
from convscope.train.batch_size import check_batches
from convscope.train.distributed import World, _here
from convscope.train.meter import Meter
from convscope.train.objective import Outcome
from train.shares import build

PLAIN = ExecutionConfig(device="cpu", threads=1, precision="float32", memory_format="contiguous", log_interval=10)
FIFTY = TrainConfig(  # 1,438 images: 12 steps an epoch of 128, the last of 30
    epochs=5,
    batch_size=128,
    optimizer=OptimizerConfig(opt="sgd", lr=0.05),
    schedule=ScheduleConfig(sched="cosine"),
    execution=PLAIN,
)


def torchrun(
    script: Path,
    *words: str,
    processes: int = 2,
    restarts: int = 0,
    succeeds: bool = True,
    rendezvous: Sequence[str] = ("--standalone",),
) -> subprocess.CompletedProcess[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", *rendezvous, "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    answer = subprocess.run(
        [*launch, "--max-restarts", str(restarts), str(script), *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert (answer.returncode == 0) is succeeds, answer.stderr[-4000:]
    return answer


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def share_of(config: TrainConfig, processes: int) -> str:
    return json.dumps(dataclasses.replace(config, batch_size=config.batch_size // processes).to_dict())


SHARES = Path(__file__).parent / "shares.py"


def test_two_processes_of_64_equal_one_of_128_after_sixty_steps(tmp_path):
    """Same order of images, uneven last batch included: only the order of additions differs."""
    alone = build()
    expected = Trainer(FIFTY).fit(alone, data.load("digits"), out=tmp_path / "alone")
    torchrun(SHARES, str(tmp_path / "both"), share_of(FIFTY, 2))
    together = load_file(tmp_path / "both" / "model.safetensors")
    assert expected.history.of("end")[0].step == 60
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=2e-4, atol=2e-6)
    run = Run.open(tmp_path / "both")
    for ours, theirs in zip(run.history.rows, expected.history.rows, strict=True):
        assert (ours.kind, ours.epoch, ours.step) == (theirs.kind, theirs.epoch, theirs.step)
        for name in set(theirs.values) & {"lr", "train_loss", "test_loss", "grad_norm"}:
            assert ours.values[name] == pytest.approx(theirs.values[name], rel=2e-4), (ours.step, name)


def test_the_test_images_are_counted_exactly_by_any_number_of_processes(tmp_path):
    """359 images over three processes: no share is padded, no image counted twice."""
    config = dataclasses.replace(FIFTY, epochs=1, batch_size=96)
    answer = torchrun(SHARES, str(tmp_path / "run"), share_of(config, 3), processes=3)
    run = Run.open(tmp_path / "run")
    model = build()
    run.load_weights(model)
    judged = evaluate(model, data.load("digits").test, run.preprocess)
    assert run.history.of("end")[0].values["test_accuracy"] == judged.accuracy == float(answer.stdout.split()[-1])


def test_a_worker_that_dies_is_started_again_and_the_run_ends_as_if_it_had_not(tmp_path):
    config = dataclasses.replace(FIFTY, epochs=3, saving=SavingConfig(checkpoint_every="0"))
    torchrun(SHARES, str(tmp_path / "whole"), share_of(config, 2))
    answer = torchrun(SHARES, str(tmp_path / "dies"), share_of(config, 2), "17", restarts=1)
    assert "exitcode: -9" in answer.stderr or "SIGKILL" in answer.stderr or "restart" in answer.stderr.lower()
    equal(tmp_path / "whole", tmp_path / "dies")


def test_the_command_line_speaks_once_and_after_a_kill_ends_as_if_there_had_been_none(tmp_path):
    """Torchrun as it comes, with a name for the job that every other one has too; images are resized unasked."""
    words = ["train", "--model", "lenet", "--data", "digits", "--epochs", "1", "--threads", "1", "--log-interval", "5"]
    typed, whole = Path(__file__).with_name("typed.py"), tmp_path / "whole"
    answer = torchrun(typed, "never", *words, "--out", str(whole))
    assert answer.stdout.count("test accuracy") == 1
    assert answer.stderr.count("epoch 1/1") == 1
    assert "2 processes" in answer.stderr
    assert (whole / "report.html").exists()
    torchrun(typed, "7", *words, "--out", str(tmp_path / "dies"), restarts=2, rendezvous=["--master-port", free_port()])
    equal(whole, tmp_path / "dies")


def test_a_run_of_several_processes_needs_a_name(monkeypatch):
    monkeypatch.setattr(train_words, "started_by_torchrun", lambda: True)
    with pytest.raises(ValueError, match="name it with --out"):
        train_words.read(["--epochs", "1"])


def equal(whole: Path, again: Path) -> None:
    """The second was resumed once, and has the weights and losses of the first."""
    runs = Run.open(whole), Run.open(again)
    assert len(runs[1].environment["resumed"]) == 1
    assert (whole / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    losses = [[row.values.get("train_loss") for row in run.history.rows] for run in runs]
    assert losses[0] == losses[1]


def test_accumulated_batches_are_one_batch(tmp_path):
    """Uneven batches too: 1,438 images in batches of 32, four to a step."""
    digits, alone = data.load("digits"), build()
    config = dataclasses.replace(FIFTY, epochs=2)
    expected = Trainer(config).fit(alone, digits, out=tmp_path / "alone")
    parts = build()
    several = dataclasses.replace(config, batch_size=32, optimizer=dataclasses.replace(config.optimizer, accumulate=4))
    run = Trainer(several).fit(parts, digits, out=tmp_path / "parts")
    assert run.history.of("end")[0].step == expected.history.of("end")[0].step == 24
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("size", "world", "said"),
    [
        (719, 2, "--batch-size 719 x 2 processes"),
        (
            359,
            4,
            "leaves 2 images in the last batch of an epoch, and each process needs an image; try --batch-size 358",
        ),
    ],
)
def test_batches_that_leave_a_process_without_an_image_are_refused(size, world, said):
    images = 1438 if world == 4 else 1400
    with pytest.raises(ValueError, match=said):
        check_batches(size, images, World(0, world))


def test_a_launcher_that_does_not_say_which_process_this_is_is_told_what_is_missing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"nothing says RANK and LOCAL_RANK and LOCAL_WORLD_SIZE and MASTER_ADDR"):
        _here()
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"nothing says MASTER_ADDR and MASTER_PORT; start them with torchrun"):
        _here()


def test_a_world_of_one_needs_nobody():
    meter, alone = Meter(), World()
    meter.add(Outcome(torch.tensor(1.0), {"loss": torch.tensor(2.0)}, 2))
    assert meter.shared(alone) is meter
    assert alone.tell("x") == "x"
    assert alone.gather(3) == [3]
    with alone.together(), alone.in_turn(0):
        pass
