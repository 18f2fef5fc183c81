"""A run that goes on with other settings uses them, from where it stands."""

import copy
import dataclasses
import itertools
import json
import os
import re
import signal
from functools import partial

import pytest
import torch
from torch import nn

from convscope.data import Dataset, Loader, Preprocess
from convscope.errors import RunError, TrainingInterrupted
from convscope.measure import evaluate
from convscope.train import (
    ExecutionConfig,
    History,
    Logged,
    Noted,
    OptimizerConfig,
    Run,
    SavingConfig,
    ScheduleConfig,
    Started,
    TrainConfig,
    Trainer,
)
from convscope.train.checkpoint import Checkpoint
from convscope.train.optim import build_optimizer, take_over
from convscope.train.restore import changed_step

STILL = ExecutionConfig(device="cpu", threads=1, deterministic=True, log_interval=1)
CONSTANT = ScheduleConfig(sched="constant")
BASE = TrainConfig(epochs=4, batch_size=32, execution=STILL)  # 240 images: 8 steps in an epoch
SGD = dataclasses.replace(BASE, schedule=CONSTANT, optimizer=OptimizerConfig(opt="sgd", lr=0.02, weight_decay=0.1))


def build() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3))


def but(config: TrainConfig, **changes: object) -> TrainConfig:
    """The same with other values; those of the optimiser and of the execution are found by their names."""
    groups = {}
    for name in ("optimizer", "execution", "saving"):
        group = getattr(config, name)
        mine = {key: changes.pop(key) for key in list(changes) if hasattr(group, key)}
        groups[name] = dataclasses.replace(group, **mine)
    return dataclasses.replace(config, **groups, **changes)


def stopped(dataset: Dataset, config: TrainConfig, out, *, after: int, go_on: TrainConfig | None = None) -> Checkpoint:
    """Begin, or go on with other settings, and stop after so many steps; what was saved then."""
    model, steps = build(), itertools.count(1)
    model.register_forward_pre_hook(
        lambda net, _: os.kill(os.getpid(), signal.SIGINT) if net.training and next(steps) == after else None
    )
    sit = Trainer(config).fit if go_on is None else partial(Trainer.resume, config=go_on, force=True)
    where = {"out": out} if go_on is None else {"path": out}
    with pytest.raises(TrainingInterrupted):
        sit(model=model, dataset=dataset, **where)
    return Run.open(out).checkpoints.newest(print)


def went_on(out, dataset: Dataset, config: TrainConfig) -> tuple[Run, nn.Module, list[object]]:
    model, heard = build(), []
    run = Trainer.resume(out, model, dataset, config=config, force=True, listeners=[heard.append])
    return run, model, heard


def said(heard: list[object]) -> list[str]:
    return [event.text for event in heard if isinstance(event, Noted)]


def notes(heard: list[object]) -> list[str]:
    """What is said beside the list of what changed."""
    return [text for text in said(heard) if not text.startswith("going on by other words: ")]


def rates(run: Run, *, after: int) -> list[float]:
    return [row.values["lr"] for row in run.history.of("step") if row.step > after]


def same_weights(ours: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# ---- the place in the schedule


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ({"batch_size": 16}, 25),  # 15 steps of an epoch and 160 images
        ({"epochs": 8}, 13),
        ({"batch_size": 80}, 5),
        ({"epochs": 2.5, "batch_size": 16}, 25),
        ({}, 13),
    ],
)
def test_the_rate_goes_on_as_that_of_a_run_which_always_had_these_settings(tmp_path, dataset, changes, before):
    saved = stopped(dataset, BASE, tmp_path / "run", after=13)  # an epoch and 160 images
    config = but(BASE, **changes)
    always = Trainer(config).fit(build(), dataset, out=tmp_path / "always")
    run, _, heard = went_on(tmp_path / "run", dataset, config)
    assert (saved.epoch, saved.images) == (1, 160)
    assert rates(run, after=13) == rates(always, after=before)
    started = next(event for event in heard if isinstance(event, Started))
    assert (started.step, started.epoch) == (13, 1)
    assert started.steps == run.history.rows[-1].step == 13 + len(rates(always, after=before))


