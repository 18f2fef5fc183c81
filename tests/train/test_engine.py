"""What the settings do to a training: each is seen in the weights, the rows or the files that it leaves."""

import dataclasses
import math
import os
import random
import re
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from convscope.data import Loader, Preprocess, epoch_order
from convscope.data.augment import AugmentConfig
from convscope.errors import RunError, TrainingInterrupted
from convscope.measure import evaluate
from convscope.nn import FlipAverage
from convscope.train import (
    ExecutionConfig,
    Logged,
    Noted,
    OptimizerConfig,
    Run,
    SavingConfig,
    ScheduleConfig,
    TensorBoard,
    TrainConfig,
    Trainer,
)
from convscope.train.checkpoint import CheckpointStore

FLOAT = ExecutionConfig(device="cpu", threads=1, precision="float32", memory_format="contiguous", log_interval=3)
SMALL = TrainConfig(epochs=2, batch_size=32, execution=FLOAT)


def build() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten()), nn.Linear(32, 3)
    )


def test_the_run_ends_within_an_epoch(tmp_path, dataset):
    """240 images in batches of 32: 8 batches an epoch, 12 in one and a half."""
    run = Trainer(dataclasses.replace(SMALL, epochs=1.5)).fit(build(), dataset, out=tmp_path / "run")
    assert [(row.epoch, row.step) for row in run.history.of("epoch")] == [(1, 8), (2, 12)]
    last = 0.5 * (1 + math.cos(math.pi * 8 / 9))  # a quarter of 12 steps up, 8 of the 9 after them down
    assert run.history.of("epoch")[-1].values["lr"] == pytest.approx(0.01 * last)
    assert run.history.of("end")[0].step == 12
    with pytest.raises(ValueError, match="--epochs must be above 0, got 0"):
        TrainConfig(epochs=0)


@pytest.mark.parametrize(("epochs", "every", "measured"), [(5, 2, [2, 4, 5]), (4, 3, [3, 4]), (2, 1, [1, 2])])
def test_epochs_are_measured_as_often_as_asked_and_the_last_one_always(tmp_path, dataset, epochs, every, measured):
    config = dataclasses.replace(SMALL, epochs=epochs, evaluate_every=every)
    run = Trainer(config).fit(build(), dataset, out=tmp_path / "run")
    assert [row.epoch for row in run.history.of("epoch") if "test_loss" in row.values] == measured
    assert "test_accuracy" in run.history.of("end")[0].values


