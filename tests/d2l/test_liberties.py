"""What programs do with the book's classes that its chapters do not: names of their own, looks at gradients, boards."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn


@pytest.fixture
def data(d2l, programs):
    return programs.make_toy(d2l, train=96, val=52)


# ---- names of one's own


def test_a_trainer_keeps_a_history_and_a_run_of_its_own(d2l, data, net):
    class Own(d2l.Trainer):
        def __init__(self, max_epochs, out="weights.pt"):
            super().__init__(max_epochs)
            self.save_hyperparameters()
            self.history, self.run, self.measured = [], io.StringIO(), {"mine": 1}

        def fit_epoch(self):
            super().fit_epoch()
            self.history.append(float(self.model.board.data["val_loss"][-1].y))
            self.run.write("x")

    trainer = Own(2)
    trainer.fit(net(), data)
    assert len(trainer.history) == 2
    assert trainer.run.getvalue() == "xx"
    assert (trainer.out, trainer.measured) == ("weights.pt", {"mine": 1})


def test_without_names_of_its_own_ours_are_there(d2l, data, net):
    trainer = d2l.Trainer(1)
    assert (trainer.history, trainer.run) == (None, None)
    trainer.fit(net(), data)
    assert [row.kind for row in trainer.history.rows] == ["epoch", "end"]
    with pytest.raises(AttributeError, match="'Trainer' object has no attribute 'histories'"):
        _ = trainer.histories


@pytest.mark.parametrize("words", [{"max_epochs": np.int64(1)}, {"num_gpus": False}, {"num_gpus": -1}])
def test_numbers_of_any_kind(d2l, data, net, words):
    trainer = d2l.Trainer(**{"max_epochs": 1, **words})
    assert trainer.gpus == []
    trainer.fit(net(), data)


def test_one_name_to_ignore(d2l):
    class Net(d2l.HyperParameters):
        def __init__(self, net, n):
            self.save_hyperparameters(ignore="net")

    assert Net(1, 2).hparams == {"n": 2}


# ---- boards


def test_a_drawing_put_in_the_place_of_ours(d2l, data, net, monkeypatch):
    drawn, plain = [], lambda self, x, y, label, every_n=1: drawn.append(label)
    with monkeypatch.context() as patch:
        patch.setattr(d2l.ProgressBoard, "draw", plain)
        d2l.Trainer(1).fit(net(), data)
    assert set(drawn) == {"train_loss", "val_loss", "val_acc"}
    drawn.clear()
    model = net()
    model.board.draw = lambda x, y, label, every_n=1: drawn.append(label)
    d2l.Trainer(1).fit(model, data)
    assert set(drawn) == {"train_loss", "val_loss", "val_acc"}


def test_a_board_with_things_of_its_own(d2l, data, net):
    class Board(d2l.ProgressBoard):
        def __init__(self):
            super().__init__()
            self.data, self.lines, self.picture, self.show, self.settle = {}, [], None, None, None

        def draw(self, x, y, label, every_n=1):
            self.data.setdefault(label, []).append((x, float(y)))

    model = net()
    model.board = Board()
    d2l.Trainer(2).fit(model, data)
    assert len(model.board.data["val_loss"]) == 4


def test_the_curves_are_pyplots_figure(d2l, tmp_path):
    """In a script: what ``plt.savefig`` saves after a training are the curves."""
    from matplotlib import pyplot

    board = d2l.ProgressBoard("x")
    assert board.fig is None
    board._surfaces = [Silent()]
    board.draw(0, 1.0, "a")
    board.draw(1, 2.0, "a")
    assert board.fig is pyplot.gcf()
    d2l.plt.savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("L").getcolors(256)) > 10
    pyplot.close("all")


class Silent:
    def show(self, curves):
        pass

    close = show


@pytest.mark.parametrize(("grid", "second"), [((2, 1), 1), ((1, 2), 1), ((2, 2), (0, 1))])
def test_an_animator_beside_other_pictures(d2l, monkeypatch, grid, second):
    from matplotlib import pyplot

    monkeypatch.setattr("convscope.d2l.drawing.surfaces", lambda: [])
    animator = d2l.Animator(legend=["a"], nrows=grid[0], ncols=grid[1])
    animator.axes[second].imshow(np.zeros((3, 3)))
    animator.add(1, 0.5)
    animator.config_axes()
    first, *others = animator._picture().axes
    assert len(first.lines) == 1
    assert [len(axes.images) for axes in others] == [1, *[0] * (len(others) - 1)]
    pyplot.close("all")


# ---- gradients


def trained(d2l, data, net, step):
    torch.manual_seed(2)
    model = type("Own", (net,), {"training_step": step})()
    d2l.Trainer(2).fit(model, data)
    return model.net[2].weight


def test_a_backward_pass_of_its_own_changes_nothing(d2l, data, net):
    def plain(self, batch):
        return d2l.Classifier.training_step(self, batch)

    def looking(self, batch):
        loss = plain(self, batch)
        loss.backward(retain_graph=True)
        return loss

    assert torch.equal(trained(d2l, data, net, plain), trained(d2l, data, net, looking))


def test_a_step_sees_the_gradients_of_the_one_before(d2l, data, net):
    seen = []

    def step(self, batch):
        seen.append(self.net[2].weight.grad)
        return d2l.Classifier.training_step(self, batch)

    trained(d2l, data, net, step)
    assert [gradient is None for gradient in seen] == [True, *[False] * 5]


# ---- layers and data


def test_layers_that_nothing_uses_and_states_that_are_no_tensors(d2l, data, net):
    class Counting(nn.Identity):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            pass

    model = net()
    model.aux, model.more = nn.LazyLinear(10), Counting()
    d2l.Trainer(1).fit(model, data)
    assert len(model.board.data["val_loss"]) == 1


def test_weights_come_back_beside_a_layer_that_nothing_uses(d2l, data, net):
    def step(self, batch):
        return d2l.Classifier.training_step(self, batch) * (torch.nan if self.trainer.epoch else 1)

    model = type("Own", (net,), {"training_step": step})()
    model.aux = nn.LazyLinear(10)
    with pytest.warns(UserWarning, match="training stopped"):
        d2l.Trainer(2).fit(model, data)
    assert model.net[2].weight.isfinite().all()


def test_images_and_labels_put_in_the_place_of_the_published_ones(d2l, tiny_fashion):
    data = d2l.FashionMNIST(batch_size=64)
    data.train.data, data.train.targets = data.train.data[:100], data.train.targets[:100]
    batches = list(data.train_dataloader())
    assert sum(len(y) for _, y in batches) == len(data.train) == 100
    data.train.targets = (data.train.targets + 1) % 10
    wanted = {tuple(X.flatten().tolist()): int(y) for X, y in (data.train[i] for i in range(100))}
    X, y = next(iter(data.train_dataloader()))
    assert [wanted[tuple(x.flatten().tolist())] for x in X] == y.tolist()


def test_a_transform_of_its_own(d2l, tiny_fashion):
    data = d2l.FashionMNIST(batch_size=50)
    data.val.transform = lambda image: torch.full((1, 2, 2), image.getpixel((0, 0)) / 255)
    data.val.target_transform = lambda label: label + 100
    X, y = next(iter(data.val_dataloader()))
    assert X.shape == (50, 1, 2, 2)
    torch.testing.assert_close(X[:, 0, 0, 0], data.val.data[:50, 0, 0] / 255)
    assert y.tolist() == (data.val.targets[:50] + 100).tolist()


def test_a_run_folder_does_not_pass_changed_images_for_the_published_ones(d2l, tiny_fashion, tmp_path):
    data = d2l.FashionMNIST(batch_size=64)
    data.train.targets = (data.train.targets + 1) % 10
    with pytest.raises(ValueError, match=r"as it is published.* got FashionMNIST with something else"):
        d2l.Trainer(1, out=tmp_path / "run").fit(d2l.LeNet(), data)


def test_the_first_editions_training_survives_a_loss_that_is_no_number(d2l, programs, capsys, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr("convscope.d2l.drawing.surfaces", lambda: [])
    data = programs.make_toy(d2l)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    with pytest.warns(UserWarning, match="training stopped"):
        d2l.train_ch6(net, data.train_dataloader(), data.val_dataloader(), 1, 1e30, "cpu")
    assert "examples/sec on cpu" in capsys.readouterr().out
    pyplot.close("all")
