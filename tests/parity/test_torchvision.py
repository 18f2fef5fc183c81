"""The same weights give the same scores as torchvision, for every network that both have."""

import pytest
import torch
from torch import nn

from convscope import models
from parity import torchvision_on_cpu

if not torchvision_on_cpu.is_installed():
    pytest.skip(torchvision_on_cpu.INSTALL, allow_module_level=True)

networks = torchvision_on_cpu.import_networks()
SHARED = sorted(set(models.names()) & set(networks.list_models(module=networks)))
SIDE = 64  # pixels: the smallest that every ImageNet stem accepts


def create(name, **arguments):
    """Our network, its weights unset."""
    return models.create(name, image_size=SIDE, stem="imagenet", device="meta", **arguments)


def theirs(name, **arguments):
    """torchvision's network with no extra heads, its weights unset: they are filled before use."""
    if name == "googlenet":
        arguments |= {"aux_logits": False, "init_weights": False, "transform_input": False}
    if name.startswith("regnet"):  # computes its widths with tensors, which the meta device has no values of
        return networks.get_model(name, **arguments)
    with torch.device("meta"):
        return networks.get_model(name, **arguments)


def draw(shapes):
    """Weights for every key: of He's size, so that no layer dies; running statistics that are not 0 and 1."""
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in shapes.items():
        if not value.is_floating_point():
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif value.ndim > 1:
            bound = (6 / value[0].numel()) ** 0.5
            state[key] = torch.empty(value.shape).uniform_(-bound, bound, generator=generator)
        else:
            low, high = (0.5, 1.0) if key.endswith(("weight", "running_var")) else (-0.1, 0.1)
            state[key] = torch.empty(value.shape).uniform_(low, high, generator=generator)
    return state


def test_every_name_that_torchvision_has_is_compared():
    only_ours = set(models.names()) - set(SHARED)
    assert len(SHARED) == 26
    assert all(
        name.endswith(("_cifar", "_narrow", "lenet", "nin")) or name[:3] in ("con", "wrn", "pre", "res")
        for name in only_ours
    )


@pytest.mark.parametrize("name", SHARED)
def test_same_weights_same_scores(name):
    reference = theirs(name, num_classes=10).eval()
    ours = create(name, num_classes=10).eval()
    state = draw(reference.state_dict())
    reference.load_state_dict(state, assign=True)
    ours.load_state_dict(state, assign=True)  # strict: the keys and the shapes are the same
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = reference(x), ours(x)
    assert expected.std() > 1e-3  # the scores say something
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", SHARED)
def test_declared_numbers_are_torchvision_s(name):
    meta = networks.get_model_weights(name).IMAGENET1K_V1.meta
    known = models.info(name)
    assert known.parameters == meta["num_params"]
    assert round(known.macs / 1e9, 3) == meta["_ops"]
    assert known.accuracy.top1 == meta["_metrics"]["ImageNet-1K"]["acc@1"]


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "densenet121", "regnet_x_400mf", "googlenet"])
def test_same_weights_same_gradients(name):
    """In training mode: batch statistics and the way back through every block."""
    options = {"dropout": 0.0} if name == "googlenet" else {}
    reference = theirs(name, num_classes=10, **options).train()
    ours = create(name, num_classes=10, **options).train()
    state = draw(reference.state_dict())
    gradients = []
    for net in (reference, ours):
        net.load_state_dict({k: v.clone() for k, v in state.items()}, assign=True)
        for parameter in net.parameters():
            parameter.requires_grad_()
        x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        nn.functional.cross_entropy(net(x), torch.tensor([3, 7])).backward()
        gradients.append({key: p.grad for key, p in net.named_parameters()})
    for key, expected in gradients[0].items():
        error = (gradients[1][key] - expected).norm() / (expected.norm() + 1e-3)
        assert error < 1e-4, key


def test_googlenet_s_input_transform():
    reference = theirs("googlenet")
    reference.transform_input = True
    ours = create("googlenet", transform_input=True).eval()
    state = draw(reference.state_dict())
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    for net in (reference, ours):
        net.load_state_dict(state, assign=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), reference.eval()(x), rtol=1e-5, atol=1e-5)
