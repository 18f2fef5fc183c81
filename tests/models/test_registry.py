import re

import pytest
import torch

from convscope import models
from convscope.models import registry


@pytest.fixture
def empty_table(monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", {})


FACTS = {
    "description": "nothing",
    "year": 2026,
    "paper": "none",
    "image_size": 8,
    "min_image_size": 4,
    "parameters": 0,
    "macs": 0,
}


def test_every_family_is_there():
    assert set(models.names()) == {
        *("lenet", "bn_lenet", "alexnet", "nin", "googlenet", "vgg11_narrow"),
        *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *("wide_resnet50_2", "resnext50_32x4d", "resnext101_32x8d", "resnext29_32x4d", "preact_resnet18"),
        *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
        *(f"regnet_x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf")),
        *(f"resnet{depth}_cifar" for depth in (20, 32, 44, 56, 110)),
        *("wrn_16_4", "wrn_28_10", "wrn_40_4"),
        *("convscope_s", "convscope_m", "convscope_l", "convscope_xl", "convscope_xxl"),
    }


def test_names_stand_in_natural_order():
    assert models.names("resnet*_cifar") == [f"resnet{n}_cifar" for n in (20, 32, 44, 56, 110)]
    assert models.names("nothing*") == []


def test_options_are_those_of_the_builder():
    assert models.info("lenet").options == ("stem",)
    assert models.info("vgg16").options == ("dropout", "stem")
    assert models.info("resnet20_cifar").options == ("shortcut", "stem", "zero_last_norm")


def test_a_name_is_given_once(empty_table):
    @models.register(**FACTS)
    def mine(*, in_channels, num_classes, image_size):
        return torch.nn.Identity()

    assert models.info("mine").build is mine
    with pytest.raises(
        ValueError, match=r"^model 'mine' is registered twice: by \S*test_registry and \S*test_registry$"
    ):
        models.register("mine", **FACTS)(mine)


