"""``convscope look`` and ``evaluate --against``, as a person would type them."""

import contextlib
import io
import json
import re

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from convscope import data, models
from convscope.cli import main

PICTURES = {
    "activations", "border", "equivariance", "filters-first", "filters-last", "grad-cam", "input-gradients",
    "occlusion", "probes", "reliability", "sensitivity", "shift-circular", "shift-zero", "top-patches",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    for name, epochs, seed in (("good", 3, 0), ("poor", 1, 1)):
        words = ["train", "--epochs", str(epochs), "--threads", "1", "--seed", str(seed), "--out", str(folder / name)]
        assert main(words) == 0
    return folder


@pytest.fixture(scope="module")
def looked(runs):
    """Looked at once; what was said on stdout."""
    words = ["look", str(runs / "good"), "--out", str(runs / "pictures"), "--samples", "40", "--max-shift", "1"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*words, "--json"]) == 0
    return said.getvalue()


def test_every_picture_is_written_and_named_with_what_it_shows(runs, looked):
    result = json.loads(looked)
    assert result["title"] == "lenet on digits"
    files = {entry["file"]: entry for entry in result["figures"]}
    assert {file.name for file in (runs / "pictures").iterdir()} == {f"{name}.png" for name in PICTURES}
    assert set(files) == {str(runs / "pictures" / f"{name}.png") for name in PICTURES}
    for file, entry in files.items():
        with Image.open(file) as picture:
            picture.load()
            assert picture.width == 702
            assert len(picture.convert("RGB").getcolors(maxcolors=1 << 24)) > 5
        assert len(entry["shows"]) > 20


def test_numbers_are_those_of_the_measurements(runs, looked, convscope):
    numbers = {entry["file"].split("/")[-1][:-4]: entry["numbers"] for entry in json.loads(looked)["figures"]}
    judged = json.loads(convscope("evaluate", runs / "good", "--json").out)
    assert numbers["reliability"] == judged["calibration"]
    assert numbers["shift-circular"]["unchanged"]["total"] == 40
    assert numbers["shift-circular"]["agreement"][1][1] == 1
    assert numbers["probes"]["probes"][0]["layer"] == "pixels"
    assert len(numbers["border"]["rings"]) == 14


def test_a_folder_with_something_in_it_is_kept_unless_forced(runs, looked, convscope):
    pictures = runs / "pictures"
    before = {file.name: file.read_bytes() for file in pictures.iterdir()}
    (pictures / "notes.txt").write_text("mine")
    refused = convscope("look", runs / "good", "--out", pictures)
    assert refused.code == 2
    assert f"{pictures} is not empty; add --force to write into it, or choose another --out" in refused.err
    forced = convscope("look", runs / "good", "--out", pictures, "--force", "--samples", 40, "--max-shift", 1)
    assert forced.code == 0, forced.err
    assert (pictures / "notes.txt").read_text() == "mine"
    (pictures / "notes.txt").unlink()
    assert {file.name: file.read_bytes() for file in pictures.iterdir()} == before  # the same again, to the last byte
    assert forced.out.startswith("lenet on digits: 14 pictures\n")
    for name in PICTURES:
        assert re.search(rf"^{re.escape(str(pictures / name))}\.png\n    \S", forced.out, re.M)
    (runs / "file").write_text("")
    assert "is a file; choose another --out" in convscope("look", runs / "good", "--out", runs / "file").err


