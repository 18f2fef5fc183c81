"""Programs of the book that are stopped and started again: they end where they would have ended."""

import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope import report
from convscope.cli import main
from convscope.d2l import runs

PROGRAM = f"""
import importlib.util, json, os, signal, sys

import torch
from torch import nn

spec = importlib.util.spec_from_file_location("programs_of_readers", {str(Path(__file__).parent / "programs.py")!r})
programs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(programs)
from convscope.d2l import fashion
images = programs.tiny_fashion()
fashion._load = lambda root, environment: images

import convscope.d2l.activate
from d2l import torch as d2l

class Net(d2l.Classifier):
    '''Lazy, with dropout, averages that no state_dict knows, and an optimiser with moments.'''

    def __init__(self, lr=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.LazyConv2d(4, 5, stride=3), programs.BatchNorm((1, 4, 1, 1)), nn.ReLU(), nn.Flatten(),
            nn.Dropout(0.3), nn.LazyLinear(10),
        )

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def validation_step(self, batch):
        if [type(self).__name__, self.trainer.val_batch_idx] == json.loads(os.environ.get("KILLED_AT", "null")):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().validation_step(batch)

class Other(Net):
    pass

torch.manual_seed(3)
torch.set_num_threads(1)
data, found = d2l.FashionMNIST(batch_size=64), {{}}
for kind in (Net, Other):
    model = kind()
    trainer = d2l.Trainer(max_epochs=4)
    trainer.fit(model, data)
    board = model.board
    found[kind.__name__] = {{
        "weights": [p.tolist() for p in model.parameters()],
        "averages": [model.net[1].moving_mean.tolist(), model.net[1].moving_var.tolist()],
        "curves": {{name: [[float(p.x), float(p.y)] for p in line] for name, line in board.data.items()}},
        "kinds": sorted({{type(p.y).__name__ for line in board.data.values() for p in line}}),
        "waiting": {{name: [float(s.y) for s in samples] for name, samples in board.raw_points.items()}},
        "position": [trainer.epoch, trainer.train_batch_idx, trainer.val_batch_idx, model.training],
        "rows": [[row.kind, row.epoch, row.values.get("train_loss")] for row in trainer.history.rows],
        "drawn after it": torch.rand(2).tolist(),
    }}
json.dump(found, open("found.json", "w"))
"""


def start(folder: Path, killed_at: list | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    more = {"KILLED_AT": json.dumps(killed_at), runs.RUNS: str(folder / "kept"), "MPLBACKEND": "agg", **environment}
    return subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """What the program finds when nobody stops it."""
    folder = tmp_path_factory.mktemp("whole")
    answer = start(folder)
    assert answer.returncode == 0, answer.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize(
    ("killed_at", "said"),
    [
        (["Net", 0], []),
        (["Net", 5], ["1-Net goes on after epoch 2 of 4"]),
        (["Other", 2], ["1-Net is complete", "2-Other goes on after epoch 1 of 4"]),
    ],
)
def test_a_program_that_was_killed_ends_where_it_would_have_ended(whole, tmp_path, killed_at, said):
    """In the first epoch, between two others, and in its second training."""
    assert start(tmp_path, killed_at).returncode == -signal.SIGKILL
    assert not (tmp_path / "found.json").exists()
    answer = start(tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "found.json").read_text()) == whole
    for words in said:
        assert words in answer.stderr


def test_a_script_that_the_command_line_ran_and_lost_goes_on(whole, tmp_path, monkeypatch, capsys):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    words = ["notebook", str(script), "--out", "copy.ipynb", "--runs", "kept"]
    monkeypatch.setenv("KILLED_AT", json.dumps(["Net", 5]))
    assert main(words) == 1
    assert "the process of the notebook ended" in capsys.readouterr().err
    monkeypatch.delenv("KILLED_AT")
    assert main([*words, "--force"]) == 0
    assert "1-Net goes on after epoch 2 of 4" in capsys.readouterr().err
    assert json.loads((tmp_path / "found.json").read_text()) == whole


# ---- a folder that the program names itself


@pytest.fixture
def data(d2l, tiny_fashion):
    return d2l.FashionMNIST(batch_size=64)


