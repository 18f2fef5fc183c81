"""Small networks that summaries get wrong."""

import torch
from torch import nn
from torch.nn import functional as F


class Functional(nn.Module):
    """All arithmetic in ``forward``: modules alone show nothing of it."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.body = nn.Sequential(nn.ReLU())
        self.head = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        x = self.body(F.conv2d(x, self.kernel, padding=1))
        return x.mean((2, 3)) @ self.head.T


class Reused(nn.Module):
    """One layer runs three times, another has the same weight under a second name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.tied = nn.Conv2d(4, 4, 3, padding=1)
        self.tied.weight = self.conv.weight

    def forward(self, x):
        return self.tied(self.conv(self.conv(self.conv(x))))


class Returns(nn.Module):
    """A dict with a tuple in it."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x)
        return {"maps": (x, x.relu()), "scores": self.head(x.mean((2, 3))), "note": "none"}


class LooksAtValues(nn.Module):
    """The way depends on the image."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.calls = 0
        self.seen = []

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        x = self.conv(x)
        return x.relu() if x.sum() > -1e9 else self.conv(x)


class Raises(nn.Module):
    """Writes into itself and into the random numbers, then gives up."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.register_buffer("count", torch.zeros(3))
        self.notes = {"a": 1}

    def forward(self, x):
        x = self.norm(self.conv(x))
        self.count += 1
        with torch.no_grad():
            self.conv.weight.mul_(2)
            self.conv.bias.data.zero_()
        self.notes["b"] = torch.rand(1)
        self.extra = x
        self.conv.eval()
        raise RuntimeError("no further")


class Attention(nn.Module):
    """Matrix products of two activations, and a mean over tokens."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.mix = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)

    def forward(self, x):
        return self.mix(self.patch(x).flatten(2).transpose(1, 2)).mean(1)


class InPlace(nn.Module):
    """Writes through views and over its own inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.act(self.conv(x))
        y[:, :2] += 1
        y.mul_(0.5)
        return y
