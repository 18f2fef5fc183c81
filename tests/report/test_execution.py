"""The page says how a run was executed: its speed, its plan, what was tried, and in how many sittings."""

import dataclasses
import html
import json
import os
import re
import subprocess
import sys

import pytest

from convscope import models
from convscope import report as reports
from convscope.data.augment import Augment
from convscope.errors import RunError
from convscope.report.drawings import VARIED
from convscope.train import AugmentConfig, ExecutionConfig, OptimizerConfig, Row, Run, TrainConfig, recipe
from report import made
from report.reading import FINISHED, Page, write

PLAN = {
    "device": "cpu",
    "device_name": "Abacus 3",
    "precision": "bfloat16",
    "memory_format": "channels_last",
    "threads": 2,
    "reason": "measured in 0.31 s, 1.2% of the run",
    "peak_macs_per_second": 215e9,
}
PLAIN = {"what": "float32, contiguous, 2 threads", "precision": "float32", "memory_format": "contiguous", "threads": 2}
TRIALS = [
    {**PLAIN, "seconds": 0.026},
    {**PLAIN, "what": "bfloat16, channels last, 2 threads", "precision": "bfloat16", "memory_format": "channels_last",
     "seconds": 0.013, "loss_error": 0.00013, "cosine": 0.999, "gradient_error": 0.0031, "agrees": True},
    {**PLAIN, "what": "float16, contiguous, 2 threads", "precision": "float16", "seconds": 0.2, "loss_error": 0.5,
     "cosine": 0.1, "gradient_error": 1.4, "agrees": False, "note": "dropped: far behind"},
]  # fmt: skip


def quick(number: int, **more: float) -> Row:
    """An epoch of two seconds of which half a second was waited, at 12.9 of 215 G/s."""
    row = made.epoch(number)
    values = {**row.values, "data_seconds": 0.5, "macs_per_second": 12.9e9, "peak_share": 0.06, **more}
    return Row("epoch", number, row.step, values)


def unmeasured(number: int) -> Row:
    """An epoch after which the test images were not looked at."""
    row = made.epoch(number)
    return Row("epoch", number, row.step, {k: v for k, v in row.values.items() if not k.startswith("test_")})


def gone_on(run: Run, *sittings: dict[str, object]) -> Run:
    for sitting in sittings:
        run.note_sitting({"started": "2026-05-05T01:01:01+00:00", "trials": [], **sitting})
    return run


def page_of(run: Run, data) -> Page:
    path = reports.write(run, made.network(data), data, evaluation=made.evaluation(data, wrong=2))
    return Page(path.read_text(encoding="utf-8"))


# ---- speed


def test_speed_waiting_and_peak_are_numbers_and_a_sentence(tmp_path):
    rows = (quick(1), quick(2), quick(3, data_seconds=0.2), made.end(3, 10 / 12))
    page, _, _ = write(tmp_path, made.dataset(), rows, plan=PLAN)
    assert "In the median epoch it learned from 1,002 images a second." in page.text
    assert "Getting batches ready took 20.0 % of the training time, so the steps themselves set the pace." in page.text
    assert "It reached 6.0 % of the multiply-adds a second that this machine does in a product" in page.text
    assert "Training time in getting batches 20.0 %" in page.text, "1.2 of 6 seconds"
    assert "Multiply-adds (median) 12.9 G/s" in page.text
    assert "Share of the machine's peak (median) 6.0 %" in page.text
    assert "That peak, in bfloat16 215 G/s" in page.text
    assert "epoch images/s training of it, getting batches multiply-adds of the machine's peak testing" in page.text
    assert "3 1,003 2.0 s 0.2 s 12.9 G/s 6.0 % 0.2 s 7.5 s" in page.text


def test_images_that_hold_a_run_up_are_named(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), (quick(1), made.end(1, 10 / 12)))
    assert "took 25.0 % of the training time, so the images hold it up." in page.text


def test_what_was_not_measured_is_absent(tmp_path):
    page, _, _ = write(tmp_path, made.dataset(), FINISHED)
    assert "1,002 images a second. Speed" in page.text
    assert "ultiply-adds" not in page.text
    assert "getting batches" not in page.text
    assert "accelerator" not in page.text
    page, _, _ = write(tmp_path / "none", made.dataset())
    assert "No epoch was finished, so its speed is not known." in page.text


def test_memory_of_an_accelerator_is_told_beside_that_of_the_process(tmp_path):
    end = made.end(1, 10 / 12)
    end = Row("end", 1, 20, {**end.values, "peak_device_bytes": 3 * 2**30})
    page, _, _ = write(tmp_path, made.dataset(), (quick(1), end))
    assert "Peak RAM of the process 300 MiB Peak memory on the accelerator 3.0 GiB" in page.text


