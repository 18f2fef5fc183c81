"""A measurement leaves a network as it was, bit for bit, and answers bad questions in one sentence."""

import copy
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope import models
from convscope.measure import receptive_field, summary, trace
from measure.oracles import nets


def fingerprint(net):
    """Everything that could have been changed: values and identities."""
    return {
        "state": {name: (id(t), t.device, t.dtype, t.clone()) for name, t in net.state_dict(keep_vars=True).items()},
        "grad": [(p.requires_grad, p.grad if p.grad is None else p.grad.clone()) for p in net.parameters()],
        "modules": [(path, id(module), type(module), module.training) for path, module in net.named_modules()],
        "hooks": [len(hooks) for module in net.modules() for name, hooks in vars(module).items() if "hooks" in name],
        "attributes": [
            {k: copy.copy(v) for k, v in vars(m).items() if k[0] != "_" and not isinstance(v, torch.Tensor)}
            for m in net.modules()
        ],
        "order": [list(vars(m)) for m in net.modules()],
        "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()),  # noqa: NPY002
        "global": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
                   torch.backends.mha.get_fastpath_enabled(), len(nn.modules.module._global_forward_hooks),
                   len(nn.modules.module._global_forward_pre_hooks)),
    }  # fmt: skip


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) if not a.is_meta else a.shape == b.shape
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_untouched(net, before):
    after = fingerprint(net)
    for what in before:
        assert same(before[what], after[what]), what


LIGHT = [name for name in models.names() if models.info(name).parameters < 12_000_000]


@pytest.mark.parametrize("name", models.names())
def test_every_registered_network_is_left_as_it_was(name):
    info = models.info(name)
    side = info.min_image_size
    net = models.create(name, image_size=side, num_classes=10, device=None if name in LIGHT else "meta")
    for i, module in enumerate(net.modules()):
        module.training = i % 3 == 0  # no mode that one switch could restore
    first = next(net.parameters())
    first.grad = torch.ones_like(first)
    list(net.parameters())[-1].requires_grad_(False)
    before = fingerprint(net)
    result = summary(net, (info.in_channels, side, side))
    assert_untouched(net, before)
    assert result.total.outputs == ((1, 10),)
    assert result.total.parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("peek", [False, True], ids=["meta", "values"])
def test_a_network_that_raises_is_left_as_it_was(peek):
    net = nets.Raises()
    if peek:
        net.conv.register_forward_hook(lambda module, args, out: (bool(out.sum() > 0), None)[1])
    before = fingerprint(net)
    with pytest.raises(ValueError, match=r"Raises does not take images of 3x8x8: Raises\.forward was given 1x3x8x8 and "
                                         r"said: no further\. No square image"):  # fmt: skip
        summary(net, (3, 8, 8))
    assert_untouched(net, before)
    assert not hasattr(net, "extra")


@pytest.mark.parametrize("make", [nets.LooksAtValues, nets.InPlace, nets.Returns, nets.Reused, nets.Attention])
def test_odd_networks_are_left_as_they_were(make):
    net = make().train()
    before = fingerprint(net)
    summary(net, (4 if make is nets.Reused else 3, 16, 16))
    assert_untouched(net, before)


def test_batch_norm_statistics_survive_a_run_with_values():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nets.LooksAtValues()).train()
    net[2].conv = nn.Conv2d(4, 4, 1)
    before = fingerprint(net)
    result = summary(net, (2, 3, 8, 8))
    assert_untouched(net, before)
    assert result.device == "cpu"
    assert result.total.training_bytes is not None
    assert "the way through the network depends on values (in 2): this is the way of one random image" in result.notes


def test_lazy_layers_become_real_on_a_copy():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    generator = torch.get_rng_state()
    result = summary(net, (3, 8, 8))
    assert [row.kind for row in result.rows] == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert result.total.parameters == 4 * 28 + 5 * (4 * 36 + 1)
    assert isinstance(net[0], nn.LazyConv2d)
    assert isinstance(net[3].weight, nn.UninitializedParameter)
    assert torch.equal(torch.get_rng_state(), generator)
    assert receptive_field(net, (3, 8, 8), "0").size == (3, 3)