def test_own_photographs_and_a_network_by_name_with_weights(runs, convscope, tmp_path):
    digit = data.load("digits").test.images[4, 0].numpy()
    Image.fromarray(digit).resize((40, 40)).save("mine.png")
    torch.manual_seed(5)
    made = models.create("bn_lenet", num_classes=10, image_size=28)
    save_file(made.state_dict(), "weights.safetensors")
    quick = ("--samples", 20, "--max-shift", 1)
    answer = convscope("look", "bn_lenet", "mine.png", "--weights", "weights.safetensors", "--out", "seen", *quick)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("bn_lenet (weights.safetensors) on digits: 14 pictures")
    assert "the weights of features.4: 16 filters of 6x5x5" in answer.out
    with Image.open(tmp_path / "seen" / "grad-cam.png") as one, Image.open(runs / "pictures" / "grad-cam.png") as nine:
        assert one.height < nine.height


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["lennet"], 2, "unknown network 'lennet'; did you mean 'lenet'"),
        (["./nowhere"], 1, "nowhere is no run folder"),
        (["lenet", "missing.png"], 1, "missing.png"),
        (["lenet", "--samples", "1"], 2, "--samples must be at least 2, got 1"),
        (["lenet", "--max-shift", "99"], 2, "--max-shift must be 1 to 27 pixels, got 99"),
        (["lenet", "--batch-size", "0"], 2, "--batch-size must be at least 1, got 0"),
        (["lenet", "--layer", "features.33"], 2, "unknown layer 'features.33'; did you mean 'features.3'"),
        (["lenet", "--layer", "classifier.1"], 2, "layer 'classifier.1' gives no feature maps"),
        (["lenet", "--weights", "none.safetensors"], 1, "there is no file of weights at none.safetensors"),
        (["RUN", "--weights", "none.safetensors"], 2, "has weights of its own; --weights is for the name of a network"),
        (["RUN", "--device", "abacus"], 2, "--device abacus is not on this machine"),
    ],
)
def test_what_cannot_be_looked_at_gets_one_sentence_and_leaves_nothing(convscope, runs, tmp_path, words, code, said):
    words = [str(runs / "good") if word == "RUN" else word for word in words]
    answer = convscope("look", *words, "--out", "seen")
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "seen").exists()


def test_weights_that_are_no_numbers_get_one_sentence(convscope, tmp_path):
    made = models.create("lenet", num_classes=10).state_dict()
    made["classifier.5.bias"][3] = float("nan")
    save_file(made, "broken.safetensors")
    answer = convscope("look", "lenet", "--weights", "broken.safetensors", "--out", "seen")
    assert answer.code == 2
    assert "there is NaN or infinity in its weights classifier.5.bias" in answer.err


def test_evaluate_says_whether_the_difference_is_more_than_chance(convscope, runs):
    good, poor = runs / "good", runs / "poor"
    table = convscope("evaluate", poor, "--against", good, "--top-k", 3).out
    first, second = (json.loads(convscope("evaluate", run, "--json").out)["accuracy"] for run in (poor, good))
    points = f"{100 * abs(second - first):.1f}"
    assert f"{good} is better than {poor} by {points} points on the same 359 images: more than chance (p = " in table
    counts = [int(n) for n in re.findall(r"^ +(\d+) +(?:both|only) ", table, re.M)]
    assert sum(counts) == 359
    assert (counts[2] - counts[1]) / 359 == pytest.approx(second - first)
    assert re.search(r"^accuracy 0\.\d{4} \(95 % interval 0\.\d{4} to 0\.\d{4}\)   loss ", table, re.M)
    assert re.search(r"^top-3 accuracy 0\.\d{4} \(95 % interval ", table, re.M)
    assert re.search(r"^expected calibration error \d+\.\d points; on the whole ", table, re.M)
    result = json.loads(convscope("evaluate", poor, "--against", good, "--top-k", 2, "--json").out)
    assert next(iter(result)) == "accuracy"
    assert result["top_k"]["k"] == 2
    against = result["against"]
    assert [against[k] for k in ("both_right", "only_first", "only_second", "both_wrong")] == counts
    assert against["run"] == str(good)
    assert against["more_than_chance"] is True
    same = convscope("evaluate", good, "--against", good).out
    assert "are right on exactly the same images, of 359: no difference." in same


def test_runs_that_cannot_be_compared_get_one_sentence(convscope, runs, tmp_path):
    config = json.loads((runs / "good" / "config.json").read_text())
    weights = load_file(runs / "good" / "model.safetensors")
    for name, change in (("others", {"classes": list("abcdefghij")}), ("elsewhere", {"fingerprint": "0" * 32})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "data": {**config["data"], **change}}))
        save_file(weights, tmp_path / name / "model.safetensors")
    other = convscope("evaluate", runs / "good", "--against", "others")
    assert other.code == 1
    assert "others tells apart a, b, c, d, e, f, g, h, i, j; digits has other classes: 0, 1, 2" in other.err
    contaminated = convscope("evaluate", runs / "good", "--against", "elsewhere")
    assert contaminated.code == 1
    assert (
        "learned from different images, so test images of one may be training images of the other" in contaminated.err
    )
    assert convscope("evaluate", runs / "good", "--against", "elsewhere", "--data", "digits").code == 0
    assert "nowhere is no run folder" in convscope("evaluate", runs / "good", "--against", "nowhere").err
    assert "--top-k must be 1 to 10, the number of classes; got 11" in convscope(
        "evaluate", runs / "good", "--top-k", 11
    ).err  # fmt: skip