def test_many_epochs_are_folded(tmp_path):
    rows = tuple(quick(number) for number in range(1, 22))
    _, source, _ = write(tmp_path, made.dataset(), rows, config=TrainConfig(epochs=21))
    assert "<summary>Each epoch in numbers</summary>" in source
    _, source, _ = write(tmp_path / "few", made.dataset(), rows[:20], config=TrainConfig(epochs=21))
    assert "<summary>Each epoch in numbers</summary>" not in source


# ---- the plan


def test_the_plan_its_reason_and_what_was_tried(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(), FINISHED, plan=PLAN, trials=TRIALS)
    line = "Abacus 3 (cpu, 2 threads), bfloat16, channels last: 2.0x float32"
    assert f"The plan {line} Why: measured in 0.31 s, 1.2% of the run. What was tried" in page.text
    none = "\N{EN DASH}"
    assert f"float32, contiguous, 2 threads 26 ms {none} {none} {none}" in page.text
    assert "bfloat16, channels last, 2 threads (chosen) 13 ms 0.00013 0.0031 yes" in page.text
    assert "float16, contiguous, 2 threads 200 ms 0.5 1.4 no dropped: far behind" in page.text
    assert "<details>\n<summary>What was tried</summary>" in source
    assert "sittings" not in page.text


def test_a_plan_without_trials_says_why_and_no_more(tmp_path):
    page, source, _ = write(tmp_path, made.dataset(), FINISHED, plan={**PLAN, "reason": "as asked"})
    assert "bfloat16, channels last Why: as asked." in page.text
    assert "What was tried" not in source


@pytest.mark.parametrize(
    "damage", [{"trials": [3]}, {"trials": 3}, {"plan": {"threads": 2}}, {"resumed": [3, "x"]}, {"resumed": 3}]
)
def test_a_plan_that_cannot_be_read_costs_no_page(tmp_path, damage: dict[str, object]):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    (run.path / "environment.json").write_text(json.dumps({**run.environment, **damage}))
    assert "Machine and plan" in page_of(run, data).text


def test_a_run_that_went_on_says_so(tmp_path):
    data = made.dataset()
    run = gone_on(
        made.run(tmp_path / "run", data, FINISHED, plan=PLAN), {"plan": {**PLAN, "reason": "as the run began"}}
    )
    page = page_of(run, data)
    assert "The training stopped and went on once: 2 sittings" in page.text
    assert (
        "2 2026-05-05 01:01:01+00:00 Abacus 3 (cpu, 2 threads), bfloat16, channels last as the run began nothing"
        in (page.text)
    )
    assert "--force" not in page.text.replace("changed by --force", "")
    assert "This command repeats the run." in page.text


def test_what_force_changed_is_told_at_the_top_and_under_the_plan(tmp_path):
    data = made.dataset()
    changed = ["--lr: 0.01 then, 0.1 now", "--batch-size: 64 then, 32 now"]
    later = {"plan": {**PLAN, "threads": 1, "reason": "but for 1 thread"}, "hardware": {"cpu": "Abacus 4"}}
    run = gone_on(made.run(tmp_path / "run", data, FINISHED, plan=PLAN), later, {**later, "changed": changed})
    page = page_of(run, data)
    listed = "; ".join(changed)
    assert f"This training went on in another way than it began (--force): {listed}." in page.text
    assert f"but for 1 thread {listed}" in page.text
    assert "went on twice: 3 sittings" in page.text
    assert "The plan Abacus 3 (cpu, 1 thread), bfloat16" in page.text, "the last one"
    assert "cpu Abacus 4" in page.text
    assert "This command began the run, and nothing repeats it at once" in page.text
    assert "repeats the run." not in page.text


# ---- epochs without a measurement


def test_epochs_that_were_not_measured_are_dashes_and_not_zeros(tmp_path):
    rows = (unmeasured(1), made.epoch(2), unmeasured(3), made.epoch(4), made.end(4, 10 / 12))
    page, _, run = write(tmp_path, made.dataset(), rows, config=TrainConfig(epochs=4, evaluate_every=2))
    none = "\N{EN DASH}"
    assert f"1 20 0.01 1.5 60.00 % {none} {none} 2 40 0.005 0.75 80.00 % 0.875 75.00 %" in page.text
    assert f"1 1,001 2.0 s {none} 2.5 s 2 1,002 2.0 s 0.2 s 5.0 s" in page.text
    assert "orange the test images after every 2 epochs and at the end" in page.text
    assert "the curve after every 2 epochs and at the end is on the test images" in page.text
    assert (run.path / "plots" / "loss.png").exists()


