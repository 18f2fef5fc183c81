"""Figures of behaviour and of the inside: what is drawn is what was measured."""

import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from convscope import measure
from convscope.data import Preprocess
from convscope.measure import Calibration, LayerEquivariance, Mean, Probe, Response, Share, ShiftConsistency
from convscope.measure.patches import Patch, TopPatches
from convscope.measure.reliability import Bin
from convscope.report import rendering
from convscope.report.atlas import Atlas, sample
from convscope.report.figures import behaviour, inside, layers, overlays, reliability
from convscope.report.figures.contrast import contrast, rgb
from convscope.report.figures.style import BLUE, VERMILION, WIDTH
from convscope.report.rendering import png
from report import made


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def named(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_reliability_marks_bins_at_their_confidence_and_accuracy():
    bins = (Bin(0.0, 0.5, 0, 0, 0.0), Bin(0.5, 0.75, 4, 3, 0.6), Bin(0.75, 1.0, 6, 3, 0.9))
    figure = reliability.reliability(Calibration(bins))
    upper, lower = figure.axes
    marks = [
        (line.get_xdata()[0], line.get_ydata()[0], to_hex(line.get_color()))
        for line in upper.lines
        if line.get_marker() != "None"
    ]
    assert marks == [(0.6, 0.75, BLUE), (0.9, 0.5, VERMILION)]
    assert [bar.get_height() for bar in lower.patches] == [0, 0.4, 0.6]
    assert (
        upper.get_title(loc="left") == "Expected calibration error 30.0 points;\nby 18.0 points too sure on the whole"
    )


def shifts(k: int = 1, mode: str = "circular") -> ShiftConsistency:
    agreement = torch.linspace(0.1, 0.9, (2 * k + 1) ** 2, dtype=torch.float64).view(2 * k + 1, -1)
    agreement[k, k] = 1
    return ShiftConsistency(Share(3, 40), agreement, k, mode)


def test_the_table_of_shifts_writes_every_share_at_its_shift():
    axes = behaviour.shift_table(shifts()).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(-1, -1)] == "10"
    assert cells[(1, -1)] == "30"  # to the right and up
    assert cells[(-1, 1)] == "70"
    assert cells[(0, 0)] == "100"
    assert axes.get_title(loc="left").startswith(
        "7.5 % of 40 images keep their class\nthrough all 8 shifts (2.6 to 19.9 %)"
    )
    assert axes.get_title(loc="left").endswith("what leaves on one side comes in opposite")
    assert behaviour.shift_table(shifts(mode="zero")).axes[0].get_title(loc="left").endswith("black comes in")
    assert not behaviour.shift_table(shifts(7)).axes[0].texts  # no room for numbers


def test_responses_and_equivariance_have_a_row_for_each():
    rows = [
        Response("inverted", 0.0, Share(2, 10), Mean(0.5, 0.1, 10), Share(1, 10)),
        Response("rotation", -15.0, Share(9, 10), Mean(0.1, 0.1, 10), Share(8, 10)),
    ]
    axes = behaviour.responses(rows).axes[0]
    assert named(axes) == ["black and white swapped", "turned 15° right"]
    stays, right = (line for line in axes.lines if line.get_label() in ("class stays", "called right"))
    assert list(stays.get_xdata()) == [0.2, 0.9]
    assert list(right.get_xdata()) == [0.1, 0.8]
    axes = behaviour.equivariance([LayerEquivariance("conv1", Mean(0.2, 0.05, 9))]).axes[0]
    assert named(axes) == ["conv1"]
    assert axes.patches[0].get_width() == 0.2
    assert list(axes.lines[0].get_xdata()) == pytest.approx([0.15, 0.25])


def test_the_border_is_drawn_relative_to_the_mean():
    torch.manual_seed(0)
    effect = measure.border_effect(nn.Sequential(nn.Flatten(), nn.Linear(42, 3)), torch.rand(5, 1, 6, 7))
    figure = behaviour.border_map(effect, paths=(0.5, 1.0, 1.5), depth=4)
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (6, 7)
    assert image.mean() == pytest.approx(1, rel=1e-5)
    curves = {line.get_label(): list(line.get_ydata()) for axes in figure.axes for line in axes.lines}
    assert curves["this network"] == [ring.value for ring in effect.rings]
    assert curves["4 3x3 layers of ones"] == [0.5, 1.0, 1.5]