def test_nothing_is_computed_and_nothing_moves():
    net = models.create("vgg19", device="meta")
    assert trace(net, (3, 224, 224)).device == "meta"


@pytest.mark.parametrize(
    ("make", "size", "said"),
    [
        (lambda: models.create("lenet"), (1, 40, 40),
         "LeNet does not take images of 1x40x40: layer 'classifier.1' (Linear) was given 1x1024 and said: a and b "
         "must have same reduction dim, but got [1, 1024] X [400, 120]. "
         "Square images that it takes: 1x28x28 to 31x31 pixels"),
        (lambda: models.create("lenet"), (3, 28, 28), "layer 'features.0' (Conv2d) was given 1x3x28x28 and said: "),
        (lambda: models.create("lenet"), (3, 28, 28), "It would take 1 channels: 1x28x28"),
        (lambda: models.create("alexnet", device="meta"), (3, 20, 20),
         "layer 'features.5' (MaxPool2d) was given 1x192x1x1"),
        (lambda: nn.Conv2d(3, 4, 9), (3, 5, 5), "Square images that it takes: 3x9x9 to 512x512 pixels"),
        (lambda: nn.Bilinear(2, 2, 2), (3, 5, 5), "missing 1 required positional argument: 'input2'; a network is"),
        (lambda: models.create("lenet"), (28, 28), "input_size must be (C, H, W) or (N, C, H, W), each at least 1"),
        (lambda: models.create("lenet"), (1, 0, 28), "each at least 1, got (1, 0, 28)"),
    ],
)  # fmt: skip
def test_wrong_sizes_get_the_layer_and_sizes_that_work(make, size, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        summary(make(), size)
    assert "\n" not in str(error.value)


def test_wrong_types():
    with pytest.raises(TypeError, match=r"model must be an nn\.Module, got type; call the class to make one"):
        summary(nn.ReLU, (1, 2, 2))
    with pytest.raises(TypeError, match=r"input_size must be whole numbers .* got \(1, 2.5, 3\)"):
        summary(nn.ReLU(), (1, 2.5, 3))


def test_a_network_without_tensors_in_its_answer():
    class Silent(nn.Module):
        def forward(self, x):
            return "done"

    with pytest.raises(ValueError, match=r"Silent\.forward returned str without a tensor in it"):
        summary(Silent(), (1, 2, 2))


def test_a_network_that_looks_at_values_and_has_none():
    with pytest.raises(ValueError, match=r"looks at values .* on the meta device there are none; give it weights"):
        summary(nets.LooksAtValues().to("meta"), (3, 8, 8))


def test_notes_on_parameters():
    assert "the network has no parameters: there is nothing to train" in summary(nn.ReLU(), (1, 2, 2)).notes
    net = models.create("lenet")
    with torch.no_grad():
        net.features[3].weight[0, 0, 0, 0] = torch.nan
    assert any(note.startswith("weights that hold NaN: features.3.weight;") for note in summary(net, (1, 28, 28)).notes)
    net.head = nn.Linear(3, 3)
    assert "modules with parameters that did not run: head" in summary(net, (1, 28, 28)).notes


class Writes(nn.Module):
    """Writes into what it holds in every way that operators have."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(3, 4, 3)
        self.register_buffer("state", torch.arange(3.0))
        self.register_buffer("other", torch.ones(3, 3))
        self.held = {"means": [torch.zeros(3)], "count": 0}

    def forward(self, x):
        getattr(self, self.how)(x)
        return self.conv(x)

    @torch.no_grad()
    def by_keyword(self, x):
        torch.mv(self.other, torch.ones(3), out=self.state)
        torch.aminmax(torch.ones(3, 3), dim=0, out=(self.state, self.other[0]))

    @torch.no_grad()
    def by_list(self, x):
        torch._foreach_add_([self.state, self.other, self.conv.weight], 1.0)

    @torch.no_grad()
    def by_data(self, x):
        self.conv.weight.data = torch.renorm(self.conv.weight.data, 2, 0, 0.1)
        self.conv.bias.data.clamp_(0, 0)

    def by_assignment(self, x):
        self.state = self.state + 1
        self.held["count"] += 1
        self.held["means"].append(torch.ones(3))
        self.held["means"][0] += 1

    def without_a_word(self, x):
        F.batch_norm(torch.rand(4, 3), self.state, self.other[0], training=True)


@pytest.mark.parametrize("how", ["by_keyword", "by_list", "by_data", "by_assignment", "without_a_word"])
@pytest.mark.parametrize("peek", [False, True], ids=["meta", "values"])
def test_no_way_of_writing_leaves_a_trace(how, peek):
    net = Writes(how)
    if peek:
        net.conv.register_forward_hook(lambda module, args, out: (bool(out.sum() > 0), None)[1])
    before, held = fingerprint(net), copy.deepcopy(net.held)
    summary(net, (3, 8, 8))
    assert_untouched(net, before)
    assert str(net.held) == str(held)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm]
)
def test_normed_weights_are_left_as_they_were(norm):
    net = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), norm(nn.Conv2d(4, 4, 3))).train()
    before = fingerprint(net)
    summary(net, (3, 12, 12))
    assert_untouched(net, before)


LAZY = {
    "LazyBatchNorm2d": lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()),
    "LazyInstanceNorm2d": lambda: nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyInstanceNorm2d(affine=True, track_running_stats=True)
    ),
    "LazyConvTranspose2d": lambda: nn.LazyConvTranspose2d(4, 3),
    "LazyLinear": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(5)),
    "LazyConv1d": lambda: nn.Sequential(nn.Flatten(2), nn.LazyConv1d(4, 3), nn.LazyBatchNorm1d()),
    "LazyConvTranspose1d": lambda: nn.Sequential(nn.Flatten(2), nn.LazyConvTranspose1d(4, 3), nn.LazyInstanceNorm1d()),
    "LazyConv3d": lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.LazyConv3d(4, 3), nn.LazyBatchNorm3d()),
    "LazyConvTranspose3d": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.LazyConvTranspose3d(4, 3), nn.LazyInstanceNorm3d()
    ),
}


@pytest.mark.parametrize("name", LAZY)
def test_every_lazy_layer_becomes_real_on_a_copy(name):
    net = LAZY[name]()
    kinds = [type(module) for module in net.modules()]
    result = summary(net, (3, 8, 8))
    assert [type(module) for module in net.modules()] == kinds
    assert any(nn.parameter.is_lazy(t) for t in (*net.parameters(), *net.buffers()))
    real = LAZY[name]().eval()
    real(torch.rand(2, 3, 8, 8))
    assert result.total.parameters == sum(p.numel() for p in real.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_answered_in_one_sentence():
    scripted = torch.jit.script(nn.Conv2d(3, 4, 3))
    with pytest.raises(TypeError, match=r"^this is a TorchScript module, which hides its layers; give the nn\.Module"):
        summary(scripted, (3, 8, 8))
    with pytest.raises(TypeError, match=r"layer '1' is a TorchScript module"):
        summary(nn.Sequential(nn.ReLU(), torch.jit.trace(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8))), (3, 8, 8))

    class Forgot(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"Forgot is no complete nn\.Module: call super\(\)\.__init__\(\) first"):
        summary(Forgot(), (3, 8, 8))


def test_advice_on_sizes_runs_with_values_where_the_way_needs_them():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 15 * 15, 10)

        def forward(self, x):
            return self.head(self.conv(x).flatten(1)) if x.sum() < 1e9 else x

    with pytest.raises(ValueError, match="Square images that it takes: 3x31x31 to 32x32 pixels"):
        summary(Looks(), (3, 40, 40))


def test_a_forward_with_more_arguments():
    class Two(nn.Module):
        def forward(self, x, mask):
            return x * mask

    with pytest.raises(ValueError, match=r"missing 1 required positional argument: 'mask'; a network is measured with "
                                         r"one batch of images and nothing else"):  # fmt: skip
        summary(Two(), (3, 8, 8))


def test_nan_in_a_buffer_is_noted():
    net = nn.Sequential(nn.BatchNorm2d(3))
    net[0].running_mean[1] = torch.nan
    assert any(note.startswith("weights that hold NaN: 0.running_mean;") for note in summary(net, (3, 4, 4)).notes)
