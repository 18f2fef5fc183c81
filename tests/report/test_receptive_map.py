"""The picture of a receptive field: what is drawn where."""

import pytest
import torch
from matplotlib.patches import Ellipse, Rectangle
from torch import nn

from convscope.measure import effective_receptive_field
from convscope.report.figures.receptive import receptive_field_map


@pytest.fixture(scope="module")
def field():
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(12)))
    for conv in net:
        nn.init.constant_(conv.weight, 1 / 9)
    return effective_receptive_field(net, torch.zeros(1, 1, 21, 31))


def test_box_ring_and_heat_are_where_they_belong(field):
    axes = receptive_field_map(field).axes[0]
    dashed = next(p for p in axes.patches if isinstance(p, Rectangle) and p.get_linestyle() in ("--", "dashed"))
    assert dashed.get_bbox().bounds == (15 - 12 - 0.5, 10 - 12 - 0.5, 25, 25)
    ring = next(p for p in axes.patches if isinstance(p, Ellipse))
    assert ring.get_center() == pytest.approx((15, 10))
    assert ring.width == pytest.approx(4 * field.sigma[1])
    heat = axes.images[0].get_array()
    assert heat.shape == (21, 31)
    assert float(heat[10, 15]) == float(heat.max()) == 1
    assert any(p.get_hatch() for p in axes.patches)


def test_the_title_says_what_is_in_the_ring(field):
    title = receptive_field_map(field).axes[0].get_title(loc="left")
    assert "could see 25 x 25 pixels" in title
    share = int(title.split("\n")[1].split("%")[0])
    assert 84 <= share <= 90  # of a round Gaussian 86.5 % lie within two standard deviations