def test_probes_show_accuracy_and_rank_of_each_layer():
    rows = [Probe("pixels", Share(5, 10), 12.0, 64, False), Probe("conv", Share(9, 10), 30.4, 2000, True)]
    left, right = (figure := layers.probes_by_layer(rows)).axes
    assert named(left) == ["pixels", "conv *"]
    assert [bar.get_width() for bar in right.patches] == [12.0, 30.4]
    assert words(right) == ["12", "30"]
    dots = next(line for line in left.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == [0.5, 0.9]
    assert figure.get_supxlabel() == "* averaged to at most 2,000 numbers"


def test_the_sheet_of_activations_has_a_row_for_each_layer_dark_where_the_value_is_large():
    maps = torch.zeros(3, 4, 4)
    maps[1, :, 2:] = 1.0
    figure = inside.activation_sheet(torch.zeros(1, 4, 4, dtype=torch.uint8), {"conv": maps, "fc": torch.arange(4.0)})
    assert [words(axes) for axes in figure.axes] == [["image", "1x4x4"], ["conv", "3x4x4"], ["fc", "4"]]
    row = figure.axes[1].images[0].get_array()
    side = row.shape[0]
    second = row[:, round(1.08 * side) : round(1.08 * side) + side, :3].astype(int).sum(2)
    assert second[side // 2, side // 4] == 3 * 255
    assert second[side // 2, 3 * side // 4] < 200
    assert row[0, 4 * side, 3] == 0  # three maps, then paper


def test_filters_are_drawn_with_their_sign_and_the_longer_side_across():
    weights = torch.zeros(5, 2, 3, 3)
    weights[4, 1, 0, 0], weights[0, 0, 2, 2] = 1.0, -1.0
    axes = inside.filter_sheet(weights, layer="conv").axes[0]
    assert axes.get_title(loc="left") == "conv: 5 filters of 2x3x3"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("filter (output channel)", "input channel")
    sheet = axes.images[0].get_array()
    colors = {tuple(pixel) for pixel in sheet[sheet[..., 3] > 0][:, :3].tolist()}
    assert {tuple(bytes.fromhex(color[1:])) for color in (BLUE, VERMILION)} <= colors
    assert max(min(color) for color in colors) >= 254  # zero is white
    wide = inside.filter_sheet(torch.randn(40, 1, 3, 3), layer="first").axes[0]
    assert wide.get_title(loc="left") == "first: 40 filters of 1x3x3\n(the first 16 of them, 1 channel of each)"


def test_patches_are_cut_from_the_image_and_grey_beyond_it():
    image = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4) * 10
    found = TopPatches("conv", (3,), ((Patch(0, 0, 0, 1.5, (-1, -1, 2, 2)), Patch(0, 2, 2, 1.0, (1, 1, 4, 4))),))
    figure = inside.patch_sheet(found, image)
    row = figure.axes[0].images[0].get_array()
    side = row.shape[0]
    pitch = round(1.08 * side)
    middle = [side // 6, side // 2, 5 * side // 6]
    first = [[tuple(row[i, j, :3].tolist()) for j in middle] for i in middle]
    assert first[0] == [inside.OUTSIDE] * 3
    assert first[1] == [inside.OUTSIDE, (0, 0, 0), (10, 10, 10)]
    assert [row[middle[2], pitch + j, 0] for j in middle] == [130, 140, 150]
    assert words(figure.axes[0]) == ["channel 3", "1.50 to 1.00"]


def test_overlays_show_the_image_beside_its_map_and_what_was_said():
    images = torch.full((2, 1, 6, 6), 200, dtype=torch.uint8)
    maps = torch.zeros(2, 3, 3)
    maps[0, 0, 0] = 5.0
    cam = measure.GradCam(maps, "conv", torch.tensor([1, 0]))
    axes = overlays.grad_cam_overlay(images, cam, ("cat", "dog")).axes[0]
    assert words(axes) == ["said dog", "said cat"]
    sheet, tile = axes.images[0].get_array(), overlays.TILE
    assert tuple(sheet[tile // 2, tile // 2, :3]) == (200, 200, 200)
    hot, cold = sheet[8, tile + 3 + 8, :3].astype(int), sheet[tile - 8, 2 * tile - 8, :3].astype(int)
    assert hot[0] > 240
    assert hot[2] < 120
    assert len(set(cold.tolist())) == 1  # no evidence: the image's own grey, darker
    gradients = torch.zeros(2, 1, 6, 6)
    gradients[0, 0, 0, 0], gradients[0, 0, 5, 5] = 2.0, -1.0
    sheet = (
        overlays.gradient_map(images, gradients, torch.tensor([0, 1]), ["a", "b"])
        .axes[0]
        .images[0]
        .get_array()
        .astype(int)
    )
    up, down = sheet[8, tile + 3 + 8, :3], sheet[tile - 8, 2 * tile - 8, :3]
    assert up[2] > up[0] + 80  # blue
    assert down[0] > down[2]  # vermilion
    found = measure.Occlusion(torch.zeros(2, 6, 6), torch.tensor([0, 1]), torch.tensor([0.5, 0.97]), 2)
    axes = overlays.occlusion_map(images, found, ("cat", "dog")).axes[0]
    assert words(axes) == ["cat, 50 % sure", "dog, 97 % sure"]


def atlas(**changes: object) -> Atlas:
    data = made.dataset(side=10)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    return Atlas(model, data, Preprocess.of(data), **{"images": sample(data, 4), "max_shift": 1, **changes})


def test_an_atlas_draws_every_plate_at_one_width_the_same_each_time():
    first, again = ([plate for step in atlas().steps.values() for plate in step()] for _ in range(2))
    assert len({plate.name for plate in first}) == len(first) == 14
    for plate, same in zip(first, again, strict=True):
        assert plate.figure.get_figwidth() <= WIDTH
        assert plate.shows == same.shows
        assert plate.numbers == same.numbers
        assert png(plate.figure) == png(same.figure)


def test_images_to_look_at_are_of_different_classes():
    data = made.dataset()
    assert len(sample(data, 100)) == len(data.test)
    wanted = torch.stack([data.test.images[data.test.labels == label][0] for label in range(3)])
    assert torch.equal(sample(data, 3), wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": torch.zeros(0, 1, 10, 10, dtype=torch.uint8)}, "expected at least one image, got none"),
        ({"samples": 1}, "--samples must be at least 2, got 1"),
        ({"batch_size": 0}, "--batch-size must be at least 1, got 0"),
        ({"max_shift": 10}, "--max-shift must be 1 to 9 pixels, got 10"),
        ({"layer": "5"}, "layer '5' gives no feature maps"),
    ],
)
def test_an_atlas_that_cannot_be_drawn_is_refused_at_once(changes, said):
    with pytest.raises(ValueError, match=said):
        atlas(**changes)


def test_captions_that_the_font_lacks_are_replaced():
    images = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    figure = overlays.gradient_map(images, torch.zeros(1, 1, 6, 6), torch.tensor([1]), ["chat", "猫"])
    assert words(figure.axes[0]) == ["said class 1"]
    assert np.isfinite(figure.axes[0].images[0].get_array()).all()


def test_a_table_of_few_shifts_writes_each_at_its_own_place():
    agreement = torch.linspace(0.1, 0.9, 9, dtype=torch.float64).view(3, 3)
    axes = behaviour.shift_table(ShiftConsistency(Share(3, 40), agreement, 4, "zero", 4)).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert (cells[(-4, -4)], cells[(4, -4)], cells[(0, 0)]) == ("10", "30", "50")
    assert list(axes.get_xticks()) == list(axes.get_yticks()) == [-4, 0, 4]
    assert axes.images[0].get_extent() == [-6, 6, 6, -6]


def test_numbers_on_cells_stand_out():
    for share in np.linspace(0, 1, 101):
        cell = tuple(float(value) for value in behaviour.SEQUENTIAL(share)[:3])
        assert contrast(rgb(behaviour._readable_on(share)), cell) > 4


def test_names_of_layers_are_inside_the_figure():
    answers = {f"layer{i}.0.act{i}": torch.rand(8, 4, 4) for i in range(9)} | {"fc": torch.rand(3)}
    figure = inside.activation_sheet(torch.zeros(3, 8, 8, dtype=torch.uint8), answers)
    rendering.png(figure)
    renderer = figure.canvas.get_renderer()
    lefts = [text.get_window_extent(renderer).x0 for axes in figure.axes for text in axes.texts]
    assert min(lefts) >= 0


def test_a_network_that_costs_much_is_looked_at_with_fewer_images_and_says_so(monkeypatch):
    assert atlas().allowance.sentence is None
    cheap = Atlas.allowance.func
    monkeypatch.setattr(Atlas, "allowance", property(lambda self: dataclasses.replace(cheap(self), cost=10**12)))
    dear = atlas()
    said = dear.allowance.sentence
    assert "an image costs 1000.0 G multiply-adds, so some figures are of " in said
    (table, _) = dear.steps["shifts"]()
    assert table.numbers["unchanged"]["total"] == min(8, len(made.dataset(side=10).test))
    assert atlas(samples=9).allowance.sentence is None
    (table, _) = atlas(samples=9).steps["shifts"]()
    assert table.numbers["unchanged"]["total"] == 9
