"""One epoch of training and its evaluation with Lightning and torchvision's data set; prints the seconds as JSON."""

from __future__ import annotations

import logging
import tempfile
import warnings

import torch
from _peer import asked, make_torchvision_importable, timed
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

make_torchvision_importable()
import lightning  # noqa: E402
from torchvision import datasets, transforms  # noqa: E402

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class LeNet(lightning.LightningModule):
    """The book's LeNet with plain SGD at 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()),
            *(nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
        )

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        scores = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_acc", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    """Time ``Trainer.fit`` with the workers that Lightning's documentation recommends: one for each core."""
    words = asked()
    torch.set_num_threads(words.threads)
    train, test = (datasets.FashionMNIST(words.data, train=t, transform=transforms.ToTensor()) for t in (True, False))
    if words.images:
        train = Subset(train, range(words.images))
    loaders = [
        DataLoader(train, 128, shuffle=True, num_workers=words.threads, persistent_workers=True),
        DataLoader(test, 128, num_workers=words.threads, persistent_workers=True),
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            default_root_dir=folder,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
        )
        timed(lambda: trainer.fit(LeNet(), *loaders), name="lightning", version=lightning.__version__)


main()
