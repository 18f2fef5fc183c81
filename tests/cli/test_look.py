"""``convscope look`` and ``evaluate --against``, as a person would type them."""

import contextlib
import io
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from convscope import data, measure, models
from convscope.cli import main
from convscope.cli.console import load_data
from convscope.report.atlas import Atlas
from convscope.train import TrainConfig, Trainer

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
    for bins, same in zip(numbers["reliability"].pop("bins"), judged["calibration"].pop("bins"), strict=True):
        assert bins == pytest.approx(same)
    assert numbers["reliability"] == pytest.approx(judged["calibration"])  # batches of other sizes round differently
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


@pytest.mark.parametrize("verb", ["evaluate", "predict", "look", "report"])
def test_a_run_whose_weights_are_no_numbers_gets_one_sentence(convscope, runs, tmp_path, verb):
    shutil.copytree(runs / "good", tmp_path / "nan")
    weights = load_file(tmp_path / "nan" / "model.safetensors")
    weights["classifier.5.bias"][3] = float("nan")
    save_file(weights, tmp_path / "nan" / "model.safetensors")
    Image.new("L", (8, 8)).save("grey.png")
    more = {"predict": ["grey.png"], "look": ["--out", "seen"]}
    answer = convscope(verb, "nan", *more.get(verb, []))
    assert (answer.code, answer.out) == (1, "")
    assert "there is NaN or infinity in the weights classifier.5.bias of nan, so it can say nothing" in answer.err


def test_ctrl_c_leaves_the_pictures_drawn_so_far_and_names_them(convscope, runs, tmp_path, monkeypatch):
    def stop(_: Atlas) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Atlas, "_patches", stop)
    answer = convscope("look", runs / "good", "--out", "seen", "--samples", 20)
    assert answer.code == 130
    assert answer.err.endswith("convscope: interrupted\n")
    there = {file.name for file in (tmp_path / "seen").iterdir()}
    assert there == {"reliability.png", "filters-first.png", "filters-last.png", "activations.png"}
    assert answer.out.startswith("lenet on digits: 4 pictures\n")
    assert all(f"seen/{name}\n" in answer.out for name in there)
    as_json = convscope("look", runs / "good", "--out", "again", "--samples", 20, "--json")
    assert as_json.code == 130
    assert json.loads(as_json.out)["complete"] is False


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_others(convscope, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "border_effect", lambda *_, **__: measure.wilson(3, 2))  # raises a sentence of ours
    answer = convscope("look", runs / "good", "--out", "seen", "--samples", 20, "--max-shift", 1)
    assert answer.code == 1
    assert "convscope: no border: expected a count of 0 to total" in answer.err
    assert {file.stem for file in (tmp_path / "seen").iterdir()} == PICTURES - {"border"}
    assert re.findall(r"^drawing (\d+) of 11: ", answer.err, re.M) == [str(n) for n in range(1, 12)]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Photographs of tall and wide bars, 48x32 pixels, and runs that learned from them at two sizes."""
    folder = tmp_path_factory.mktemp("shapes")
    generator = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 10)):
        for label in ("tall", "wide"):
            (folder / "bars" / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 90, (32, 48), dtype=np.uint8)
                place = int(generator.integers(8, 24))
                pixels[(slice(None), slice(place, place + 6)) if label == "tall" else slice(place, place + 6)] = 230
                Image.fromarray(pixels).save(folder / "bars" / split / label / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for size in (16, 28):
            words = ["train", "--data", str(folder / "bars"), "--image-size", str(size), "--epochs", "2"]
            words += ["--batch-size", "16", "--threads", "1", "--out", str(folder / f"at{size}")]
            assert main(words) == 0
    return folder


def test_each_run_sees_the_images_decoded_as_it_was_trained(convscope, shapes):
    alone = {}
    for size in (16, 28):
        alone[size] = json.loads(convscope("evaluate", shapes / f"at{size}", "--json").out)
    for words in ((), ("--data", shapes / "bars")):  # the same files, found by the runs themselves or named
        answer = convscope("evaluate", shapes / "at16", "--against", shapes / "at28", *words, "--json")
        assert answer.code == 0, answer.err
        result = json.loads(answer.out)
        assert result["confusion"] == alone[16]["confusion"]
        against = result["against"]
        right = against["both_right"] + against["only_second"]
        assert right == round(alone[28]["accuracy"] * 20), "the second run is as right as it is alone"


def test_images_that_changed_since_the_training_are_mentioned(convscope, shapes, tmp_path):
    shutil.copytree(shapes / "bars", tmp_path / "bars")
    config = json.loads((shapes / "at16" / "config.json").read_text())
    config["data"]["source"]["name_or_folder"] = str(tmp_path / "bars")
    shutil.copytree(shapes / "at16", tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert "note:" not in convscope("evaluate", "run").err
    (tmp_path / "bars" / "val" / "tall" / "0.png").unlink()
    changed = convscope("evaluate", "run")
    assert changed.code == 0
    assert "note: the images of bars are not those that run was trained on" in changed.err
    assert "learned from different images" in convscope("evaluate", "run", "--against", shapes / "at28").err


def test_classes_of_other_images_are_compared_in_few_words(convscope, shapes, tmp_path):
    for name in ("tall", "wide", "round"):
        for split in ("train", "val"):
            (tmp_path / "more" / split / name).mkdir(parents=True)
            Image.new("L", (20, 20)).save(tmp_path / "more" / split / name / "0.png")
    answer = convscope("evaluate", shapes / "at16", "--data", tmp_path / "more")
    assert answer.code == 1
    assert "tells apart tall, wide; more has 3 classes, and has besides round" in answer.err


def test_a_run_on_images_that_are_not_square_gets_a_folder_cut_alike(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = data.load(shapes / "bars", image_size=(20, 30))
    assert folder.image_size == (20, 30)
    assert folder.source["image_size"] == [20, 30]
    assert data.load(folder.source["name_or_folder"], image_size=folder.source["image_size"]).image_size == (20, 30)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    in_memory = data.Dataset("bars", folder.train, folder.test, folder.mean, folder.std)
    run = Trainer(TrainConfig(epochs=1, batch_size=16)).fit(net, in_memory, out=tmp_path / "run")
    read = load_data(run, name=str(shapes / "bars"))
    assert torch.equal(read.test.images, folder.test.images)
