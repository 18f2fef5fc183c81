import dataclasses
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.data import Dataset, epoch_order
from convscope.errors import RunError, TrainingDiverged
from convscope.measure import evaluate
from convscope.train import (
    Classification,
    ExecutionConfig,
    Finished,
    Logged,
    OptimizerConfig,
    Outcome,
    Run,
    SavingConfig,
    ScheduleConfig,
    Started,
    TrainConfig,
    Trainer,
    World,
)
from convscope.train.batch_size import check_norms
from convscope.train.folder import locked, next_free
from convscope.train.watch import LossWatch

QUICK = TrainConfig(epochs=4, batch_size=32, execution=ExecutionConfig(log_interval=3))


def test_a_run_learns_and_leaves_every_file(tmp_path, model, dataset):
    heard = []
    config = TrainConfig(epochs=20, batch_size=32)
    run = Trainer(config, listeners=[heard.append]).fit(model, dataset, out=tmp_path / "run", command="typed")
    assert {entry.name for entry in run.path.iterdir()} == {
        "config.json", "environment.json", "metrics.jsonl", "model.safetensors", "checkpoint"
    }  # fmt: skip
    again = Run.open(run.path)
    epochs, end = again.history.of("epoch"), again.history.of("end")[-1]
    assert len(epochs) == 20
    assert epochs[-1].step == 20 * math.ceil(240 / 32)
    assert end.values["test_accuracy"] > 0.95
    assert evaluate(model, dataset.test, again.preprocess).accuracy == end.values["test_accuracy"]
    assert again.train_config == config
    assert again.environment["command"] == "typed"
    assert not model.training
    assert isinstance(heard[0], Started)
    assert heard[-1] == Finished("done")
    assert [event.row for event in heard if isinstance(event, Logged)] == list(again.history.rows)


