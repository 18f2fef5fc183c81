"""Named kernels do what their names say, measured on waves, slopes and edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch.testing import assert_close

from convscope.ops import corr2d, filters

DOUBLE = {"dtype": torch.float64}
ZERO_SUM = [
    name for name in filters.names() if name.startswith(("edge", "sobel", "prewitt", "scharr", "rob", "lap", "gabor"))
]
ONE_SUM = [
    name for name in filters.names() if name.startswith(("box", "gauss", "binom", "sharp", "identity", "emboss"))
]


def test_every_name_is_either_blind_to_flat_images_or_keeps_them() -> None:
    assert sorted(ZERO_SUM + ONE_SUM) == sorted(filters.names())
    assert len(filters.names()) == len(set(filters.names())) == 25


@pytest.mark.parametrize("name", filters.names())
def test_a_kernel_has_a_source_and_the_type_that_is_asked_for(name: str) -> None:
    known = filters.info(name)
    assert known.name == name
    assert known.description
    assert known.source
    kernel = filters.get(name)
    assert kernel.dtype == torch.float32
    assert kernel.ndim == 2
    assert_close(kernel.double(), filters.get(name, **DOUBLE), rtol=1e-6, atol=1e-7)
    assert filters.get(name, device="meta").device.type == "meta"


@pytest.mark.parametrize("name", ZERO_SUM)
def test_a_flat_image_leaves_it_silent(name: str) -> None:
    assert abs(filters.get(name, **DOUBLE).sum().item()) < 1e-14


@pytest.mark.parametrize("name", ONE_SUM)
def test_a_flat_image_stays_as_it_is(name: str) -> None:
    assert filters.get(name, **DOUBLE).sum().item() == pytest.approx(1.0, abs=1e-14)
    assert filters.info(name).unit == 1.0


@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr", "edge"])
def test_slopes_are_measured_in_their_unit(name: str) -> None:
    ramp = torch.arange(7.0, **DOUBLE).expand(7, 7)  # rises by 1 from left to right
    across, down = filters.get(f"{name}_x", **DOUBLE), filters.get(f"{name}_y", **DOUBLE)
    unit = filters.info(f"{name}_x").unit
    assert unit == filters.info(f"{name}_y").unit
    assert torch.equal(across.T, down)
    assert_close(unit * corr2d(ramp, across), torch.ones_like(corr2d(ramp, across)))
    assert_close(unit * corr2d(ramp.T.contiguous(), down), torch.ones_like(corr2d(ramp.T.contiguous(), down)))
    assert not corr2d(ramp, down).any()


@pytest.mark.parametrize("name", ["laplacian4", "laplacian8"])
def test_curvature_is_measured_in_its_unit(name: str) -> None:
    x = torch.arange(7.0, **DOUBLE) - 3
    bowl = (x**2)[None] / 2 + torch.zeros(7, 1, **DOUBLE)
    curvature = filters.info(name).unit * corr2d(bowl, filters.get(name, **DOUBLE))
    assert_close(curvature, torch.ones_like(curvature))


def test_gradients_equal_scipy() -> None:
    image = np.random.default_rng(0).normal(size=(9, 8))
    for name, theirs in (("sobel", scipy.ndimage.sobel), ("prewitt", scipy.ndimage.prewitt)):
        for suffix, axis in (("x", 1), ("y", 0)):
            ours = corr2d(torch.from_numpy(image), filters.get(f"{name}_{suffix}", **DOUBLE))
            np.testing.assert_allclose(ours.numpy(), theirs(image, axis=axis)[1:-1, 1:-1], atol=1e-13)
    ours = corr2d(torch.from_numpy(image), filters.get("laplacian4", **DOUBLE))
    np.testing.assert_allclose(ours.numpy(), scipy.ndimage.laplace(image)[1:-1, 1:-1], atol=1e-13)


def test_blurs_equal_scipy_and_each_other() -> None:
    impulse = np.zeros((9, 9))
    impulse[4, 4] = 1
    theirs = scipy.ndimage.gaussian_filter(impulse, 1.0, radius=4)
    np.testing.assert_allclose(filters.gaussian(9, 1.0).numpy(), theirs, atol=1e-15)
    three = filters.binomial(3)
    full = torch.nn.functional.conv2d(three[None, None], three[None, None], padding=2)[0, 0]
    assert_close(full, filters.binomial(5))
    assert_close(filters.binomial(2), filters.box(2))
    offsets = torch.arange(5.0, **DOUBLE) - 2
    assert (filters.binomial(5).sum(0) * offsets**2).sum().item() == pytest.approx(1.0)  # variance (5 - 1) / 4


def test_the_laplacian_of_a_gaussian_is_that() -> None:
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    theirs = scipy.ndimage.gaussian_laplace(impulse, 2.0)
    np.testing.assert_allclose(filters.laplacian_of_gaussian(21, 2.0).numpy(), theirs, atol=3e-5)
    assert filters.laplacian_of_gaussian(21, 2.0)[10, 10].item() < 0


def test_sharpening_takes_the_curvature_away() -> None:
    assert torch.equal(filters.get("sharpen"), filters.get("identity") - filters.get("laplacian4"))


def test_a_gabor_kernel_prefers_its_own_stripes() -> None:
    y, x = torch.meshgrid(torch.arange(9.0, **DOUBLE) - 4, torch.arange(9.0, **DOUBLE) - 4, indexing="ij")
    bank = filters.gabor_bank(4)
    names = ["gabor0", "gabor45", "gabor90", "gabor135"]
    assert torch.equal(bank, torch.stack([filters.get(name, **DOUBLE) for name in names]))
    for chosen, angle in enumerate((0, 45, 90, 135)):
        along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
        answers = (bank * torch.cos(2 * math.pi * along / 4)).sum((1, 2))
        assert answers.argmax() == chosen
        assert answers[chosen] > 4 * answers[(chosen + 2) % 4].abs()
    even, odd = filters.gabor(9), filters.gabor(9, phase=90)
    assert_close(even, even.flip(0, 1))
    assert_close(odd, -odd.flip(0, 1))


@pytest.mark.parametrize(
    ("name", "degrees"),
    [("prewitt", (0.37, 1.56, 7.64)), ("sobel", (0.19, 0.75, 3.24)), ("scharr", (0.0447, 0.16, 0.29))],
)
def test_direction_errors_on_plane_waves(name: str, degrees: tuple[float, float, float]) -> None:
    """The largest error in direction at pi/8, pi/4 and pi/2 radians per pixel, over all directions."""
    steps = torch.arange(3.0, **DOUBLE) - 1
    angle = torch.linspace(0, 2 * math.pi, 7201, **DOUBLE)[:, None, None]
    for frequency, expected in zip((math.pi / 8, math.pi / 4, math.pi / 2), degrees, strict=True):
        phase = frequency * (steps[None, None] * angle.cos() + steps[None, :, None] * angle.sin())
        slope_x, slope_y = ((filters.get(f"{name}_{axis}", **DOUBLE) * phase.sin()).sum((1, 2)) for axis in "xy")
        error = torch.atan2(slope_y, slope_x) - angle.flatten()
        error = torch.remainder(error + math.pi, 2 * math.pi) - math.pi
        assert math.degrees(error.abs().max().item()) == pytest.approx(expected, abs=0.005)


ANGLES = range(0, 180, 5)
DISTANCE = torch.linspace(-5, 5, 4001, **DOUBLE)


def _covered(distance: torch.Tensor, turn: float) -> torch.Tensor:
    """The share of a pixel that lies behind a straight edge at this distance: the exact area."""
    a, b = max(abs(math.cos(turn)), 1e-3), max(abs(math.sin(turn)), 1e-3)

    def ramp(t: torch.Tensor) -> torch.Tensor:
        return t.clamp(min=0) ** 2 / 2

    near, far = (a + b) / 2, (a - b) / 2
    return (ramp(distance + near) - ramp(distance + far) - ramp(distance - far) + ramp(distance - near)) / (a * b)


def _along_the_normal(name: str, degrees: int) -> torch.Tensor:
    """What a kernel answers at each distance from a long anti-aliased edge of this direction."""
    kernel, turn = filters.get(name, **DOUBLE), math.radians(degrees)
    height, width = kernel.shape
    answer = torch.zeros_like(DISTANCE)
    for i in range(height):
        for j in range(width):
            shift = (j - (width - 1) / 2) * math.cos(turn) + (i - (height - 1) / 2) * math.sin(turn)
            answer += kernel[i, j] * _covered(DISTANCE + shift, turn)
    return answer


def _total(answer: torch.Tensor) -> float:
    """The magnitude of all answers, per pixel of edge."""
    return answer.abs().sum().item() * (DISTANCE[1] - DISTANCE[0]).item()


def test_one_difference_answers_by_the_cosine_and_is_blind_somewhere() -> None:
    for degrees in ANGLES:
        turn = math.radians(degrees)
        assert _total(_along_the_normal("edge_x", degrees)) == pytest.approx(abs(math.cos(turn)), abs=2e-3)
        assert _total(_along_the_normal("sobel_x", degrees)) == pytest.approx(8 * abs(math.cos(turn)), abs=2e-2)
        both = abs(math.cos(turn) + math.sin(turn))  # roberts: alike for upright and level edges, 0 at 135 degrees
        assert _total(_along_the_normal("roberts_main", degrees)) == pytest.approx(both, abs=2e-3)


def test_how_evenly_edges_of_all_directions_are_answered() -> None:
    """Weakest over strongest direction. No single difference sees all; a magnitude of two, or a Laplacian, does."""

    def evenness(answer: Callable[[int], torch.Tensor]) -> float:
        totals = [_total(answer(degrees)) for degrees in ANGLES]
        return min(totals) / max(totals)

    def gradient(name: str, degrees: int) -> tuple[torch.Tensor, torch.Tensor]:
        return _along_the_normal(f"{name}_x", degrees), _along_the_normal(f"{name}_y", degrees)

    for blind in ("edge_x", "sobel_x", "roberts_main"):
        assert evenness(lambda degrees, name=blind: _along_the_normal(name, degrees)) < 0.003
    sum_of_two = evenness(lambda degrees: sum(map(torch.abs, gradient("sobel", degrees))))
    assert sum_of_two == pytest.approx(math.sqrt(0.5), abs=2e-3)
    assert evenness(lambda degrees: _along_the_normal("laplacian4", degrees)) == pytest.approx(0.80, abs=0.01)
    assert evenness(lambda degrees: _along_the_normal("laplacian8", degrees)) == pytest.approx(0.942, abs=0.005)
    for name in ("sobel", "scharr"):
        assert evenness(lambda degrees, name=name: torch.hypot(*gradient(name, degrees))) > 0.981