def test_where_a_step_cannot_begin_some_images_are_seen_again(tmp_path, dataset):
    stopped(dataset, BASE, tmp_path / "run", after=13)
    config = but(BASE, accumulate=3)  # 3 steps in an epoch: one is done with 96 of 160 images
    always = Trainer(config).fit(build(), dataset, out=tmp_path / "always")
    run, _, heard = went_on(tmp_path / "run", dataset, config)
    assert notes(heard) == ["a step has another size now, so 64 images of this epoch are seen again"]
    assert rates(run, after=13) == rates(always, after=4)


def test_an_epoch_that_was_done_in_larger_batches_is_done(tmp_path, dataset):
    """256 images were asked for by its last batch, and there are 240."""
    stopped(dataset, BASE, tmp_path / "run", after=8)
    run, _, heard = went_on(tmp_path / "run", dataset, but(BASE, batch_size=20))
    assert notes(heard) == []
    assert run.history.of("epoch")[0].step == 8
    assert [row.step for row in run.history.of("epoch")] == [8, 20, 32, 44]


@pytest.mark.parametrize(("epochs", "least"), [(1, "1.667"), (1.5, "1.667"), (0.2, "1.667")])
def test_fewer_epochs_than_are_done_are_refused(tmp_path, dataset, epochs, least):
    stopped(dataset, BASE, tmp_path / "run", after=13)
    before = {file: file.read_bytes() for file in (tmp_path / "run").glob("*.json*")}
    with pytest.raises(RunError, match=f"1.667 epochs are done, and --epochs {epochs:g} is less; .* --epochs {least}"):
        went_on(tmp_path / "run", dataset, but(BASE, epochs=epochs))
    assert before == {file: file.read_bytes() for file in (tmp_path / "run").glob("*.json*")}


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize(("first", "then"), [(2, 4), (1.5, 3), (1.5, 1.75)])
def test_a_finished_run_trains_further_as_if_it_had_never_ended(tmp_path, dataset, first, then, ema):
    """With a constant rate the end is no different from a stop, also within an epoch, also where an average is kept."""
    config = but(SGD, ema=ema, epochs=then)
    whole = build()
    Trainer(config).fit(whole, dataset, out=tmp_path / "whole")
    run = Trainer(but(config, epochs=first)).fit(build(), dataset, out=tmp_path / "run")
    with pytest.raises(RunError, match=r"is complete: nothing is left to train; go further with more --epochs"):
        Trainer.resume(run.path, build(), dataset)
    with pytest.raises(RunError, match=rf"--force goes on all the same:\n  --epochs: {first} then, {then} now"):
        Trainer.resume(run.path, build(), dataset, config=config)
    run, further, _ = went_on(run.path, dataset, config)
    assert same_weights(further, whole)
    assert (run.path / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert [row.kind for row in run.history.rows].count("end") == 1
    assert run.train_config.epochs == then


def test_a_finished_run_that_has_nothing_more_to_train_stays_finished(tmp_path, dataset):
    run = Trainer(SGD).fit(build(), dataset, out=tmp_path / "run")
    before = {file: file.read_bytes() for file in run.path.glob("*.*")}
    with pytest.raises(RunError, match="is complete: nothing is left to train"):
        went_on(run.path, dataset, but(SGD, lr=0.5))
    assert before == {file: file.read_bytes() for file in run.path.glob("*.*")}


def test_a_kill_right_after_the_last_row_leaves_a_complete_run(tmp_path, dataset, monkeypatch):
    class Died(Exception):
        pass

    append = Run.append

    def die(run, row):
        append(run, row)
        if row.kind == "end":
            raise Died

    expected = Trainer(SGD).fit(build(), dataset, out=tmp_path / "whole")
    monkeypatch.setattr(Run, "append", die)
    with pytest.raises(Died):
        Trainer(SGD).fit(build(), dataset, out=tmp_path / "cut")
    monkeypatch.undo()
    files = {str(file.relative_to(expected.path)) for file in expected.path.rglob("*") if file.is_file()}
    assert files == {
        str(file.relative_to(tmp_path / "cut")) for file in (tmp_path / "cut").rglob("*") if file.is_file()
    }
    ours, theirs = Run.open(tmp_path / "cut").checkpoints.newest(print), expected.checkpoints.newest(print)
    assert (ours.rows, ours.epoch, ours.step) == (theirs.rows, theirs.epoch, theirs.step)
    assert ours.rows == len(expected.history.rows) - 1  # the last row counts on everything, and nothing on it
    with pytest.raises(RunError, match="is complete"):
        Trainer.resume(tmp_path / "cut", build(), dataset)
    _, further, _ = went_on(tmp_path / "cut", dataset, but(SGD, epochs=5))
    whole = build()
    Trainer(but(SGD, epochs=5)).fit(whole, dataset, out=tmp_path / "five")
    assert same_weights(further, whole)


# ---- the optimiser


def by_hand(saved: Checkpoint, dataset: Dataset, optimizer_of, *, steps: int) -> nn.Module:
    """The next batches of the epoch, in a loop written out."""
    model = build()
    model.load_state_dict(saved.model)
    optimizer = optimizer_of(model)
    batches = Loader(dataset.train, Preprocess.of(dataset), batch_size=32, shuffle_seed=0).batches(
        saved.epoch, start=saved.batch
    )
    for images, labels in itertools.islice(batches, steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def close(saved: Checkpoint, model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        torch.testing.assert_close(saved.model[name], value, rtol=1e-5, atol=1e-7)


def moments(saved: Checkpoint, config: TrainConfig) -> dict[str, dict[str, torch.Tensor]]:
    """Of each parameter by its name; matrices come first, for they alone decay."""
    names = [name for name, p in build().named_parameters() if p.ndim == 2]
    names += [name for name, p in build().named_parameters() if p.ndim == 1]
    assert config.optimizer.weight_decay
    return {name: saved.optimizer["state"][number] for number, name in enumerate(names)}


def test_another_momentum_decay_and_rate_are_used_with_the_moments_that_were_there(tmp_path, dataset):
    saved = stopped(dataset, SGD, tmp_path / "run", after=3)
    before = moments(saved, SGD)
    now = but(SGD, momentum=0.5, weight_decay=0.0, lr=0.01)  # and with it all parameters are one group

    def optimizer_of(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        for name, p in model.named_parameters():
            optimizer.state[p]["momentum_buffer"] = before[name]["momentum_buffer"].clone()
        return optimizer

    expected = by_hand(copy.deepcopy(saved), dataset, optimizer_of, steps=2)
    close(stopped(dataset, SGD, tmp_path / "run", after=2, go_on=now), expected)


def test_other_betas_of_adamw_are_used(tmp_path, dataset):
    first = but(SGD, opt="adamw", lr=0.001)
    saved = stopped(dataset, first, tmp_path / "run", after=3)
    before = moments(saved, first)

    def optimizer_of(model):
        ours = [{"params": [p], "weight_decay": 0.4 if p.ndim > 1 else 0.0} for p in model.parameters()]
        optimizer = torch.optim.AdamW(ours, lr=0.001, betas=(0.3, 0.999))
        for name, p in model.named_parameters():
            optimizer.state[p] = {key: value.clone() for key, value in before[name].items()}
        return optimizer

    expected = by_hand(copy.deepcopy(saved), dataset, optimizer_of, steps=2)
    now = but(first, momentum=0.3, weight_decay=0.4)
    close(stopped(dataset, first, tmp_path / "run", after=2, go_on=now), expected)


def test_another_optimiser_begins_without_moments_and_says_so(tmp_path, dataset):
    saved = stopped(dataset, SGD, tmp_path / "run", after=3)
    now = but(SGD, opt="adamw", lr=0.001, weight_decay=0.0)
    expected = by_hand(
        saved, dataset, lambda model: torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.0), steps=2
    )
    close(stopped(dataset, SGD, tmp_path / "run", after=2, go_on=now), expected)
    _, _, heard = went_on(tmp_path / "run", dataset, SGD)
    assert notes(heard) == ["--opt sgd begins without moments: those of adamw mean something else"]


@pytest.mark.parametrize("now", [{"norm_bias_lr": 8.0}, {"weight_decay": 0.0}, {"layer_decay": 0.5}])
def test_moments_find_their_parameter_in_other_groups(now):
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.LayerNorm(4))  # alike in shape
    then = OptimizerConfig(opt="adamw", weight_decay=0.1)
    before, after = build_optimizer(model, then), build_optimizer(model, dataclasses.replace(then, **now))
    model(torch.randn(8, 4)).square().sum().backward()
    before.step()
    groups = copy.deepcopy([{k: v for k, v in group.items() if k != "params"} for group in after.param_groups])
    take_over(after, before.state_dict(), model, then=then)
    for p in model.parameters():
        assert torch.equal(after.state[p]["exp_avg"], before.state[p]["exp_avg"])
        assert torch.equal(after.state[p]["exp_avg_sq"], before.state[p]["exp_avg_sq"])
    assert groups == [{k: v for k, v in group.items() if k != "params"} for group in after.param_groups]


def test_moments_of_another_network_are_refused():
    then = OptimizerConfig()
    saved = build_optimizer(nn.Linear(2, 2), then).state_dict()
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"has groups of \[1, 1\] parameters, expected \[2, 2\]"):
        take_over(build_optimizer(model, then), saved, model, then=then)


def test_an_average_that_is_asked_for_later_begins_with_the_weights_of_then(tmp_path, dataset):
    saved = stopped(dataset, SGD, tmp_path / "run", after=3)
    after = stopped(dataset, SGD, tmp_path / "run", after=1, go_on=but(SGD, ema=0.99))
    assert after.average["updates"] == 1
    for name, value in after.average["tensors"].items():
        torch.testing.assert_close(value, 0.1 * saved.model[name] + 0.9 * after.model[name])  # 0.1 is its first share


def test_an_average_that_is_not_wanted_any_more_is_dropped(tmp_path, dataset):
    stopped(dataset, but(SGD, ema=0.99), tmp_path / "run", after=3)
    whole = build()
    Trainer(SGD).fit(whole, dataset, out=tmp_path / "whole")
    run, model, _ = went_on(tmp_path / "run", dataset, SGD)
    assert same_weights(model, whole)  # no step depends on an average
    assert run.checkpoints.newest(print).average == {}


# ---- the execution


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({}, {"precision": "bfloat16"}, ("bfloat16", "contiguous", 1)),
        ({}, {"memory_format": "channels_last"}, ("float32", "channels_last", 1)),
        ({"threads": 2}, {"threads": 1}, ("float32", "contiguous", 1)),
        ({"precision": "bfloat16", "memory_format": "channels_last"}, {"threads": 2}, ("bfloat16", "channels_last", 2)),
        ({"precision": "bfloat16"}, {"precision": "float32"}, ("float32", "contiguous", 1)),
    ],
)
def test_other_words_for_the_execution_are_followed_and_the_rest_stays(tmp_path, dataset, then, now, expected):
    first = but(SGD, **then)
    stopped(dataset, first, tmp_path / "run", after=3)
    run, _, _ = went_on(tmp_path / "run", dataset, but(first, **now))
    plan = run.environment["resumed"][-1]["plan"]
    assert (plan["precision"], plan["memory_format"], plan["threads"]) == expected
    name, value = next(iter(now.items()))
    assert getattr(run.train_config.execution, name) == value


