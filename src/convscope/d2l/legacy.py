"""The functions of the book's first edition that its convolutional chapters used."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from convscope.d2l.book import current
from convscope.d2l.fashion import LABELS, FashionMNIST
from convscope.d2l.module import Classifier
from convscope.d2l.timing import Timer
from convscope.d2l.trainer import Trainer


def get_dataloader_workers() -> int:
    """The worker processes that the book starts; kept as a number, for nothing here starts any."""
    return 4


def get_fashion_mnist_labels(labels: Any) -> list[str]:
    """The names of labels in 0..9.

    Example:
        >>> get_fashion_mnist_labels([0, 9])
        ['t-shirt', 'ankle boot']
    """
    return [LABELS[int(label)] for label in labels]


def load_data_fashion_mnist(batch_size: int, resize: Any = None) -> tuple[Any, Any]:
    """Batches to learn from and batches to be judged by; see ``FashionMNIST``."""
    data = FashionMNIST(batch_size, resize or (28, 28))
    return data.train_dataloader(), data.val_dataloader()


def accuracy(y_hat: Tensor, y: Tensor) -> float:
    """How *many* are right: the book's name for a number of images.

    Args:
        y_hat: Scores ``(N, K)``, or labels ``(N,)``.
        y: Labels ``(N,)``.
    """
    if y_hat.ndim > 1 and y_hat.shape[1] > 1:
        y_hat = y_hat.argmax(1)
    return float((y_hat.type(y.dtype) == y).sum())


def evaluate_accuracy_gpu(net: Any, data_iter: Iterable[Any], device: torch.device | None = None) -> float:
    """The share of images that a network gets right; the network is in eval mode afterwards.

    Args:
        net: Maps ``(N, C, H, W)`` to scores ``(N, K)``.
        data_iter: Batches ``(X, y)``.
        device: Where to compute; None is where the network is.
    """
    if isinstance(net, nn.Module):
        net.eval()
        device = device or next((p.device for p in net.parameters()), None)
    right, images = 0.0, 0
    with torch.no_grad():
        for X, y in data_iter:
            X = [part.to(device) for part in X] if isinstance(X, list) else X.to(device)
            right += accuracy(net(X), y.to(device))
            images += y.numel()
    return right / images


class _Tally:
    """Mean loss and share of right answers over an epoch so far, kept where the network is."""

    def __init__(self, batches: int) -> None:
        self.batches, self.done, self.images = batches, 0, 0
        self._sums = torch.zeros(2)

    def add(self, loss: Tensor, y_hat: Tensor, y: Tensor) -> None:
        """Take in a batch; after a whole epoch a new one begins."""
        if self.done == self.batches:
            self.done = self.images = 0
            self._sums = torch.zeros(2)
        self.done, self.images = self.done + 1, self.images + len(y)
        more = torch.stack([loss.detach() * len(y), (y_hat.argmax(1) == y).sum().to(loss.dtype)])
        self._sums = self._sums.to(more.device) + more

    def means(self) -> tuple[float, float]:
        """Loss and accuracy."""
        loss, right = (self._sums / max(1, self.images)).tolist()
        return loss, right


class _Chapter6(Classifier):
    """A network that is trained and plotted as the first edition did: five points an epoch of what was learned so far.

    Args:
        net: The network.
        lr: Learning rate.
        batches: Training batches in an epoch, and batches to be judged by.
        animator: Draws.
    """

    def __init__(self, net: nn.Module, lr: float, batches: tuple[int, int], animator: Any) -> None:
        super().__init__()
        self.net, self.lr, self.animator = net, lr, animator
        self.learned, self.judged = _Tally(batches[0]), _Tally(batches[1])
        self.images = 0

    def training_step(self, batch: Any) -> Tensor:
        X, y = batch
        self.images += len(y)
        y_hat, tally = self(X), self.learned
        loss = self.loss(y_hat, y)
        tally.add(loss, y_hat, y)
        if tally.done % max(1, tally.batches // 5) == 0 or tally.done == tally.batches:
            self.animator.add(self.trainer.epoch + tally.done / tally.batches, (*tally.means(), None))
        return loss

    def validation_step(self, batch: Any) -> None:
        X, y = batch
        y_hat, tally = self(X), self.judged
        tally.add(self.loss(y_hat, y), y_hat, y)
        if tally.done == tally.batches:
            self.animator.add(self.trainer.epoch + 1, (None, None, tally.means()[1]))


class _Given:
    """Loaders that are there already."""

    def __init__(self, train: Any, test: Any) -> None:
        self._train, self._test = train, test

    def train_dataloader(self) -> Any:
        return self._train

    def val_dataloader(self) -> Any:
        return self._test


def train_ch6(net: nn.Module, train_iter: Any, test_iter: Any, num_epochs: int, lr: float, device: Any) -> None:
    """Train a classifier with plain stochastic gradient descent, plot it and print what came of it on stdout.

    Exact ``Linear`` and ``Conv2d`` layers get Xavier's initial weights; lazy ones are skipped with a warning.

    Args:
        net: Maps ``(N, C, H, W)`` to scores ``(N, K)``; moved to ``device``, and in eval mode afterwards.
        train_iter: Batches ``(X, y)`` to learn from.
        test_iter: Batches to be judged by.
        num_epochs: Passes.
        lr: Learning rate.
        device: Where to compute.
    """
    device = torch.device(device)
    net.apply(current("init_cnn"))
    sys.stdout.write(f"training on {device}\n")
    animator = current("Animator")(xlabel="epoch", xlim=[1, num_epochs], legend=["train loss", "train acc", "test acc"])
    model = _Chapter6(net, lr, (len(train_iter), len(test_iter)), animator).to(device)
    trainer = Trainer(num_epochs)
    trainer.gpus = [] if device.type == "cpu" else [device]
    timer = Timer()
    trainer.fit(model, _Given(train_iter, test_iter))
    elapsed = timer.stop()
    if hasattr(animator, "_settle"):
        animator._settle()
    loss, right = model.learned.means()
    epochs = [row.values for row in trainer._history.of("epoch")] if trainer._history is not None else []
    seconds = sum(epoch["train_seconds"] for epoch in epochs)
    learned = sum(epoch["images_per_second"] * epoch["train_seconds"] for epoch in epochs)
    speed = learned / seconds if epochs else model.images / elapsed  # diverged at once, or another fit_epoch
    sys.stdout.write(f"loss {loss:.3f}, train acc {right:.3f}, test acc {model.judged.means()[1]:.3f}\n")
    sys.stdout.write(f"{speed:.1f} examples/sec on {device}\n")
