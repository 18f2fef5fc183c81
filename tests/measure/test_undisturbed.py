"""Whoever looks leaves everything as it was, bit for bit, also when the model raises half-way."""

import copy
import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import measure
from convscope.data import ImageSet, Preprocess
from convscope.measure.undisturbed import device_of, undisturbed

SEEN = Preprocess((8, 8), (0.5,), (0.25,))
IMAGES = torch.randint(0, 256, (12, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELLED = ImageSet(IMAGES, torch.arange(12) % 3, ("a", "b", "c"))
X = SEEN(IMAGES)

CALLS = {
    "activations": lambda model: measure.activations(model, X),
    "border_effect": lambda model: measure.border_effect(model, X),
    "equivariance_error": lambda model: measure.equivariance_error(model, X),
    "evaluate": lambda model: measure.evaluate(model, LABELLED, SEEN),
    "filters": lambda model: measure.filters(model),
    "grad_cam": lambda model: measure.grad_cam(model, X),
    "input_gradients": lambda model: measure.input_gradients(model, X),
    "linear_probes": lambda model: measure.linear_probes(model, LABELLED, LABELLED, SEEN),
    "occlusion": lambda model: measure.occlusion(model, IMAGES, SEEN),
    "predict": lambda model: measure.predict(model, IMAGES, SEEN),
    "sensitivity": lambda model: measure.sensitivity(model, IMAGES, SEEN),
    "shift_consistency": lambda model: measure.shift_consistency(model, IMAGES, SEEN, 1),
    "top_patches": lambda model: measure.top_patches(model, IMAGES, SEEN),
}


class Restless(nn.Module):
    """Draws random numbers and counts its calls, whatever mode it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + 0 * torch.rand(())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(4),
        Restless(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(144, 3),
    )
    model.train()
    model[3].eval()  # a frozen batch norm in a model that trains
    model[0].weight.requires_grad_(False)
    model[7].weight.grad = torch.full_like(model[7].weight, 0.25)
    model[1].register_forward_hook(lambda *_: None)
    return model


def state(model: nn.Module) -> list[object]:
    tensors = [(name, value.clone()) for name, value in model.state_dict().items()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    rest = [
        (module.training, len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in model.modules()
    ]
    return [tensors, gradients, rest, [p.requires_grad for p in model.parameters()], torch.get_rng_state()]


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("call", CALLS)
def test_everything_is_as_it_was(call):
    model = network()
    images, x = IMAGES.clone(), X.clone()
    before = copy.copy(state(model))
    CALLS[call](model)
    assert same(state(model), before)
    assert torch.equal(IMAGES, images)
    assert torch.equal(X, x)


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("out of ink")


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"filters"}))
def test_everything_is_as_it_was_when_the_model_raises(call):
    model = network()
    model[6] = Fails()
    before = state(model)
    with pytest.raises(RuntimeError, match="out of ink"):
        CALLS[call](model)
    assert same(state(model), before)


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"filters", "activations", "equivariance_error", "linear_probes"}))
@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: {"scores": x}])
def test_models_that_give_tuples_or_dicts_get_one_sentence(call, wrap):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> object:
            return wrap(self.inner(x))

    model = Wrapped()
    if call == "top_patches":
        assert CALLS[call](model).layer == "inner.0"
        return
    with pytest.raises(TypeError, match="expected the model to give one tensor of scores"):
        CALLS[call](model)


@pytest.mark.parametrize(
    "call",
    ["border_effect", "evaluate", "grad_cam", "input_gradients", "occlusion", "sensitivity", "shift_consistency"],
)
def test_nan_weights_are_named(call):
    model = network()
    model[0].weight.data[1, 0, 2, 2] = float("nan")
    with pytest.raises(
        ValueError, match=r"scores that are no numbers: there is NaN or infinity in its weights 0\.weight"
    ):
        CALLS[call](model)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("call", CALLS)
def test_a_model_on_an_accelerator_gives_the_same(call):
    device = torch.accelerator.current_accelerator()
    model = network().to(device)
    if call in ("evaluate", "predict"):  # these bring the model to the device that they are told
        return
    CALLS[call](model)
    assert device_of(model).type == device.type


def test_a_model_without_tensors_is_on_the_cpu():
    with undisturbed(nn.ReLU()) as device:
        assert device == torch.device("cpu")


class Meter:
    def __init__(self) -> None:
        self.values: list[float] = []
        self.total = 0.0


class Changes(nn.Module):
    """Changes whatever a module can hold, and draws from every source of random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.register_buffer("running", torch.zeros(2))
        self.calls, self.cache, self.queue = 0, {"maps": [1, [2]]}, deque([1, 2])
        self.meter, self.array, self.plain = Meter(), np.zeros(3), torch.zeros(2)
        self.torch_numbers, self.numpy_numbers = torch.Generator(), np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        self.running = self.running + 1
        self.calls += 1
        self.cache["maps"][1].append(3)
        self.cache["new"] = x
        self.queue.append(3)
        self.meter.values.append(1.0)
        self.meter.total += 1
        self.array += 1
        self.plain += 1
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1, generator=self.torch_numbers)
        self.numpy_numbers.random()
        with torch.no_grad():
            self.conv.weight.data = self.conv.weight.data * 2
            self.conv.bias.mul_(2)
        return self.conv(x).mean((2, 3))

    def held(self) -> str:
        return str([
            self.state_dict(), self.calls, self.cache, self.queue, vars(self.meter), self.array, self.plain,
            self.torch_numbers.get_state().sum(), self.numpy_numbers.bit_generator.state,
            random.getstate(), np.random.get_state()[1].sum(), torch.get_rng_state().sum(),  # noqa: NPY002
        ])  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
def test_attributes_reassigned_buffers_and_every_generator_come_back(fails):
    model = Changes()
    before, weight = model.held(), model.conv.weight.data_ptr()
    try:
        with undisturbed(model):
            model(X)
            assert model.held() != before
            if fails:
                raise RuntimeError("out of ink")
    except RuntimeError:
        assert fails
    assert model.held() == before
    assert model.conv.weight.data_ptr() == weight


def test_lazy_layers_get_one_sentence():
    with pytest.raises(ValueError, match=r"0\.weight has no shape before the network has seen images: call the model"):
        measure.activations(nn.Sequential(nn.LazyConv2d(2, 3)), X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_can_be_used():
    model = torch.jit.script(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).train())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with undisturbed(model):
        assert not model.training
        model.train()(X)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
