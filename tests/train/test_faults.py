"""What a training is worth when the machine, the disk or a person gets in its way."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from convscope.train import Run
from convscope.train.checkpoint import CheckpointStore
from convscope.train.interrupt import graceful_stop

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked and killed")

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STILL = {"device": "cpu", "threads": 1, "deterministic": True, "log_interval": 3}
STEPS = 8  # in an epoch of 240 images, 30 in a batch
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"opt": "sgd", "lr": 0.05}},
    "saved often": {"saving": {"checkpoint_every": "0.01s"}},
    "average, accumulation, clipping": {
        "optimizer": {"ema": 0.9, "accumulate": 3, "clip_grad": 0.5},
        "saving": {"checkpoint_every": "0.01s", "keep": "2"},
    },
    "augmentation": {
        "augment": {"flip": "alternate", "shift": 1, "erase": 0.3, "mixup": 0.4, "brightness": 0.2},
        "label_smoothing": 0.1,
    },
    "best, balanced, frozen": {
        "val_fraction": 0.2,
        "batch_size": 24,
        "sampling": "balanced",
        "class_weights": "balanced",
        "freeze_epochs": 1,
        "saving": {"keep": "best", "checkpoint_every": "0.01s"},
    },
}
Sit = Callable[..., int | None]


class Sittings:
    """Starts trainings as processes; one program that has imported everything forks them all."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "said.txt"
        self.process = 0
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("sittings.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **THREADS},
        )

    def _ask(self, **job: Any) -> int | None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({"log": str(self.log), **job}), file=self._server.stdin, flush=True)
        answer = json.loads(self._server.stdout.readline())
        self.process = answer["process"]
        code: int | None = answer["code"]
        assert code != 99, self.said
        return code

    def train(self, run: Path, variant: str = "saved often", *, more: dict[str, Any] | None = None, **how: Any) -> Any:
        """Begin, or go on where the folder holds a run; minus the signal that ended it, or its exit code."""
        settings = {"epochs": 4, "batch_size": 30, "execution": STILL, **SETTINGS[variant], **(more or {})}
        return self._ask(run=str(run), settings=settings, **how)

    def type(self, *words: object, **how: Any) -> int | None:
        """Run the command line."""
        return self._ask(words=[str(word) for word in words], **how)

    def wake(self, process: int) -> int | None:
        return self._ask(wake=process)

    @property
    def said(self) -> str:
        return " ".join(self.log.read_text().split())

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@pytest.fixture(scope="module")
def sittings(tmp_path_factory) -> Iterator[Sittings]:
    sittings = Sittings(tmp_path_factory.mktemp("sittings"))
    yield sittings
    sittings.close()


@pytest.fixture(scope="module")
def whole(sittings, tmp_path_factory) -> Callable[[str], Run]:
    """Runs that nothing happened to, each made once."""
    made: dict[str, Run] = {}

    def make(variant: str = "saved often") -> Run:
        if variant not in made:
            path = tmp_path_factory.mktemp("whole") / "run"
            assert sittings.train(path, variant) == 0, sittings.said
            made[variant] = Run.open(path)
        return made[variant]

    return make


BY_THE_CLOCK = ("seconds", "per_second", "share", "bytes")


def numbers(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.to_dict().items() if not k.endswith(BY_THE_CLOCK)} for row in run.history.rows]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


def newest(run: Run) -> dict[str, Any]:
    state = vars(CheckpointStore(run.path / "checkpoint").newest(print))
    return {name: value for name, value in state.items() if not name.endswith(BY_THE_CLOCK)}


def assert_identical(path: Path, expected: Run) -> None:
    """Every weight, every measured number, and everything that a further step would depend on."""
    run = Run.open(path)
    assert numbers(run) == numbers(expected)
    assert (path / "model.safetensors").read_bytes() == (expected.path / "model.safetensors").read_bytes()
    assert run.saved_epochs == expected.saved_epochs
    for epoch in run.saved_epochs:
        file = Path("weights") / f"epoch-{epoch:04d}.safetensors"
        assert (path / file).read_bytes() == (expected.path / file).read_bytes()
    ours, theirs = newest(run), newest(expected)
    assert [name for name in theirs if not same(ours[name], theirs[name])] == []
    assert not list(path.glob("**/.*.part"))


# ---- killed


