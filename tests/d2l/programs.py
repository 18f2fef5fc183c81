"""Programs as readers of the book write them, for ours and for the book's own library alike.

``python programs.py OUT.json`` runs them with whatever ``d2l`` is installed.
"""

import contextlib
import json
import sys
from pathlib import Path

import torch
from torch import nn


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a brightness that depends on the label; the same on every platform."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (count, 1, 28, 28), generator=generator).float().div(255)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return noise * 0.25 + labels.view(-1, 1, 1, 1) / 10 * 0.75, labels


def make_toy(d2l, *, train: int = 340, val: int = 84, batch_size: int = 32):
    """A data module: 11 batches to learn from and 3 to be judged by, the last of 20 images."""

    class Toy(d2l.DataModule):
        def __init__(self):
            super().__init__()
            self.batch_size = batch_size
            self.learn, self.judge = images(train, 3), images(val, 5)

        def get_dataloader(self, train):
            return self.get_tensorloader(self.learn if train else self.judge, train)

    return Toy()


def tiny_fashion():
    """In the place of Fashion-MNIST: 300 images to learn from and 100 to be judged by; a class is a grey level."""
    from convscope import data

    generator = torch.Generator().manual_seed(0)
    sets = []
    for count in (300, 100):
        labels = torch.randint(0, 10, (count,), generator=generator)
        images = torch.randint(0, 25, (count, 1, 28, 28), generator=generator) + labels.view(-1, 1, 1, 1) * 25
        sets.append(data.ImageSet(images.to(torch.uint8), labels, tuple("abcdefghij")))
    return data.Dataset("fashion-mnist", *sets, (0.5,), (0.25,), {"name_or_folder": "fashion-mnist"})


class BatchNorm(nn.Module):
    """By hand, as chapter 8 has it: statistics are plain tensors that are bound anew in every pass, and whether it
    learns is told by whether gradients are wanted."""

    def __init__(self, shape):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.moving_mean, self.moving_var = torch.zeros(shape), torch.ones(shape)

    def forward(self, X):
        self.moving_mean, self.moving_var = self.moving_mean.to(X.device), self.moving_var.to(X.device)
        if torch.is_grad_enabled():
            axes = (0,) if X.ndim == 2 else (0, 2, 3)
            mean = X.mean(axes, keepdim=True)
            var = ((X - mean) ** 2).mean(axes, keepdim=True)
            self.moving_mean = (0.9 * self.moving_mean + 0.1 * mean).data
            self.moving_var = (0.9 * self.moving_var + 0.1 * var).data
        else:
            mean, var = self.moving_mean, self.moving_var
            self.moving_mean, self.moving_var = mean.data, var.data
        return self.gamma * (X - mean) / torch.sqrt(var + 1e-5) + self.beta


def models(d2l):
    """One class for each trait that could go another way."""

    class LeNet(d2l.LeNet):
        pass

    class Small(d2l.Classifier):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Sequential(*self.layers())

    class Dropout(Small):
        def layers(self):
            return [
                *(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()),
                *(nn.LazyLinear(20), nn.ReLU(), nn.Dropout(0.5), nn.LazyLinear(10)),
            ]

    class Scratch(Small):
        def layers(self):
            return [
                *(nn.LazyConv2d(4, 3), BatchNorm((1, 4, 1, 1)), nn.Sigmoid(), nn.AvgPool2d(4, 4), nn.Flatten()),
                *(nn.LazyLinear(20), BatchNorm((1, 20)), nn.Sigmoid(), nn.LazyLinear(10)),
            ]

    class Blocks(Small):
        def layers(self):
            block = d2l.ResNeXtBlock(16, 4, 1, use_1x1conv=True, strides=2)
            return [
                *(nn.LazyConv2d(8, 5, stride=3), d2l.Residual(8), block),
                *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10)),
            ]

    return {
        "lenet": (LeNet, True, {}),
        "dropout": (Dropout, True, {}),
        "lazy, without apply_init": (Dropout, False, {}),
        "batch norm by hand": (Scratch, True, {}),
        "blocks, clipped": (Blocks, True, {"gradient_clip_val": 0.5}),
    }


def run(d2l, kind, *, init: bool, epochs: int = 3, **options) -> dict:
    """Train with a seed; everything that may be compared."""
    losses: list[float] = []

    class Recorded(kind):
        def training_step(self, batch):
            loss = super().training_step(batch)
            losses.append(float(loss.detach()))
            return loss

    torch.manual_seed(0)
    data, model = make_toy(d2l), Recorded()
    model.board.display = False
    if init:
        model.apply_init([next(iter(data.get_dataloader(True)))[0]], d2l.init_cnn)
    trainer = d2l.Trainer(max_epochs=epochs, **options)
    trainer.fit(model, data)
    board = model.board
    return {
        "losses": losses,
        "data": {name: [[float(p.x), float(p.y)] for p in line] for name, line in board.data.items()},
        "waiting": {name: len(points) for name, points in board.raw_points.items()},
        "weights": sum(float(p.detach().double().abs().sum()) for p in model.parameters()),
        "position": [trainer.epoch, trainer.train_batch_idx, trainer.val_batch_idx],
        "training": model.training,
        "drawn after it": torch.rand(3).tolist(),
    }


def all_of_them(d2l) -> dict:
    torch.set_num_threads(1)
    return {name: run(d2l, kind, init=init, **more) for name, (kind, init, more) in models(d2l).items()}


class Enough(Exception):
    """Twenty steps are enough."""


def fashion(d2l) -> dict:
    """LeNet of the book on Fashion-MNIST, twenty steps of it, and single batches of several sizes."""
    torch.set_num_threads(1)
    losses: list[float] = []

    class LeNet(d2l.LeNet):
        def training_step(self, batch):
            loss = super().training_step(batch)
            losses.append(float(loss.detach()))
            if len(losses) == 20:
                raise Enough
            return loss

    torch.manual_seed(0)
    data = d2l.FashionMNIST(batch_size=128)
    model = LeNet(lr=0.1)
    model.board.display = False
    model.apply_init([next(iter(data.get_dataloader(True)))[0]], d2l.init_cnn)
    with contextlib.suppress(Enough):
        d2l.Trainer(max_epochs=10, num_gpus=1).fit(model, data)
    found = {"losses": losses}
    for size in ((28, 28), (96, 96), (32, 24)):
        torch.manual_seed(1)
        data = d2l.FashionMNIST(batch_size=64, resize=size)
        X, y = next(iter(data.get_dataloader(True)))
        one, label = data.train[7]
        weights = torch.arange(1, X[0].numel() + 1).double() % 97  # a change of places shows too
        found[f"{size[0]}x{size[1]}"] = {
            "labels": y.tolist(),
            "shape": list(X.shape),
            "sum": float((X.double().flatten(1) * weights).sum()),
            "one": [float((one.double().flatten() * weights).sum()), label],
            "batches": [len(data.get_dataloader(True)), len(data.get_dataloader(False))],
        }
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
    import torchvision_on_cpu

    torchvision_on_cpu.import_networks()  # beside a torch without CUDA the book's library needs help
    from d2l import torch as book

    results = {"toy": all_of_them(book)}
    if "--fashion" in sys.argv:
        results["fashion"] = fashion(book)
    Path(sys.argv[1]).write_text(json.dumps(results))
