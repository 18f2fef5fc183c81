"""``convscope summary`` as a person would type it."""

import csv
import io
import json
import re
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from convscope import data, models
from convscope.train import TrainConfig, Trainer

NET = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head((x.mean(1, keepdim=True) + self.body(x)).relu().mean((2, 3)))

class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()

def made(in_channels, image_size):
    return nn.Sequential(nn.Conv2d(in_channels, 4, image_size))

class Breaks(nn.Module):
    def __init__(self):
        raise RuntimeError("no paper")

class Forgot(nn.Module):
    def __init__(self):
        pass

class Two(nn.Module):
    def forward(self, x, y):
        return x

ready = nn.Conv2d(2, 2, 1)
number = 7
"""


@pytest.fixture
def own(tmp_path, convscope, request):
    """A module of the user's in the current folder, under a name that no other test has imported."""
    name = re.sub(r"\W", "_", f"own_{request.node.name}")
    (tmp_path / f"{name}.py").write_text(NET, encoding="utf-8")
    return name


@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_of_resnet18(convscope, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = convscope("summary", "resnet18", "--image-size", 96, "--in-channels", 1)
    assert answer.code == 0
    assert answer.err == ""
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0] == "resnet18 on 1x1x96x96"
    last = next(line for line in reversed(lines) if re.match(r"layer4|  1 ", line))
    assert re.search(r" 435 +32\b", last)
    parameters = sum(p.numel() for p in models.create("resnet18", in_channels=1, device="meta").parameters())
    assert f"parameters {parameters:,} (46.7 MB)" in answer.out
    assert "319.2 M MACs, 638.3 M FLOPs for 1 image" in answer.out
    assert "sees 435 pixels of 96x96 at layer4" in answer.out


def test_forms(convscope):
    chosen = ("summary", "lenet", "--sort", "macs", "--depth", 1)
    asked = (*chosen, "--columns", "layer,macs")
    assert convscope(*asked, "--format", "csv").out == "path,macs\nfeatures,357600\nclassifier,58920\n,416520\n"
    assert convscope(*asked, "--format", "markdown").out.splitlines()[2] == "| features | 357.6 K |"
    assert "<td>features</td><td align=right>357.6 K</td>" in convscope(*asked, "--format", "html").out
    by_json, by_format = convscope(*chosen, "--json").out, convscope(*chosen, "--format", "json").out
    assert by_json == by_format
    assert json.loads(by_json)["macs"] == 416520
    assert len(convscope("summary", "lenet", "--style", "book").out.splitlines()) == 12
    everything = list(csv.reader(io.StringIO(convscope("summary", "lenet", "--depth", "None", "--format", "csv").out)))
    assert len(everything) == 1 + 14 + 1


