"""Parameters, arithmetic and memory against published values, PyTorch's own counters and autograd itself."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convscope import models
from convscope.measure import summary, trace
from measure.oracles import nets

PUBLISHED = {  # torchvision's own meta data: parameters and GMACs to three decimals
    "alexnet": (61_100_840, 0.714), "vgg11": (132_863_336, 7.609), "vgg11_bn": (132_868_840, 7.609),
    "vgg13": (133_047_848, 11.308), "vgg13_bn": (133_053_736, 11.308), "vgg16": (138_357_544, 15.470),
    "vgg16_bn": (138_365_992, 15.470), "vgg19": (143_667_240, 19.632), "vgg19_bn": (143_678_248, 19.632),
    "googlenet": (6_624_904, 1.498), "resnet18": (11_689_512, 1.814), "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089), "resnet101": (44_549_160, 7.801), "resnet152": (60_192_808, 11.514),
    "resnext50_32x4d": (25_028_904, 4.230), "resnext101_32x8d": (88_791_336, 16.414),
    "densenet121": (7_978_856, 2.834), "regnet_x_400mf": (5_495_976, 0.414), "regnet_x_800mf": (7_259_656, 0.800),
    "regnet_x_1_6gf": (9_190_136, 1.603), "regnet_x_3_2gf": (15_296_552, 3.177),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters_and_macs(name):
    result = summary(models.create(name, device="meta"), (3, 224, 224), training=False)
    parameters, gmacs = PUBLISHED[name]
    assert result.total.parameters == parameters
    assert round(result.total.macs / 1e9, 3) == gmacs
    assert result.total.flops == 2 * result.total.macs


def counted(net, size):
    net = copy.deepcopy(net).to("meta")  # on a processor the counter does not know fused attention
    with FlopCounterMode(display=False, depth=9) as counter, torch.no_grad():
        net(torch.zeros(1, *size, device="meta"))
    return counter


def own_nets():
    return [
        (nets.Functional(), (3, 8, 8)),
        (nets.Reused(), (4, 6, 6)),
        (nets.Returns(), (3, 8, 8)),
        (nets.Attention(), (3, 16, 16)),
        (nets.InPlace(), (3, 6, 6)),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(6, 6, 3, groups=3)), (4, 9, 7)),
        (nn.Conv2d(3, 4, 3), (3, 8, 8)),
        (nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5)), (3, 6, 6)),
    ]


@pytest.mark.parametrize(("net", "size"), own_nets(), ids=lambda value: type(value).__name__)
def test_flops_are_those_of_pytorchs_counter(net, size):
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not see into the fused encoder layer
    try:
        counter = counted(net.eval(), size)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    result = summary(net, size, training=False)
    assert result.total.flops == counter.get_total_flops() > 0
    by_module = {name.partition(".")[2]: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
    for row in result.rows:
        if row.kind != "operator" and row.path in by_module:
            assert row.flops == by_module[row.path], row.path


def test_every_row_of_a_real_network_has_pytorchs_flops():
    net = models.create("densenet121", device="meta").eval()
    with FlopCounterMode(display=False, depth=9) as counter:
        net(torch.empty(1, 3, 64, 64, device="meta"))
    theirs = {name.partition(".")[2]: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
    rows = [row for row in summary(net, (3, 64, 64), training=False).rows if row.macs]
    assert len(rows) > 120
    assert all(row.flops == theirs[row.path] for row in rows)


def test_functional_calls_have_rows_of_their_own():
    rows = {row.path: row for row in summary(nets.Functional(), (3, 8, 8)).rows}
    assert rows["(convolution)"].macs == 8 * 8 * 4 * 3 * 9
    assert rows["(mm)"].macs == 5 * 4
    assert rows["body"].macs == 0


def test_shared_parameters_count_once_and_are_marked():
    result = summary(nets.Reused(), (4, 6, 6))
    conv, tied = result.rows
    assert (conv.calls, tied.calls) == (3, 1)
    assert conv.macs == 3 * tied.macs
    assert (conv.parameters, conv.shared) == (148, 0)
    assert (tied.parameters, tied.shared) == (148, 144)
    assert result.total.parameters == sum(p.numel() for p in nets.Reused().parameters()) == 152


def test_frozen_parameters_are_told_apart():
    net = models.create("lenet")
    net.features.requires_grad_(False)
    result = summary(net, (1, 28, 28))
    assert (result.total.frozen, result.total.trainable) == (2572, 59134)
    assert [row.frozen for row in result.select(depth=1).rows] == [2572, 0]


def saved_bytes(net, size, n=1):
    """What autograd really keeps, on real tensors, each memory once, parameters and buffers left out."""
    owned = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train()(torch.randn(n, *size))
    return sum(size for _, size in kept.values())


@pytest.mark.parametrize(
    ("name", "side"),
    [("lenet", 28), ("alexnet", 64), ("vgg11_narrow", 32), ("resnet18", 64), ("googlenet", 64), ("nin", 64),
     ("densenet121", 64), ("preact_resnet18", 32), ("resnet20_cifar", 32), ("regnet_x_400mf", 64)],
)  # fmt: skip
def test_training_memory_is_what_autograd_keeps(name, side):
    channels = models.info(name).in_channels
    net = models.create(name, image_size=side, num_classes=10)
    expected = saved_bytes(net, (channels, side, side), n=2)
    assert summary(net, (2, channels, side, side)).total.training_bytes == expected


def test_training_memory_follows_what_is_frozen():
    net = models.create("resnet18", image_size=64)
    all_of_it = summary(net, (3, 64, 64)).total.training_bytes
    for part in (net.conv1, net.bn1, net.layer1, net.layer2):
        part.requires_grad_(False)
    assert summary(net, (2, 3, 64, 64)).total.training_bytes == saved_bytes(net, (3, 64, 64), n=2) < 2 * all_of_it


def test_training_memory_of_one_image_where_a_batch_norm_refuses_one():
    net = models.create("bn_lenet")
    result = summary(net, (1, 28, 28))
    two, five = (saved_bytes(net, (1, 28, 28), n=n) for n in (2, 5))
    assert result.total.training_bytes == two - (five - two) // 3
    assert "was worked out from 2 and 3 images" in " ".join(result.notes)


def test_inference_memory_is_the_peak_of_a_chain():
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 10))
    image, maps, pooled = 8 * 8 * 4, 8 * 8 * 8 * 4, 8 * 4 * 4 * (4 + 8)  # a max pool notes where it found each maximum
    rows = summary(net, (1, 8, 8)).rows
    assert [row.inference_bytes for row in rows] == [
        image + maps, 2 * maps, maps + pooled, 8 * 16 * 4, 8 * 16 * 4 + 40
    ]  # fmt: skip
    assert summary(net, (1, 8, 8)).total.inference_bytes == 2 * maps


def test_inference_memory_holds_what_a_later_layer_needs():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)))

        def forward(self, x):
            return x + self.body(x)

    one = 2 * 5 * 5 * 4
    assert summary(Skip(), (2, 5, 5)).total.inference_bytes == 3 * one  # the image, and two of the chain
    assert summary(nn.Sequential(*Skip().body), (2, 5, 5)).total.inference_bytes == 2 * one


def test_what_is_not_counted_is_listed():
    found = {each.operator: (each.calls, each.values) for each in summary(nets.InPlace(), (3, 6, 6)).uncounted}
    assert found == {"relu_": (1, 144), "add_": (1, 72), "mul_": (1, 144)}
    names = {each.operator for each in summary(models.create("resnet18", device="meta"), (3, 64, 64)).uncounted}
    assert names == {"native_batch_norm", "relu", "max_pool2d_with_indices", "add", "mean"}


def test_tuples_and_dicts_are_followed():
    result = summary(nets.Returns(), (3, 8, 8))
    assert result.total.outputs == ((1, 4, 6, 6), (1, 4, 6, 6), (1, 2))
    assert result.total.field.size == (3, 3)


def test_writing_in_place_is_seen_through_views():
    seen = trace(nets.InPlace(), (3, 6, 6))
    assert [node.operator for node in seen.nodes][:4] == ["convolution", "relu_", "slice", "add_"]
    (first_write,) = [node for node in seen.nodes if node.index == 4]
    assert first_write.operator == "written_through"  # the whole tensor changed when its slice did
    assert first_write.reads("written") == list(seen.nodes[3].outputs)
    assert sum(node.allocated for node in seen.nodes) == 4 * 6 * 6 * 4
    field = summary(nets.InPlace(), (3, 6, 6)).total.field
    assert (field.size, field.whole) == ((3, 3), (False, False))


def test_a_batch_scales_arithmetic_and_memory():
    net = models.create("lenet", device="meta")
    one, eight = summary(net, (1, 28, 28)).total, summary(net, (8, 1, 28, 28)).total
    assert (eight.macs, eight.inference_bytes) == (8 * one.macs, 8 * one.inference_bytes)
    assert eight.training_bytes == 8 * one.training_bytes


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "alexnet"])
def test_fast_shapes_are_pytorchs(name, monkeypatch):
    net = models.create(name, device="meta", image_size=64)
    fast = trace(net, (2, 3, 64, 64))
    monkeypatch.setattr("convscope.measure.tracing.recorder.RULES", {})
    slow = trace(net, (2, 3, 64, 64))
    statistics = {value for node in fast.nodes if node.operator == "native_batch_norm" for value in node.outputs[1:]}
    for a, b in zip(fast.values, slow.values, strict=True):
        if a.index in statistics:  # in eval mode there are none; the rules for meta tensors make some nevertheless
            assert (a.shape, b.shape) == ((0,), (b.count,))
        else:
            assert (a.shape, a.dtype, a.storage_bytes) == (b.shape, b.dtype, b.storage_bytes)
    assert [replace(node, allocated=0) for node in fast.nodes] == [replace(node, allocated=0) for node in slow.nodes]


def test_a_run_with_values_says_the_same_as_one_without():
    class Peeks(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            bool(x.sum() > 0)
            return self.net(x)

    net = models.create("resnet20_cifar").eval()
    without, with_values = summary(net, (2, 3, 32, 32)), summary(Peeks(net), (2, 3, 32, 32))
    assert (without.device, with_values.device) == ("meta", "cpu")
    for a, b in zip(without.rows, with_values.rows[1:], strict=True):
        assert (a.outputs, a.macs, a.inference_bytes, a.training_bytes, a.field) == (
            b.outputs, b.macs, b.inference_bytes, b.training_bytes, b.field
        )  # fmt: skip


def test_float64_and_half_take_twice_and_half_the_memory():
    full, double, half = (
        summary(models.create("lenet", dtype=dtype, device="meta"), (1, 28, 28)).total
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
    )
    assert 2 * full.inference_bytes == double.inference_bytes == 4 * half.inference_bytes
    assert full.macs == double.macs == half.macs


def test_scaled_attention_on_real_tensors_is_counted():
    class Fused(nn.Module):
        def forward(self, x):
            bool(x.sum() > 0)  # so that it runs with values, where attention is one fused operator
            x = x.flatten(2).transpose(1, 2)[:, None]  # -> N,1,hw,C
            return F.scaled_dot_product_attention(x, x, x)

    assert summary(Fused(), (8, 4, 4)).total.macs == 2 * 16 * 16 * 8
