"""What layers give equals the layers run one by one, however the network is written."""

import pytest
import torch
from torch import Tensor, nn

from convscope.measure import activations, filters


def chain(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.5)),
        nn.Flatten(),
        nn.Linear(36, 5),
    )


X = torch.rand(7, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("batch_size", [3, 100])
def test_values_equal_the_layers_run_one_by_one(inplace, batch_size):
    model = chain(inplace=inplace)
    got = activations(model, X, batch_size=batch_size)
    assert list(got) == ["0", "1", "2", "3.0", "3.1", "4", "5"]
    model.eval()
    steps = [model[0], model[1], nn.ReLU(), model[3][0], model[3][1], model[4], model[5]]
    value = X
    for step, (layer, kept) in zip(steps, got.items(), strict=True):
        value = step(value)
        torch.testing.assert_close(kept, value.detach(), msg=lambda text, layer=layer: f"{layer}: {text}")
        assert not kept.requires_grad
    assert got["0"].min() < 0  # the layer that works in place did not change what was kept


def test_only_layers_that_are_asked_for_in_the_order_they_run_and_containers_too():
    got = activations(chain(), X, ["5", "3"])
    assert {layer: tuple(value.shape) for layer, value in got.items()} == {"3": (7, 4, 3, 3), "5": (7, 5)}


def test_a_module_that_runs_twice_has_two_rows():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(self.pool(x))

    got = activations(Twice(), X)
    assert list(got) == ["pool", "pool#2"]
    torch.testing.assert_close(got["pool#2"], nn.functional.avg_pool2d(X, 4))


@pytest.mark.parametrize("wrap", [lambda x: (x, x), lambda x: {"out": x}])
def test_a_model_that_returns_tuples_or_dicts_still_shows_its_layers(wrap):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.odd = nn.Conv2d(2, 3, 1), nn.LSTM(8, 2)

        def forward(self, x: Tensor) -> object:
            self.odd(x[:, 0])
            return wrap(self.body(x))

    model = Wrapped()
    assert list(activations(model, X)) == ["body"]
    with pytest.raises(TypeError, match="layer 'odd' gives a tuple; expected a tensor: name a layer inside it"):
        activations(model, X, ["odd"])
    assert not model.odd._forward_hooks


@pytest.mark.parametrize(
    ("inputs", "layers", "said"),
    [
        (X, ["convv1"], "unknown layer 'convv1'; did you mean 'conv1'?"),
        (X, ["idle"], "layer 'idle' does not run when the model is given images"),
        (X[:0], None, "expected at least one image, got none"),
        (X[0], None, r"expected images \(N, C, H, W\), got shape \(2, 8, 8\)"),
    ],
)
def test_what_cannot_be_shown_gets_one_sentence(inputs, layers, said):
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.idle = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv1(x)

    with pytest.raises(ValueError, match=said):
        activations(Small(), inputs, layers)


def test_nothing_stays_when_the_model_raises():
    model = chain().train()
    model[1].eval()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        activations(model, torch.rand(2, 2, 12, 12))
    assert all(not module._forward_hooks for module in model.modules())
    assert [module.training for module in model] == [True, False, True, True, True, True]


def test_filters_are_copies_of_every_convolution():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(nn.Conv2d(4, 4, (1, 5), groups=2)), nn.Conv1d(4, 2, 3))
    got = filters(model)
    assert {layer: tuple(weight.shape) for layer, weight in got.items()} == {"0": (4, 2, 3, 3), "1.0": (4, 2, 1, 5)}
    assert torch.equal(got["0"], model[0].weight)
    got["0"].zero_()
    assert model[0].weight.abs().sum() > 0


def test_models_without_filters_get_one_sentence():
    with pytest.raises(ValueError, match=r"Sequential has no convolution \(no nn.Conv2d\), so it has no filters"):
        filters(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(ValueError, match="layer '0' is lazy and has no weights yet; give the model an image first"):
        filters(nn.Sequential(nn.LazyConv2d(3, 3)))
    broken = chain()
    broken[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="there is NaN or infinity in the weights of layer '0'"):
        filters(broken)


class Scalar(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


def test_a_layer_that_gives_one_number_for_all_is_left_out_or_refused():
    class Judged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.mean = nn.Flatten(), Scalar()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) - self.mean(x)

    assert list(activations(Judged(), X)) == ["layer"]
    with pytest.raises(ValueError, match=r"layer 'mean' gives shape \(\), and no row for each of 7 images"):
        activations(Judged(), X, ["mean"])