def test_a_class_of_ones_own(convscope, own):
    answer = convscope("summary", f"{own}:MyNet", "--image-size", 32, "--num-classes", 4, "--json")
    found = json.loads(answer.out)
    assert found["parameters"] == 8 * 28 + 4 * 9
    assert found["macs"] == 32 * 32 * 8 * 27 + 8 * 4
    assert [row["type"] for row in found["rows"]] == ["Conv2d", "Linear"]
    assert convscope("summary", f"{own}:made", "--image-size", 8, "--in-channels", 2).code == 0
    assert "Conv2d" in convscope("summary", f"{own}:ready", "--image-size", 8).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("{own}:MyNet",),
            "--image-size is needed for a class of your own: convscope summary {own}:MyNet --image-size",
        ),
        (("{own}:MyNt", "--image-size", 8), "unknown class in {own} 'MyNt'; expected one of: MyNet, Needs, Breaks, "),
        (("{own}:Needs", "--image-size", 8), "{own}:Needs needs width to be made; give them defaults"),
        (("{own}:made", "--image-size", 8), "{own}:made needs in_channels to be made; give --in-channels"),
        (("{own}:number", "--image-size", 8), "{own}:number is a int; name a class"),
        (("{own}:MyNet", "--image-size", 8, "--in-channels", 4), "It would take 3 channels: 3x8x8"),
        (("no_such:MyNet", "--image-size", 8), "there is no module 'no_such' here or on Python's path"),
        (("lennet",), "unknown model 'lennet'; did you mean 'lenet'"),
        (("lenet", "--columns", "layer,mac"), "unknown column 'mac'; did you mean 'macs'"),
        (("lenet", "--sort", "mac"), "The columns are: layer, type, output, calls, parameters, trainable, frozen, "),
        (("lenet", "--columns", "layer,mac"), "The columns are: layer, type, output, calls, parameters, trainable, "),
        (
            ("lenet", "--lint", "--format", "csv"),
            "--lint gives findings as text or, with --json, as a list: leave out --format csv",
        ),
        (("lenet", "--lint", "--depth", 1, "--sort", "macs"), "as a list: leave out --depth and --sort"),
        (("lenet", "--style", "book", "--json"), "--style book prints a line of text for each layer: leave out --json"),
        (("lenet", "--style=book", "--columns=macs"), "a line of text for each layer: leave out --columns"),
        (("lenet", "--json", "--format", "csv"), "--json and --format csv ask for two forms: leave out one"),
        (("lenet", "--json", "--columns", "layer"), "JSON holds all columns: leave out --columns"),
        (("{own}:Breaks", "--image-size", 8), "{own}:Breaks could not be made: RuntimeError: no paper"),
        (("{own}:Forgot", "--image-size", 8), "{own}:Forgot is no complete nn.Module: call super().__init__() first"),
        (("{own}:Two", "--image-size", 8), "missing 1 required positional argument: 'y'; a network is measured with"),
        (("lenet", "--depth", 0), "--depth must be at least 1, got 0"),
        (("lenet", "--image-size", 4), "lenet needs images of at least"),
    ],
)
def test_wrong_words(convscope, own, words, said):
    answer = convscope("summary", *(str(word).format(own=own) for word in words))
    assert answer.code == 2
    assert said.format(own=own) in answer.err
    assert answer.err.count("\n") == 1


def test_a_path_that_is_no_run(convscope, tmp_path):
    (tmp_path / "file.txt").write_text("x", encoding="utf-8")
    for word in ("nowhere/run", "file.txt", "."):
        answer = convscope("summary", word)
        assert answer.code == 1
        assert "is no run folder: there is no config.json in it" in answer.err


def test_words_are_sorted_from_a_to_z(convscope):
    rows = convscope(
        "summary", "lenet", "--sort", "layer", "--depth", "None", "--columns", "layer", "--format", "csv"
    ).out
    assert rows.splitlines()[1:-1] == sorted(rows.splitlines()[1:-1])
    types = convscope("summary", "lenet", "--sort", "type", "--depth", 1, "--columns", "type", "--format", "csv").out
    assert types.splitlines()[1:3] == ["Sequential", "Sequential"]


def test_lint_of_a_name_looks_at_drawn_weights(convscope):
    found = json.loads(convscope("summary", "lenet", "--lint", "--json").out)
    assert "not-applied" not in {finding["rule"] for finding in found}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run, whose weights then became NaN."""
    folder = tmp_path_factory.mktemp("summary") / "run"
    Trainer(TrainConfig(epochs=1, image_size=28)).fit(models.create("lenet"), data.load("digits"), out=folder)
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = load_file(path)
    weights["features.3.weight"][0] = torch.nan
    save_file(weights, path, metadata)
    return folder


def test_a_run_is_looked_at_with_its_trained_weights(convscope, run):
    assert "note: weights that hold NaN: features.3.weight;" in convscope("summary", run).out
    found = json.loads(convscope("summary", run, "--lint", "--json").out)
    assert [f["what"] for f in found if f["rule"] == "weights-not-finite"] == [
        "150 of 2,400 numbers in features.3.weight are NaN."
    ]


def test_a_run_without_weights_says_which_rules_were_not_applied(convscope, run, tmp_path):
    shutil.copytree(run, tmp_path / "young", ignore=shutil.ignore_patterns("*.safetensors"))
    assert "61,706" in convscope("summary", "./young").out
    said = convscope("summary", "./young", "--lint").out
    assert "weights-not-finite, dead-relu were not applied: features.0.weight is on the meta" in " ".join(said.split())


def test_the_module_of_a_class_does_not_run(convscope, tmp_path):
    (tmp_path / "own_broken.py").write_text("1 / 0", encoding="utf-8")
    answer = convscope("summary", "own_broken:Net", "--image-size", 8)
    assert answer.code == 2
    assert answer.err == "convscope: own_broken.py cannot be imported: ZeroDivisionError: division by zero\n"
