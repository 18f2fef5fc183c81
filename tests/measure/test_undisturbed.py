"""Whoever looks leaves everything as it was, bit for bit, also when the model raises half-way."""

import copy

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