def test_a_complete_run_gives_its_weights_and_trains_nothing(d2l, make, data, capsys):
    first, second = make(), make(training_step=lambda self, batch: pytest.fail("trained"))
    d2l.Trainer(2, out="run").fit(first, data)
    drawn = torch.rand(2)
    trainer = d2l.Trainer(2, out="run", resume=True)
    trainer.fit(second, data)
    assert torch.equal(first.net[2].weight, second.net[2].weight)
    assert first.board.data == second.board.data
    assert (trainer.epoch, second.training) == (1, False)
    assert [row.kind for row in trainer.history.rows] == ["epoch", "epoch", "end"]
    assert torch.equal(drawn, torch.rand(2))  # what comes next in the program draws what it would have drawn
    assert capsys.readouterr().err == (
        "convscope: run is complete: its weights and curves are taken from there, and nothing is trained\n"
    )


def test_a_report_of_what_was_kept(d2l, make, data):
    model = make()
    trainer = d2l.Trainer(2, out="run")
    trainer.fit(model, data)
    page = report.write(trainer.run, model, data.source)
    assert page == Path("run/report.html")
    right = (model(data.source.test.images / 255).argmax(1) == data.source.test.labels).float().mean()
    assert f"{100 * right:.1f}" in page.read_text()


def test_an_optimiser_that_says_nothing_of_its_state_begins_anew_and_a_warning_says_so(d2l, make, data):
    class Mine:
        def __init__(self, params, lr):
            self.params, self.lr = params, lr

        def step(self):
            for param in self.params:
                param -= self.lr * param.grad

        def zero_grad(self):
            for param in self.params:
                param.grad = None

    kinds = {"configure_optimizers": lambda self: Mine(list(self.parameters()), 0.1)}
    d2l.Trainer(1, out="run").fit(make(**kinds), data)
    with pytest.warns(UserWarning, match="the optimiser Mine is none of PyTorch's, so it begins anew"):
        d2l.Trainer(1, out="run", resume=True).fit(make(**kinds), data)


def test_a_loop_of_ones_own_has_no_run_folder(d2l, make, data):
    class Mine(d2l.Trainer):
        def fit_epoch(self):
            super().fit_epoch()

    with pytest.raises(ValueError, match=r"out='run' keeps a run of our own loop, and fit_epoch of Mine is another"):
        Mine(1, out="run").fit(make(), data)
    assert not Path("run").exists()


def test_where_somebody_else_asked_for_folders_what_cannot_be_kept_is_trained_all_the_same(
    d2l, make, data, programs, monkeypatch, capsys
):
    monkeypatch.setenv(runs.RUNS, "kept")
    monkeypatch.setattr(runs, "_numbers", count(1))
    for given, trainer in ((data, d2l.Trainer(1)), (programs.make_toy(d2l), d2l.Trainer(1)), (data, d2l.Trainer(1))):
        model = make()
        trainer.fit(model, given)
        assert len(model.board.data["val_loss"]) == 1
    assert sorted(path.name for path in Path("kept").iterdir()) == ["1-Net", "3-Net"]
    assert capsys.readouterr().err.startswith(
        "convscope: kept/2-Net keeps a run of FashionMNIST as it is published, in square images, whose folder says how "
        "to load them again; got Toy: this training is not kept, and begins anew when the program is run again\n"
    )


def test_after_a_loss_that_is_no_number_averages_by_hand_are_put_back_too(d2l, make, data, programs):
    good = {}

    def training_step(self, batch):
        if self.trainer.train_batch_idx == 5:
            good.update(mean=self.net[1].moving_mean, weight=self.net[4].weight.detach().clone())
        loss = super(type(self), self).training_step(batch)
        return loss * float("nan") if self.trainer.train_batch_idx == 8 else loss

    model = make(training_step=training_step)
    model.net = nn.Sequential(
        nn.Conv2d(1, 4, 7, stride=7), programs.BatchNorm((1, 4, 1, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)
    )
    with pytest.warns(UserWarning, match="became nan in epoch 2.*weights of epoch 1"):
        d2l.Trainer(3).fit(model, data)
    assert torch.equal(model.net[4].weight, good["weight"])
    assert torch.equal(model.net[1].moving_mean, good["mean"])
