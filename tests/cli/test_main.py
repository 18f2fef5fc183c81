import re
import subprocess
import sys
from pathlib import Path

import pytest

from convscope import __version__
from convscope.cli.entry import VERBS, main
from convscope.errors import DataError, TrainingInterrupted

FLAGS = {
    "train": "accumulate batch-size brightness checkpoint-every class-weights clip-grad compile contrast crop cutmix "
    "cutout data data-dir deterministic device ema epochs erase evaluate-every find-lr flip force freeze-epochs help "
    "image-size init json keep label-smoothing layer-decay log-interval lr memory-format mixup model momentum nesterov "
    "norm-bias-lr normalize opt out patience precision recipe resume rise rotate sampling saturation sched seed shift "
    "strict sync-bn tensorboard test-flip threads trivial val-fraction warmup-epochs weight-decay",
    "evaluate": "against batch-size data data-dir device help json top-k",
    "summary": "columns depth format help image-size in-channels json lint num-classes sort style",
    "look": "batch-size data data-dir device force help image-size json layer max-shift out samples weights",
    "notebook": "force help limit max-epochs out runs",
    "predict": "device help json top",
    "report": "data-dir help",
    "models": "help json",
    "data list": "help json",
    "data get": "data-dir help",
    "data show": "data-dir force help image-size json out",
}
"""A flag is a promise: who adds, renames or drops one must say so here."""


def test_help_names_every_verb_and_needs_no_torch():
    code = "import sys; from convscope.cli import main; main(['--help']); print(sorted(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(re.search(rf"^  {verb} ", answer.stdout, re.MULTILINE) for verb in VERBS)
    for heavy in ("torch", "numpy", "matplotlib", "sklearn", "rich", "tyro"):
        assert f"'{heavy}'" not in answer.stdout


def test_version(convscope):
    assert convscope("--version").out == f"convscope {__version__}\n"


def test_python_m_is_the_same_program():
    answer = subprocess.run(
        [sys.executable, "-m", "convscope", "frobnicate"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("convscope: unknown verb 'frobnicate'")


@pytest.mark.parametrize("verb", FLAGS)
def test_the_flags_of_a_verb_are_frozen(convscope, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")  # one column
    answer = convscope(*verb.split(), "--help")
    assert answer.code == 0
    shown = set(re.findall(r"^\W*(?:-h, )?--(?!no-)([a-z][a-z-]+)", answer.out, re.MULTILINE))
    assert shown == set(FLAGS[verb].split())


def test_every_verb_is_frozen():
    assert {verb.split()[0] for verb in FLAGS} == set(VERBS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tain"], "unknown verb 'tain'; did you mean 'train'? See: convscope --help"),
        (["data", "lst"], "unknown data verb 'lst'; did you mean 'list'?"),
        (["models", "resnot*"], "unknown model 'resnot*'"),
        (["train", "--model", "lennet"], "unknown model 'lennet'; did you mean 'lenet'"),
        (["train", "--data", "fashion-mnits"], "did you mean 'fashion-mnist'"),
        (["train", "--recipe", "textbok"], "unknown recipe 'textbok'; did you mean 'textbook'?"),
        (["train", "--epochs", "0"], "--epochs must be above 0, got 0.0"),
        (["train", "--lr", "-1"], "--lr must be above 0, got -1.0"),
        (["train", "--lr", "fast"], "could not convert string to float: 'fast'"),
        (["train", "--batch-size", "100000"], "--batch-size 100000 is more than the 1,438 training images"),
        (["train", "--keep", "best"], "--keep best chooses by a validation split, and there is none"),
        (["train", "--image-size", "8"], "lenet needs images of at least 12x12 pixels, got image_size=8"),
        (["train", "--lerning-rate", "1"], "Unrecognized options: --lerning-rate"),
        (["train", "--device", "abacus"], "--device abacus is not on this machine; expected one of: auto, cpu"),
        (["train", "--recipe", "default", "--recipe=textbok"], "unknown recipe 'textbok'"),
        (["train", "--threads", "100000"], "--threads must be at most"),
        (["train", "--data", ""], "data set"),
        (["predict", "runs/x"], "name at least one image"),
        (["evaluate"], "Missing from convscope evaluate"),
    ],
)
def test_wrong_words_get_one_sentence_and_exit_2(convscope, words, said):
    answer = convscope(*words)
    assert answer.code == 2
    assert said in re.sub(r"\s*[│╭╮╰╯─]\s*", " ", answer.err).replace("\n", " ").replace("  ", " ")
    assert "Traceback" not in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "nowhere"], "nowhere is no run folder: there is no config.json in it"),
        (["predict", "nowhere", "x.png"], "nowhere is no run folder"),
        (["report", "nowhere"], "nowhere is no run folder"),
        (["train", "--resume", "nowhere"], "nowhere is no run folder"),
        (["train", "--data", "./nowhere"], "nowhere"),
    ],
)
def test_what_is_not_there_gets_one_sentence_and_exit_1(convscope, words, said):
    answer = convscope(*words)
    assert answer.code == 1
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (DataError("the files are gone"), 1, "convscope: the files are gone\n"),
        (TrainingInterrupted("stopped after step 3"), 130, "convscope: stopped after step 3\n"),
        (KeyboardInterrupt(), 130, "convscope: interrupted\n"),
    ],
)
def test_what_is_raised_becomes_a_sentence_and_a_code(monkeypatch, capsys, raised, code, said):
    def fail(_: list[str]) -> int:
        raise raised

    monkeypatch.setattr("convscope.cli.entry._run", fail)
    assert main(["train"]) == code
    assert capsys.readouterr().err == said


def test_a_bug_is_said_in_one_line_and_its_traceback_is_kept(monkeypatch, capsys):
    def fail(_: list[str]) -> int:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("convscope.cli.entry._run", fail)
    assert main(["train"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("convscope: unexpected ZeroDivisionError: by nought (this should not happen; the details")
    (details,) = re.findall(r"in (\S+)\)", error)
    assert "ZeroDivisionError: by nought" in Path(details).read_text(encoding="utf-8")
    Path(details).unlink()


@pytest.mark.parametrize("words", ["models", "models --json", "data list --json", "--help"])
def test_a_reader_that_leaves_early_is_no_error(words):
    """`true` reads nothing at all; the program must notice and still end well."""
    command = f"{sys.executable} -m convscope {words} | true; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (answer.stdout, answer.stderr) == ("0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("words", ["--help", "models", "models --json"])
def test_output_that_cannot_be_written_is_one_sentence(words):
    command = f"{sys.executable} -m convscope {words} > /dev/full; echo $?"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert answer.stdout == "1\n"
    assert answer.stderr == "convscope: No space left on device\n"


def test_a_value_error_from_elsewhere_is_a_bug_and_not_the_users_fault(monkeypatch, capsys):
    def fail(_: list[str]) -> int:
        raise UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range")

    monkeypatch.setattr("convscope.cli.entry._run", fail)
    assert main(["train"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("convscope: unexpected UnicodeEncodeError")
    Path(re.findall(r"in (\S+)\)", error)[0]).unlink()