def test_what_was_found_for_a_run_stays_though_another_setting_changes(tmp_path, dataset):
    """Its precision was left open and found to be bfloat16; now only the threads are others."""
    first = but(SGD, precision="auto", deterministic=False)
    stopped(dataset, first, tmp_path / "run", after=3)
    file = tmp_path / "run" / "environment.json"
    environment = json.loads(file.read_text())
    environment["plan"] |= {"precision": "bfloat16", "memory_format": "channels_last"}
    file.write_text(json.dumps(environment))
    run, _, _ = went_on(tmp_path / "run", dataset, but(first, threads=2))
    plan = run.environment["resumed"][-1]["plan"]
    assert (plan["precision"], plan["memory_format"], plan["threads"]) == ("bfloat16", "channels_last", 2)


@pytest.mark.parametrize("contents", [None, "no json", "[]", "{}"])
def test_a_lost_environment_is_named_and_planned_anew(tmp_path, dataset, contents):
    stopped(dataset, SGD, tmp_path / "run", after=3)
    file = tmp_path / "run" / "environment.json"
    file.unlink() if contents is None else file.write_text(contents)
    heard = []
    run = Trainer.resume(tmp_path / "run", build(), dataset, listeners=[heard.append])
    (note,) = notes(heard)
    assert "environment.json is lost or damaged: how to execute is found out anew, and the last bits may be" in note
    assert run.environment["resumed"][-1]["changed"] == [note]


