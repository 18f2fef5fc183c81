"""The verbs one after the other, as a person would type them."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from convscope import data
from convscope.train import Run

SHORT = ("--epochs", "2", "--threads", "1")


def program(*words: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "convscope", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    run = folder / "run"
    process = program("train", "--epochs", 6, "--threads", 1, "--out", run)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return run, out, err


def test_train_says_an_epoch_a_line_on_stderr_and_the_result_on_stdout(trained):
    run, out, err = trained
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == [f"{n}/6" for n in range(1, 7)]
    assert all(" images/s" in line and "test loss" in line for line in lines)
    accuracy = Run.open(run).history.of("end")[0].values["test_accuracy"]
    assert out.splitlines()[0].startswith(f"test accuracy {accuracy:.4f} in ")
    assert out.splitlines()[1] == f"report: {run / 'report.html'}"
    assert accuracy > 0.9
    assert (run / "report.html").is_file()
    assert Run.open(run).environment["command"].startswith("convscope train --epochs 6")


def test_evaluate_agrees_with_training(convscope, trained):
    run = trained[0]
    result = json.loads(convscope("evaluate", run, "--json").out)
    assert next(iter(result)) == "accuracy"
    assert result["accuracy"] == Run.open(run).history.of("end")[0].values["test_accuracy"]
    assert sum(map(sum, result["confusion"])) == result["images"] == 359
    table = convscope("evaluate", run).out
    assert f"accuracy {result['accuracy']:.4f}" in table
    assert len(re.findall(r"^ \d  +[01]\.\d{3}  ", table, re.M)) == 10


def test_predict_answers_what_it_can_and_exits_1_for_what_it_cannot(convscope, trained, tmp_path):
    run = trained[0]
    test = data.load("digits").test
    for number in range(3):
        Image.fromarray(test.images[number][0].numpy()).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    good = convscope("predict", run, "0.png", "1.png", "2.png", "--top", 2)
    assert good.code == 0
    assert len(good.out.splitlines()) == 3
    assert all(line.count("%") == 2 for line in good.out.splitlines())
    mixed = convscope("predict", run, "broken.png", "0.png", "--json")
    assert mixed.code == 1
    first, second = json.loads(mixed.out)
    assert first["error"]
    assert first["guesses"] == []
    assert second["error"] is None
    assert len(second["guesses"]) == 3
    assert "broken.png" in mixed.err


def test_report_is_written_again_the_same(convscope, trained):
    page = trained[0] / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    answer = convscope("report", trained[0])
    assert answer.out.strip() == str(page)
    assert page.read_text(encoding="utf-8") == before


def test_an_existing_run_is_kept_unless_forced(convscope, trained):
    weights = (trained[0] / "model.safetensors").read_bytes()
    refused = convscope("train", *SHORT, "--out", trained[0])
    assert refused.code == 1
    assert "already holds a run; add --force to replace it" in refused.err
    assert (trained[0] / "model.safetensors").read_bytes() == weights


def test_train_json_is_one_object(convscope, tmp_path):
    answer = convscope("train", *SHORT, "--out", "run", "--json")
    result = json.loads(answer.out)
    assert result["run"] == "run"
    assert Path(result["report"]).is_file()
    assert result["accuracy"] == Run.open("run").history.of("end")[0].values["test_accuracy"]


def test_names_are_printed_as_they_are(convscope, tmp_path):
    for name in ("Dress :smile:", "sm[bold]x"):
        (tmp_path / "odd [red]" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (20, 20), 25 * number).save(tmp_path / "odd [red]" / name / f"{number}.png")
    shown = convscope("data", "show", "odd [red]")
    assert shown.code == 0, shown.err
    assert all(name in shown.out for name in ("Dress :smile:", "sm[bold]x", "odd [red]:"))
    answer = convscope("train", "--data", "odd [red]", *SHORT, "--batch-size", 4, "--out", "run [x] :smile:")
    assert answer.code == 0, answer.err
    assert "into run [x] :smile:" in answer.err
    assert "Dress :smile:" in convscope("evaluate", "run [x] :smile:").out


def test_a_long_path_is_never_cut(convscope, trained, tmp_path):
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    folder.mkdir(parents=True)
    Image.new("L", (20, 20)).save(folder / "a.png")
    answer = convscope("predict", trained[0], folder / "a.png", "--top", 10)
    assert str(folder / "a.png") in answer.out
    assert answer.out.count("%") == 10


def test_a_grey_network_judges_colour_pictures(convscope, trained, tmp_path):
    test = data.load("digits").test
    for number, (image, label) in enumerate(zip(test.images[:60], test.labels[:60].tolist(), strict=True)):
        for split in ("train", "test"):
            file = tmp_path / "colour" / split / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).convert("RGB").save(file)
    result = json.loads(convscope("evaluate", trained[0], "--data", "./colour", "--json").out)
    assert result["images"] == 60
    assert result["accuracy"] > 0.85


def test_flags_change_the_recipe_and_nothing_else(convscope):
    convscope("train", *SHORT, "--recipe", "textbook", "--lr", "0.2", "--out", "run")
    config = Run.open("run").train_config
    assert config.optimizer.lr == 0.2
    assert (config.optimizer.opt, config.normalize, config.batch_size) == ("sgd", False, 128)


def test_a_folder_of_photographs_from_beginning_to_end(convscope, tmp_path):
    digits = data.load("digits")
    for split, images in (("train", digits.train), ("test", digits.test)):
        for number, (image, label) in enumerate(zip(images.images[:300], images.labels[:300].tolist(), strict=True)):
            file = tmp_path / "photos" / split / f"digit {label}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).resize((20, 20)).save(file)
    (tmp_path / "photos" / "train" / "digit 0" / "notes.png").write_text("no image")
    answer = convscope("train", "--data", "photos", "--epochs", 12, "--batch-size", 16, "--threads", 1, "--out", "run")
    assert answer.code == 0, answer.err
    assert "notes.png" in answer.err
    run = Run.open("run")
    assert run.classes == tuple(f"digit {n}" for n in range(10))
    assert run.history.of("end")[0].values["test_accuracy"] > 0.8
    assert json.loads(convscope("evaluate", "run", "--json").out)["images"] == 300
    photo = next((tmp_path / "photos" / "test" / "digit 7").iterdir())
    assert json.loads(convscope("predict", "run", photo, "--json").out)[0]["guesses"]
    shown = convscope("data", "show", "photos", "--out", "sheet.png")
    assert shown.code == 0, shown.err
    assert "digit 7" in shown.out
    with Image.open("sheet.png") as sheet:
        assert min(sheet.size) > 300
    again = convscope("data", "show", "photos", "--out", "sheet.png")
    assert again.code == 2
    assert "sheet.png exists; add --force to replace it" in again.err


@pytest.mark.parametrize("one_class", [False, True])
def test_a_folder_that_cannot_be_learned_from_exits_1(convscope, tmp_path, one_class):
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    if one_class:
        Image.new("L", (20, 20)).save(tmp_path / "photos" / "cats" / "a.png")
    answer = convscope("train", "--data", "./photos")
    assert answer.code == 1
    assert "photos" in answer.err
    assert not (tmp_path / "runs").exists()


def test_data_list_and_get(convscope):
    listed = convscope("data", "list").out
    assert all(name in listed for name in data.names())
    assert {entry["name"] for entry in json.loads(convscope("data", "list", "--json").out)} == set(data.names())
    assert convscope("data", "get", "digits").out == "digits is part of scikit-learn; there is nothing to fetch\n"
    assert convscope("data", "get", "digit").code == 2
    shown = json.loads(convscope("data", "show", "digits", "--json").out)
    assert sum(entry["train"] for entry in shown["classes"]) == 1438


def test_ctrl_c_saves_exits_130_and_resume_goes_on(tmp_path):
    run = tmp_path / "run"
    process = program("train", "--epochs", 400, "--threads", 1, "--out", run)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"everything is saved in {run}; go on with: convscope train --resume {run}" in err
    assert "Traceback" not in err
    before = Run.open(run).history.of("epoch")
    again = program("train", "--resume", run)
    assert again.stderr is not None
    for line in again.stderr:
        if line.startswith(f"epoch {len(before) + 1}/"):
            break
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130
    rows = Run.open(run).history.of("epoch")
    assert rows[: len(before)] == before
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))


def test_in_a_terminal_there_is_a_live_table(tmp_path):
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"}
    words = ["train", "--epochs", "3", "--threads", "1", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "convscope", *words], stdout=subprocess.DEVNULL, stderr=follower, env=environment
    )
    os.close(follower)
    seen = b""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    assert process.wait(timeout=30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "ETA" in text
    assert "images/s" in text
    assert "test acc" in text
    assert re.search("[▁▂▃▄▅▆▇█]{3}", text)