@pytest.mark.parametrize("variant", SETTINGS)
def test_killed_after_random_steps_a_run_ends_in_the_same_bits(sittings, whole, tmp_path, variant):
    expected = whole(variant)
    draw = random.Random(variant)
    kills = [draw.randint(1, 2 * STEPS) for _ in range(3)]
    for step in kills:
        code = sittings.train(tmp_path / "run", variant, fault={"after_step": step, "signal": signal.SIGKILL})
        assert code in (-signal.SIGKILL, 0), (kills, sittings.said)
        if code == 0:  # fewer steps than that were left
            break
    else:
        assert sittings.train(tmp_path / "run", variant) == 0, (kills, sittings.said)
    assert_identical(tmp_path / "run", expected)


@pytest.mark.parametrize("moment", [*range(1, 13)])
def test_killed_while_a_file_is_being_written_a_run_ends_in_the_same_bits(sittings, whole, tmp_path, moment):
    """The first five are those that make a folder a run, so it is begun again; from then on there is a checkpoint."""
    code = sittings.train(tmp_path / "run", fault={"before_fsync": moment, "signal": signal.SIGKILL})
    assert code == -signal.SIGKILL
    assert sittings.train(tmp_path / "run") == 0, sittings.said
    assert_identical(tmp_path / "run", whole())


def test_killed_at_any_time_at_all_a_run_ends_in_the_same_bits(sittings, whole, tmp_path):
    """By the system's clock and not by ours, so also within an operation of PyTorch or half way through a row."""
    expected = whole("average, accumulation, clipping")
    draw, killed = random.Random(2), 0
    for sitting in range(60):
        seconds = draw.uniform(0.03, 0.3) if sitting else 0.03  # of a run of half a second
        code = sittings.train(tmp_path / "run", "average, accumulation, clipping", fault={"after_seconds": seconds})
        if code == 0 or "is complete: nothing is left" in sittings.said:  # killed after its last row
            break
        assert code == -signal.SIGALRM, sittings.said
        killed += 1
    else:
        assert sittings.train(tmp_path / "run", "average, accumulation, clipping") == 0, sittings.said
    assert killed
    assert_identical(tmp_path / "run", expected)


@pytest.mark.parametrize("cut", [1, 30, 10_000])
def test_a_row_torn_by_the_kill_is_written_again(sittings, whole, tmp_path, cut):
    sittings.train(tmp_path / "run", fault={"after_step": 13, "signal": signal.SIGKILL})
    metrics = tmp_path / "run" / "metrics.jsonl"
    row = json.dumps({"kind": "step", "epoch": 2, "step": 15, "lr": 0.1}) + "\n"
    metrics.write_text(metrics.read_text() + row[: min(cut, len(row) - 2)])
    assert sittings.train(tmp_path / "run") == 0, sittings.said
    assert_identical(tmp_path / "run", whole())


# ---- asked to stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_between_two_steps_a_run_saves_and_goes_on(sittings, whole, tmp_path, number):
    variant = "average, accumulation, clipping"
    assert sittings.train(tmp_path / "run", variant, fault={"after_step": 4, "signal": number}) == 130
    assert "stopped after step 4 of 12; everything is saved" in sittings.said
    assert newest(Run.open(tmp_path / "run"))["step"] == 4
    assert sittings.train(tmp_path / "run", variant) == 0, sittings.said
    assert_identical(tmp_path / "run", whole(variant))


def test_asked_to_stop_during_an_evaluation_a_run_saves_and_goes_on(sittings, whole, tmp_path):
    assert sittings.train(tmp_path / "run", fault={"evaluating": 2, "signal": signal.SIGTERM}) == 130
    state = newest(Run.open(tmp_path / "run"))
    assert state["step"] == 2 * STEPS  # not a step was taken after it
    assert f"stopped after step {2 * STEPS} of {4 * STEPS}; everything is saved" in sittings.said
    assert sittings.train(tmp_path / "run") == 0, sittings.said
    assert_identical(tmp_path / "run", whole())


def test_asked_to_stop_in_the_last_evaluation_a_run_ends(sittings, whole, tmp_path):
    """Nothing is left to train, so it is finished sooner than it would be stopped and gone on with."""
    assert sittings.train(tmp_path / "run", fault={"evaluating": 4, "signal": signal.SIGTERM}) == 0, sittings.said
    assert_identical(tmp_path / "run", whole())