def test_the_loop_equals_a_loop_written_by_hand(tmp_path, dataset):
    """Same batches, same arithmetic, no dropout: the weights must agree to the last bit."""
    torch.manual_seed(3)
    ours = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    theirs = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    theirs.load_state_dict(ours.state_dict())
    config = TrainConfig(
        epochs=2,
        batch_size=50,
        label_smoothing=0.1,
        optimizer=OptimizerConfig(opt="sgd", lr=0.05, momentum=0.9, weight_decay=0, clip_grad=0.5),
        schedule=ScheduleConfig(sched="constant"),
    )
    run = Trainer(config).fit(ours, dataset, out=tmp_path / "run")

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for epoch in range(2):
        for rows in epoch_order(240, 0, epoch).split(50):
            x = (dataset.train.images[rows].float() / 255 - 0.22) / 0.19
            loss = F.cross_entropy(theirs(x), dataset.train.labels[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item() * len(rows))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert run.history.of("epoch")[1].values["train_loss"] == pytest.approx(sum(losses[5:]) / 240, rel=1e-4)


def test_same_seed_same_weights_other_seed_other_weights(tmp_path, dataset):
    def train(name: str, seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        Trainer(TrainConfig(epochs=2, seed=seed)).fit(net, dataset, out=tmp_path / name)
        return net.state_dict()

    first, second, other = train("a", 7), train("b", 7), train("c", 8)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["1.weight"], other["1.weight"])


def test_validation_images_are_never_learned_from_and_choose_the_kept_weights(tmp_path, model, dataset):
    config = TrainConfig(epochs=6, batch_size=16, val_fraction=0.25, saving=SavingConfig(keep="best"))
    run = Trainer(config).fit(model, dataset, out=tmp_path / "run")
    epochs = run.history.of("epoch")
    assert run.history.split == "val"
    assert epochs[0].step == math.ceil(180 / 16)
    assert all("test_loss" not in row.values for row in epochs)
    best = max(epochs, key=lambda row: row.values["val_accuracy"])
    fresh = Run.open(run.path)
    fresh.load_weights(model)
    assert (
        evaluate(model, dataset.test, fresh.preprocess).accuracy == fresh.history.of("end")[0].values["test_accuracy"]
    )
    first_best = next(r for r in epochs if r.values["val_accuracy"] == best.values["val_accuracy"])
    saved = torch.load(max((run.path / "checkpoint").glob("step-*.pt")), weights_only=True)
    assert saved["best"] == {"score": best.values["val_accuracy"], "epoch": first_best.epoch}


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path, dataset):
    heard = []
    config = TrainConfig(
        epochs=50,
        batch_size=32,
        val_fraction=0.2,
        optimizer=OptimizerConfig(lr=1e-9),
        saving=SavingConfig(patience=3),
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    run = Trainer(config, listeners=[heard.append]).fit(net, dataset, out=tmp_path / "run")
    assert len(run.history.of("epoch")) == 4
    assert heard[-1] == Finished("patience")


class Explodes(nn.Module):
    """Gives NaN from a certain forward pass on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)
        self.left = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.left -= 1
        return self.linear(x.flatten(1)) * (1 if self.left >= 0 else float("nan"))


def test_nan_stops_at_its_step_and_the_last_good_weights_stay(tmp_path, dataset):
    heard = []
    net = Explodes(after=19)
    with pytest.raises(TrainingDiverged) as caught:
        Trainer(QUICK, listeners=[heard.append]).fit(net, dataset, out=tmp_path / "run")
    assert "the loss became nan at step 20 (epoch 3, learning rate 0.00" in str(caught.value)
    assert f"the weights of epoch 2 are kept in {tmp_path / 'run'}; try a lower --lr" in str(caught.value)
    assert heard[-1] == Finished("diverged")
    run = Run.open(tmp_path / "run")
    assert [row.epoch for row in run.history.of("epoch")] == [1, 2]
    good = Explodes(after=10)
    run.load_weights(good)
    torch.testing.assert_close(net.linear.weight, good.linear.weight)
    result = evaluate(good, dataset.test, run.preprocess)
    assert result.accuracy == run.history.of("epoch")[-1].values["test_accuracy"]


def test_what_is_kept_of_a_run_that_diverges_is_the_best_epoch_where_that_was_asked_for(tmp_path, dataset):
    """192 images in batches of 32: NaN in the fourth epoch, and no epoch was better than the first."""
    config = dataclasses.replace(
        QUICK, val_fraction=0.2, optimizer=OptimizerConfig(lr=1e-9), saving=SavingConfig(keep="best")
    )
    with pytest.raises(TrainingDiverged, match=r"\(epoch 4, .*; the weights of epoch 1, the best so far, are kept in "):
        Trainer(config).fit(Explodes(after=20), dataset, out=tmp_path / "run")
    unmeasured = dataclasses.replace(config, evaluate_every=4)
    with pytest.raises(TrainingDiverged, match=r"the weights of epoch 3 are in the last checkpoint of .* alone; try"):
        Trainer(unmeasured).fit(Explodes(after=20), dataset, out=tmp_path / "unmeasured")
    assert not (tmp_path / "unmeasured" / "model.safetensors").exists()


def test_infinite_learning_diverges_with_a_message_and_not_with_nan_weights(tmp_path, model, dataset):
    config = TrainConfig(epochs=3, batch_size=32, optimizer=OptimizerConfig(opt="sgd", lr=1e30))
    with pytest.raises(TrainingDiverged, match="no epoch was complete"):
        Trainer(config).fit(model, dataset, out=tmp_path / "run")
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), r"to scores \(2, 3\), one for each class; got \(2, 5\)"),
        (nn.Conv2d(1, 3, 3), r"got \(2, 3, 6, 6\)"),
        (nn.Sequential(nn.Flatten(), nn.Flatten()), r"got \(2, 64\)"),
    ],
)
def test_a_model_that_gives_something_else_is_refused_before_anything_is_written(tmp_path, dataset, net, message):
    with pytest.raises(ValueError, match=message):
        Trainer(QUICK).fit(net, dataset, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(tmp_path, model, dataset):
    with pytest.raises(ValueError, match="--batch-size 241 is more than the 240 training images; expected 1 to 240"):
        Trainer(TrainConfig(batch_size=241)).fit(model, dataset, out=tmp_path / "run")


def test_nothing_is_overwritten_without_asking(tmp_path, model, dataset):
    run = Trainer(QUICK).fit(model, dataset, out=tmp_path / "run")
    weights = (run.path / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds a run; add --force"):
        Trainer(QUICK).fit(model, dataset, out=run.path)
    assert (run.path / "model.safetensors").read_bytes() == weights
    (run.path / "notes.txt").write_text("mine")
    Trainer(QUICK).fit(model, dataset, out=run.path, overwrite=True)
    assert (run.path / "notes.txt").read_text() == "mine"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("precious")
    with pytest.raises(RunError, match="holds files that are no run, and they are not overwritten"):
        Trainer(QUICK).fit(model, dataset, out=tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "precious"


def test_without_a_name_runs_are_numbered(tmp_path, model, dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [str(Trainer(QUICK).fit(model, dataset).path) for _ in range(2)]
    assert paths == ["runs/sequential-stripes-1", "runs/sequential-stripes-2"]


def test_another_objective_plugs_in(tmp_path, dataset):
    """Regression of the mean brightness: nothing of classification is left in the loop."""

    class Brightness:
        def check(self, model: nn.Module, inputs: torch.Tensor, classes: int) -> None:
            assert model(inputs).shape == (2, 1)

        def training(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
            loss = (model(inputs).squeeze(1) - inputs.mean((1, 2, 3))).square().mean()
            return Outcome(loss, {"loss": loss.detach() * len(inputs)}, len(inputs))

        evaluation = training

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    config = TrainConfig(epochs=30, batch_size=40, optimizer=OptimizerConfig(lr=0.02))
    run = Trainer(config, objective=Brightness()).fit(net, dataset, out=tmp_path / "run")
    assert run.history.of("end")[0].values["test_loss"] < 1e-3
    assert "test_accuracy" not in run.history.of("end")[0].values


def test_every_row_is_one_json_line(tmp_path, model, dataset):
    run = Trainer(QUICK).fit(model, dataset, out=tmp_path / "run")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines].count("step") == 32 // 3
    assert [line["kind"] for line in lines][-1] == "end"
    assert all(math.isfinite(value) for line in lines for value in line.values() if not isinstance(value, str))


def test_images_of_another_size_are_resized_on_the_way(tmp_path, dataset):
    net = nn.Sequential(nn.Flatten(), nn.Linear(12 * 12, 3))
    run = Trainer(TrainConfig(epochs=1, image_size=12)).fit(net, dataset, out=tmp_path / "run")
    assert run.preprocess.image_size == (12, 12)


def test_the_data_set_is_not_changed(tmp_path, model, dataset):
    before = dataset.train.images.clone()
    Trainer(QUICK).fit(model, Dataset(dataset.name, dataset.train, dataset.test, (0.2,), (0.2,)), out=tmp_path / "run")
    assert torch.equal(dataset.train.images, before)


def test_without_accuracy_the_loss_chooses(tmp_path, dataset):
    class OnlyLoss(Classification):
        def evaluation(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> Outcome:
            outcome = super().evaluation(model, inputs, targets)
            return outcome._replace(sums={"loss": outcome.sums["loss"]})

    config = TrainConfig(
        epochs=12,
        val_fraction=0.2,
        optimizer=OptimizerConfig(lr=0.3),
        saving=SavingConfig(keep="best", patience=4),
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    run = Trainer(config, objective=OnlyLoss()).fit(net, dataset, out=tmp_path / "run")
    losses = [row.values["val_loss"] for row in run.history.of("epoch")]
    saved = torch.load(max((run.path / "checkpoint").glob("step-*.pt")), weights_only=True)
    assert saved["best"] == {"score": -min(losses), "epoch": losses.index(min(losses)) + 1}


def test_two_runs_never_share_a_folder(tmp_path, model, dataset):
    run = Trainer(QUICK).fit(model, dataset, out=tmp_path / "run")
    with locked(run.path):
        with pytest.raises(RunError, match=r"another process is training in .*run; wait for it"):
            Trainer(QUICK).fit(model, dataset, out=run.path, overwrite=True)
        with pytest.raises(RunError, match="another process is training in"):
            Trainer.resume(run.path, model, dataset)
    assert Run.open(run.path).history.of("end")
    assert next_free(tmp_path, "sweep") != next_free(tmp_path, "sweep")


def test_the_first_bad_loss_is_named_however_late_it_is_looked_at(tmp_path, dataset, monkeypatch):
    """As on an accelerator, where losses are read with the logging and not before."""

    def late(every: int, world: World) -> LossWatch:
        return LossWatch(50)

    monkeypatch.setattr("convscope.train.loop.LossWatch", late)
    with pytest.raises(TrainingDiverged) as at_the_end:
        Trainer(QUICK).fit(Explodes(after=2), dataset, out=tmp_path / "late")
    monkeypatch.undo()
    with pytest.raises(TrainingDiverged) as at_once:
        Trainer(QUICK).fit(Explodes(after=2), dataset, out=tmp_path / "soon")
    late_words, soon_words = str(at_the_end.value), str(at_once.value)
    assert "nan at step 3 (epoch 1, learning rate" in soon_words
    assert late_words.replace("late", "soon") == soon_words


def test_a_batch_of_one_before_a_batch_norm_is_refused(tmp_path, dataset):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    config = TrainConfig(batch_size=239)
    with pytest.raises(ValueError, match=r"--batch-size 239 leaves 1 image in .* try --batch-size 238"):
        Trainer(config).fit(net, dataset, out=tmp_path / "run")


class Unchecked(Classification):
    """A task that leaves the network unseen before the training."""

    def check(self, model, inputs, classes):
        pass


class ByName(nn.Module):
    """Calls its norm with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(1), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(input=x).flatten(1))


