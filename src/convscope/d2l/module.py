"""Models that bring their own training step, and classifiers."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.d2l.board import BATCH_MEAN, OUR_DRAW
from convscope.d2l.book import current
from convscope.d2l.hyper import HyperParameters

if TYPE_CHECKING:
    from convscope.d2l.trainer import Trainer


class Module(nn.Module, HyperParameters):
    """A network with its loss, its optimiser and its board. ``Trainer`` calls the methods, whoever wrote them.

    A batch is a list or tuple: inputs first, labels last.

    Args:
        plot_train_per_epoch: Points of each training line in an epoch.
        plot_valid_per_epoch: Points of each validation line in an epoch.

    Source:
        Zhang et al., "Dive into Deep Learning", section 3.2.
    """

    board: Any
    net: Any
    lr: Any
    trainer: Trainer
    plot_train_per_epoch: int
    plot_valid_per_epoch: int

    def __init__(self, plot_train_per_epoch: int = 2, plot_valid_per_epoch: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.board = current("ProgressBoard")()

    def loss(self, y_hat: Any, y: Any) -> Tensor:
        """How wrong the outputs are; a model says so itself.

        Raises:
            NotImplementedError: It does not.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method loss(self, y_hat, y) that returns a tensor")

    def forward(self, X: Any) -> Any:
        """What ``self.net`` makes of the inputs.

        Raises:
            AttributeError: There is no ``net``.
        """
        if not hasattr(self, "net"):
            raise AttributeError(
                f"{type(self).__name__} has no network: assign self.net in __init__, or write a method forward(self, X)"
            )
        return self.net(X)

    def plot(self, key: str, value: Any, train: bool) -> None:
        """Give the board a number of the batch at hand; nothing waits for the device here.

        The windows are the book's: ``int(batches / plots per epoch)`` batches, which drift across epochs where that
        does not divide. ``acc`` of validation is averaged over images; the book's mean over batches, in which a small
        last batch counts as much as any other, is kept in ``board.data["val_acc_batch_mean"]``.

        Args:
            key: ``"loss"``, ``"acc"`` ...; the line is called ``train_loss`` or ``val_loss``.
            value: A tensor with one number.
            train: Whether it comes from training.

        Raises:
            RuntimeError: There is no trainer yet.
        """
        trainer = getattr(self, "trainer", None)
        if trainer is None:
            raise RuntimeError("there is nothing to plot along before Trainer.fit has been called with this model")
        self.board.xlabel = "epoch"
        x = trainer.train_batch_idx / trainer.num_train_batches if train else trainer.epoch + 1
        batches = trainer.num_train_batches if train else trainer.num_val_batches
        every = int(batches / (self.plot_train_per_epoch if train else self.plot_valid_per_epoch))
        label = f"{'train' if train else 'val'}_{key}"
        value = value.detach() if isinstance(value, Tensor) else value
        getattr(trainer, "_measured", {})[key] = value  # a trainer of the program's own has none
        images = self.__dict__.pop("_counted", None) or getattr(trainer, "_batch_images", 1)
        if train or key != "acc" or getattr(self.board.draw, "__func__", None) is not OUR_DRAW:
            self.board.draw(x, value, label, every_n=every)
            return
        self.board.draw(x, value, label, every_n=every, weight=images)
        self.board.draw(x, value, label + BATCH_MEAN, every_n=every)

    def training_step(self, batch: Any) -> Tensor:
        """The loss of a batch, plotted; its gradient is what is learned from."""
        loss = self.loss(self(*batch[:-1]), batch[-1])
        self.plot("loss", loss, train=True)
        return loss

    def validation_step(self, batch: Any) -> Any:
        """Plot the loss of a batch that is not learned from."""
        self.plot("loss", self.loss(self(*batch[:-1]), batch[-1]), train=False)

    def configure_optimizers(self) -> Any:
        """Plain stochastic gradient descent with the rate ``self.lr``.

        Lazy layers may have no weights yet: an optimiser that only keeps references does not mind.
        """
        from convscope.train.lean import LeanSGD  # the engine is not needed to read the book's names

        return LeanSGD(self.parameters(), lr=self.lr)

    def apply_init(self, inputs: Sequence[Any], init: Callable[[nn.Module], Any] | None = None) -> None:
        """Give lazy layers their shapes with one forward pass, then initialise every layer.

        The pass is a whole one in training mode, as in the book: batch norm takes it into its averages, dropout draws.
        Only what a backward pass would need is not kept.

        Args:
            inputs: Arguments of ``forward``.
            init: Called with every module of ``self.net``.
        """
        with torch.autograd.graph.saved_tensors_hooks(lambda _: None, _no_backward):
            self.forward(*inputs)
        if init is not None:
            self.net.apply(init)

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A model with its own weights and its own board, and the same trainer: there is one training."""
        trainer = self.__dict__.get("trainer")
        if trainer is not None:
            memo[id(trainer)] = trainer
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin


def _no_backward(_: None) -> Tensor:
    raise RuntimeError("the forward pass of apply_init keeps nothing for a backward pass")


class Classifier(Module):
    """A model that maps inputs to scores ``(N, K)`` for labels ``(N,)``.

    Source:
        Zhang et al., "Dive into Deep Learning", section 4.3.
    """

    def validation_step(self, batch: Any) -> Any:
        """Plot loss and accuracy of a batch that is not learned from."""
        Y_hat = self(*batch[:-1])
        self.plot("loss", self.loss(Y_hat, batch[-1]), train=False)
        self.plot("acc", self.accuracy(Y_hat, batch[-1]), train=False)

    def accuracy(self, Y_hat: Tensor, Y: Tensor, averaged: bool = True) -> Tensor:
        """The share of scores whose highest is that of the label.

        Args:
            Y_hat: ``(..., K)``.
            Y: As many labels.
            averaged: False gives a 1.0 or a 0.0 for each, ``(N,)``.
        """
        scores = Y_hat.reshape(-1, Y_hat.shape[-1])  # ...,K -> N,K
        right = (scores.argmax(1) == Y.reshape(-1)).float()
        self.__dict__["_counted"] = len(right)  # what a plotted mean is a mean of
        return right.mean() if averaged else right

    def loss(self, Y_hat: Tensor, Y: Tensor, averaged: bool = True) -> Tensor:
        """Cross-entropy, in float32 also where the scores are in half precision.

        Args:
            Y_hat: ``(..., K)``.
            Y: As many labels.
            averaged: False gives the loss of each, ``(N,)``.
        """
        scores = Y_hat.reshape(-1, Y_hat.shape[-1])  # ...,K -> N,K
        if scores.dtype in (torch.bfloat16, torch.float16):
            scores = scores.float()
        return F.cross_entropy(scores, Y.reshape(-1), reduction="mean" if averaged else "none")

    def layer_summary(self, X_shape: Sequence[int]) -> None:
        """Send random numbers through ``self.net`` layer by layer and print every shape on stdout.

        Layers are in training mode, as they are found: batch norm and lazy layers take the numbers seriously.

        Args:
            X_shape: ``(N, C, H, W)``.
        """
        X = torch.randn(*X_shape).to(next((p.device for p in self.parameters()), torch.device("cpu")))
        for layer in self.net:
            X = layer(X)
            sys.stdout.write(f"{type(layer).__name__} output shape:\t {X.shape}\n")
