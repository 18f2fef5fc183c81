"""One epoch of training and its evaluation with d2l 1.0.3, as the book's cells do it; prints the seconds as JSON."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")
import torch
from _peer import asked, make_torchvision_importable, timed
from torch import nn

make_torchvision_importable()
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


def main() -> None:
    """Time ``Trainer.fit``."""
    words = asked()
    torch.set_num_threads(words.threads)
    resize = (words.size, words.size)
    images = d2l.FashionMNIST(batch_size=128, resize=resize)
    if words.images:
        images.train = torch.utils.data.Subset(images.train, range(words.images))
        images.val = torch.utils.data.Subset(images.val, range(min(words.images, len(images.val))))
    model = d2l.LeNet(lr=0.1) if words.model == "lenet" else ResNet18(lr=0.01)
    model.apply_init([next(iter(images.get_dataloader(True)))[0]], d2l.init_cnn)
    trainer = d2l.Trainer(max_epochs=1)
    timed(lambda: trainer.fit(model, images), name="d2l", version="1.0.3")


main()