# ---- the best epoch


CHOOSING = dataclasses.replace(SGD, val_fraction=0.2, saving=SavingConfig(keep="best"))


def best_of(out) -> dict[str, float]:
    return Run.open(out).checkpoints.newest(print).best


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ({}, {"test_flip": True}, "it was judged by other images, or in another way"),
        ({"keep": "last"}, {"keep": "best"}, "its own weights were not kept"),
    ],
)
def test_a_best_epoch_that_cannot_be_compared_does_not_count(tmp_path, dataset, then, now, why):
    """Its score is made unbeatable, so that it would win if it counted."""
    first = but(CHOOSING, **then)
    stopped(dataset, first, tmp_path / "run", after=8)
    store = Run.open(tmp_path / "run").checkpoints
    store.save(dataclasses.replace(store.newest(print), best={"score": 2.0, "epoch": 1.0}))
    _, model, heard = went_on(tmp_path / "run", dataset, but(first, **now))
    assert notes(heard)[0] == f"epoch 1, the best so far, does not count any more: {why}"
    assert best_of(tmp_path / "run")["score"] <= 1
    kept = build()
    Run.open(tmp_path / "run").load_weights(kept)
    assert same_weights(kept, model)


def test_a_best_epoch_counts_on_where_only_the_training_changes(tmp_path, dataset):
    stopped(dataset, CHOOSING, tmp_path / "run", after=8)
    store = Run.open(tmp_path / "run").checkpoints
    store.save(dataclasses.replace(store.newest(print), best={"score": 2.0, "epoch": 1.0}))
    _, _, heard = went_on(tmp_path / "run", dataset, but(CHOOSING, lr=0.3))
    assert notes(heard) == []
    assert best_of(tmp_path / "run") == {"score": 2.0, "epoch": 1.0}


