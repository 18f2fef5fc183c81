"""The promises that every registered network keeps."""

import copy
import logging
from collections import Counter

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope import models

EAGER_UP_TO = 1_000_000_000  # MACs at the published size; a larger network takes photographs on the meta device only


def side(name):
    """The lightest images: as small as the network accepts."""
    return models.info(name).min_image_size


def images(name, n, size=None, channels=None):
    size, channels = size or side(name), channels or models.info(name).in_channels
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def relative_error(got, expected):
    return float((got.float() - expected).norm() / expected.norm())


@pytest.fixture(scope="module", params=models.names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def net(name):
    """The network for the lightest images, in eval mode. Tests leave it as they found it."""
    torch.manual_seed(0)
    return models.create(name, num_classes=10, image_size=side(name)).eval()


@pytest.fixture(scope="module")
def scores(name, net):
    with torch.inference_mode():
        return net(images(name, 2))


def test_parameters_and_macs_are_those_of_the_table(name):
    known = models.info(name)
    net = models.create(name, device="meta").eval()
    with FlopCounterMode(display=False) as counter:
        out = net(torch.empty(1, known.in_channels, known.image_size, known.image_size, device="meta"))
    assert out.shape == (1, known.num_classes)
    assert sum(p.numel() for p in net.parameters()) == known.parameters
    assert counter.get_total_flops() == 2 * known.macs


def test_the_table_is_filled(name):
    known = models.info(name)
    assert known.description
    assert known.paper
    assert 1998 <= known.year <= 2026
    assert known.min_image_size <= 28
    if known.accuracy:
        assert known.accuracy.source
        assert 50 < known.accuracy.top1 < 100


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)], ids=["1x28x28", "3x32x32"])
def test_forward_on_small_images(name, channels, size):
    net = models.create(name, in_channels=channels, num_classes=10, image_size=size).eval()
    with torch.inference_mode():
        out = net(images(name, 1, size, channels))
    assert out.shape == (1, 10)
    assert out.isfinite().all()


def test_forward_on_photographs(name):
    device = "cpu" if models.info(name).macs <= EAGER_UP_TO else "meta"
    net = models.create(name, in_channels=3, image_size=224, device=device).eval()
    with torch.inference_mode():
        out = net(images(name, 1, 224, 3).to(device))
    assert out.shape == (1, models.info(name).num_classes)
    assert out.is_meta or out.isfinite().all()


def smallest(name, stem):
    """The smallest size that this stem says it takes."""
    for size in range(side(name), 100):
        try:
            models.create(name, stem=stem, image_size=size, device="meta")
        except ValueError:
            continue
        return size
    raise AssertionError(f"{name} takes no images of less than 100 pixels with stem={stem!r}")


@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_both_stems_accept_their_smallest_images(name, stem):
    size, channels = smallest(name, stem), models.info(name).in_channels
    net = models.create(name, stem=stem, image_size=size, device="meta").eval()
    out = net(torch.empty(2, channels, size, size, device="meta"))
    assert out.shape == (2, models.info(name).num_classes)


def test_automatic_stems_are_the_small_one_up_to_64_pixels(name):
    for size, stem in ((28, "small"), (224, "imagenet")):
        automatic, asked = (
            models.create(name, image_size=size, device="meta", **options) for options in ({}, {"stem": stem})
        )
        assert str(automatic) == str(asked)


def family(name):
    """Where the code is that builds it; a stem is written once for all networks of a family."""
    build = models.info(name).build
    return getattr(build, "func", build).__module__


def lightest(name):
    """Whether no network of its family has less to compute."""
    relatives = (other for other in models.names() if family(other) == family(name))
    return name == min(relatives, key=lambda other: models.info(other).macs)


def test_the_stem_for_photographs_learns_and_exports(name, monkeypatch):
    """With numbers, where the promises above use the small stem: scores, gradients and the exported program."""
    if models.info(name).macs > EAGER_UP_TO and not lightest(name):
        pytest.skip("heavy, and the same stem as its lighter relatives")
    torch.manual_seed(0)
    size = smallest(name, "imagenet")
    net, x = models.create(name, num_classes=10, image_size=size, stem="imagenet"), images(name, 8, size)
    nn.functional.cross_entropy(net.train()(x), torch.arange(8)).backward()  # fewer: norms over maps of one pixel burst
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        parameter.grad = None
    x = x[:2]
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    with torch.no_grad():
        program = torch.export.export(net.eval(), (x,))
        scores = net(x)
        assert scores.shape == (2, 10)
        assert scores.isfinite().all()
        assert torch.equal(program.module()(x), scores)


def test_gradients_reach_every_parameter(name, net):
    net = copy.deepcopy(net).train()
    nn.functional.cross_entropy(net(images(name, 4)), torch.arange(4)).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if parameter.ndim > 1:  # a bias before a norm rightly gets none
            assert parameter.grad.abs().max() > 0, key


def test_eval_output_does_not_depend_on_batch_mates(name, net, scores):
    with torch.inference_mode():
        alone = net(images(name, 2)[:1])
    assert relative_error(alone, scores[:1]) < 1e-5


def test_state_dict_survives_safetensors(name, net, scores):
    data = safetensors.torch.save(net.state_dict())
    copy = models.create(name, num_classes=10, image_size=side(name), device="meta").eval()
    copy.load_state_dict(safetensors.torch.load(data), assign=True)
    with torch.inference_mode():
        assert torch.equal(copy(images(name, 2)), scores)


def test_construction_is_deterministic_and_the_spec_repeats_it(name, net):
    torch.manual_seed(0)
    again = models.create(net.spec.name, **net.spec.arguments)
    ours, theirs = net.state_dict(), again.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_channels_last_agrees(name, net, scores):
    net.to(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            out = net(images(name, 2).to(memory_format=torch.channels_last))
    finally:
        net.to(memory_format=torch.contiguous_format)
    assert relative_error(out, scores) < 1e-4


def test_bfloat16_autocast_agrees(name, net, scores):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(images(name, 2))
    assert out.dtype == torch.bfloat16
    assert relative_error(out, scores) < 0.05


def test_export_agrees(name, net, scores, monkeypatch):
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # pytest would keep every line of it
    program = torch.export.export(net, (images(name, 2),))
    assert torch.equal(program.module()(images(name, 2)), scores)


def test_dtype_and_device_are_taken(name):
    net = models.create(name, device="meta", dtype=torch.float64)
    tensors = list(net.state_dict().values())
    assert all(t.is_meta for t in tensors)
    assert all(t.dtype == torch.float64 for t in tensors if t.is_floating_point())


def test_every_leaf_runs_once_and_none_in_place(name):
    """Hooks see one input and one output; nothing that a hook has seen is changed behind its back."""
    net = models.create(name, device="meta").eval()
    assert not [key for key, module in net.named_modules() if getattr(module, "inplace", False)]
    calls = Counter()
    for key, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, key=key: calls.update([key]))
            calls[key] = 0
    known = models.info(name)
    net(torch.empty(1, known.in_channels, known.image_size, known.image_size, device="meta"))
    assert set(calls.values()) == {1}