def test_whether_batch_norm_can_do_with_one_image_does_not_depend_on_the_task_or_the_call(tmp_path, dataset):
    flat, config = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)), TrainConfig(batch_size=239)
    with pytest.raises(ValueError, match="batch norm cannot normalise one image alone"):
        Trainer(config, objective=Unchecked()).fit(flat, dataset, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert Trainer(dataclasses.replace(config, epochs=1)).fit(ByName(), dataset, out=tmp_path / "run").history.rows


@pytest.mark.parametrize(("size", "images", "other"), [(2, 3, "; try --batch-size 3"), (1, 3, "; try --batch-size 3")])
def test_the_batch_size_that_is_suggested_can_be_taken(size, images, other):
    net, probe = nn.BatchNorm1d(2).eval(), torch.zeros(2, 2)
    with pytest.raises(ValueError, match=f"one pixel{other}$"):
        check_norms(size, images, World(), model=net, probe=probe)
    check_norms(3, images, World(), model=net, probe=probe)


def test_a_lazy_layer_that_no_image_reaches_is_named(tmp_path, dataset):
    net = nn.Sequential(nn.LazyBatchNorm2d(affine=False), nn.Flatten(), nn.Linear(64, 3))
    assert Trainer(QUICK).find_lr(net, dataset).rates, "buffers are lazy too"
    net[2].never = nn.LazyLinear(3)
    with pytest.raises(ValueError, match=r"^2\.never\.weight belongs to a lazy layer that two images .* did not reach"):
        Trainer(QUICK).fit(net, dataset, out=tmp_path / "run")


def test_an_epoch_row_has_the_rate_of_its_last_step(tmp_path, model, dataset):
    config = TrainConfig(epochs=2, batch_size=80, execution=ExecutionConfig(log_interval=1))
    run = Trainer(config).fit(model, dataset, out=tmp_path / "run")
    steps = {row.step: row.values["lr"] for row in run.history.of("step")}
    assert all(row.values["lr"] == steps[row.step] for row in run.history.of("epoch"))
