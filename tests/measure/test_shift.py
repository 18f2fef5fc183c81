"""Shifts: networks that cannot mind them, strips worked out on paper, and every shift done by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.data import Preprocess
from convscope.measure import equivariance_error, shift_consistency
from convscope.measure.shift import shifted
from convscope.nn import AdaptivePolyphaseSampling, BlurPool


def images(count: int, side: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, side, side), generator=generator, dtype=torch.uint8)


def network(down: nn.Module, seed: int = 0) -> nn.Module:
    """Circular convolutions and a way to halve the maps, and a global average at the end."""
    torch.manual_seed(seed)
    first = nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular")
    second = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return nn.Sequential(first, nn.ReLU(), down, second, nn.ReLU(), down, *head)


SEEN = Preprocess((16, 16), (0.5,), (0.3,))


def test_adaptive_polyphase_sampling_keeps_every_class_before_any_training():
    result = shift_consistency(network(AdaptivePolyphaseSampling()), images(40, 16), SEEN, 3)
    assert (result.unchanged.count, result.unchanged.total) == (40, 40)
    assert torch.equal(result.agreement, torch.ones(7, 7, dtype=torch.float64))
    assert result.mean_agreement == 1


def test_plain_subsampling_keeps_fewer_and_blurring_more():
    class Skip(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, ::2, ::2]

    plain, blur = (
        shift_consistency(network(down), images(60, 16), SEEN, 2).mean_agreement
        for down in (Skip(), BlurPool(8, taps=5, padding_mode="circular"))
    )
    assert plain < blur <= 1


@pytest.mark.parametrize("mode", ["circular", "zero"])
def test_every_shift_equals_one_made_by_hand(mode):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval()
    model[1].weight.data += 0.06 * torch.tensor([[1.0], [-1.0]])  # brightness counts too: some keep their class
    x, seen = images(60, 6), Preprocess((6, 6), (0.4,), (0.25,))
    result = shift_consistency(model, x, seen, 1, mode, batch_size=7)
    said, always = model(seen(x)).argmax(1), torch.ones(60, dtype=torch.bool)
    for down in range(-1, 2):
        for right in range(-1, 2):
            if mode == "circular":
                rows, columns = (torch.arange(6) - down) % 6, (torch.arange(6) - right) % 6
                moved = x[:, :, rows][:, :, :, columns]
            else:  # black bytes around, then cut out
                moved = F.pad(x, (1, 1, 1, 1))[:, :, 1 - down : 7 - down, 1 - right : 7 - right]
            same = model(seen(moved)).argmax(1) == said
            always &= same
            assert result.agreement[down + 1, right + 1].item() == pytest.approx(same.double().mean().item())
    assert result.unchanged.count == int(always.sum())
    assert 0 < result.unchanged.count < 60
    assert result.to_dict()["unchanged"]["interval"] == list(result.unchanged.interval)


def test_moving_forth_and_back_is_nothing_and_fill_comes_in_on_the_right_side():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    assert torch.equal(shifted(shifted(x, 1, -2), -1, 2), x)
    moved = shifted(x, 1, -1, fill=torch.tensor([-1.0]))
    assert moved[0, 0].tolist() == [[-1, -1, -1, -1], [1, 2, 3, -1], [5, 6, 7, -1]]


STRIP = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]).expand(1, 1, 2, 8)


def downs() -> dict[str, tuple[nn.Module, list[float], list[float], float]]:
    """Ways to halve a strip: what it becomes, what it becomes moved by one, and what is left over relative to it."""
    tall = nn.Conv2d(1, 1, (2, 1), bias=False)
    nn.init.constant_(tall.weight, 0.5)
    skip = nn.Conv2d(1, 1, 1, stride=2, bias=False)
    nn.init.ones_(skip.weight)
    return {
        "max": (nn.MaxPool2d(2), [0, 1, 0, 1], [1, 1, 1, 1], 2**-0.5),  # of the longer answer
        "stride": (skip, [0, 1, 0, 1], [1, 0, 1, 0], 0.0),
        "average": (nn.AvgPool2d(2), [0, 1, 0, 1], [0.5] * 4, 2**-0.5),
        "aps": (AdaptivePolyphaseSampling(), [0, 1, 0, 1], [1, 0, 1, 0], 0.0),
    }


@pytest.mark.parametrize("kind", ["max", "stride", "average", "aps"])
def test_strips_worked_out_on_paper(kind):
    down, before, after, left_over = downs()[kind]
    assert down(STRIP)[0, 0, 0].tolist() == before
    moved = down(STRIP.roll(1, 3))[0, 0, 0].tolist()
    assert moved in (after, after[1:] + after[:1])
    (row,) = equivariance_error(nn.Sequential(down), STRIP, max_shift=1)
    assert row.error.value == pytest.approx(left_over / 2)  # moving down changes nothing, and counts as much


def test_max_then_blur_spreads_half_as_far():
    maximum = nn.MaxPool2d(2, stride=1)
    blur = BlurPool(1, padding_mode="circular")
    strip = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]).expand(1, 1, 8, 8)

    def halve(x: torch.Tensor) -> list[float]:
        return blur(maximum(F.pad(x, (0, 1, 0, 1), mode="circular")))[0, 0, 0].tolist()

    assert halve(strip) == [0.5, 1, 0.5, 1]
    assert halve(strip.roll(1, 3)) == [0.75] * 4


def test_layers_that_move_along_and_layers_that_do_not():
    torch.manual_seed(0)
    circular = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
    zeros = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(circular, nn.ReLU(), AdaptivePolyphaseSampling(), zeros, nn.Flatten(), nn.Linear(64, 3))
    errors = {row.layer: row.error for row in equivariance_error(model, torch.rand(6, 1, 8, 8), max_shift=2)}
    assert list(errors) == ["0", "1", "2", "3", "4", "5"]
    assert max(errors[layer].value for layer in "012") < 1e-6
    assert min(errors[layer].value for layer in "345") > 1e-3
    only = equivariance_error(model, torch.rand(6, 1, 8, 8), ["3"], max_shift=2)
    assert [row.layer for row in only] == ["3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_shift": 0}, "max_shift must be 1 to 15 pixels for images of 16x16, got 0"),
        ({"max_shift": 16}, "got 16"),
        ({"mode": "reflect"}, "mode must be one of circular, zero, got 'reflect'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        shift_consistency(network(nn.MaxPool2d(2)), images(2, 16), SEEN, **arguments)


def test_equivariance_of_nothing_or_too_far_is_refused():
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        equivariance_error(nn.ReLU(), torch.zeros(0, 1, 8, 8))
    with pytest.raises(ValueError, match="max_shift must be 1 to 7 pixels, got 8"):
        equivariance_error(nn.ReLU(), torch.zeros(1, 1, 8, 8), max_shift=8)


class Edge(nn.Module):
    """Answers only when the first column is bright, so it is silent before or after a shift."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :1, :1].relu()