def test_the_averaged_weights_are_judged_and_kept(tmp_path, dataset):
    """Against a loop by hand over the weights after each step, with the decay that rises as documented."""
    decay, states = 0.7, []
    config = dataclasses.replace(
        SMALL, optimizer=OptimizerConfig(ema=decay), execution=dataclasses.replace(FLOAT, log_interval=1)
    )
    model = build()
    average = {name: value.clone() for name, value in model.state_dict().items()}

    def listen(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "step":
            states.append({name: value.clone() for name, value in model.state_dict().items()})

    run = Trainer(config, listeners=[listen]).fit(model, dataset, out=tmp_path / "run")
    for number, state in enumerate(states):
        keep = min(decay, (1 + number) / (10 + number))
        for name, value in state.items():
            average[name] = average[name].lerp(value, 1 - keep) if value.is_floating_point() else value
    kept = load_file(run.path / "model.safetensors")
    for name, value in average.items():
        torch.testing.assert_close(kept[name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(model.state_dict()[name], kept[name])
    assert not torch.equal(kept["0.weight"], states[-1]["0.weight"])
    judged = evaluate(model, dataset.test, run.preprocess)
    assert run.history.of("end")[0].values["test_accuracy"] == judged.accuracy
    assert run.history.of("epoch")[-1].values["test_loss"] == pytest.approx(judged.loss, rel=1e-5)


def test_mirror_images_are_asked_wherever_the_run_is_used(tmp_path, dataset):
    model = build()
    run = Trainer(dataclasses.replace(SMALL, test_flip=True)).fit(model, dataset, out=tmp_path / "run")
    both = evaluate(FlipAverage(model), dataset.test, run.preprocess)
    assert run.history.of("end")[0].values["test_loss"] == pytest.approx(both.loss, rel=1e-5)
    assert isinstance(run.scorer(model), FlipAverage)
    assert both.loss != evaluate(model, dataset.test, run.preprocess).loss
    assert set(load_file(run.path / "model.safetensors")) == set(model.state_dict())


def test_only_the_head_learns_at_first(tmp_path, dataset):
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after_first: dict[str, torch.Tensor] = {}

    def listen(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "epoch" and event.row.epoch == 1:
            after_first.update({name: value.clone() for name, value in model.state_dict().items()})

    Trainer(dataclasses.replace(SMALL, freeze_epochs=1), listeners=[listen]).fit(model, dataset, out=tmp_path / "run")
    moved = {name for name, value in after_first.items() if not torch.equal(value, before[name])}
    assert moved == {"5.weight", "5.bias"}
    assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    assert all(p.requires_grad for p in model.parameters())


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path, dataset, monkeypatch):
    """A clock that goes on by a second a step, and once jumps backwards with the system's."""
    saved: list[int] = []
    save = CheckpointStore.save
    monkeypatch.setattr(CheckpointStore, "save", lambda store, state: (saved.append(state.step), save(store, state))[1])
    ticks = iter(range(10_000))
    monkeypatch.setattr("convscope.train.loop.time.monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr("time.time", lambda: -1e9)
    config = dataclasses.replace(SMALL, epochs=1, saving=SavingConfig(checkpoint_every="3s"))
    Trainer(config).fit(build(), dataset, out=tmp_path / "run")
    within = [step for step in saved if 0 < step < 8]
    assert within == sorted(set(within))
    assert 1 < len(within) < 7
    assert saved[0] == 0
    assert saved[-1] == 8


def test_gradients_are_measured_and_clipped(tmp_path, dataset):
    config = dataclasses.replace(
        SMALL,
        epochs=1,
        execution=dataclasses.replace(FLOAT, log_interval=1),
        optimizer=OptimizerConfig(opt="sgd", lr=0.1, momentum=0, weight_decay=0),
        schedule=ScheduleConfig(sched="constant"),
    )
    model = build().train()
    run = Trainer(config).fit(build(), dataset, out=tmp_path / "run")
    first = epoch_order(240, 0, 0)[:32]
    see = Preprocess.of(dataset)
    F.cross_entropy(model(see(dataset.train.images[first])), dataset.train.labels[first]).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    assert run.history.of("step")[0].values["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_a_balanced_epoch_shows_every_class_as_often(dataset):
    uneven = dataset.train.take(torch.cat([torch.arange(0, 240, 3), torch.tensor([1, 4, 2])]))
    loader = Loader(uneven, Preprocess.of(dataset), batch_size=83, shuffle_seed=0, balanced=True)
    ((_, labels),) = loader.batches(0)
    assert sorted(torch.bincount(labels).tolist()) == [27, 28, 28]
    with pytest.raises(ValueError, match="give a shuffle_seed"):
        Loader(uneven, Preprocess.of(dataset), batch_size=8, balanced=True)


def test_shares_of_a_batch_add_up_to_it(dataset):
    see = Preprocess.of(dataset)
    whole = list(Loader(dataset.train, see, batch_size=32, shuffle_seed=3).batches(1))
    for size in (1, 2, 3, 5):
        shares = [
            list(Loader(dataset.train, see, batch_size=32, shuffle_seed=3, share=(r, size)).batches(1))
            for r in range(size)
        ]
        for number, (images, labels) in enumerate(whole):
            assert torch.equal(torch.cat([share[number][0] for share in shares]), images)
            assert torch.equal(torch.cat([share[number][1] for share in shares]), labels)
            counts = [len(share[number][1]) for share in shares]
            assert max(counts) - min(counts) <= 1


def test_batches_of_a_mapped_file_are_read_ahead_and_are_the_same(dataset):
    mapped = dataclasses.replace(dataset.train, mapped=True)
    see = Preprocess.of(dataset)
    for start in (0, 3, 7):
        plain = list(Loader(dataset.train, see, batch_size=32, shuffle_seed=3).batches(1, start=start))
        ahead = list(Loader(mapped, see, batch_size=32, shuffle_seed=3).batches(1, start=start))
        assert len(plain) == len(ahead) == 8 - start
        assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(plain, ahead, strict=True))


def test_augmented_runs_learn_and_resume_the_same(tmp_path, dataset):
    """Stopped within the third of six epochs."""
    config = dataclasses.replace(SMALL, epochs=6, augment=AugmentConfig(flip="random", shift=1, mixup=0.2))
    run = Trainer(config).fit(build(), dataset, out=tmp_path / "run")
    first, *_, last = run.history.of("epoch")
    assert last.values["test_accuracy"] > max(0.6, first.values["test_accuracy"])  # a third is chance
    plain = Trainer(dataclasses.replace(SMALL, epochs=6)).fit(build(), dataset, out=tmp_path / "plain")
    assert first.values["train_loss"] != plain.history.of("epoch")[0].values["train_loss"]

    def stop(event: object) -> None:
        if isinstance(event, Logged) and event.row.step == 18:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match="after step 18 of 48"):
        Trainer(config, listeners=[stop]).fit(build(), dataset, out=tmp_path / "again")
    again = Trainer.resume(tmp_path / "again", build(), dataset)
    assert (run.path / "model.safetensors").read_bytes() == (again.path / "model.safetensors").read_bytes()


def test_other_settings_go_on_only_by_force(tmp_path, dataset):
    class Died(Exception):
        pass

    def die(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "epoch":
            raise Died

    with pytest.raises(Died):
        Trainer(SMALL, listeners=[die]).fit(build(), dataset, out=tmp_path / "run")
    slower = dataclasses.replace(SMALL, optimizer=OptimizerConfig(lr=0.001))
    with pytest.raises(RunError, match=r"--force goes on all the same:\n  --lr: 0.01 then, 0.001 now"):
        Trainer.resume(tmp_path / "run", build(), dataset, config=slower)
    run = Trainer.resume(tmp_path / "run", build(), dataset, config=slower, force=True)
    assert run.history.of("end")
    assert Run.open(run.path).train_config == slower
    assert run.environment["resumed"][0]["changed"] == ["--lr: 0.01 then, 0.001 now"]


def test_tensorboard_gets_every_number(tmp_path, dataset):
    pytest.importorskip("tensorboard", reason="needs convscope[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Trainer(SMALL, listeners=[TensorBoard()]).fit(build(), dataset, out=tmp_path / "run")
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("epoch/test_loss")}
    assert losses == pytest.approx({row.step: row.values["test_loss"] for row in run.history.of("epoch")})


def test_tensorboard_has_each_row_once_after_a_stop_and_nothing_of_a_run_that_was_replaced(tmp_path, dataset):
    pytest.importorskip("tensorboard", reason="needs convscope[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Died(Exception):
        pass

    def die(event: object) -> None:
        if isinstance(event, Logged) and event.row.kind == "step" and event.row.step == 18:
            raise Died

    config, out = dataclasses.replace(SMALL, epochs=4), tmp_path / "run"
    Trainer(SMALL, listeners=[TensorBoard()]).fit(build(), dataset, out=out)
    with pytest.raises(Died):
        Trainer(config, listeners=[TensorBoard(), die]).fit(build(), dataset, out=out, overwrite=True)
    run = Trainer.resume(out, build(), dataset, listeners=[TensorBoard()])
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    for kind, name in (("epoch", "test_loss"), ("step", "train_loss")):
        losses = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        expected = [(row.step, pytest.approx(row.values[name])) for row in run.history.of(kind)]
        assert losses == expected


def test_rows_say_how_many_epochs_are_done_also_where_batches_changed(tmp_path, dataset):
    """240 images: 8 batches of 32 an epoch, or 4 of 64."""
    half = dataclasses.replace(SMALL, epochs=1.5)
    run = Trainer(half).fit(build(), dataset, out=tmp_path / "run")
    assert [row.epochs for row in run.history.of("step")] == [3 / 8, 6 / 8, 9 / 8, 12 / 8]
    assert [row.epochs for row in (*run.history.of("epoch"), *run.history.of("end"))] == [1.0, 1.5, 1.5]
    wider = dataclasses.replace(SMALL, epochs=3, batch_size=64)
    run = Trainer.resume(run.path, build(), dataset, config=wider, force=True)
    assert [(row.step, row.epochs) for row in run.history.of("epoch")] == [(8, 1.0), (12, 1.5), (14, 2.0), (18, 3.0)]
    assert [row.epochs for row in Run.open(run.path).history.rows] == [row.epochs for row in run.history.rows]


def test_lazy_layers_get_their_shapes_before_anything_looks_at_them(tmp_path, dataset):
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    assert Trainer(SMALL).find_lr(model, dataset).rates
    run = Trainer(SMALL).fit(model, dataset, out=tmp_path / "run")
    assert run.history.of("end")
    assert model[1].num_batches_tracked == 16


@pytest.mark.parametrize("last", [1, 15])
def test_batch_norm_over_pixels_takes_one_image_and_over_none_does_not(tmp_path, dataset, last):
    """240 images: 1 and 239 an epoch, or batches of one; a norm that sees one number of an image needs two."""
    config = dataclasses.replace(SMALL, epochs=1, batch_size=1 if last == 1 else 239)
    few = dataclasses.replace(dataset, train=dataset.train.take(torch.arange(240 if last > 1 else 12)))
    assert Trainer(config).fit(build(), few, out=tmp_path / "run").history.of("end")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(ValueError, match="batch norm cannot normalise one image alone"):
        Trainer(config).fit(flat, few, out=tmp_path / "flat")


def test_finding_a_rate_leaves_no_trace(tmp_path, dataset, monkeypatch):
    """In the network, in the generators, in the settings of the process, on the disk."""
    monkeypatch.chdir(tmp_path)
    model = build().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = (torch.get_rng_state(), random.getstate())
    found = Trainer(SMALL).find_lr(model, dataset)
    assert found.to_dict()["rates"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert random.getstate() == generators[1]
    assert torch.get_num_threads() == 1
    assert not list(tmp_path.iterdir())


def test_a_batch_that_does_not_fit_says_what_to_lower(tmp_path, dataset):
    model = build()
    steps = iter(range(100))

    def give_up(*_: object) -> None:
        if model.training and next(steps) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    model[0].register_forward_pre_hook(give_up)
    with pytest.raises(RunError, match=r"32 images \(1, 8, 8\) does not fit .*lower --batch-size or --im"):
        Trainer(SMALL).fit(model, dataset, out=tmp_path / "run")


def test_that_nothing_is_compiled_is_said_in_one_line(tmp_path, dataset):
    execution = dataclasses.replace(SMALL.execution, compile=True, deterministic=False)
    heard = []
    Trainer(dataclasses.replace(SMALL, execution=execution), listeners=[heard.append]).fit(
        build(), dataset, out=tmp_path / "run"
    )
    (note,) = (event.text for event in heard if isinstance(event, Noted))
    assert re.fullmatch(r"--compile was .* not done: a run of \d+ steps is too short .*, and not compiled either", note)


def test_the_program_that_trains_has_its_own_settings_back(tmp_path, dataset):
    torch.set_num_threads(1)
    config = dataclasses.replace(SMALL, execution=dataclasses.replace(FLOAT, threads=2))
    within: list[tuple[int, bool]] = []

    def listen(event: object) -> None:
        within.append((torch.get_num_threads(), bool(torch.tensor(1e-310, dtype=torch.float64) * 1 > 0)))

    Trainer(config, listeners=[listen]).fit(build(), dataset, out=tmp_path / "run")
    assert set(within) == {(2, False)}
    assert torch.get_num_threads() == 1
    assert torch.tensor(1e-310, dtype=torch.float64) * 1 > 0