def test_the_command_line_stops_with_130_and_goes_on_by_the_words_it_says(sittings, tmp_path):
    words = ["--epochs", 2, "--batch-size", 300, "--deterministic", "--threads", 1, "--json"]
    assert sittings.type("train", "--out", tmp_path / "whole", *words) == 0, sittings.said
    fault = {"evaluating": 1, "signal": signal.SIGTERM}
    assert sittings.type("train", "--out", tmp_path / "cut", *words, fault=fault) == 130
    assert f"everything is saved in {tmp_path / 'cut'}; go on with: convscope train --resume" in sittings.said
    assert sittings.type("train", "--resume", tmp_path / "cut") == 0, sittings.said
    assert_identical(tmp_path / "cut", Run.open(tmp_path / "whole"))


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_only_a_person_who_insists_interrupts_at_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr("convscope.train.interrupt.time.monotonic", lambda: now)
    with graceful_stop() as stop:
        assert not stop.requested
        send(signal.SIGINT)
        assert stop.requested
        send(signal.SIGINT)  # torchrun passes on what the terminal has sent to everybody already
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            now += 10
            send(number)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored(number):
    """As nohup and a shell's & ask for."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with graceful_stop() as stop:
            send(number)
            assert not stop.requested
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_also_after_an_error():
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in asking]
    with suppress(ZeroDivisionError), graceful_stop():
        assert all(signal.getsignal(number) is not old for number, old in zip(asking, before, strict=True))
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in asking] == before


def test_another_thread_hears_no_request_and_changes_no_handler():
    heard: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)

    def listen() -> None:
        with graceful_stop() as stop:
            heard.append(stop.requested)
            assert signal.getsignal(signal.SIGTERM) is before

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [False]


# ---- the disk


@pytest.mark.parametrize("variant", ["saved often", "sgd"])
def test_a_disk_that_fills_up_ends_a_run_in_words_and_it_goes_on_when_there_is_room(sittings, whole, tmp_path, variant):
    fault = {"after_step": STEPS + 3, "file_size": 3000}
    assert sittings.train(tmp_path / "run", variant, fault=fault) == 1
    assert "could not write" in sittings.said
    assert "File too large; what was there before is untouched" in sittings.said
    assert not list((tmp_path / "run").glob("**/.*.part"))
    newest(Run.open(tmp_path / "run"))  # whole
    assert sittings.train(tmp_path / "run", variant) == 0, sittings.said
    assert_identical(tmp_path / "run", whole(variant))


def damage(run: Path) -> Path:
    """Flip one bit of the newest checkpoint."""
    file = max((run / "checkpoint").glob("step-*.pt"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    return file


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(sittings, whole, tmp_path):
    sittings.train(tmp_path / "run", fault={"after_step": 19, "signal": signal.SIGKILL})
    file = damage(tmp_path / "run")
    assert sittings.train(tmp_path / "run") == 0, sittings.said
    assert f"{file} is damaged: it does not match its checksum; going on from the one before it, of" in sittings.said
    assert sittings.said.count("is damaged") == 1
    assert_identical(tmp_path / "run", whole())


def test_the_command_line_shows_that_warning(sittings, tmp_path):
    words = ["--out", tmp_path / "run", "--epochs", 3, "--batch-size", 300, "--deterministic", "--threads", 1]
    sittings.type("train", *words, fault={"after_step": 12, "signal": signal.SIGKILL})
    file = damage(tmp_path / "run")
    assert sittings.type("train", "--resume", tmp_path / "run") == 0, sittings.said
    said = sittings.said.replace(" ", "")  # a terminal's width breaks lines where it likes
    assert f"{file}is damaged: it does not match its checksum; going on from".replace(" ", "") in said


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A folder that may be read by all and written by nobody but root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_named(sittings, sealed):
    assert sittings.train(sealed / "run", fault={"as_nobody": True}) == 1
    assert f"could not make the run folder {sealed / 'run'}: Permission denied" in sittings.said


def test_a_run_that_can_only_be_read_does_not_go_on(sittings, tmp_path, sealed):
    sittings.train(tmp_path / "run", fault={"after_step": 3, "signal": signal.SIGTERM})
    sealed.chmod(0o755)
    shutil.copytree(tmp_path / "run", sealed / "run")
    for entry in (sealed, *sealed.rglob("*")):
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    assert sittings.train(sealed / "run", fault={"as_nobody": True}) == 1
    assert f"could not write {sealed / 'run' / 'checkpoint' / 'lock'}: Permission denied" in sittings.said
    for entry in (sealed, *sealed.rglob("*")):
        entry.chmod(0o755)


# ---- two at once


def test_two_runs_into_one_folder(sittings, whole, tmp_path):
    """One of them is stopped in the middle, so that both are there at the same time, whatever the machine does."""
    assert sittings.train(tmp_path / "run", fault={"after_step": 11, "signal": signal.SIGSTOP}) is None
    first = sittings.process
    taken = f"another process is training in {tmp_path / 'run'}; wait for it, or choose another --out"
    assert sittings.train(tmp_path / "run") == 1
    assert taken in sittings.said
    assert sittings.type("train", "--out", tmp_path / "run", "--force", "--epochs", 1) == 1
    assert taken in sittings.said
    assert sittings.wake(first) == 0
    assert_identical(tmp_path / "run", whole())


# ---- losses that are no numbers


@pytest.mark.parametrize("variant", ["sgd", "saved often", "average, accumulation, clipping"])
@pytest.mark.parametrize("step", [1, 7])
def test_a_loss_that_becomes_nan_leaves_good_weights(sittings, tmp_path, variant, step):
    """The weights go bad in a step whose own loss was good, so the next loss is the first to tell."""
    assert sittings.train(tmp_path / "run", variant, fault={"after_step": step, "poison": True}) == 1
    assert "the loss became nan at step" in sittings.said
    assert "try a lower --lr, or --clip-grad 1" in sittings.said
    run = Run.open(tmp_path / "run")
    state = newest(run)
    assert state["step"] <= step
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    weights = [run.path / "model.safetensors", *(run.path / "weights").glob("*")]
    for file in [file for file in weights if file.exists()]:
        assert all(torch.isfinite(value).all() for value in load_file(file).values())


# ---- something else than it was begun with


def test_images_that_changed_are_named_and_need_force(sittings, tmp_path):
    sittings.train(tmp_path / "run", fault={"after_step": 9, "signal": signal.SIGKILL})
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()}
    assert sittings.train(tmp_path / "run", data_seed=7) == 1
    assert "the images themselves (fingerprint): " in sittings.said
    assert "--force" in sittings.said
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()}
    assert sittings.train(tmp_path / "run", data_seed=7, force=True) == 0, sittings.said


def test_settings_that_changed_are_named_and_need_force(sittings, whole, tmp_path):
    sittings.train(tmp_path / "run", fault={"after_step": 9, "signal": signal.SIGKILL})
    changed = {"optimizer": {"lr": 0.5}, "batch_size": 60}
    assert sittings.train(tmp_path / "run", more=changed) == 1
    assert "--batch-size: 30 then, 60 now" in sittings.said
    assert "--lr: 0.01 then, 0.5 now" in sittings.said
    assert "--force" in sittings.said
    assert sittings.train(tmp_path / "run", more={"optimizer": {"lr": 0.5}}, force=True) == 0, sittings.said
    run = Run.open(tmp_path / "run")
    assert run.train_config.optimizer.lr == 0.5
    assert numbers(run) != numbers(whole())


def test_settings_that_no_weight_depends_on_change_freely(sittings, whole, tmp_path):
    sittings.train(tmp_path / "run", fault={"after_step": 9, "signal": signal.SIGKILL})
    more = {"saving": {"checkpoint_every": "5m", "keep": "all"}}
    assert sittings.train(tmp_path / "run", more=more) == 0, sittings.said
    run, expected = Run.open(tmp_path / "run"), whole()
    assert numbers(run) == numbers(expected)
    assert (run.path / "model.safetensors").read_bytes() == (expected.path / "model.safetensors").read_bytes()
    assert 4 in run.saved_epochs


def test_a_folder_of_photographs_that_changed_is_noticed_by_the_command_line(sittings, tmp_path):
    draw = random.Random(3)
    for split, count in (("train", 8), ("test", 4)):
        for shade, label in ((60, "dark"), (190, "light")):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("L", (16, 16), shade + draw.randint(-40, 40)).save(folder / f"{number}.png")
    words = ["--data", tmp_path / "photos", "--image-size", 28, "--epochs", 3, "--batch-size", 4, "--deterministic"]
    fault = {"after_step": 6, "signal": signal.SIGKILL}
    assert sittings.type("train", "--out", tmp_path / "run", *words, fault=fault) == -signal.SIGKILL, sittings.said
    (tmp_path / "photos" / "train" / "dark" / "0.png").unlink()
    Image.new("L", (16, 16), 5).save(tmp_path / "photos" / "train" / "dark" / "0.png")
    assert sittings.type("train", "--resume", tmp_path / "run") == 1
    assert "the images themselves (fingerprint): " in sittings.said
    assert sittings.type("train", "--resume", tmp_path / "run", "--force") == 0, sittings.said
    assert len(Run.open(tmp_path / "run").history.of("epoch")) == 3