def test_layers_that_are_silent_in_place_or_always_have_a_finite_error():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 3] = 5.0  # comes into the first column when moved right by one
    model = nn.Sequential(nn.Identity(), Edge(), nn.Threshold(100.0, 0.0))
    errors = {row.layer: row.error.value for row in equivariance_error(model, x, max_shift=1)}
    assert errors == {"0": 0.0, "1": 0.5, "2": 0.0}  # all of the longer answer is left over in one move of two


def test_a_layer_that_gives_no_numbers_is_named():
    class Log(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.log()

    with pytest.raises(ValueError, match="layer '0' gives NaN or infinity"):
        equivariance_error(nn.Sequential(Log(), nn.Flatten()), torch.zeros(2, 1, 4, 4), max_shift=1)


def test_steps_leave_out_shifts_and_nothing_else():
    model, x = network(nn.MaxPool2d(2)), images(8, 16)
    every = shift_consistency(model, x, SEEN, 4, "zero")
    some = shift_consistency(model, x, SEEN, 4, "zero", step=2)
    assert torch.equal(some.agreement, every.agreement[::2, ::2])
    assert (some.step, some.to_dict()["step"]) == (2, 2)
    assert some.unchanged.count >= every.unchanged.count
    with pytest.raises(ValueError, match="step must divide max_shift, which is 4; got 3"):
        shift_consistency(model, x, SEEN, 4, step=3)
