"""Settings: off by default, refused by name, and each with its help."""

import ast
import inspect
import re
from dataclasses import asdict, fields, replace

import pytest

from convscope.data.augment import AugmentConfig
from convscope.data.augment import config as module


def test_off_unless_asked_for():
    assert not AugmentConfig().active
    assert not AugmentConfig(crop=1).active


ON = {
    "flip": "alternate", "shift": 1, "crop": 0.9, "rotate": 5, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1,
    "erase": 0.1, "cutout": 1, "mixup": 0.2, "cutmix": 1, "trivial": True,
}  # fmt: skip


@pytest.mark.parametrize("name", ON)
def test_each_setting_alone_is_active(name: str):
    assert replace(AugmentConfig(), **{name: ON[name]}).active


def test_settings_survive_a_round_trip():
    assert AugmentConfig(**asdict(AugmentConfig(**ON))) == AugmentConfig(**ON)
    assert list(ON) == [field.name for field in fields(AugmentConfig)]


def test_every_setting_has_one_line_of_help():
    tree = ast.parse(inspect.getsource(module))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "AugmentConfig")
    for place, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            said = body[place + 1]
            assert isinstance(said, ast.Expr), ast.unparse(node)
            assert "\n" not in said.value.value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flip", "sideways", "--flip must be one of none, random, alternate, got 'sideways'"),
        ("shift", -1, "--shift must be a whole number of pixels, at least 0, got -1"),
        ("shift", 1.5, "--shift must be a whole number of pixels, at least 0, got 1.5"),
        ("shift", True, "--shift must be a whole number of pixels, at least 0, got True"),
        ("cutout", -8, "--cutout must be a whole number of pixels, at least 0, got -8"),
        ("crop", 0, "--crop must be a share of the area, above 0 to 1, got 0"),
        ("crop", 1.1, "--crop must be a share of the area, above 0 to 1, got 1.1"),
        ("crop", float("nan"), "--crop must be a share of the area, above 0 to 1, got nan"),
        ("rotate", -5, "--rotate must be an angle in degrees, from 0 to 180, got -5"),
        ("rotate", 181, "--rotate must be an angle in degrees, from 0 to 180, got 181"),
        ("brightness", 1.2, "--brightness must be a strength, from 0 to 1, got 1.2"),
        ("contrast", -0.1, "--contrast must be a strength, from 0 to 1, got -0.1"),
        ("saturation", "much", "--saturation must be a strength, from 0 to 1, got 'much'"),
        ("erase", 2, "--erase must be a probability, from 0 to 1, got 2"),
        ("mixup", -0.2, "--mixup must be the alpha of a Beta distribution, at least 0, got -0.2"),
        ("cutmix", float("inf"), "--cutmix must be the alpha of a Beta distribution, at least 0, got inf"),
        ("trivial", 1, "--trivial must be True or False, got 1"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(name: str, value: object, message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        AugmentConfig(**{name: value})