def test_before_the_first_measurement_validation_is_called_so(tmp_path):
    config = TrainConfig(epochs=4, evaluate_every=3, val_fraction=0.25)
    page, _, _ = write(tmp_path, made.dataset(), (unmeasured(1),), config=config)
    assert "orange the validation images" in page.text


# ---- augmentation and gradients


def test_augmentation_has_a_figure_where_it_is_on(tmp_path):
    config = TrainConfig(epochs=3, augment=AugmentConfig(flip="random", shift=1))
    page, source, run = write(tmp_path, made.dataset(), FINISHED, config=config)
    assert "Augmentation: what the network saw of an image" in page.text
    assert "Pictures of 3 training images, each varied as in seven epochs." in source
    assert "fixes the initial weights, the order of the images and how each is varied." in page.text
    assert (run.path / "plots" / "augmentation.png").exists()
    again = dataclasses.replace(run, config={**run.config, "train": TrainConfig(epochs=3).to_dict()})
    page = page_of(again, made.dataset())
    assert "what the network saw of an image" not in page.text
    assert not (run.path / "plots" / "augmentation.png").exists(), "one of an earlier report goes"


def test_no_more_classes_are_varied_than_there_is_room_for(tmp_path):
    names = tuple(f"class {number}" for number in range(VARIED + 3))
    config = TrainConfig(epochs=3, augment=AugmentConfig(flip="random"))
    _, source, _ = write(tmp_path, made.dataset(names), FINISHED, config=config, described={"class": "x:Net"})
    assert f"Pictures of {VARIED} training images" in source


def test_without_kornia_a_report_lacks_only_its_picture(tmp_path, monkeypatch):
    def missing(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("TrivialAugment needs kornia")

    monkeypatch.setattr(Augment, "__init__", missing)
    config = TrainConfig(epochs=3, augment=AugmentConfig(trivial=True))
    page, _, run = write(tmp_path, made.dataset(), FINISHED, config=config)
    assert "--trivial yes default no" in page.text
    assert not (run.path / "plots" / "augmentation.png").exists()


def test_the_gradient_norm_is_drawn_where_it_was_noted(tmp_path):
    steps = tuple(Row("step", 1, number, {"train_loss": 1.0, "grad_norm": 1.0 / number}) for number in (5, 10, 15))
    config = TrainConfig(epochs=3, optimizer=OptimizerConfig(clip_grad=0.5))
    page, source, run = write(tmp_path, made.dataset(), (*steps, *FINISHED), config=config)
    assert "Those above the dotted line were cut to 0.5 (--clip-grad)" in page.text
    assert "Line chart of the norm of the gradient at 3 steps." in source
    assert (run.path / "plots" / "gradient-norm.png").exists()
    _, _, run = write(tmp_path / "none", made.dataset(), FINISHED)
    assert not (run.path / "plots" / "gradient-norm.png").exists()


# ---- the program that repeats a run


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("speedrun-90", recipe("speedrun-90").config),
        (
            "default",
            TrainConfig(
                augment=AugmentConfig(flip="alternate", shift=1),
                execution=ExecutionConfig(threads=1, precision="float32"),
                image_size=28,
            ),
        ),
    ],
)
def test_the_program_shown_trains_with_every_setting(tmp_path, name: str, config: TrainConfig):
    config = dataclasses.replace(config, epochs=0.2, image_size=config.image_size or 28, seed=3)
    model = models.create(recipe(name).model or "lenet", in_channels=1, num_classes=10, image_size=28)
    described = {"class": "x:Net", "name": model.spec.name, "arguments": dict(model.spec.arguments)}
    _, source, _ = write(
        tmp_path, made.dataset(), FINISHED, described=described, config=config, command=None,
        source={"name_or_folder": "digits"},
    )  # fmt: skip
    shown = re.search(r"<code>(import torch.*?)</code>", source, re.DOTALL)
    assert shown
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", html.unescape(shown[1])]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (made_again,) = (tmp_path / "runs").iterdir()
    again = Run.open(made_again)
    assert again.train_config == config
    assert again.model_name == model.spec.name
    assert again.history.of("end")


def test_an_environment_that_is_lost_is_no_plan(tmp_path):
    data = made.dataset()
    run = made.run(tmp_path / "run", data, FINISHED)
    (run.path / "environment.json").unlink()
    with pytest.raises(RunError):
        _ = run.environment
    assert "The plan" not in page_of(run, data).text.replace("The plan of", "")
