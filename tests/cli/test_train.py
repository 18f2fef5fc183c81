"""``convscope train`` beyond a plain run: other starts, other settings, other ends."""

import itertools
import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convscope import data, models
from convscope.cli.train import _print_result
from convscope.train import RECIPES, History, Row, Run, check_free

SHORT = ("--epochs", "1", "--threads", "1")


@pytest.fixture
def run(convscope, tmp_path):
    assert convscope("train", *SHORT, "--out", tmp_path / "first").code == 0
    return tmp_path / "first"


def test_the_help_names_every_recipe(convscope, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    line = re.search(r"--recipe STR(.*?)--out", convscope("train", "--help").out, re.DOTALL)
    assert line is not None
    named = set(re.findall(r"-?[a-z]*-?[0-9a-z]+", line[1]))
    assert {name for name in RECIPES if not name.startswith("speedrun")} <= named
    assert {"speedrun-90", "speedrun-92", "-93", "-94"} <= named | {"speedrun-90"}


def test_a_run_starts_from_the_weights_of_another(convscope, run, tmp_path):
    answer = convscope("train", *SHORT, "--lr", "1e-9", "--init", run, "--out", tmp_path / "second")
    assert answer.code == 0
    assert "tensors come from" in answer.err
    first, second = (Run.open(path).history.of("end")[0].values["test_accuracy"] for path in (run, tmp_path / "second"))
    assert second == pytest.approx(first, abs=0.01)


def test_finetuning_needs_weights_and_adapts_the_head(convscope, run, tmp_path):
    answer = convscope("train", "--recipe", "finetune")
    assert (answer.code, "--recipe finetune starts from weights" in answer.err) == (2, True)
    words = ("--epochs", "3", "--threads", "1", "--crop", "1", "--flip", "none")
    answer = convscope("train", "--recipe", "finetune", "--init", run, *words, "--out", tmp_path / "second")
    assert answer.code == 0
    config = Run.open(tmp_path / "second").train_config
    assert (config.freeze_epochs, config.optimizer.layer_decay) == (2, 0.75)


@pytest.mark.parametrize("contents", [None, b"no weights", "pickle"])
def test_weights_that_are_none_are_refused(convscope, tmp_path, contents):
    file = tmp_path / "weights.pt"
    if contents == "pickle":
        torch.save({"run": print}, file)
    elif contents is not None:
        file.write_bytes(contents)
    answer = convscope("train", *SHORT, "--init", file, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "weights.pt" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run").exists()


def test_a_learning_rate_is_looked_for_and_drawn(convscope, tmp_path):
    answer = convscope("train", "--find-lr", "--threads", "1", "--out", tmp_path / "lr", "--json")
    found = json.loads(answer.out)
    assert answer.code == 0
    assert len(found["rates"]) == len(found["losses"]) > 20
    assert (tmp_path / "lr" / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    again = convscope("train", "--find-lr", "--threads", "1", "--out", tmp_path / "lr")
    assert (again.code, "is there already; add --force" in again.err) == (2, True)
    check_free(tmp_path / "lr", overwrite=False)  # the run that it was made for may follow


def test_a_range_test_that_cannot_be_leaves_no_folder(convscope, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = convscope("train", "--find-lr", "--batch-size", "5000")
    assert (answer.code, "is more than the 1,438 training images" in answer.err) == (2, True)
    assert not [*tmp_path.rglob("*find-lr*")]
    answer = convscope("train", "--find-lr", "--tensorboard")
    assert (answer.code, "leave --tensorboard out" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("module", "flag", "extra"),
    [("torch.utils.tensorboard", "--tensorboard", "tensorboard"), ("kornia.enhance", "--trivial", "augment")],
)
def test_a_package_that_is_missing_is_named_before_anything_is_read(convscope, monkeypatch, module, flag, extra):
    from convscope.data.augment import trivial

    trivial._kornia.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    answer = convscope("train", flag, "--data", "no such folder/")
    assert answer.code == 1
    assert f"pip install 'convscope[{extra}]'" in answer.err
    assert "should not happen" not in answer.err


def test_a_finished_run_is_not_resumed_and_another_setting_needs_force(convscope, run):
    assert "is complete" in convscope("train", "--resume", run).err
    history = Run.open(run).history
    Run.open(run).rewrite_history(type(history)(history.rows[:-1]))
    answer = convscope("train", "--resume", run, "--label-smoothing", "0.1")
    assert answer.code == 1
    assert "--label-smoothing: 0.0 then, 0.1 now" in answer.err


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["--init", "other"], "a new run from other weights is: convscope train --init other"),
        (["--out", "new"], "a new run from its weights is: convscope train --init {run} --out new"),
        (["--recipe", "textbook"], "name the settings that are to change, with --force"),
        (["--recipe=default", "--force"], "name the settings that are to change, with --force"),
        (["--find-lr"], "a range test from its weights is: convscope train --find-lr --init {run}"),
    ],
)
def test_words_that_a_resumed_run_would_ignore_are_refused(convscope, run, words, instead):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    answer = convscope("train", "--resume", run, *words)
    assert answer.code == 2
    assert f"--resume goes on with the run in {run} as it is" in answer.err
    assert instead.format(run=run) in answer.err
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_a_finished_run_trains_further_from_the_shell(convscope, run):
    answer = convscope("train", "--resume", run, "--epochs", "2", "--force")
    assert answer.code == 0
    assert "going on after step 23" in answer.err
    history = Run.open(run).history
    assert [row.epoch for row in history.of("epoch")] == [1, 2]
    assert len(history.of("end")) == 1
    assert (run / "report.html").exists()


def test_the_weights_of_epochs_are_kept(convscope, tmp_path):
    assert convscope("train", "--epochs", "3", "--keep", "2", "--threads", "1", "--out", tmp_path / "run").code == 0
    assert Run.open(tmp_path / "run").saved_epochs == (2, 3)


@pytest.mark.parametrize(
    ("final", "said"),
    [
        ({"test_accuracy": 0.5, "test_loss": 1.25}, "test accuracy 0.5000 in"),
        ({"test_loss": 1.25}, "test loss 1.2500 in"),
        ({}, "done in"),
    ],
)
def test_what_there_is_of_a_result_is_printed(tmp_path, capsys, final, said):
    run = Run(tmp_path, {})
    run.rewrite_history(History((Row("end", 1, 1, final),)))
    _print_result(run, tmp_path / "report.html", 1.0, as_json=False)
    assert capsys.readouterr().out.startswith(said)
    _print_result(run, tmp_path / "report.html", 1.0, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["accuracy"], printed["loss"]) == (final.get("test_accuracy"), final.get("test_loss"))


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("start", [["--seed", "7"], ["--init", "weights.safetensors"]])
@pytest.mark.parametrize("moment", [3, 4, 5, 6])
def test_killed_before_its_first_step_a_run_ends_in_the_same_bits(convscope, tmp_path, monkeypatch, moment, start):
    """Where the folder is a run it goes on, otherwise it is begun again: from the same weights."""
    monkeypatch.setattr("convscope.cli.train.report.write", lambda run, *_: run.path / "report.html")
    save_file(models.create("lenet", image_size=28).state_dict(), tmp_path / "weights.safetensors")
    words = ["train", "--epochs", "0.1", "--batch-size", "256", "--deterministic", "--threads", "1", *start, "--out"]
    assert convscope(*words, tmp_path / "whole").code == 0
    calls, fsync = itertools.count(1), os.fsync

    def kill(file: int) -> None:
        if next(calls) == moment:
            raise Killed
        fsync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", kill)
        with pytest.raises(Killed):
            convscope(*words, tmp_path / "cut")
    begun = (tmp_path / "cut" / "config.json").exists()
    torch.manual_seed(999)  # a new process has another generator
    answer = convscope("train", "--resume", tmp_path / "cut") if begun else convscope(*words, tmp_path / "cut")
    assert answer.code == 0, answer.err
    whole, cut = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


def test_only_a_run_is_replaced_and_a_damaged_one_too(convscope, run, tmp_path):
    words = ("train", *SHORT, "--epochs", "0.1", "--out", run)
    (run / "config.json").write_text('{"format": 1, "model": {}}')
    assert "already holds a run; add --force to replace it" in convscope(*words).err
    assert convscope(*words, "--force").code == 0
    (run / "config.json").write_text('{"architectures": ["BertModel"]}')
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for more in ([], ["--force"]):
        answer = convscope(*words, *more)
        assert (answer.code, "holds files that are no run, and they are not overwritten" in answer.err) == (1, True)
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def photographs(folder: Path) -> None:
    """Of 24x24 pixels, noise that differs from class to class."""
    generator = torch.Generator().manual_seed(1)
    for split, label in itertools.product(("train", "test"), ("dark", "light")):
        (folder / split / label).mkdir(parents=True)
        for number in range(4):
            noise = torch.randint(0, 90, (24, 24), generator=generator) + (120 if label == "light" else 0)
            Image.fromarray(noise.to(torch.uint8).numpy()).save(folder / split / label / f"{number}.png")


def test_photographs_are_read_anew_in_another_size(convscope, tmp_path, monkeypatch):
    """Not enlarged from what was packed for the size before."""
    monkeypatch.setattr("convscope.cli.train.report.write", lambda run, *_: run.path / "report.html")
    photographs(tmp_path / "photos")
    words = ("--model", "convscope_s", "--epochs", "1", "--batch-size", "4", "--threads", "1")
    words = ("train", "--data", tmp_path / "photos", "--image-size", "12", *words, "--out", tmp_path / "run")
    assert convscope(*words).code == 0
    run = tmp_path / "run"
    answer = convscope("train", "--resume", run, "--image-size", "20", "--epochs", "2", "--force")
    assert answer.code == 0, answer.err
    config = Run.open(run).config
    expected = data.load(tmp_path / "photos", image_size=20)
    assert config["data"]["image_size"] == config["input"]["image_size"] == [20, 20]
    assert config["data"]["fingerprint"] == data.fingerprint(expected)


def test_a_network_that_cannot_see_another_size_says_so(convscope, run):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    answer = convscope("train", "--resume", run, "--image-size", "32", "--epochs", "2", "--force")
    assert answer.code == 2
    assert "lenet of this run was made for images of another size and cannot see 32x32; leave --image" in answer.err
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
