import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from convscope import models
from convscope.errors import ConvscopeError
from convscope.models import LoadReport, WeightsError, load_weights


@pytest.fixture
def colour():
    torch.manual_seed(0)
    return models.create("resnet20_cifar").eval()


@pytest.fixture(params=["safetensors", "pt", "pth"])
def file(request, tmp_path, colour):
    path = tmp_path / f"weights.{request.param}"
    save(colour.state_dict(), path)
    return path


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(dict(state), path)
    else:
        torch.save(dict(state), path)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_what_was_saved_is_loaded(file, colour):
    net = models.create("resnet20_cifar")
    report = load_weights(net, str(file))
    assert report == LoadReport(tuple(colour.state_dict()), {}, (), ())
    assert same(net, colour)


@pytest.mark.parametrize("wrap", [
    lambda s: {"state_dict": s, "epoch": 3},
    lambda s: {"model": s},
    lambda s: {f"module.{k}": v for k, v in s.items()},
    lambda s: {"state_dict": {f"_orig_mod.{k}": v for k, v in s.items()}},
    lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},
    lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    lambda s: {f"module.module._orig_mod.{k}": v for k, v in s.items()},
    lambda s: {"model": {"state_dict": s}, "epoch": 3},
], ids=[
    "state_dict", "model", "DataParallel", "compiled checkpoint", "compiled DataParallel", "DataParallel compiled",
    "three wrappers", "two folders",
])  # fmt: skip
def test_usual_wrappers_are_opened(wrap, tmp_path, colour):
    torch.save(wrap(dict(colour.state_dict())), tmp_path / "w.pt")
    net = models.create("resnet20_cifar")
    load_weights(net, tmp_path / "w.pt")
    assert same(net, colour)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_another_number_of_channels_sees_equal_channels_alike(file, colour, channels):
    net = models.create("resnet20_cifar", in_channels=channels).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"conv1.weight \(file \(16, 3, 3, 3\), network \(16, {channels}, 3, 3\)\)"):
        load_weights(net, file)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    report = load_weights(net, file, adapt_stem=True)
    assert report.adapted == {"conv1.weight": f"sum over 3 channels, divided by {channels}"}
    grey = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(net(grey.expand(-1, channels, -1, -1)), colour(grey.expand(-1, 3, -1, -1)))


def test_another_number_of_classes_keeps_the_fresh_head(file, colour):
    net = models.create("resnet20_cifar", num_classes=7)
    head = net.fc.weight.clone(), net.fc.bias.clone()
    report = load_weights(net, file, adapt_head=True)
    sentence = "kept as drawn: the file has 10 classes, the network 7"
    assert report.adapted == {"fc.weight": sentence, "fc.bias": sentence}
    assert len(report.loaded) == len(net.state_dict()) - 2
    assert torch.equal(net.fc.weight, head[0])
    assert torch.equal(net.fc.bias, head[1])
    assert torch.equal(net.conv1.weight, colour.conv1.weight)


def test_adapting_changes_nothing_that_fits(file, colour):
    net = models.create("resnet20_cifar")
    assert load_weights(net, file, adapt_head=True, adapt_stem=True).adapted == {}
    assert same(net, colour)


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11_bn", "nin", "googlenet", "densenet121", "regnet_x_400mf", "wrn_16_4"]
)
def test_head_and_stem_are_found_in_every_family(name, tmp_path):
    source = models.create(name, num_classes=6, image_size=32)
    save(source.state_dict(), tmp_path / "w.safetensors")
    net = models.create(name, num_classes=4, image_size=32, in_channels=4 - models.info(name).in_channels)
    report = load_weights(net, tmp_path / "w.safetensors", adapt_head=True, adapt_stem=True)
    assert len(report.adapted) == (7 if name == "nin" else 3)  # a network in network ends in three convolutions
    assert net(torch.rand(2, 4 - models.info(name).in_channels, 32, 32)).shape == (2, 4)


def test_everything_that_does_not_fit_is_named(tmp_path, colour):
    state = dict(colour.state_dict())
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(2)
    state["fc.weight"] = torch.zeros(3, 64)
    save(state, tmp_path / "w.safetensors")
    expected = f"""{tmp_path / "w.safetensors"} does not fit this network; nothing was loaded
  missing: layer1.0.conv1.weight
  unexpected: layer9.weight
  of another shape: fc.weight (file (3, 64), network (10, 64))"""
    with pytest.raises(WeightsError) as error:
        load_weights(colour, tmp_path / "w.safetensors")
    assert str(error.value) == expected


def test_shapes_alone_come_with_advice(tmp_path, colour):
    save(colour.state_dict(), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"fitted by adapt_head=True or adapt_stem=True$"):
        load_weights(models.create("resnet20_cifar", num_classes=3), tmp_path / "w.pt")


def test_another_kernel_in_the_stem_is_not_adapted(tmp_path):
    save(models.create("resnet18", image_size=224, num_classes=10).state_dict(), tmp_path / "w.pt")
    small = models.create("resnet18", image_size=32, in_channels=1, num_classes=10)
    with pytest.raises(WeightsError, match=re.escape("conv1.weight (file (64, 1, 7, 7), network (64, 1, 3, 3))")):
        load_weights(small, tmp_path / "w.pt", adapt_stem=True)


