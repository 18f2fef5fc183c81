"""For every rule a network that it must find, and the nearest one that it must let pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Case:
    """What a rule must say of one network and not of another."""

    rule: str
    guilty: Callable[[], nn.Module]
    innocent: Callable[[], nn.Module]
    where: str
    says: str
    severity: str = "warning"
    size: tuple[int, ...] = (1, 8, 8)
    innocent_size: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    about: str = ""

    @property
    def id(self) -> str:
        return f"{self.rule} {self.about}".strip()


class Forward(nn.Module):
    """Modules by name, and what to do with them."""

    def __init__(self, forward: Callable[..., Any], **children: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: torch.Tensor) -> Any:
        return self._forward(self, x)


def made(forward: Callable[..., Any], **children: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Forward(forward, **{name: make() for name, make in children.items()})


def chain(*makers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*(make() for make in makers))


def conv(*args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(*args, **options)


def linear(*args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(*args, **options)


def filled(make: Callable[[], nn.Module], weight: float, bias: float = 0.0) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = make()
        nn.init.constant_(layer.weight, weight)
        nn.init.constant_(layer.bias, bias)
        return layer

    return build


def xavier(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = make()
        nn.init.xavier_uniform_(layer.weight)
        return layer

    return build


def with_nan(make: Callable[[], nn.Module], value: float) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = make()
        with torch.no_grad():
            layer.weight[0, 0] = value
        return layer

    return build


class Named(nn.Module):
    """A grouped convolution in a block that says what it means by ``groups``."""

    def __init__(self, said: int, number: int) -> None:
        super().__init__()
        self.groups = said
        self.conv = nn.Conv2d(32, 32, 3, groups=number)
        self.other = nn.Conv2d(32, 64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(F.relu(self.conv(x)))


def frozen(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: make().requires_grad_(False)


def in_training_only(net: nn.Module, x: torch.Tensor) -> Any:
    return (net.body(x), net.aux(x)) if net.training else net.body(x)


def refuses(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if net.training:
        raise RuntimeError("only for prediction")
    return net.body(x)


def two_norms(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = net.conv(x)
    return net.norm(y) + y


POSITIVE = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
C8 = conv(8, 8, 3, padding=1)

CASES = [
    Case("uneven-padding", conv(1, 1, 7, stride=2, padding=3), conv(1, 1, 7, stride=2, padding=3), "forward",
         "rows and columns: 224 + 6 - 7 = 223 is no multiple of the stride 2, so 3 px of padding are read before "
         "the map and 2 after it", size=(1, 224, 224), innocent_size=(1, 225, 225)),
    Case("uneven-padding", conv(1, 1, 3, stride=(2, 1), padding=1), conv(1, 1, 3, stride=(1, 2), padding=1), "forward",
         "rows: 8 + 2 - 3 = 7 is no multiple", size=(1, 8, 9), about="rows only"),
    Case("uneven-padding", chain(lambda: nn.ZeroPad2d((0, 1, 0, 1)), conv(1, 1, 3, stride=2)),
         chain(lambda: nn.ZeroPad2d(1), conv(1, 1, 3, stride=2)), "1",
         "so 0 px of padding are read before the map and 1 after it",
         innocent_size=(1, 9, 9), about="padded apart"),
    Case("uneven-padding", lambda: nn.MaxPool2d(3, 2, padding=1), lambda: nn.MaxPool2d(3, 2, ceil_mode=True), "forward",
         "8 + 2 - 3 = 7 is no multiple of the stride 2, so 1 px of padding are read before the map and 0 after it",
         about="pool"),
    Case("skipped-pixels", conv(1, 1, 1, stride=2), conv(1, 1, 2, stride=2), "forward",
         "a 1x1 kernel with stride 2x2 reads 1 of 4 pixels."),
    Case("skipped-pixels", conv(1, 1, 3, stride=2, dilation=2, padding=2), conv(1, 1, 3, stride=2, dilation=3),
         "forward", "a 3x3 kernel with stride 2x2 reads 1 of 4 pixels", size=(1, 9, 9), about="dilated"),
    Case("skipped-pixels", conv(1, 1, (3, 2), stride=(2, 3)), conv(1, 1, (3, 3), stride=(2, 3)), "forward",
         "a 3x2 kernel with stride 2x3 reads 4 of 6 pixels", about="columns only"),
    Case("skipped-pixels", made(lambda n, x: n.a(x) + n.b(x), a=conv(1, 2, 3, 2, 1), b=conv(1, 2, 1, 2)),
         made(lambda n, x: n.a(x) + n.b(x), a=conv(1, 2, 3, 2, 1), b=conv(1, 2, 2, 2)), "b",
         "reads 1 of 4 pixels; a reads them beside it", severity="info", about="shortcut"),
    Case("unread-border", lambda: nn.MaxPool2d(2), lambda: nn.MaxPool2d(2, ceil_mode=True), "forward",
         "rows and columns: 7 with a window of 2 and stride 2, so the last 1 is never read", size=(1, 7, 7)),
    Case("unread-border", conv(1, 1, 5, stride=4), conv(1, 1, 5, stride=4), "forward",
         "columns: 12 with a window of 5 and stride 4, so the last 3 are never read", size=(1, 9, 12),
         innocent_size=(1, 9, 13), about="columns only"),
    Case("even-kernel-same", conv(1, 1, 4, padding="same"), conv(1, 1, 3, padding="same"),
         "forward", "a 4x4 kernel with padding 1 before and 2 after the rows and 1 before and 2 after the columns "
         "moves the map by 0.5 px along rows and 0.5 px along columns"),
    Case("even-kernel-same", conv(1, 1, (3, 2), padding="same"), conv(1, 1, 2, padding=1), "forward",
         "a 3x2 kernel with padding 0 before and 1 after the columns moves the map by 0.5 px along columns",
         about="columns only"),
    Case("kernel-on-padding", conv(1, 1, 3, padding=1), conv(1, 1, 3, padding=1), "forward",
         "8 of the 9 taps of a 3x3 kernel only ever read padding around a 1x1 map", size=(1, 1, 1),
         innocent_size=(1, 2, 2)),
    Case("kernel-on-padding", conv(1, 1, 3, padding=8, dilation=8), conv(1, 1, 3, padding=7, dilation=7), "forward",
         "8 of the 9 taps", about="dilated"),
    Case("field-beyond-image", chain(conv(1, 1, 5), conv(1, 1, 5, padding=3), conv(1, 1, 3)),
         chain(conv(1, 1, 5), conv(1, 1, 4, padding=3), conv(1, 1, 3)), "2",
         "what it reads sees 9x9 pixels already, of an image of 8x8, of 3 convolutions wider than 1x1",
         severity="info"),
    Case("field-beyond-image", chain(conv(1, 1, 9, padding=4), conv(1, 1, 1), conv(1, 1, 3), conv(1, 1, 3)),
         chain(conv(1, 1, 9, padding=4), conv(1, 1, 1)), "2",
         "it is the first of 2, the last is 3, of 3 convolutions", severity="info", about="several"),
    Case("small-final-map", chain(conv(1, 1, 8), lambda: nn.AdaptiveAvgPool2d(1)),
         chain(conv(1, 1, 7), lambda: nn.AdaptiveAvgPool2d(1)), "1", "a global pool gets a map of 1x1 pixels"),
    Case("small-final-map", lambda: nn.AdaptiveAvgPool2d(7), lambda: nn.AdaptiveAvgPool2d(7), "forward",
         "a pool makes 7x7 pixels of 3x3: copies", size=(1, 3, 3), innocent_size=(1, 7, 7), about="copies"),
    Case("bias-before-norm", chain(conv(1, 4, 3), lambda: nn.BatchNorm2d(4)),
         chain(conv(1, 4, 3, bias=False), lambda: nn.BatchNorm2d(4)), "0", "its 4 biases are cancelled by 1",
         severity="info"),
    Case("bias-before-norm", chain(nn.Flatten, linear(64, 5), lambda: nn.BatchNorm1d(5)),
         chain(nn.Flatten, linear(64, 5), nn.ReLU, lambda: nn.BatchNorm1d(5)), "1", "its 5 biases are cancelled by 2",
         severity="info", about="dense"),
    Case("bias-before-norm", chain(conv(1, 4, 3), lambda: nn.BatchNorm2d(4, affine=False)),
         made(two_norms, conv=conv(1, 4, 3), norm=lambda: nn.BatchNorm2d(4)), "0", "its 4 biases", severity="info",
         about="read twice"),
    Case("missing-nonlinearity", chain(conv(1, 8, 3, padding=1), conv(8, 4, 5)),
         chain(conv(1, 8, 3, padding=1), nn.ReLU, conv(8, 4, 5)), "1",
         "it folds into one layer with 0: 3x3 and 5x5 without an activation between them see no more than one 7x7"),
    Case("missing-nonlinearity", chain(conv(1, 8, 3, stride=2), lambda: nn.BatchNorm2d(8), conv(8, 4, 3)),
         chain(conv(8, 2, 1), lambda: nn.BatchNorm2d(2), conv(2, 8, 3)), "2", "3x3 and 3x3 without an activation "
         "between them see no more than one 7x7", innocent_size=(8, 8, 8), about="bottleneck"),
    Case("missing-nonlinearity", chain(conv(1, 4, 3), lambda: nn.AvgPool2d(2), nn.Flatten, linear(36, 3)),
         chain(conv(1, 4, 3), lambda: nn.MaxPool2d(2), nn.Flatten, linear(36, 3)), "3",
         "there is no activation between a convolution and a dense layer", about="dense"),
    Case("missing-nonlinearity", chain(conv(4, 8, 3), conv(8, 8, 3)), chain(conv(4, 4, 3, groups=4), conv(4, 8, 1)),
         "1", "one 5x5", size=(4, 8, 8), about="depthwise"),
    Case("missing-nonlinearity", chain(conv(4, 4, 3), conv(4, 4, 3)), chain(conv(4, 4, (1, 3)), conv(4, 4, (3, 1))),
         "1", "one 5x5", size=(4, 8, 8), about="separable"),
    Case("final-softmax", chain(nn.Flatten, linear(64, 10), lambda: nn.Softmax(1)),
         chain(nn.Flatten, linear(64, 10), lambda: nn.LogSoftmax(1)), "2",
         "a softmax over 10 classes, so that cross-entropy cannot fall below 1.461"),
    Case("final-softmax", made(lambda n, x: F.softmax(n.fc(x.flatten(1)), 1), fc=linear(64, 2)),
         made(lambda n, x: (lambda y: y if n.training else y.softmax(1))(n.fc(x.flatten(1))), fc=linear(64, 2)),
         "forward", "a softmax over 2 classes, so that cross-entropy cannot fall below 0.313", about="only in eval"),
    Case("dense-share", chain(conv(1, 4, 3), nn.Flatten, linear(144, 10)),
         chain(conv(1, 4, 3), lambda: nn.AdaptiveAvgPool2d(1), nn.Flatten, linear(4, 10)), "2",
         "dense layers hold 1,450 of 1,490 parameters (97.3%) and do 52.6% of the MACs; this one reads a flattened "
         "4x6x6 map", severity="info"),
    Case("dense-share", chain(conv(1, 4, 3), nn.Flatten, linear(144, 10)), chain(nn.Flatten, linear(64, 10)), "2",
         "1,450 of 1,490", severity="info", about="no convolution"),
    Case("group-width", conv(32, 32, 3, groups=2), conv(32, 32, 3, groups=16), "forward",
         "2 groups, each 16 channels wide, have 4,608 weights; 16 groups of 2 would have 576.", severity="info",
         size=(32, 8, 8)),
    Case("group-width", chain(conv(32, 32, 3, groups=2), nn.ReLU, conv(32, 32, 1)),
         chain(conv(32, 32, 3, groups=2), nn.ReLU, conv(32, 64, 3, groups=2), nn.ReLU, conv(64, 64, 1, groups=2)), "0",
         "2 groups", severity="info", size=(32, 8, 8), about="one number of groups"),
    Case("group-width", lambda: nn.Sequential(Named(16, 2), nn.ReLU(), nn.Conv2d(64, 8, 1)),
         lambda: nn.Sequential(Named(2, 2), nn.ReLU(), nn.Conv2d(64, 8, 1)), "0.conv",
         "2 groups, each 16 channels wide, have 4,608 weights; 16 groups of 2 would have 576; 0.groups is 16",
         size=(32, 8, 8), about="named"),
    Case("refuses-training", made(refuses, body=conv(1, 1, 3)), conv(1, 1, 3), "forward",
         "in training mode, for images 2x1x8x8, it raises RuntimeError: only for prediction", severity="error"),
    Case("unused-layer", made(lambda n, x: n.a(x), a=conv(1, 2, 3), b=conv(2, 3, 3)),
         made(in_training_only, body=conv(1, 2, 3), aux=conv(1, 2, 3)), "b",
         "Conv2d with 57 parameters never runs"),
    Case("unused-layer", made(lambda n, x: n.a(x), a=conv(1, 2, 3), act=nn.ReLU),
         made(lambda n, x: n.a(x), a=conv(1, 2, 3), loss=nn.CrossEntropyLoss, skip=nn.Identity), "act",
         "ReLU with 0 parameters never runs", severity="info", about="without parameters"),
    Case("unused-layer", made(lambda n, x: n.a(x), a=conv(1, 2, 3), b=conv(2, 3, 3)),
         made(lambda n, x: F.conv2d(x, n.b.weight), b=conv(1, 2, 3)), "b", "57", about="weight read"),
    Case("no-gradient", made(lambda n, x: n.b(n.a(x).detach()), a=conv(1, 2, 3), b=conv(2, 2, 3)),
         made(lambda n, x: n.b(n.a(x)), a=conv(1, 2, 3), b=conv(2, 2, 3)), "a",
         "no gradient reaches 20 of 58 parameters: a.weight, a.bias."),
    Case("no-gradient", chain(frozen(conv(1, 2, 3)), nn.ReLU, conv(2, 2, 3)), chain(conv(1, 2, 3), nn.ReLU), "0",
         "20 of 58 parameters are frozen: 0.weight, 0.bias.", severity="info", about="frozen"),
    Case("overwritten-input", made(lambda n, x: n.conv(n.act(x)) + x, conv=C8, act=lambda: nn.ReLU(inplace=True)),
         made(lambda n, x: n.conv(n.act(x)) + x, conv=C8, act=nn.ReLU), "act",
         "relu_ overwrites what came into the network from outside, and 2 read it afterwards: conv (convolution), "
         "forward (add).", size=(8, 8, 8)),
    Case("overwritten-input",
         made(lambda n, x: (lambda y: n.b(y) + n.act(y))(n.a(x)), a=C8, b=C8, act=lambda: nn.ReLU(inplace=True)),
         made(lambda n, x: n.b(n.act(n.a(x))) + x, a=C8, b=C8, act=lambda: nn.ReLU(inplace=True)), "act",
         "relu_ overwrites what b (convolution) read before", size=(8, 8, 8), about="read before"),
    Case("reused-activation", made(lambda n, x: n.act(n.b(n.act(n.a(x)))), a=C8, b=C8, act=nn.ReLU),
         made(lambda n, x: n.a(F.relu(n.a(F.relu(x)))), a=C8), "act", "ReLU runs 2 times", severity="info",
         size=(8, 8, 8)),
    Case("default-weights", chain(conv(1, 32, 5), nn.Sigmoid, xavier(conv(32, 8, 3))),
         chain(conv(1, 32, 5), nn.ReLU, conv(32, 8, 3)), "0",
         "its 800 weights are as PyTorch draws them, uniform up to 0.2, and a sigmoid follows"),
    Case("default-weights", chain(xavier(conv(1, 32, 5)), nn.ReLU, conv(32, 32, 3), nn.ReLU, xavier(conv(32, 8, 1))),
         chain(xavier(conv(1, 32, 5)), nn.ReLU, xavier(conv(32, 32, 3)), nn.ReLU, conv(32, 8, 1)), "2",
         "its 9,216 weights are as PyTorch draws them, uniform up to 0.05893, while 2 of 3 convolutions are not",
         severity="info", about="left out"),
    Case("constant-weights", chain(filled(conv(1, 4, 3), 0.5), nn.ReLU, conv(4, 2, 1)),
         chain(conv(1, 4, 3), nn.ReLU, filled(conv(4, 2, 1), 0.0)), "0", "all 36 weights are 0.5", severity="error"),
    Case("constant-weights", chain(filled(C8, 0.0), nn.ReLU, C8),
         made(lambda n, x: n.b(x + n.a(x)), a=filled(C8, 0.0), b=C8), "0", "all 576 weights are 0", severity="error",
         size=(8, 8, 8), about="end of a branch"),
    Case("weights-not-finite", with_nan(conv(1, 4, 3), float("nan")), with_nan(conv(1, 4, 3), 1e30), "forward",
         "9 of 36 numbers in weight are NaN", severity="error"),
    Case("dead-relu", chain(filled(conv(1, 4, 3), -0.1), nn.ReLU), chain(filled(conv(1, 4, 3), 0.1), nn.ReLU), "1",
         "4 of 4 channels (100%) are zero for all of the 8 images given", options={"images": POSITIVE}),
    Case("dead-relu", chain(filled(conv(1, 4, 3), 0.1, -90.0), nn.ReLU), chain(filled(conv(1, 4, 3), -0.1), nn.ReLU),
         "1", "4 of 4 channels (100%) are zero for all of 32 random images", about="random images"),
]  # fmt: skip
