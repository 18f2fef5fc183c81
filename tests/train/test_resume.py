import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from convscope.data import Dataset
from convscope.errors import RunError, TrainingInterrupted
from convscope.train import (
    ExecutionConfig,
    Finished,
    History,
    Logged,
    OptimizerConfig,
    Run,
    SavingConfig,
    TrainConfig,
    Trainer,
)
from convscope.train.checkpoint import CheckpointStore

CONFIG = TrainConfig(epochs=4, batch_size=32, execution=ExecutionConfig(log_interval=3))
BY_THE_CLOCK = ("seconds", "per_second", "share", "bytes")


def build() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )


def numbers(run: Run) -> list[dict[str, float]]:
    return [{k: v for k, v in row.to_dict().items() if not k.endswith(BY_THE_CLOCK)} for row in run.history.rows]


@pytest.mark.parametrize("stop_at", [1, 5, 8, 19])
@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_a_stopped_and_resumed_run_is_bit_identical_to_one_never_stopped(tmp_path, dataset, stop_at, opt):
    config = TrainConfig(epochs=4, batch_size=32, optimizer=OptimizerConfig(opt=opt), execution=CONFIG.execution)
    whole = build()
    expected = Trainer(config).fit(whole, dataset, out=tmp_path / "whole")

    cut, steps = build(), iter(range(1, 100))
    cut.register_forward_pre_hook(
        lambda net, _: os.kill(os.getpid(), signal.SIGINT) if net.training and next(steps) == stop_at else None
    )
    with pytest.raises(
        TrainingInterrupted,
        match=f"stopped after step {stop_at} of 32; .* go on with: Trainer.resume",
    ):
        Trainer(config).fit(cut, dataset, out=tmp_path / "cut")
    torch.manual_seed(999)  # a new process has another generator
    again = build()
    resumed = Trainer.resume(tmp_path / "cut", again, dataset)
    assert numbers(resumed) == numbers(expected)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    for ours, theirs in zip(resumed.history.of("epoch"), expected.history.of("epoch"), strict=True):
        assert 0.02 < ours.values["images_per_second"] / theirs.values["images_per_second"] < 50
    assert len(resumed.environment["resumed"]) == 1
    assert (resumed.path / "model.safetensors").read_bytes() == (expected.path / "model.safetensors").read_bytes()


def test_rows_written_after_the_last_checkpoint_are_dropped(tmp_path, dataset):
    """What a kill between an appended row and the checkpoint leaves behind."""
    expected = Trainer(CONFIG).fit(build(), dataset, out=tmp_path / "whole")

    class Died(Exception):
        pass

    def die(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "step" and event.row.step == 15:
            raise Died

    with pytest.raises(Died):
        Trainer(CONFIG, listeners=[die]).fit(build(), dataset, out=tmp_path / "cut")
    assert Run.open(tmp_path / "cut").history.rows[-1].step == 15
    resumed = Trainer.resume(tmp_path / "cut", build(), dataset)
    assert numbers(resumed) == numbers(expected)


def test_what_cannot_go_on_says_so(tmp_path, dataset):
    run = Trainer(CONFIG).fit(build(), dataset, out=tmp_path / "run")
    with pytest.raises(RunError, match="is complete: nothing is left to train"):
        Trainer.resume(run.path, build(), dataset)
    other = Dataset("stripes", dataset.train, dataset.train, dataset.mean, dataset.std)
    whole = run.history.rows
    run.rewrite_history(History(whole[:3]))
    with pytest.raises(
        RunError, match=r"--force goes on all the same:\n  data test images: 90 then, 240 now\n  the im"
    ):
        Trainer.resume(run.path, build(), other)
    with pytest.raises(RunError, match=r"metrics\.jsonl has 3 rows and the checkpoint counts on 14: the file was cut"):
        Trainer.resume(run.path, build(), dataset)
    run.rewrite_history(History(whole[:-1]))
    checkpoints = sorted((run.path / "checkpoint").glob("step-*.pt"))
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"0032\.pt is damaged: it does not .*0024\.pt is damaged: .*start a new one"):
        Trainer.resume(run.path, build(), dataset)
    for checkpoint in checkpoints:
        checkpoint.unlink()
    with pytest.raises(RunError, match=r"checkpoint holds no checkpoint: this run cannot go on; start a new one"):
        Trainer.resume(run.path, build(), dataset)