def test_files_without_norm_counters_load(tmp_path, colour):
    save({k: v for k, v in colour.state_dict().items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    net = models.create("resnet20_cifar")
    report = load_weights(net, tmp_path / "w.safetensors")
    assert report.kept == tuple(k for k in net.state_dict() if k.endswith("num_batches_tracked"))
    assert same(net, colour)


def test_half_precision_files_load(tmp_path, colour):
    save({k: v.half() if v.is_floating_point() else v for k, v in colour.state_dict().items()}, tmp_path / "w.pt")
    net = models.create("resnet20_cifar")
    load_weights(net, tmp_path / "w.pt")
    assert net.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(net.conv1.weight, colour.conv1.weight, rtol=1e-3, atol=1e-3)


def test_extra_heads_of_googlenet_are_ignored(tmp_path):
    net = models.create("googlenet", image_size=32, num_classes=5)
    heads = {"aux1.conv.conv.weight": torch.zeros(2), "aux2.fc2.bias": torch.zeros(2)}
    save(net.state_dict() | heads, tmp_path / "w.pt")
    assert load_weights(net, tmp_path / "w.pt").ignored == tuple(heads)


def test_old_densenet_names_load(tmp_path):
    net, copy = (models.create("densenet121", image_size=32, num_classes=5) for _ in range(2))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in net.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    save(old, tmp_path / "w.pt")
    load_weights(copy, tmp_path / "w.pt")
    assert same(net, copy)


def test_timm_s_regnet_names_load(tmp_path):
    net, copy = (models.create("regnet_x_400mf", image_size=32, num_classes=5) for _ in range(2))
    parts = {"f.a": "conv1", "f.b": "conv2", "f.c": "conv3", "proj": "downsample"}
    timm = {}
    for key, value in net.state_dict().items():
        if found := re.fullmatch(r"trunk_output\.block\d\.block(\d)-(\d+)\.(f\.[abc]|proj)\.([01])\.(\w+)", key):
            i, j, part, layer, leaf = found.groups()
            key = f"s{i}.b{int(j) + 1}.{parts[part]}.{('conv', 'bn')[int(layer)]}.{leaf}"
        timm[key.replace("stem.0", "stem.conv").replace("stem.1", "stem.bn").replace("fc.", "head.fc.")] = value
    assert {"stem.conv.weight", "s2.b1.downsample.bn.bias", "s4.b12.conv2.conv.weight", "head.fc.bias"} <= set(timm)
    save(timm, tmp_path / "w.safetensors")
    load_weights(copy, tmp_path / "w.safetensors")
    assert same(net, copy)


def test_timm_s_vgg_head_loads(tmp_path):
    net, copy = (models.create("vgg11", image_size=32, num_classes=5) for _ in range(2))
    names = {"classifier.0.": "pre_logits.fc1.", "classifier.3.": "pre_logits.fc2.", "classifier.6.": "head.fc."}
    timm = {}
    for key, value in net.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        timm[key] = value[:, :, None, None].clone() if key.startswith("pre_logits") and value.ndim == 2 else value
    save(timm, tmp_path / "w.safetensors")
    load_weights(copy, tmp_path / "w.safetensors")
    assert same(net, copy)


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path(self.target),)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_file_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path, colour, protocol):
    hostile, path = Hostile(), tmp_path / "w.pt"
    hostile.target = str(tmp_path / "touched")
    if protocol == "torch":
        torch.save({"fc.weight": hostile}, path)
    else:
        path.write_bytes(pickle.dumps({"fc.weight": hostile}, protocol=2))
    message = (
        f"{path} holds more than tensors, and opening it could run code; it was not opened. Ask for a .safetensors"
    )
    with pytest.raises(WeightsError, match="^" + re.escape(message)):
        load_weights(colour, path)
    assert not (tmp_path / "touched").exists()


def test_missing_and_damaged_files_are_named(tmp_path, colour):
    with pytest.raises(WeightsError, match=f"^there is no file of weights at {re.escape(str(tmp_path / 'none.pt'))}$"):
        load_weights(colour, tmp_path / "none.pt")
    for name in ("a.safetensors", "a.pt"):
        for content in (b"", b"not weights at all"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(
                WeightsError, match=f"^{re.escape(str(tmp_path / name))} is damaged or no file of weights"
            ):
                load_weights(colour, tmp_path / name)
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match=r"^expected a state_dict in .*list.pt: tensors by name; got list$"):
        load_weights(colour, tmp_path / "list.pt")
    torch.save({0: torch.zeros(1)}, tmp_path / "numbers.pt")
    with pytest.raises(WeightsError, match=r"^expected a state_dict in .*numbers.pt: tensors by name; got dict$"):
        load_weights(colour, tmp_path / "numbers.pt")
    assert issubclass(WeightsError, ConvscopeError)


def test_any_module_can_be_filled(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2))
    save(net.state_dict(), tmp_path / "w.safetensors")
    copy = nn.Sequential(nn.Linear(3, 2))
    load_weights(copy, tmp_path / "w.safetensors", adapt_head=True, adapt_stem=True)
    assert same(net, copy)


def test_a_network_without_values_is_refused(file):
    with pytest.raises(WeightsError, match="the network is on device meta and holds no values"):
        load_weights(models.create("resnet20_cifar", device="meta"), file)


def test_whole_numbers_in_place_of_weights_are_refused(tmp_path, colour):
    state = {key: value.long() if key == "conv1.weight" else value for key, value in colour.state_dict().items()}
    save(state, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=r"not of floats: conv1\.weight \(torch\.int64\)"):
        load_weights(models.create("resnet20_cifar"), tmp_path / "weights.pt")


def test_a_text_file_is_called_damaged(tmp_path, colour):
    (tmp_path / "weights.pt").write_text("hello world, this is text")
    with pytest.raises(WeightsError, match=r"weights\.pt is damaged or no file of weights"):
        load_weights(colour, tmp_path / "weights.pt")
