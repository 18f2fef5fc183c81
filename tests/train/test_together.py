"""What several processes of one run promise each other: the same bits, one network, and no silent end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from convscope.measure import evaluate
from convscope.train import Run
from train.crew import Unused
from train.sittings import Net, dataset

STILL = {"device": "cpu", "threads": 1, "precision": "float32", "memory_format": "contiguous", "log_interval": 5}
SETTINGS = {"epochs": 3, "batch_size": 10, "execution": STILL}  # 240 images: 8 or 12 steps an epoch

AGAIN = {"TORCHELASTIC_RESTART_COUNT": "1"}


class Crew:
    """Asks ``crew.py`` for processes, and reads what they said."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("crew.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def play(self, scene: str, size: int, **job: Any) -> list[int]:
        """The exit code of every process."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({"scene": scene, "size": size, "logs": str(self.logs), **job}), file=self._server.stdin)
        self._server.stdin.flush()
        codes: list[int] = json.loads(self._server.stdout.readline())
        return codes

    def errors(self, size: int) -> list[str]:
        return [(self.logs / f"{rank}.err").read_text() for rank in range(size)]

    def answers(self, size: int) -> list[Any]:
        return [json.loads((self.logs / f"{rank}.out").read_text().splitlines()[-1]) for rank in range(size)]

    def close(self) -> None:
        self._server.communicate()


@pytest.fixture(scope="module")
def crew(tmp_path_factory) -> Iterator[Crew]:
    crew = Crew(tmp_path_factory.mktemp("crew"))
    yield crew
    crew.close()


def rows(run: Path) -> list[dict[str, float]]:
    """Everything that was written down but times."""
    timed = ("seconds", "per_second", "memory", "share")
    return [
        {"step": row.step, **{k: v for k, v in row.values.items() if not any(word in k for word in timed)}}
        for row in Run.open(run).history.rows
    ]


@pytest.mark.parametrize("size", [2, 3])
def test_a_run_stopped_within_an_epoch_ends_in_the_same_bits(crew, tmp_path, size):
    """With batch norm, dropout and a moving average; nothing that another process sent is unpickled."""
    settings = {**SETTINGS, "optimizer": {"ema": 0.9}}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert crew.play("trained", size, settings=settings, run=str(whole)) == [0] * size
    stop = {"rank": size - 1, "after_step": 11 if size == 3 else 15}
    assert crew.play("trained", size, settings=settings, run=str(stopped), stop=stop) == [130] * size
    step = Run.open(stopped).history.rows[-1].step
    assert crew.play("trained", size, settings=settings, run=str(stopped)) == [0] * size, crew.errors(size)
    assert step > 0
    assert (whole / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()
    assert rows(whole) == rows(stopped)


@pytest.mark.parametrize("optimizer", [{}, {"ema": 0.9}])
def test_batch_norm_is_judged_as_it_is_saved(crew, tmp_path, optimizer):
    """Each process has statistics of its own shares; what is measured is the one network that is kept."""
    settings = {**SETTINGS, "optimizer": {"lr": 0.05, **optimizer}}
    assert crew.play("trained", 3, settings=settings, run=str(tmp_path / "run")) == [0, 0, 0]
    run, model = Run.open(tmp_path / "run"), Net()
    run.load_weights(model)
    judged = evaluate(model, dataset().test, run.preprocess)
    for row in (run.history.of("epoch")[-1], run.history.of("end")[0]):
        assert row.values["test_accuracy"] == judged.accuracy
        assert row.values["test_loss"] == pytest.approx(judged.loss, rel=1e-5)


def test_one_exchange_for_each_step_however_many_batches(crew, tmp_path):
    settings = {**SETTINGS, "epochs": 1, "optimizer": {"accumulate": 3}}
    assert crew.play("counted", 2, settings=settings, run=str(tmp_path / "run")) == [0, 0]
    numbers = sum(p.numel() for p in Net().parameters())
    marks = len(list(Net().parameters()))
    for said in crew.answers(2):
        assert said == {"sent": 4, "steps": 4, "sizes": [numbers + marks]}  # 12 batches of 20


def test_gradients_are_sums_and_what_nobody_used_has_none(crew):
    assert crew.play("exchanged", 2) == [0, 0]
    expected = Unused(here=True)
    for rank in (0, 1):
        expected.here = rank == 1
        generator = torch.Generator().manual_seed(7 + rank)
        for _ in range(2):
            expected(torch.randn(4, 64, generator=generator)).square().sum().backward()
    for said in crew.answers(2):
        assert said.keys() == dict(expected.named_parameters()).keys()
        for name, p in expected.named_parameters():
            if p.grad is None:
                assert said[name] is None
                assert name.startswith("never")
            else:
                torch.testing.assert_close(torch.tensor(said[name]), p.grad.flatten())


def test_words_go_round_and_a_wait_may_last(crew):
    """Longer than the patience of a sum, which is two seconds here; nothing piles up in the store."""
    assert crew.play("spoken", 3) == [0, 0, 0], crew.errors(3)
    answers = crew.answers(3)
    for rank, said in enumerate(answers):
        assert said["told"] == {"path": "é0", "none": None}
        assert said["gathered"] == [[0, "x"], [1, "x"], [2, "x"]]
        assert said["collected"] == ([[0, 0], [1, 1], [2, 2]] if rank == 0 else [])
        assert said["spread"] == [0, 1, 2]
        assert said["waited"] > 3


def test_what_fails_in_one_process_is_said_and_ends_all_of_them_at_once(crew, tmp_path):
    words = ["train", "--epochs", "2", "--threads", "1", "--out", str(tmp_path / "run")]
    began = time.monotonic()
    codes = crew.play("typed", 2, words=words, fails={"rank": 1, "after_step": 3})
    assert time.monotonic() - began < 60
    assert codes == [1, 1]
    first, other = crew.errors(2)
    assert "convscope: rank 1 of 2 processes: a step on a batch of 64 images (1, 28, 28) does not fit" in other
    assert "lower --batch-size or --image-size" in other
    assert "its own message says why" in first


def test_what_all_of_them_find_is_said_once(crew, tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    (held / "letter.txt").write_text("mine")
    cases = {
        "holds files that are no run": ["--out", str(held)],
        "unknown model 'lennet'": ["--model", "lennet", "--out", str(tmp_path / "a")],
        "--batch-size 1000 x 2 processes": ["--batch-size", "1000", "--out", str(tmp_path / "b")],
        "name it with --out": [],
        "Unrecognized options": ["--bach-size", "3", "--out", str(tmp_path / "c")],
    }
    for said, words in cases.items():
        codes = crew.play("typed", 2, words=["train", *words])
        assert 0 not in codes, words
        first, other = crew.errors(2)
        assert said in first
        assert not other, words


def test_other_networks_in_other_processes_are_refused(crew, tmp_path):
    codes = crew.play("unlike", 2, settings=SETTINGS, run=str(tmp_path / "run"))
    assert 0 not in codes
    assert "another network" in "".join(crew.errors(2))


def test_a_worker_that_is_started_again_leaves_the_runs_of_others_alone(crew, tmp_path):
    """It lies in ``--out`` and could go on; but another job began it."""
    out = tmp_path / "run"
    words = ["train", "--threads", "1", "--out", str(out)]
    assert crew.play("typed", 2, words=[*words, "--epochs", "1"], job="first") == [0, 0]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"}
    assert crew.play("typed", 2, words=[*words, "--epochs", "2"], job="second", environment=AGAIN) == [1, 1]
    assert "already holds a run; add --force" in crew.errors(2)[0]
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != "lock"}


@pytest.mark.parametrize("size", [1, 2])
def test_with_force_it_replaces_the_run_of_another_job_once(crew, tmp_path, size):
    """Started again it goes on with its own, also where images are resized unasked, and ends as if it never died."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    words = ["train", "--epochs", "2", "--threads", "1", "--force", "--out"]
    assert crew.play("typed", size, words=[*words, str(whole)]) == [0] * size
    assert crew.play("typed", size, words=[*words, str(out), "--seed", "7"]) == [0] * size
    words = [*words, str(out), "--checkpoint-every", "0"]
    codes = crew.play("typed", size, words=words, job=f"of {size}", dies={"rank": size - 1, "after_step": 30 // size})
    assert codes[-1] == -9
    assert Run.open(out).history.rows
    assert crew.play("typed", size, words=words, job=f"of {size}", environment=AGAIN) == [0] * size, crew.errors(size)
    assert len(Run.open(out).environment["resumed"]) == 1
    assert (whole / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert rows(whole) == rows(out)
    assert crew.play("typed", size, words=words, job=f"of {size}", environment=AGAIN) == [0] * size, crew.errors(size)
    assert rows(whole) == rows(out)  # complete: only the report is written again