def test_a_builder_can_have_another_name(empty_table):
    models.register("other", **FACTS)(lambda *, in_channels, num_classes, image_size: torch.nn.Identity())
    assert models.names() == ["other"]
    assert models.create("other").spec == models.ModelSpec(
        "other", {"in_channels": 3, "num_classes": 1000, "image_size": 8}
    )


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        (
            "resnet19",
            {},
            ValueError,
            "unknown model 'resnet19'; did you mean 'resnet18' or 'resnet152' or 'resnet101'?",
        ),
        ("lenet", {"dropout": 0.5}, ValueError, "lenet has no option 'dropout'; it has: stem"),
        (3, {}, TypeError, "expected the name of a model, a string, got 3. See: convscope models"),
        (None, {}, TypeError, "expected the name of a model, a string, got None"),
        (["lenet"], {}, TypeError, "expected the name of a model, a string, got ['lenet']"),
        ("resnet18", {"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
        ("resnet18", {"zero_last_norm": 1}, TypeError, "zero_last_norm must be True or False, got 1"),
        ("googlenet", {"transform_input": "yes"}, TypeError, "transform_input must be True or False, got 'yes'"),
        ("vgg11", {"dropout": "a", "image_size": 32}, TypeError, "dropout must be a number from 0 to 1, got 'a'"),
        ("alexnet", {"dropout": True, "image_size": 32}, TypeError, "dropout must be a number from 0 to 1, got True"),
        ("nin", {"dropout": 1.5}, ValueError, "dropout must be a number from 0 to 1, got 1.5"),
        ("googlenet", {"dropout": -1}, ValueError, "dropout must be a number from 0 to 1, got -1"),
        ("densenet121", {"dropout": "a"}, TypeError, "dropout must be a number from 0 to 1, got 'a'"),
        ("wrn_16_4", {"dropout": "a"}, TypeError, "dropout must be a number from 0 to 1, got 'a'"),
        ("lenet", {"stem": ["small"]}, ValueError, "stem must be one of 'auto', 'imagenet', 'small', got ['small']"),
        (
            "lenet",
            {"stem": "imagenet"},
            ValueError,
            "stem='imagenet' needs images of at least 45x45 pixels in this network, got image_size=28; use",
        ),
        (
            "bn_lenet",
            {"stem": "imagenet", "image_size": 48},
            ValueError,
            "stem='imagenet' needs images of at least 49x49",
        ),
        ("vgg11", {"shortcut": "A"}, ValueError, "vgg11 has no option 'shortcut'; it has: dropout, stem"),
        ("lenet", {"in_channels": 0}, ValueError, "in_channels must be at least 1, got 0"),
        ("lenet", {"num_classes": -1}, ValueError, "num_classes must be at least 1, got -1"),
        ("lenet", {"image_size": 28.0}, TypeError, "image_size must be a whole number, got 28.0"),
        ("lenet", {"num_classes": True}, TypeError, "num_classes must be a whole number, got True"),
        (
            "lenet",
            {"image_size": 11},
            ValueError,
            "lenet needs images of at least 12x12 pixels, got image_size=11; enlarge them with --image-size 28",
        ),
        ("resnet18", {"stem": "tiny"}, ValueError, "stem must be one of 'auto', 'imagenet', 'small', got 'tiny'"),
        (
            "alexnet",
            {"stem": "imagenet", "image_size": 62},
            ValueError,
            "stem='imagenet' needs images of at least 63x63 pixels in this network, got image_size=62; use",
        ),
        (
            "resnet18",
            {"shortcut": "D"},
            ValueError,
            "shortcut must be 'A' (zero-pad), 'B' (project on change) or 'C' (project), got 'D'",
        ),
        (
            "googlenet",
            {"transform_input": True, "in_channels": 1},
            ValueError,
            "transform_input needs in_channels=3, got 1",
        ),
    ],
)
def test_wrong_words_are_answered(name, arguments, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        models.create(name, device="meta", **arguments)


def test_auto_takes_the_small_stem_up_to_64_pixels():
    strides = {size: models.create("resnet18", image_size=size, device="meta").conv1.stride[0] for size in (32, 64, 65)}
    assert strides == {32: 1, 64: 1, 65: 2}
    assert models.create("resnet18", image_size=32, stem="imagenet", device="meta").conv1.stride == (2, 2)
    assert models.create("resnet18", image_size=224, stem="small", device="meta").conv1.stride == (1, 1)


def test_device_and_dtype_are_no_part_of_the_spec():
    net = models.create("lenet", device="meta", dtype=torch.float64)
    assert net.spec == models.ModelSpec("lenet", {"in_channels": 1, "num_classes": 10, "image_size": 28})
    assert torch.get_default_dtype() == torch.float32
    assert torch.empty(1).device.type == "cpu"


def test_options_reach_the_network():
    def dropped(name, **options):
        return {m.p for m in models.create(name, device="meta", **options).modules() if isinstance(m, torch.nn.Dropout)}

    assert dropped("vgg11") == dropped("alexnet") == dropped("nin") == {0.5}
    assert dropped("googlenet") == {0.2}
    assert dropped("densenet121") == dropped("wrn_16_4") == {0.0}
    for name in ("vgg11", "alexnet", "nin", "googlenet", "densenet121", "wrn_16_4"):
        assert dropped(name, dropout=0.3) == {0.3}


@pytest.mark.parametrize("name", ["resnet20_cifar", "resnet18", "resnext29_32x4d", "regnet_x_400mf"])
def test_zeroed_norms_leave_only_the_shortcuts(name):
    torch.manual_seed(0)
    net = models.create(name, num_classes=10, image_size=32, zero_last_norm=True).eval()
    blocks = [m for m in net.modules() if hasattr(m, "last_norm")]
    assert blocks
    for block in blocks:
        assert not block.last_norm.weight.any()
    same = next(b for b in blocks if isinstance(getattr(b, "downsample", getattr(b, "proj", None)), torch.nn.Identity))
    x = torch.randn(1, next(same.parameters()).shape[1], 4, 4)
    assert torch.equal(same(x), x.relu())


@pytest.mark.parametrize("image_size", [64, 65, 66, 67, 68])
@pytest.mark.parametrize("name", ["nin", "alexnet", "vgg11", "googlenet"])
def test_a_network_that_can_be_made_runs_at_that_size(name, image_size):
    """Around the side where the automatic stem changes."""
    net = models.create(name, image_size=image_size, num_classes=3, device="meta").eval()
    assert net(torch.empty(1, 3, image_size, image_size, device="meta")).shape == (1, 3)


@pytest.mark.parametrize("name", ["lenet", "bn_lenet"])
def test_lenet_stays_small_on_photographs(name):
    """The first kernel moves by four pixels there; on small images it is the published network."""
    strides = {size: models.create(name, image_size=size, device="meta").features[0].stride for size in (28, 64, 65)}
    assert strides == {28: (1, 1), 64: (1, 1), 65: (4, 4)}
    large, published = (models.create(name, image_size=224, stem=stem, device="meta") for stem in ("imagenet", "small"))
    counts = [sum(p.numel() for p in net.parameters()) for net in (large, published)]
    assert counts[0] < 320_000 < 5_000_000 < counts[1]
    for net in (large, published):
        assert net.eval()(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 10)


def test_a_stage_has_blocks():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        models.resnet.stage(models.resnet.Residual, 0, 4, 4, stride=1)