class Bomb:
    def __reduce__(self):
        return (print, ("this code must never run",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, dataset, capsys, monkeypatch):
    run = Trainer(CONFIG).fit(build(), dataset, out=tmp_path / "run")
    run.rewrite_history(History(()))
    for file in (run.path / "checkpoint").glob("step-*.pt"):
        file.unlink()
    store = CheckpointStore(run.path / "checkpoint")
    monkeypatch.setattr("convscope.train.checkpoint.fields", lambda _: [SimpleNamespace(name="model")])
    store.save(SimpleNamespace(step=9, model=Bomb()))  # whole, sealed, and still not to be trusted
    with pytest.raises(RunError, match="was not opened"):
        Trainer.resume(run.path, build(), dataset)
    assert "never run" not in capsys.readouterr().out


SAVES_FOREVER = """
import sys, torch
from pathlib import Path
from convscope.train import Run
run = Run(Path(sys.argv[1]), {"model": {"class": "x"}, "data": {"name": "x", "classes": ["a"]}, "input": {}})
number = 0
while True:
    run.save_weights({"w": torch.full((300_000,), float(number))})
    number += 1
    if number == 3:
        print("saving", flush=True)
"""


def test_a_kill_in_the_middle_of_saving_leaves_a_whole_file(tmp_path):
    from safetensors.torch import load_file

    for delay in (0.0, 0.013, 0.031):
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVES_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert saver.stdout is not None
        assert saver.stdout.readline() == "saving\n"
        time.sleep(delay)
        saver.kill()
        saver.wait()
        saver.stdout.close()
        weights = load_file(tmp_path / "model.safetensors")["w"]
        assert len(weights) == 300_000
        assert (weights == weights[0]).all()


def test_a_checkpoint_of_another_network_is_refused(tmp_path, dataset):
    run = Trainer(CONFIG).fit(build(), dataset, out=tmp_path / "run")
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    run.rewrite_history(History(run.history.rows[:-1] * 2))
    with pytest.raises(RunError, match=r"begun with other words; .*\n  the layers of the network \(fingerprint\): "):
        Trainer.resume(run.path, other, dataset)
    with pytest.raises(RunError, match=r"the checkpoint in .*run is not of this network: Error"):
        Trainer.resume(run.path, other, dataset, force=True)


def test_a_patient_run_resumed_after_its_last_epoch_does_not_train_another(tmp_path, dataset):
    """Killed between the last epoch and the end."""
    config = TrainConfig(
        epochs=50, val_fraction=0.2, optimizer=OptimizerConfig(lr=1e-9), saving=SavingConfig(patience=2)
    )

    class Died(Exception):
        pass

    def die(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "end":
            raise Died

    with pytest.raises(Died):
        Trainer(config, listeners=[die]).fit(build(), dataset, out=tmp_path / "run")
    run = Run.open(tmp_path / "run")
    epochs = run.history.of("epoch")
    run.rewrite_history(History(run.history.rows[:-1]))
    heard = []
    Trainer.resume(run.path, build(), dataset, listeners=[heard.append])
    assert run.history.of("epoch") == epochs
    assert heard[-1] == Finished("patience")
    run.load_weights(build())


def test_another_network_does_not_go_on_even_by_force_and_the_run_is_as_it_was(tmp_path, dataset):
    run = Trainer(CONFIG).fit(build(), dataset, out=tmp_path / "run")
    run.rewrite_history(History(run.history.rows[:-1] * 2))
    before = (run.path / "config.json").read_bytes()
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False))
    with pytest.raises(RunError, match=r"was begun with other words; .*\n  model parameters: 195 then, 192 now"):
        Trainer.resume(run.path, other, dataset)
    with pytest.raises(RunError, match=r"the checkpoint in .*run is not of this network: Error"):
        Trainer.resume(run.path, other, dataset, force=True)
    assert (run.path / "config.json").read_bytes() == before
