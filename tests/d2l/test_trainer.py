"""What a program may rely on when it trains, and what it may replace."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from convscope.errors import RunError
from convscope.train import Run


@pytest.fixture
def data(d2l, programs):
    return programs.make_toy(d2l, train=96, val=52)  # 3 batches, and 2 of which the last has 20 images


def by_hand(d2l, model, data, *, epochs: int, lr: float = 0.1, after=lambda model: None) -> list[float]:
    """Plain gradient descent, written down; the losses."""
    losses = []
    for _ in range(epochs):
        for X, y in data.get_dataloader(True):
            loss = nn.functional.cross_entropy(model.net(X), y)
            model.zero_grad()
            loss.backward()
            after(model)
            with torch.no_grad():
                for p in model.parameters():
                    p -= lr * p.grad
            losses.append(loss.item())
        iter(data.get_dataloader(False))  # draws, too
    return losses


def test_a_fit_is_plain_gradient_descent(d2l, data, make):
    model, twin = make(), make()
    torch.manual_seed(3)
    trainer = d2l.Trainer(max_epochs=2)
    assert trainer.fit(model, data) is None
    torch.manual_seed(3)
    losses = by_hand(d2l, twin, data, epochs=2)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    means = [row.values["train_loss"] for row in trainer.history.of("epoch")]
    assert means == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_what_a_trainer_knows_before_and_after(d2l, data, make):
    trainer, model = d2l.Trainer(3, 0, gradient_clip_val=2), make()
    assert trainer.hparams == {"max_epochs": 3, "num_gpus": 0, "gradient_clip_val": 2}
    assert trainer.gpus == []
    trainer.fit(model, data)
    assert (trainer.num_train_batches, trainer.num_val_batches) == (3, 2)
    assert (trainer.epoch, trainer.train_batch_idx, trainer.val_batch_idx) == (2, 9, 6)
    assert model.trainer is trainer
    assert trainer.model is model
    assert model.board.xlim == [0, 3]
    assert isinstance(trainer.optim, torch.optim.SGD)
    assert not model.training


def test_accuracy_is_over_images_and_the_books_mean_is_kept(d2l, data, make):
    model = make()
    d2l.Trainer(1).fit(model, data)
    right = [(model(X).argmax(1) == y).sum().item() for X, y in data.val_dataloader()]
    board = model.board.data
    assert board["val_acc"][-1].y == pytest.approx(sum(right) / 52)
    assert board["val_acc_batch_mean"][-1].y == pytest.approx((right[0] / 32 + right[1] / 20) / 2)
    assert "val_acc_batch_mean" not in model.board._lines()  # kept, and not drawn
    assert model.trainer.history.of("epoch")[-1].values["val_accuracy"] == pytest.approx(sum(right) / 52)


def test_a_second_fit_goes_on_with_the_board(d2l, data, make):
    model = make()
    d2l.Trainer(1).fit(model, data)
    assert [len(model.board.raw_points["train_loss"]), len(model.board.data["train_loss"])] == [0, 3]
    d2l.Trainer(2).fit(model, data)
    assert [point.x for point in model.board.data["val_loss"]] == [1, 1, 2]


def test_numbers_that_wait_for_their_window_are_numbers_after_the_fit(d2l, data, make):
    model = make()
    model.plot_train_per_epoch = 1.2  # windows of two batches
    d2l.Trainer(1).fit(model, data)
    (waiting,) = model.board.raw_points["train_loss"]
    assert waiting.x == pytest.approx(2 / 3)
    assert not isinstance(waiting.y, torch.Tensor)


def test_no_validation_batches(d2l, data, make):
    model = make()
    data.val_dataloader = lambda: None
    trainer = d2l.Trainer(2)
    trainer.fit(model, data)
    assert trainer.num_val_batches == trainer.val_batch_idx == 0
    assert list(model.board.data) == ["train_loss"]
    assert not model.training


def test_no_epochs_train_nothing(d2l, data, make):
    model, before = make(), make()
    trainer = d2l.Trainer(max_epochs=0)
    trainer.fit(model, data)
    assert torch.equal(model.net[2].weight, before.net[2].weight)
    assert trainer.epoch == 0


# ---- replaced methods


def test_a_loop_of_ones_own_is_the_loop(d2l, data, make):
    calls = []

    class Mine(d2l.Trainer):
        def fit_epoch(self):
            calls.append((self.epoch, self.model.training, len(self.train_dataloader)))

    trainer = Mine(max_epochs=3)
    trainer.fit(make(), data)
    assert calls == [(0, True, 3), (1, True, 3), (2, True, 3)]


def test_a_loop_around_ours_trains_the_same(d2l, data, make):
    class Mine(d2l.Trainer):
        def fit_epoch(self):
            super().fit_epoch()
            self.epochs_seen = (*getattr(self, "epochs_seen", ()), self.epoch)

    models, trainers = [make(), make()], [d2l.Trainer(3), Mine(3)]
    for model, trainer in zip(models, trainers, strict=True):
        torch.manual_seed(2)
        trainer.fit(model, data)
    assert trainers[1].epochs_seen == (0, 1, 2)
    assert torch.equal(models[0].net[2].weight, models[1].net[2].weight)
    assert models[0].board.data == models[1].board.data
    assert len(trainers[0].history.of("epoch")) == len(trainers[1].history.of("epoch")) == 3


def test_a_loop_added_to_our_class_from_outside(d2l, data, make, monkeypatch):
    monkeypatch.setattr(d2l.Trainer, "fit_epoch", d2l.Trainer.fit_epoch)  # put back afterwards
    seen = []

    @d2l.add_to_class(d2l.Trainer)
    def fit_epoch(self):
        for batch in self.train_dataloader:
            seen.append(len(self.prepare_batch(batch)[0]))

    assert fit_epoch is None
    d2l.Trainer(1).fit(make(), data)
    assert seen == [32, 32, 32]


def test_an_init_added_from_outside_that_knows_nothing_of_ours(d2l, data, make, monkeypatch):
    monkeypatch.setattr(d2l.Trainer, "__init__", d2l.Trainer.__init__)

    def __init__(self, max_epochs, num_gpus=0, gradient_clip_val=0):
        self.save_hyperparameters()
        self.gpus = []

    d2l.add_to_class(d2l.Trainer)(__init__)
    model = make()
    d2l.Trainer(1).fit(model, data)
    assert len(model.board.data["val_loss"]) == 1


def test_steps_losses_and_batches_of_ones_own(d2l, data, make):
    """Everything is told apart by what it does to the weights and to the rows."""

    def training_step(self, batch):
        return 0.5 * self.loss(self(*batch[:-1]), batch[-1])  # plots nothing

    def validation_step(self, batch):
        self.plot("loss", torch.tensor(7.0), train=False)

    class Mine(d2l.Trainer):
        def prepare_batch(self, batch):
            X, y = batch
            return X + 1, y

    model, twin = make(training_step=training_step, validation_step=validation_step), make()
    torch.manual_seed(3)
    trainer = Mine(1)
    trainer.fit(model, data)
    torch.manual_seed(3)
    loss = 0.0
    for X, y in data.get_dataloader(True):
        loss = 0.5 * nn.functional.cross_entropy(twin.net(X + 1), y)
        twin.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in twin.parameters():
                p -= 0.1 * p.grad
    torch.testing.assert_close(model.net[2].weight, twin.net[2].weight)
    assert list(model.board.data) == ["val_loss"]
    assert model.board.data["val_loss"][0].y == 7
    assert trainer.history.of("epoch")[0].values["val_loss"] == 7


def test_an_optimiser_by_hand(d2l, data, make):
    """As chapter 3 writes it: a list of parameters, ``step`` and ``zero_grad``, and nothing else."""

    class SGD(d2l.HyperParameters):
        def __init__(self, params, lr):
            self.save_hyperparameters()

        def step(self):
            for param in self.params:
                param -= self.lr * param.grad

        def zero_grad(self):
            for param in self.params:
                if param.grad is not None:
                    param.grad.zero_()

    model = make(configure_optimizers=lambda self: SGD(list(self.parameters()), self.lr))
    twin = make()
    for each in (model, twin):
        torch.manual_seed(3)
        d2l.Trainer(2).fit(each, data)
    torch.testing.assert_close(model.net[2].weight, twin.net[2].weight)


def test_the_programs_own_rates_are_left_alone(d2l, data, make):
    """A schedule inside of a training step, and two groups."""

    def configure_optimizers(self):
        groups = [{"params": [self.net[2].weight], "lr": 0.3}, {"params": [self.net[2].bias]}]
        return torch.optim.Adam(groups, lr=0.01)

    def training_step(self, batch):
        for group in self.trainer.optim.param_groups:
            group["lr"] *= 0.5
        return super(type(self), self).training_step(batch)

    model = make(configure_optimizers=configure_optimizers, training_step=training_step)
    d2l.Trainer(1).fit(model, data)
    assert [group["lr"] for group in model.trainer.optim.param_groups] == pytest.approx([0.3 / 8, 0.01 / 8])


def test_gradients_are_clipped_as_the_formula_says(d2l, data, make):
    model, twin = make(), make()
    torch.manual_seed(3)
    d2l.Trainer(2, gradient_clip_val=0.05).fit(model, data)

    def clip(model):
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
        assert norm > 0.05
        for p in model.parameters():
            p.grad *= 0.05 / norm

    torch.manual_seed(3)
    by_hand(d2l, twin, data, epochs=2, after=clip)
    torch.testing.assert_close(model.net[2].weight, twin.net[2].weight)


def test_a_clipping_of_ones_own(d2l, data, make):
    class Mine(d2l.Trainer):
        def clip_gradients(self, grad_clip_val, model):
            assert grad_clip_val == 5
            assert not torch.is_grad_enabled()
            for p in model.parameters():
                p.grad.zero_()

    model, before = make(), make()
    Mine(1, gradient_clip_val=5).fit(model, data)
    assert torch.equal(model.net[2].weight, before.net[2].weight)


def test_batches_of_any_kind(d2l, make):
    """Three parts, tuples, and a loader that is nothing but a list of them."""
    X, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    seen = []

    class Given:
        def train_dataloader(self):
            return [(X, X * 2, y), (X[:3], X[:3], y[:3])]

        def val_dataloader(self):
            return [(X, X, y)]

    def forward(self, one, two):
        seen.append((len(one), torch.is_grad_enabled(), torch.is_inference(one)))
        return self.net(one + two)

    model = make(forward=forward)
    d2l.Trainer(1).fit(model, Given())
    assert seen == [(8, True, False), (3, True, False), (8, False, False)]


def test_what_is_kept_in_evaluation_can_be_learned_from(d2l, make):
    """A data set that makes its images when they are first asked for, which is in evaluation."""
    kept = {}

    class Lazy(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return kept.setdefault(index, torch.ones(1, 28, 28) * index), index

    class Given:
        def train_dataloader(self):
            return torch.utils.data.DataLoader(Lazy(), 4)

        def val_dataloader(self):
            return torch.utils.data.DataLoader(Lazy(), 4)

    first, second = make(), make()
    d2l.Trainer(1).fit(first, Given())
    d2l.Trainer(1).fit(second, Given())
    assert not any(value.is_inference() for value in kept.values())


# ---- what goes wrong


@pytest.mark.parametrize(
    ("says", "gives", "words"), [(3, 2, "ended after 2 batches"), (1, 2, "more batches than that")]
)
def test_a_loader_that_miscounts(d2l, make, says, gives, words):
    class Loader:
        def __len__(self):
            return says

        def __iter__(self):
            return iter([(torch.rand(4, 1, 28, 28), torch.arange(4))] * gives)

    class Given:
        def train_dataloader(self):
            return Loader()

        def val_dataloader(self):
            return None

    with pytest.raises(ValueError, match=rf"Loader has a length of {says} .*{words}"):
        d2l.Trainer(1).fit(make(), Given())


def test_a_loss_that_is_no_number_ends_the_training_with_good_weights(d2l, data, make):
    good = {}

    def training_step(self, batch):
        loss = super(type(self), self).training_step(batch)
        if self.trainer.train_batch_idx == 3:
            good.update(copy.deepcopy(self.state_dict()))  # of the first epoch, complete
        return loss * math.nan if self.trainer.train_batch_idx == 4 else loss

    model = make(training_step=training_step)
    with pytest.warns(UserWarning, match=r"became nan in epoch 2 at step 5 \(learning rate 0.1\).*weights of epoch 1"):
        d2l.Trainer(5).fit(model, data)
    assert not model.training
    assert len(model.board.data["val_loss"]) == 1
    assert all(torch.equal(value, good[name]) for name, value in model.state_dict().items())


def test_a_lazy_network_may_go_wrong_in_its_first_epoch(d2l, data, programs):
    class Bad(programs.models(d2l)["dropout"][0]):
        def training_step(self, batch):
            return super().training_step(batch) * math.inf

    model = Bad()
    model.board.display = False
    with pytest.warns(UserWarning, match="became inf in epoch 1 .*learned nothing that could be kept"):
        d2l.Trainer(1).fit(model, data)


def test_errors_of_the_program_are_its_own(d2l, data, make):
    def training_step(self, batch):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        d2l.Trainer(1).fit(make(training_step=training_step), data)
    with pytest.raises(TypeError, match=r"Net\.training_step must return the loss as a tensor, got NoneType"):
        d2l.Trainer(1).fit(make(training_step=lambda self, batch: None), data)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"max_epochs": -1}, ValueError, "max_epochs must be at least 0, got -1"),
        ({"max_epochs": 1.5}, TypeError, "max_epochs must be a whole number, got 1.5"),
        ({"max_epochs": 1, "num_gpus": "all"}, TypeError, "num_gpus must be a whole number, got 'all'"),
        ({"max_epochs": 1, "gradient_clip_val": -1}, ValueError, "gradient_clip_val must be at least 0"),
        ({"max_epochs": 1, "gradient_clip_val": math.nan}, ValueError, "got nan"),
        ({"max_epochs": 1, "precision": "half"}, ValueError, "precision must be one of float32, auto, .* got 'half'"),
    ],
)
def test_words_that_make_no_sense(d2l, words, error, message):
    with pytest.raises(error, match=message):
        d2l.Trainer(**words)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_four_accelerators_where_there_is_none(d2l, data, make):
    trainer, model = d2l.Trainer(1, num_gpus=4), make()
    assert trainer.gpus == []
    trainer.fit(model, data)
    assert model.net[2].weight.device.type == "cpu"


def test_a_model_that_was_never_trained_cannot_plot(d2l, make):
    with pytest.raises(RuntimeError, match=r"before Trainer\.fit"):
        make().training_step((torch.rand(2, 1, 28, 28), torch.arange(2)))


# ---- more than the book has


def test_the_shorter_look(d2l, make, tiny_fashion, monkeypatch):
    monkeypatch.setenv("CONVSCOPE_MAX_EPOCHS", "2")
    monkeypatch.setenv("CONVSCOPE_LIMIT", "70")
    model, data = make(), d2l.FashionMNIST(batch_size=32)
    trainer = d2l.Trainer(max_epochs=10)
    trainer.fit(model, data)
    assert (len(data.train), len(data.val)) == (70, 70)
    assert (trainer.max_epochs, trainer.train_batch_idx, model.board.xlim) == (2, 6, [0, 2])


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_other_precisions_learn_as_well(d2l, programs, data, precision):
    """Lazy layers, dropout and batch norm included; weights stay float32."""
    model = programs.models(d2l)["dropout"][0](lr=0.5)
    model.board.display = False
    torch.manual_seed(0)
    trainer = d2l.Trainer(20, precision=precision)
    trainer.fit(model, data)
    losses = [row.values["train_loss"] for row in trainer.history.of("epoch")]
    assert losses[-1] < losses[0] - 0.2
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert model.board.data["val_loss"][-1].y < 2.3
    assert len(model.board.data["val_loss"]) == 20


def test_a_trial_leaves_no_trace_on_the_board(d2l, make, programs, monkeypatch):
    """Precision is chosen by steps on a copy; the board of the model sees nothing of them."""
    from convscope.d2l import engine

    tried = []

    def choose(config, model, objective, batch, **more):
        twin, judge = copy.deepcopy((model, objective))
        tried.append(judge.training(twin, *batch).loss.item())
        assert twin.trainer is model.trainer
        assert twin.board is not model.board
        return engine._book_plan(torch.device("cpu"))

    monkeypatch.setattr(engine, "choose_plan", choose)
    model = make()
    model.board.display = True
    monkeypatch.setattr("convscope.d2l.board.surfaces", lambda: [])
    d2l.Trainer(1, precision="auto").fit(model, programs.make_toy(d2l, train=96, val=52))
    assert len(tried) == 1
    assert len(model.board.data["train_loss"]) == 3


def test_a_run_folder(d2l, programs, tiny_fashion, tmp_path):
    model, data = d2l.LeNet(), d2l.FashionMNIST(batch_size=64)
    model.board.display = False
    trainer = d2l.Trainer(2, out=tmp_path / "run")
    trainer.fit(model, data)
    run = Run.open(tmp_path / "run")
    assert trainer.run == run
    assert len(run.history.of("epoch")) == 2
    assert run.preprocess.image_size == (28, 28)
    assert run.train_config.optimizer.lr == 0.1
    other = d2l.LeNet()
    other(torch.zeros(1, 1, 28, 28))
    run.load_weights(other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(RunError, match="already holds a run"):
        d2l.Trainer(1, out=tmp_path / "run").fit(model, data)
    with pytest.raises(ValueError, match=r"keeps a run of FashionMNIST as it is published.*got Toy"):
        d2l.Trainer(1, out=tmp_path / "other").fit(model, programs.make_toy(d2l))
    with pytest.raises(ValueError, match="square"):
        d2l.Trainer(1, out=tmp_path / "other").fit(model, d2l.FashionMNIST(resize=(28, 32)))
    assert not (tmp_path / "other").exists()


def test_nothing_is_left_on_disk_and_the_process_is_as_it_was(d2l, data, make, tmp_path):
    torch.set_num_threads(1)
    d2l.Trainer(1).fit(make(), data)
    assert list(tmp_path.iterdir()) == []
    assert torch.tensor(1e-310, dtype=torch.float64) * 1 > 0
    assert torch.is_grad_enabled()


def test_a_row_says_what_an_epoch_took(d2l, data, make):
    trainer = d2l.Trainer(1)
    trainer.fit(make(), data)
    (row,) = trainer.history.of("epoch")
    assert {"train_loss", "val_loss", "val_accuracy", "images_per_second", "train_seconds"} <= set(row.values)
    assert dataclasses.is_dataclass(row)
    assert row.values["images_per_second"] > 0
