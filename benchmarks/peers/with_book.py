"""A program as the book's readers write it, on the book's library or on ours; prints the seconds as JSON.

The program is the same; ``--ours PRECISION`` puts ``convscope.d2l`` under its import. Plots are on in both.
"""

from __future__ import annotations

import argparse
import os
import sys

import matplotlib as mpl

mpl.use("Agg")
from _peer import asked, make_torchvision_importable, timed

OURS = "--ours" in sys.argv
if OURS:
    import convscope.d2l.activate  # noqa: F401
else:
    make_torchvision_importable()  # imports PyTorch
import torch  # noqa: E402
from torch import nn  # noqa: E402

from d2l import torch as d2l  # noqa: E402


class ResNet18(d2l.Classifier):
    """Stages of two of the library's residual blocks, 64 to 512 channels, as in the book's chapter on ResNet."""

    def __init__(self, lr: float = 0.01, num_classes: int = 10) -> None:
        super().__init__()
        self.save_hyperparameters()
        stages = [
            nn.Sequential(
                d2l.Residual(channels, use_1x1conv=channels > 64, strides=2 if channels > 64 else 1),
                d2l.Residual(channels),
            )
            for channels in (64, 128, 256, 512)
        ]
        stem = nn.Sequential(
            nn.LazyConv2d(64, kernel_size=7, stride=2, padding=3),
            nn.LazyBatchNorm2d(),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.LazyLinear(num_classes))
        self.net = nn.Sequential(stem, *stages, head)


def limited(images: d2l.FashionMNIST, count: int) -> None:
    """The first images of each split; ours were told by the variable that ``convscope notebook --limit`` sets."""
    if count and not OURS:
        images.train = torch.utils.data.Subset(images.train, range(count))
        images.val = torch.utils.data.Subset(images.val, range(min(count, len(images.val))))


def main(words: argparse.Namespace) -> None:
    """Time ``Trainer.fit``."""
    torch.set_num_threads(words.threads)
    torch.manual_seed(0)
    images = d2l.FashionMNIST(batch_size=128, resize=(words.size, words.size))
    limited(images, words.images)
    model = d2l.LeNet(lr=0.1) if words.model == "lenet" else ResNet18(lr=0.01)
    model.apply_init([next(iter(images.get_dataloader(True)))[0]], d2l.init_cnn)
    how = {"precision": words.ours} if OURS else {}
    trainer = d2l.Trainer(max_epochs=words.epochs, **how)

    def fit() -> dict[str, object]:
        trainer.fit(model, images)
        return {"train_loss": float(model.board.data["train_loss"][-1].y)}

    timed(fit, name="convscope.d2l" if OURS else "d2l", version="" if OURS else "1.0.3")


words = asked()
if words.images:
    os.environ["CONVSCOPE_LIMIT"] = str(words.images)
main(words)