def test_weights_and_result_belong_together_where_no_epoch_was_judged_by_the_new_images(tmp_path, dataset):
    """All epochs are done, the best of them is void, and the last one is the result."""
    run = Trainer(CHOOSING).fit(build(), dataset, out=tmp_path / "run")
    run.rewrite_history(History(run.history.rows[:-1]))
    went_on(run.path, dataset, but(CHOOSING, test_flip=True))
    kept = build()
    run.load_weights(kept)
    last = build()
    last.load_state_dict(run.checkpoints.newest(print).model)
    assert same_weights(kept, last)


# ---- what may be chosen by


def files(run) -> dict[object, bytes]:
    return {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


PATIENT = but(SGD, val_fraction=0.2, patience=2)


@pytest.mark.parametrize(
    ("then", "now", "what", "instead"),
    [
        (SGD, CHOOSING, "--val-fraction: 0.0 then, 0.2 now", "--keep last"),
        (SGD, PATIENT, "--val-fraction: 0.0 then, 0.2 now", "--patience 0"),
        (CHOOSING, but(CHOOSING, seed=3), "--seed: 0 then, 3 now", "--keep last"),
        (CHOOSING, but(CHOOSING, val_fraction=0.3, patience=1), "0.2 then, 0.3 now", "--keep last --patience 0"),
    ],
)
def test_nothing_is_chosen_by_images_that_were_learned_from(tmp_path, dataset, then, now, what, instead):
    stopped(dataset, then, tmp_path / "run", after=3)
    before = files(tmp_path / "run")
    with pytest.raises(RunError, match=rf"learned from images .* \(.*{what}\).* nothing with {instead} --force"):
        went_on(tmp_path / "run", dataset, now)
    assert files(tmp_path / "run") == before


def test_a_larger_folder_holds_out_other_images(tmp_path, dataset):
    stopped(dataset, CHOOSING, tmp_path / "run", after=3)
    fewer = dataclasses.replace(dataset, train=dataset.train.take(torch.arange(237)))
    with pytest.raises(RunError, match=r"learned from images .* \(data train images: 240 then, 237 now\)"):
        went_on(tmp_path / "run", fewer, CHOOSING)


def test_images_that_were_learned_from_stay_so_in_every_later_sitting(tmp_path, dataset):
    """Held out without choosing, which is said; choosing by them later, when nothing else changes, is refused too."""
    stopped(dataset, SGD, tmp_path / "run", after=3)
    plain = but(CHOOSING, keep="last")
    stopped(dataset, SGD, tmp_path / "run", after=2, go_on=plain)
    stopped(dataset, SGD, tmp_path / "run", after=2, go_on=plain)
    with pytest.raises(RunError, match=r"now, in an earlier sitting, and .*; choose nothing with --keep last"):
        went_on(tmp_path / "run", dataset, CHOOSING)
    _, _, heard = went_on(tmp_path / "run", dataset, but(plain, seed=3))
    (note,) = (text for text in notes(heard) if "learned from" in text)
    assert note.endswith("(--seed: 0 then, 3 now): the curve on them flatters the network")


def test_nothing_was_learned_from_before_the_first_step(tmp_path, dataset):
    stopped(dataset, SGD, tmp_path / "run", after=3)
    for file in (tmp_path / "run" / "checkpoint").glob("step-*[1-9].pt"):
        file.unlink()
    run, _, heard = went_on(tmp_path / "run", dataset, CHOOSING)
    assert notes(heard) == []
    assert run.history.of("epoch")[0].values["val_loss"]


# ---- the number of processes


def of_two_processes(run) -> None:
    """Change the last checkpoint into one that two processes wrote."""
    store = Run.open(run).checkpoints
    saved = store.newest(print)
    store.save(dataclasses.replace(saved, world=2, images=2 * saved.images, rng=saved.rng * 2))


def test_another_number_of_processes_is_another_step_and_needs_force(tmp_path, dataset):
    stopped(dataset, BASE, tmp_path / "run", after=3)
    of_two_processes(tmp_path / "run")
    line = "images in a step: 64 of 2 processes then, 32 of 1 process now (--batch-size 64 keeps them)"
    with pytest.raises(RunError, match=rf"--force goes on all the same:\n  {re.escape(line)}$"):
        Trainer.resume(tmp_path / "run", build(), dataset)
    run, _, heard = went_on(tmp_path / "run", dataset, BASE)
    assert said(heard)[0] == f"going on by other words: {line}"
    assert run.environment["resumed"][-1]["changed"] == [line]


def test_another_number_of_processes_may_keep_the_step(tmp_path, dataset):
    stopped(dataset, BASE, tmp_path / "run", after=3)
    of_two_processes(tmp_path / "run")
    run, _, heard = went_on(tmp_path / "run", dataset, but(BASE, batch_size=64))
    assert said(heard) == ["going on by other words: --batch-size: 32 then, 64 now"]
    assert [row.step for row in run.history.of("epoch")] == [4, 8, 12, 16]


@pytest.mark.parametrize(
    ("world", "now", "processes", "line"),
    [
        (1, {}, 1, None),
        (1, {"batch_size": 16}, 1, None),  # said by the flag itself
        (2, {}, 2, None),
        (3, {"accumulate": 3}, 1, None),
        (1, {}, 2, "images in a step: 32 of 1 process then, 64 of 2 processes now (--batch-size 16 keeps them)"),
        (1, {"accumulate": 2}, 3, "images in a step: 32 of 1 process then, 192 of 3 processes now"),
    ],
)
def test_the_images_of_a_step_are_counted_over_processes(tmp_path, dataset, world, now, processes, line):
    saved = dataclasses.replace(stopped(dataset, BASE, tmp_path / "run", after=1), world=world)
    assert changed_step(saved, but(BASE, **now), processes) == ([line] if line else [])


# ---- what is said


def test_what_changed_by_force_is_said_before_it_is_done(tmp_path, dataset):
    stopped(dataset, SGD, tmp_path / "run", after=3)
    _, _, heard = went_on(tmp_path / "run", dataset, but(SGD, lr=0.3, batch_size=16))
    assert heard[0] == Noted("going on by other words: --batch-size: 32 then, 16 now; --lr: 0.02 then, 0.3 now")
    stopped(dataset, SGD, tmp_path / "same", after=3)
    _, _, heard = went_on(tmp_path / "same", dataset, SGD)
    assert said(heard) == []


def test_a_run_that_lost_patience_names_patience(tmp_path, dataset):
    tired = but(SGD, epochs=9, val_fraction=0.2, patience=1, lr=1e-9)
    run = Trainer(tired).fit(build(), dataset, out=tmp_path / "run")
    advice = r"go further with a larger --patience \(0 never stops early\) and --force"
    with pytest.raises(RunError, match=advice):
        Trainer.resume(run.path, build(), dataset)
    with pytest.raises(RunError, match=advice):
        went_on(run.path, dataset, but(tired, epochs=30))
    further, _, _ = went_on(run.path, dataset, but(tired, patience=0))
    assert len(further.history.of("epoch")) == 9


# ---- the speed


def convolution() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 3))


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, 1000.0), ({"batch_size": 16}, 1000.0), ({"image_size": 12}, None)]
)
def test_multiply_adds_are_those_of_the_images_that_are_seen_now(tmp_path, dataset, changes, expected):
    run = Trainer(but(SGD, epochs=1)).fit(convolution(), dataset, out=tmp_path / "run")
    file = run.path / "environment.json"
    environment = json.loads(file.read_text())
    environment["plan"] |= {"image_macs": 1000, "peak_macs_per_second": 1e12}
    file.write_text(json.dumps(environment))
    config = but(SGD, epochs=2, **changes)
    further = Trainer.resume(run.path, convolution(), dataset, config=config, force=True)
    values = further.history.of("epoch")[-1].values
    macs = values.get("macs_per_second")
    assert (macs and macs / values["images_per_second"]) == (expected and pytest.approx(expected))
    assert ("peak_share" in values) is (expected is not None)


