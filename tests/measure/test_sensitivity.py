"""Changes by SciPy's rotation and by bytes; covering by a loop over every place."""

import pytest
import torch
from scipy import ndimage
from torch import nn

from convscope.data import Preprocess
from convscope.measure import occlusion, sensitivity
from convscope.measure.changes import brighten, invert, rotate

SEEN = Preprocess((8, 8), (0.4,), (0.25,))


def images(count: int, side: int = 8, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


def linear(outputs: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))


@pytest.mark.parametrize("degrees", [-30.0, 7.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize("shape", [(9, 9), (8, 8), (6, 11)])
def test_rotation_equals_scipy(degrees, shape):
    values = torch.rand(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = rotate(values, degrees)
    for image, got in zip(values[:, 0].numpy(), turned[:, 0], strict=True):
        expected = ndimage.rotate(image, degrees, reshape=False, order=1, mode="grid-constant", cval=0.0)
        torch.testing.assert_close(got, torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_quarter_turns_and_back_are_exact():
    values = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(rotate(values, 90), torch.rot90(values, 1, (2, 3)))
    torch.testing.assert_close(rotate(values, 0), values)
    torch.testing.assert_close(rotate(rotate(values, 90), -90), values)


def test_rows_equal_changes_made_to_the_bytes():
    model, x = linear().eval(), images(50)
    labels = torch.arange(50) % 4
    rows = sensitivity(model, x, SEEN, labels=labels, brightness=(51 / 255, -51 / 255), angles=(90,), batch_size=13)
    usual = model(SEEN(x)).softmax(1)
    sure, said = usual.max(1)
    brighter = (x.int() + 51).clamp(max=255).to(torch.uint8)
    darker = (x.int() - 51).clamp(min=0).to(torch.uint8)
    for row, changed in zip(rows, (255 - x, brighter, darker, torch.rot90(x, 1, (2, 3))), strict=True):
        now = model(SEEN(changed)).softmax(1)
        assert row.unchanged.count == int((now.argmax(1) == said).sum())
        assert row.right is not None
        assert row.right.count == int((now.argmax(1) == labels).sum())
        lost = sure - now.gather(1, said[:, None]).squeeze(1)
        assert row.drop.value == pytest.approx(lost.mean().item(), abs=1e-5)
        assert row.unchanged.total == 50
    assert [row.label for row in rows] == [
        "black and white swapped", "20 % brighter", "20 % darker", "turned 90° left",
    ]  # fmt: skip
    assert rows[0].to_dict()["right"]["total"] == 50


def test_a_network_of_absolute_values_does_not_mind_inversion():
    class Edges(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.head = nn.Linear(56, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.diff(dim=3).abs().flatten(1))

    row = sensitivity(Edges(), images(30), SEEN, brightness=(), angles=())[0]
    assert row.unchanged.value == 1
    assert row.drop.value == pytest.approx(0, abs=1e-6)
    assert row.right is None


def test_values_stay_in_range():
    values = torch.rand(4, 1, 5, 5)
    torch.testing.assert_close(invert(invert(values)), values)
    assert brighten(values, 0.7).max() <= 1
    assert brighten(values, -0.7).min() >= 0


@pytest.mark.parametrize(("side", "stride", "fill"), [(3, 2, None), (2, 1, 0.0), (8, 3, 1.0), (1, 1, 0.25)])
def test_covering_equals_a_loop_over_every_place(side, stride, fill):
    model, x = linear().eval(), images(5)
    found = occlusion(model, x, SEEN, side=side, stride=stride, fill=fill, batch_size=2)
    inputs = SEEN(x)
    sure, said = model(inputs).softmax(1).max(1)
    value = 0.0 if fill is None else (fill - 0.4) / 0.25
    starts = list(range(0, 8 - side + 1, stride))
    starts += [8 - side] if starts[-1] != 8 - side else []
    for n in range(5):
        for i in range(8):
            for j in range(8):
                drops = []
                for top in starts:
                    for left in starts:
                        if top <= i < top + side and left <= j < left + side:
                            covered = inputs[n : n + 1].clone()
                            covered[:, :, top : top + side, left : left + side] = value
                            drops.append((sure[n] - model(covered).softmax(1)[0, said[n]]).item())
                assert found.drop[n, i, j].item() == pytest.approx(sum(drops) / len(drops), abs=1e-5)
    assert torch.equal(found.targets, said)
    torch.testing.assert_close(found.sure, sure)


def test_only_the_pixel_that_counts_is_marked():
    model = linear(2)
    nn.init.zeros_(model[1].weight)
    model[1].weight.data[0, 8 * 2 + 5] = 3.0
    x = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    drop = occlusion(model, x, SEEN, side=1, stride=1).drop[0]
    assert drop.argmax().item() == 8 * 2 + 5
    assert (drop.abs() > 1e-6).sum() == 1


def test_colours_are_covered_by_their_own_mean():
    seen = Preprocess((4, 4), (0.2, 0.5, 0.8), (0.1, 0.2, 0.3))
    x = torch.tensor([51, 127.5, 204]).round().to(torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4).clone()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    assert occlusion(model, x, seen, side=2).drop.abs().max() < 0.01  # the image is its own mean


@pytest.mark.parametrize(
    ("arguments", "said"), [({"side": 9}, "side of 1 to 8 pixels"), ({"side": 3, "stride": 4}, "got 3 and 4")]
)
def test_squares_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        occlusion(linear(), images(1), SEEN, **arguments)


def test_labels_must_fit():
    with pytest.raises(ValueError, match=r"expected one label for each of 3 images, got shape \(2,\)"):
        sensitivity(linear(), images(3), SEEN, labels=torch.zeros(2).long())
