"""The book's layers and networks, and the shapes that it prints."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import models


def shapes(text: str) -> list[tuple[str, tuple[int, ...]]]:
    rows = re.findall(r"^(\w+) output shape:\t torch\.Size\(\[([\d, ]+)\]\)$", text, re.MULTILINE)
    return [(name, tuple(map(int, sizes.split(", ")))) for name, sizes in rows]


def test_corr2d_of_the_book(d2l):
    X, K = torch.arange(9.0).reshape(3, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert d2l.corr2d(X, K).tolist() == [[19, 25], [37, 43]]
    edge = torch.ones((6, 8))
    edge[:, 2:6] = 0
    assert d2l.corr2d(edge, torch.tensor([[1.0, -1.0]])).tolist() == [[0, 1, 0, 0, 0, -1, 0]] * 6
    assert torch.equal(d2l.corr2d(edge.t(), torch.tensor([[1.0, -1.0]])), torch.zeros(8, 5))
    assert d2l.corr2d(X.long(), K.long()).dtype == torch.float32
    weight = torch.rand(1, 2, requires_grad=True)
    d2l.corr2d(edge, weight).sum().backward()
    assert weight.grad.tolist() == [[18.0, 18.0]]  # so many ones lie under each of the two numbers
    with pytest.raises(ValueError, match="kernel"):
        d2l.corr2d(torch.ones(2, 2), torch.ones(3, 3))


def test_lenet_layer_by_layer(d2l, capsys):
    model = d2l.LeNet()
    assert model.layer_summary((1, 1, 28, 28)) is None
    convolutional = [("Conv2d", (1, 6, 28, 28)), ("Sigmoid", (1, 6, 28, 28)), ("AvgPool2d", (1, 6, 14, 14))]
    convolutional += [("Conv2d", (1, 16, 10, 10)), ("Sigmoid", (1, 16, 10, 10)), ("AvgPool2d", (1, 16, 5, 5))]
    dense = [("Flatten", (1, 400)), ("Linear", (1, 120)), ("Sigmoid", (1, 120)), ("Linear", (1, 84))]
    assert shapes(capsys.readouterr().out) == convolutional + dense + [("Sigmoid", (1, 84)), ("Linear", (1, 10))]
    assert sum(p.numel() for p in model.parameters()) == 61_706
    assert model.hparams == {"lr": 0.1, "num_classes": 10}


def test_lenet_is_the_one_of_the_registry(d2l):
    ours, theirs, X = d2l.LeNet(), models.create("lenet"), torch.rand(2, 1, 28, 28)
    ours(X)
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.copy_(q)
    torch.testing.assert_close(ours(X), theirs(X))


def test_a_summary_is_in_training_mode_and_moves_the_averages(d2l, capsys):
    class Net(d2l.Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.BatchNorm2d(1))

    model = Net()
    model.layer_summary((8, 1, 4, 4))
    assert model.net[0].num_batches_tracked == 1
    assert shapes(capsys.readouterr().out) == [("BatchNorm2d", (8, 1, 4, 4))]


def test_residual_blocks_of_the_book(d2l):
    X = torch.rand(4, 3, 6, 6)
    assert d2l.Residual(3)(X).shape == (4, 3, 6, 6)
    assert d2l.Residual(6, use_1x1conv=True, strides=2)(X).shape == (4, 6, 3, 3)
    block = d2l.ResNeXtBlock(32, 16, 1)
    assert block(torch.rand(4, 32, 96, 96)).shape == (4, 32, 96, 96)
    assert block.conv2.groups == 2  # 16 is the width of a group


@pytest.mark.parametrize(("projected", "strides"), [(False, 1), (True, 2)])
def test_residual_values(d2l, projected, strides):
    """Written down with functions, in eval mode; the input stays as it was."""
    torch.manual_seed(0)
    X = torch.rand(2, 4, 8, 8)
    block = d2l.Residual(4, projected, strides)
    block(X)
    block.eval()
    before = X.clone()
    Y = F.relu(block.bn1(F.conv2d(X, block.conv1.weight, block.conv1.bias, strides, 1)))
    Y = block.bn2(F.conv2d(Y, block.conv2.weight, block.conv2.bias, 1, 1))
    shortcut = F.conv2d(X, block.conv3.weight, block.conv3.bias, strides) if projected else X
    torch.testing.assert_close(block(X), F.relu(Y + shortcut))
    assert torch.equal(X, before)


@pytest.mark.parametrize("projected", [False, True])
def test_resnext_values(d2l, projected):
    torch.manual_seed(0)
    X = torch.rand(2, 8, 6, 6)
    block = d2l.ResNeXtBlock(8, 2, 0.5, projected)
    block(X)
    block.eval()
    Y = F.relu(block.bn1(F.conv2d(X, block.conv1.weight, block.conv1.bias)))
    Y = F.relu(block.bn2(F.conv2d(Y, block.conv2.weight, block.conv2.bias, padding=1, groups=2)))
    Y = block.bn3(F.conv2d(Y, block.conv3.weight, block.conv3.bias))
    shortcut = block.bn4(F.conv2d(X, block.conv4.weight, block.conv4.bias)) if projected else X
    torch.testing.assert_close(block(X), F.relu(Y + shortcut))


# ---- initial weights


def test_xavier_draws_exact_layers_only(d2l):
    class Mine(nn.Linear):
        pass

    net = nn.Sequential(nn.Conv2d(1, 64, 5), nn.Linear(64, 64), Mine(64, 64), nn.BatchNorm2d(3))
    before = [p.detach().clone() for p in net.parameters()]
    torch.manual_seed(0)
    net.apply(d2l.init_cnn)
    torch.manual_seed(0)
    expected = [nn.init.xavier_uniform_(torch.empty(64, 1, 5, 5)), nn.init.xavier_uniform_(torch.empty(64, 64))]
    after = list(net.parameters())
    assert torch.equal(after[0], expected[0])
    assert torch.equal(after[2], expected[1])
    assert all(torch.equal(after[i], before[i]) for i in (1, 3, 4, 5, 6, 7))  # biases, subclasses and norms


def test_xavier_is_skipped_on_lazy_layers_and_a_warning_says_so(d2l):
    """The book's AlexNet, DenseNet and RegNetX train without it."""
    model = d2l.LeNet()
    with pytest.warns(UserWarning, match=r"init_cnn leaves Lazy(Conv2d|Linear) as it is.*apply_init") as said:
        model.net.apply(d2l.init_cnn)
    assert len(said) == 5  # two convolutions and three dense layers
    torch.manual_seed(0)
    model(torch.zeros(1, 1, 28, 28))
    torch.manual_seed(0)
    own = nn.Conv2d(1, 6, 5)  # what PyTorch draws by itself
    assert torch.equal(model.net[0].weight, own.weight)


