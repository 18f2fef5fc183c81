"""The page says what happened: every number, every setting, and what must be known before believing them."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope import models
from convscope import report as reports
from convscope.data import ImageSet
from convscope.measure import Evaluation
from convscope.train import ExecutionConfig, OptimizerConfig, SavingConfig, TrainConfig
from report import made
from report.reading import FINISHED, Page, write


def test_headline_numbers(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED)
    assert "tiny on creatures" in page.text
    assert "83.3 %" in page.text
    assert "Test accuracy: 10 of 12 images right" in page.text
    assert "expect 55.2 % to 95.3 %" in page.text, "Wilson's interval for 10 of 12"
    assert "commonest class would give 33.3 %" in page.text
    assert "Epochs 3 of 3" in page.text
    assert "Time 1 min 23 s" in page.text
    assert "Images per second 1,002" in page.text
    assert "Peak RAM 300 MiB" in page.text
    assert "Peak RAM of the process 300 MiB" in page.text
    assert "commonest class: 33.3 %" in page.text, "the mark on the bar has its words beside it"
    assert "Parameters 55" in page.text, "4 * 9 + 4 + 4 * 3 + 3"


def test_an_epoch_that_went_on_after_a_part_of_it_counts_once(tmp_path):
    rows = (
        made.epoch(1),
        replace(made.epoch(2), step=30, epochs=1.5),
        made.epoch(2),
        made.epoch(3),
        made.end(3, 10 / 12),
    )
    page, _, _ = write(tmp_path, made.dataset(), rows)
    assert "Epochs 3 of 3" in page.text


def test_every_class_has_its_scores_and_its_commonest_confusion(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED)
    assert "cat 100 % 75.0 % 85.7 % 4 dog (1)" in page.text
    assert "dog 80.0 % 100 % 88.9 % 4 nothing" not in page.text
    assert "dog 75.0 % 75.0 % 75.0 % 4 owl (1)" in page.text
    assert "owl 80.0 % 100 % 88.9 % 4 nothing" in page.text


def test_classes_without_test_images_have_no_scores_and_no_weight_in_the_mean(tmp_path):
    whole = made.dataset(("cat", "dog", "owl"))
    few = ImageSet(whole.test.images[:4], torch.tensor([0, 0, 1, 1]), whole.classes)
    data = replace(whole, test=few)
    run = made.run(tmp_path / "run", data, made.history(3).rows)
    probabilities = torch.eye(3)[torch.tensor([0, 2, 1, 1])]
    judged = Evaluation(probabilities, few.labels, data.classes)
    page = Page(reports.write(run, made.network(data), data, evaluation=judged).read_text(encoding="utf-8"))
    assert "cat 100 % 50.0 % 66.7 % 2 owl (1)" in page.text
    none = "\N{EN DASH}"
    assert f"owl {none} {none} {none} 0 {none}" in page.text
    assert "mean of the 2 with test images 100 % 75.0 % 83.3 % 4" in page.text
    assert "Classes without test images are left out." in page.text
    source = (run.path / "report.html").read_text(encoding="utf-8")
    assert "the lowest F1 is 66.7\xa0% for cat" in source


def test_curves_and_table_end_with_the_same_numbers(tmp_path):
    rows = (
        made.epoch(1),
        made.step(30),
        made.step(40),
        made.epoch(2),
        made.epoch(3),
        made.step(61),
        made.end(3, 10 / 12),
    )
    page, source, _ = write(tmp_path, made.dataset(), rows)
    assert "After the last epoch: 86.7\xa0% on training images, 83.3\xa0% on test images." in source
    assert "training 86.7 %" in page.text
    assert "training 0.500" in page.text
    assert "training values are running means" in page.text


def test_every_epoch_is_in_the_table(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED)
    assert "2 40 0.005 0.75 80.00 % 0.875 75.00 % 3 60" in page.text
    assert "2 1,002 2.0 s 0.2 s 5.0 s 3 1,003" in page.text, "how fast is in a table of its own"


def test_settings_that_were_changed_name_their_default(tmp_path):
    config = TrainConfig(epochs=3, seed=7, optimizer=OptimizerConfig(opt="sgd", lr=0.5))
    usual = TrainConfig()
    page, source, _ = write(tmp_path, made.dataset(), FINISHED, config=config)
    assert f"--lr 0.5 default {usual.optimizer.lr:g}" in page.text
    assert f"--opt sgd default {usual.optimizer.opt}" in page.text
    assert f"--batch-size {usual.batch_size} --seed 7 default {usual.seed}" in page.text
    for group in (config.to_dict(), *(value for value in config.to_dict().values() if isinstance(value, dict))):
        for name, value in group.items():
            if not isinstance(value, dict):
                assert f"<dt>--{name.replace('_', '-')}</dt>" in source


def test_hardware_versions_and_command(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED)
    for words in ("Abacus 3", "cores 4", "torch 2.6.1", "convscope 0.0.9", "2026-05-04 03:02:01"):
        assert words in page.text
    assert "convscope train --data creatures --epochs 3" in page.text


@pytest.mark.parametrize("damage", [None, "{", "[1, 2]", '{"plan": 3, "hardware": null, "versions": "x"}'])
def test_without_its_environment_a_run_has_a_page(tmp_path, damage: str | None):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    file = run.path / "environment.json"
    file.unlink()
    if damage is not None:
        file.write_text(damage)
    page = Page(reports.write(run, made.network(data), data).read_text(encoding="utf-8"))
    assert "Started not noted" in page.text
    assert "Where it ran environment.json not noted" in page.text
    assert "Versions environment.json not noted" in page.text
    known = damage is not None and damage.startswith('{"')
    assert ("How the run was started is not noted." in page.text) is not known
    assert "import torch" in page.text


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            {"device": "cpu", "threads": 2},
            "Equal runs give equal bits on the same machine, with the same versions and with the same plan (float32, "
            "contiguous, 2 threads); elsewhere they come close. A repeat may measure and take another plan: "
            "--precision float32 --memory-format contiguous --threads 2 fixes this one, and --deterministic takes one "
            "without measuring.",
        ),
        (
            {"device": "cuda:0", "threads": 2},
            "computed on cuda:0, where equal runs come close and are not the same, even on one machine; "
            "--deterministic keeps to operations that always give the same bits",
        ),
        ({}, "with the same plan; on an accelerator, and elsewhere, they come close. --deterministic keeps to"),
    ],
)
def test_sameness_is_promised_only_where_it_holds(tmp_path, plan: dict[str, object], said: str):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    (run.path / "environment.json").write_text(json.dumps({**run.environment, "plan": plan}))
    page = Page(reports.write(run, made.network(data), data).read_text(encoding="utf-8"))
    assert said in page.text


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        (ExecutionConfig(deterministic=True), "--deterministic was on, so the plan does not depend on measuring."),
        (
            ExecutionConfig(precision="float32", memory_format="contiguous", threads=2),
            "elsewhere they come close. The settings fix the plan.",
        ),
        (ExecutionConfig(precision="float32", threads=2), "another plan: --memory-format contiguous fixes this one"),
    ],
)
def test_what_keeps_the_plan_the_same_is_named(tmp_path, execution: ExecutionConfig, said: str):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED, config=TrainConfig(epochs=3, execution=execution))
    assert said in page.text


@pytest.mark.parametrize(
    ("name", "described", "title"),
    [
        ("fashion-mnist", {"class": "convscope.models.lenet:LeNet", "name": "lenet"}, "LeNet on Fashion-MNIST"),
        ("digits", {"class": "convscope.models.resnet:ResNet", "name": "resnet18"}, "ResNet18 on Digits"),
        ("cifar10", {"class": "a.b:ResNet", "name": "resnext50_32x4d"}, "resnext50_32x4d on CIFAR-10"),
        ("creatures", {"class": "a.b:VGG", "name": "vgg11_bn"}, "vgg11_bn on creatures"),
        ("mnist", {"class": "notebook:Net"}, "notebook:Net on MNIST"),
    ],
)
def test_names_are_spelled_as_in_print(tmp_path, name: str, described: dict[str, object], title: str):
    data = replace(made.dataset(), name=name)
    page, source, _ = write(tmp_path, data, FINISHED, described={"arguments": {}, **described})
    assert f"<h1>{title}</h1>" in source
    assert f"<title>{title} · convscope</title>" in source
    assert f"Data set {title.partition(' on ')[2]}" in page.text


def test_a_run_from_python_shows_python_that_works(tmp_path):
    model = models.create("lenet", num_classes=3, image_size=12)
    data = made.dataset(side=12)
    described = {"class": "x:LeNet", "name": "lenet", "arguments": dict(model.spec.arguments)}
    config = TrainConfig(epochs=3, seed=5, optimizer=OptimizerConfig(lr=0.02))
    source = {"name_or_folder": "digits"}
    page, _, _ = write(tmp_path, data, FINISHED, described=described, config=config, command=None, source=source)
    shown = re.search(r"import torch .*\.fit\(model, dataset\)", page.text)
    assert shown
    assert "data.load(name_or_folder='digits')" in shown[0]
    assert "Trainer(TrainConfig(epochs=3, seed=5, optimizer=OptimizerConfig(lr=0.02)))" in shown[0]
    lines = re.search(r"<code>(import torch.*?)</code>", (tmp_path / "run" / "report.html").read_text(), re.DOTALL)
    assert lines
    names: dict[str, object] = {}
    program = lines[1].replace("&#x27;", "'").rsplit("run = Trainer", 1)[0]
    exec(program, names)  # all but the training itself
    made_again = names["model"]
    torch.manual_seed(5)
    again = models.create("lenet", num_classes=3, image_size=12)
    assert isinstance(made_again, nn.Module)
    for name, value in again.state_dict().items():
        assert torch.equal(made_again.state_dict()[name], value)


def test_the_split_of_the_curve_is_named_truthfully(tmp_path):
    page, _, _ = write(tmp_path / "a", made.dataset(), FINISHED)
    assert "the curve after each epoch is on the test images. Nothing was selected by it" in page.text
    rows = (*made.history(3, split="val").rows, made.end(3, 10 / 12))
    config = TrainConfig(epochs=3, val_fraction=0.25, saving=SavingConfig(keep="best"))
    page, _, _ = write(tmp_path / "b", made.dataset(), rows, config=config)
    assert "25.0 % of the training images were held out for validation" in page.text
    assert "The weights of epoch 3 did best on them and were kept" in page.text
    assert "validation accuracy" in page.text
    assert "Nothing was selected" not in page.text


def test_an_interrupted_run_says_so(tmp_path):
    page, _, run = write(tmp_path, made.dataset(), (made.epoch(1), made.step(25)))
    assert "has not reached its end: 1 epoch of 3 complete (the last row is of step 25)" in page.text
    assert f"convscope train --resume {run.path}" in page.text


@pytest.mark.parametrize("rows", [(), (made.step(5),)])
def test_a_run_without_an_epoch_still_has_a_page(tmp_path, rows):
    page, _, run = write(tmp_path, made.dataset(), rows)
    assert "has not reached its end: no epoch of 3 complete" in page.text
    assert "Test accuracy: 10 of 12 images right" in page.text
    assert (run.path / "plots" / "loss.png").exists() == bool(rows)


def test_early_stopping_is_told(tmp_path):
    rows = (*made.history(2, split="val").rows, made.end(2, 10 / 12))
    config = TrainConfig(epochs=9, val_fraction=0.1, saving=SavingConfig(patience=1))
    page, _, _ = write(tmp_path, made.dataset(), rows, config=config)
    assert "Stopped early, after 2 epochs of 9: 1 epoch brought no better validation accuracy." in page.text


def test_other_weights_than_the_final_ones_are_noticed(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), (*made.history(3).rows, made.end(3, 0.99)))
    assert "At the end of the training 99.0 % of the test images were right" in page.text


def test_no_mistake_and_no_convolution_are_told(tmp_path):
    data = made.dataset()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    run = made.run(tmp_path / "run", data, FINISHED)
    page = Page(reports.write(run, model, data, evaluation=made.evaluation(data)).read_text(encoding="utf-8"))
    assert "It made no mistake on the 12 test images. It has no convolution" in page.text
    assert "100 %" in page.text
    assert not (run.path / "plots" / "mistakes.png").exists()