# ---- the network


def test_another_layer_with_the_same_shapes_is_named(tmp_path, dataset):
    stopped(dataset, SGD, tmp_path / "run", after=3)
    other = build()
    other[2] = nn.Tanh()
    with pytest.raises(
        RunError, match=r"was begun with other words; .*\n  the layers of the network \(fingerprint\): "
    ):
        Trainer.resume(tmp_path / "run", other, dataset)
    Trainer.resume(tmp_path / "run", build(), dataset)


# ---- the result


def test_a_run_that_ends_at_an_epoch_which_was_not_measured_is_measured_then(tmp_path, dataset):
    """Epoch 4 of 10, measured every fifth; nothing is left to train, so its row stays as it is."""
    sparse = but(SGD, epochs=10, evaluate_every=5)

    def stop(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "epoch" and event.row.epoch == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        Trainer(sparse, listeners=[stop]).fit(build(), dataset, out=tmp_path / "run")
    run, model, _ = went_on(tmp_path / "run", dataset, but(sparse, epochs=4))
    assert [row.epoch for row in run.history.of("epoch")] == [1, 2, 3, 4]
    assert "test_accuracy" not in run.history.of("epoch")[-1].values
    judged = evaluate(model, dataset.test, run.preprocess)
    (end,) = run.history.of("end")
    assert (end.values["test_accuracy"], end.values["test_loss"]) == (judged.accuracy, pytest.approx(judged.loss))