def test_apply_init_gives_shapes_and_then_weights(d2l):
    model = d2l.LeNet()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.apply_init([torch.zeros(2, 1, 28, 28)], d2l.init_cnn) is None
    bound = (6 / (25 * 7)) ** 0.5
    assert model.net[0].weight.abs().max() <= bound < 2 * model.net[0].weight.abs().max()


def test_apply_init_is_a_whole_pass_in_training_mode(d2l):
    """Averages move, gradients count as wanted, and nothing is kept for a backward pass."""
    seen = []

    class Net(d2l.Classifier):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.LazyConv2d(2, 3), nn.LazyBatchNorm2d())

        def forward(self, X):
            seen.append((self.training, torch.is_grad_enabled(), len(X)))
            self.out = self.net(X)
            return self.out

    model = Net()
    model.apply_init([torch.rand(8, 1, 6, 6)])
    assert seen == [(True, True, 8)]
    assert model.net[1].num_batches_tracked == 1
    with pytest.raises(RuntimeError, match="keeps nothing for a backward pass"):
        model.out.sum().backward()


# ---- what a classifier computes


def test_loss_and_accuracy(d2l):
    model, scores = d2l.Classifier(), torch.randn(6, 4, dtype=torch.float32)
    labels = scores.argmax(1)
    labels[0] = (labels[0] + 1) % 4
    assert model.accuracy(scores, labels).item() == pytest.approx(5 / 6)
    assert model.accuracy(scores, labels, averaged=False).tolist() == [0, 1, 1, 1, 1, 1]
    assert model.accuracy(scores.view(2, 3, 4), labels.view(2, 3)).item() == pytest.approx(5 / 6)
    expected = -(scores.double().softmax(1)[range(6), labels]).log()
    torch.testing.assert_close(model.loss(scores, labels), expected.mean().float())
    torch.testing.assert_close(model.loss(scores.view(2, 3, 4), labels.view(2, 3), averaged=False), expected.float())
    assert model.loss(scores.bfloat16(), labels).dtype == torch.float32


def test_what_a_model_must_bring(d2l):
    with pytest.raises(AttributeError, match=r"Module has no network: assign self\.net"):
        d2l.Module()(torch.ones(1))
    with pytest.raises(NotImplementedError, match="loss"):
        d2l.Module().loss(1, 2)
    with pytest.raises(NotImplementedError, match="get_dataloader"):
        d2l.DataModule().train_dataloader()
