"""Kernels that have a name: what people used before kernels were learned, and what a first layer often learns.

They are meant for cross-correlation, as everything here is. ``x`` kernels answer to change along a row, positive
where the right side is brighter; ``y`` kernels to change along a column, positive where the lower side is brighter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.naming import natural_key, unknown_name
from convscope.ops._arguments import integer, number

__all__ = [
    "Filter",
    "binomial",
    "box",
    "gabor",
    "gabor_bank",
    "gaussian",
    "get",
    "info",
    "laplacian_of_gaussian",
    "names",
]


def _outer(column: list[float], row: list[float]) -> Tensor:
    return torch.outer(torch.tensor(column, dtype=torch.float64), torch.tensor(row, dtype=torch.float64))


def _offsets(size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns counted from the centre: two ``(size, size)`` tensors."""
    if integer("size", size, least=1) % 2 == 0:
        raise ValueError(f"size must be odd, so that the kernel has a centre, got {size}")
    steps = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return y, x


def box(size: int = 3) -> Tensor:
    """The mean of ``size`` times ``size`` pixels.

    Example:
        >>> box(3).sum().item()
        1.0
    """
    return torch.full((integer("size", size, least=1),) * 2, 1 / size**2, dtype=torch.float64)


def binomial(size: int = 3) -> Tensor:
    """A blur with a row of Pascal's triangle on each axis: the sums of ``size - 1`` coin tosses.

    Example:
        >>> 16 * binomial(3)
        tensor([[1., 2., 1.],
                [2., 4., 2.],
                [1., 2., 1.]], dtype=torch.float64)

    Source:
        Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983.
    """
    tosses = integer("size", size, least=1) - 1
    row = [math.comb(tosses, heads) / 2**tosses for heads in range(size)]
    return _outer(row, row)


def gaussian(size: int = 5, sigma: float = 1.0) -> Tensor:
    """A blur that is alike in all directions; its numbers sum to 1.

    Args:
        size: Taps on each axis; odd. Three ``sigma`` on each side lose little.
        sigma: Standard deviation in pixels.

    Returns:
        ``(size, size)``, float64.

    Raises:
        ValueError: An even size, or a ``sigma`` that is not positive.

    Example:
        >>> gaussian(3, sigma=1.0)[1]
        tensor([0.1238, 0.2042, 0.1238], dtype=torch.float64)

    Source:
        Marr and Hildreth, "Theory of edge detection", 1980.
    """
    number("sigma", sigma)
    y, x = _offsets(size)
    bell = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    return bell / bell.sum()


def laplacian_of_gaussian(size: int = 9, sigma: float = 1.4) -> Tensor:
    """Blur, then look for curvature: zero on a straight edge, of opposite signs beside it. Sums to 0.

    Args:
        size: Taps on each axis; odd.
        sigma: Of the blur, in pixels; blobs of radius ``sigma sqrt(2)`` answer most.

    Returns:
        ``(size, size)``, float64; negative at the centre.

    Raises:
        ValueError: An even size, or a ``sigma`` that is not positive.

    Source:
        Marr and Hildreth, "Theory of edge detection", 1980.
    """
    y, x = _offsets(size)
    curvature = (x**2 + y**2 - 2 * sigma**2) / sigma**4 * gaussian(size, sigma)
    return curvature - curvature.mean()  # what lies outside the kernel is missing from its sum


def gabor(
    size: int = 9,
    *,
    angle: float = 0.0,
    wavelength: float = 4.0,
    sigma: float = 2.0,
    aspect: float = 1.0,
    phase: float = 0.0,
) -> Tensor:
    """A wave under a bell: answers to stripes of one direction and width. Its mean is removed.

    Args:
        size: Taps on each axis; odd.
        angle: Direction in which the wave runs, in degrees: 0 along a row, 90 down a column.
        wavelength: Pixels from crest to crest.
        sigma: Of the bell, in pixels, along the wave.
        aspect: Below 1 the bell is longer across the wave.
        phase: Degrees; 0 is even (a line detector), 90 is odd (an edge detector).

    Returns:
        ``(size, size)``, float64.

    Raises:
        ValueError: An even size, or a length that is not positive.

    Source:
        Daugman, "Uncertainty relation for resolution in space, spatial frequency, and orientation", 1985.
    """
    for argument, value in (("wavelength", wavelength), ("sigma", sigma), ("aspect", aspect)):
        number(argument, value)
    for argument, value in (("angle", angle), ("phase", phase)):
        if not math.isfinite(value):
            raise ValueError(f"{argument} must be a finite number of degrees, got {value}")
    y, x = _offsets(size)
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    bell = torch.exp(-(along**2 + (aspect * across) ** 2) / (2 * sigma**2))
    kernel = bell * torch.cos(2 * math.pi * along / wavelength + math.radians(phase))
    return kernel - bell * (kernel.sum() / bell.sum())  # a flat image must leave it silent


def gabor_bank(orientations: int = 8, size: int = 9, *, wavelength: float = 4.0, sigma: float = 2.0) -> Tensor:
    """Gabor kernels in equally spaced directions over half a turn.

    Returns:
        ``(orientations, size, size)``, float64: with ``[:, None]`` a kernel for one channel.

    Example:
        >>> gabor_bank(4).shape
        torch.Size([4, 9, 9])
    """
    integer("orientations", orientations, least=1)
    angles = [180 * index / orientations for index in range(orientations)]
    return torch.stack([gabor(size, angle=angle, wavelength=wavelength, sigma=sigma) for angle in angles])


@dataclass(frozen=True)
class Filter:
    """A kernel with a name.

    Args:
        name: What to type.
        build: Makes it, as float64.
        description: What it answers to.
        source: Who published it.
        unit: What to multiply it by, so that a slope of 1 per pixel, or a flat image of 1, or the curvature of
            ``x**2 / 2`` gives 1; 0 where no such unit exists.
    """

    name: str
    build: Callable[[], Tensor]
    description: str
    source: str
    unit: float = 0.0


_SOBEL = "Sobel and Feldman, A 3x3 isotropic gradient operator for image processing, 1968"
_PREWITT = "Prewitt, Object enhancement and extraction, 1970"
_SCHARR = "Scharr, Optimale Operatoren in der Digitalen Bildverarbeitung, 2000"
_ROBERTS = "Roberts, Machine perception of three-dimensional solids, 1963"
_LAPLACIAN = "Rosenfeld and Kak, Digital picture processing, 1982"
_GONZALEZ = "Gonzalez and Woods, Digital image processing, 4th edition, 2018, chapter 3"
_BOOK = "Zhang et al., Dive into Deep Learning, section 7.2"
_MARR = "Marr and Hildreth, Theory of edge detection, 1980"
_BURT = "Burt and Adelson, The Laplacian pyramid as a compact image code, 1983"
_DAUGMAN = "Daugman, Uncertainty relation for resolution in space, spatial frequency, and orientation, 1985"


def _rows(*rows: list[float]) -> Callable[[], Tensor]:
    return lambda: torch.tensor(rows, dtype=torch.float64)


def _slope(smoother: list[float], *, along_row: bool) -> Callable[[], Tensor]:
    """A difference over two pixels on one axis, smoothed on the other."""
    difference = [-1.0, 0.0, 1.0]
    return lambda: _outer(smoother, difference) if along_row else _outer(difference, smoother)


_TABLE = (
    Filter("identity", _rows([0, 0, 0], [0, 1, 0], [0, 0, 0]), "gives the image back", "by definition", 1.0),
    Filter("edge_x", _rows([1, -1]), "left minus right: +1 from white to black", _BOOK, -1.0),
    Filter("edge_y", _rows([1], [-1]), "upper minus lower: +1 from white to black", _BOOK, -1.0),
    Filter("sobel_x", _slope([1, 2, 1], along_row=True), "slope along a row", _SOBEL, 1 / 8),
    Filter("sobel_y", _slope([1, 2, 1], along_row=False), "slope along a column", _SOBEL, 1 / 8),
    Filter("prewitt_x", _slope([1, 1, 1], along_row=True), "slope along a row", _PREWITT, 1 / 6),
    Filter("prewitt_y", _slope([1, 1, 1], along_row=False), "slope along a column", _PREWITT, 1 / 6),
    Filter("scharr_x", _slope([3, 10, 3], along_row=True), "slope along a row, truest direction", _SCHARR, 1 / 32),
    Filter("scharr_y", _slope([3, 10, 3], along_row=False), "slope along a column, truest direction", _SCHARR, 1 / 32),
    Filter("roberts_main", _rows([1, 0], [0, -1]), "difference down the main diagonal", _ROBERTS),
    Filter("roberts_anti", _rows([0, 1], [-1, 0]), "difference down the other diagonal", _ROBERTS),
    Filter("laplacian4", _rows([0, 1, 0], [1, -4, 1], [0, 1, 0]), "curvature, from 4 neighbours", _LAPLACIAN, 1.0),
    Filter("laplacian8", _rows([1, 1, 1], [1, -8, 1], [1, 1, 1]), "curvature, from 8 neighbours", _LAPLACIAN, 1 / 3),
    Filter("laplacian_of_gaussian", laplacian_of_gaussian, "curvature after a blur, 9 taps, sigma 1.4", _MARR),
    Filter("box3", lambda: box(3), "mean of 3 x 3", _GONZALEZ, 1.0),
    Filter("box5", lambda: box(5), "mean of 5 x 5", _GONZALEZ, 1.0),
    Filter("binomial3", lambda: binomial(3), "blur 1 2 1", _BURT, 1.0),
    Filter("binomial5", lambda: binomial(5), "blur 1 4 6 4 1", _BURT, 1.0),
    Filter("gaussian5", lambda: gaussian(5, 1.0), "blur, 5 taps, sigma 1", _MARR, 1.0),
    Filter("sharpen", _rows([0, -1, 0], [-1, 5, -1], [0, -1, 0]), "the image minus its curvature", _GONZALEZ, 1.0),
    Filter("emboss", _rows([-2, -1, 0], [-1, 1, 1], [0, 1, 2]), "the image lit from one corner", _GONZALEZ, 1.0),
    Filter("gabor0", lambda: gabor(angle=0), "upright stripes, 4 pixels apart", _DAUGMAN),
    Filter("gabor45", lambda: gabor(angle=45), "stripes that rise to the right, 4 pixels apart", _DAUGMAN),
    Filter("gabor90", lambda: gabor(angle=90), "level stripes, 4 pixels apart", _DAUGMAN),
    Filter("gabor135", lambda: gabor(angle=135), "stripes that fall to the right, 4 pixels apart", _DAUGMAN),
)
_FILTERS = {entry.name: entry for entry in _TABLE}


def names() -> list[str]:
    """Every name, in natural order.

    Example:
        >>> names()[:4]
        ['binomial3', 'binomial5', 'box3', 'box5']
    """
    return sorted(_FILTERS, key=natural_key)


def info(name: str) -> Filter:
    """What is known of one kernel.

    Raises:
        ValueError: No such name; the nearest ones are suggested.
        TypeError: The name is no string.

    Example:
        >>> info("sobel_x").source
        'Sobel and Feldman, A 3x3 isotropic gradient operator for image processing, 1968'
    """
    if name not in tuple(_FILTERS):  # also asks about what cannot be a key
        raise unknown_name("filter", name, names(), hint="convscope.ops.filters.names()")
    return _FILTERS[name]


def get(name: str, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """A kernel by its name, in the numbers it was published with; ``info(name).unit`` scales it.

    Args:
        name: One of ``names()``.
        dtype: A floating-point type.
        device: Where it is wanted.

    Returns:
        ``(kh, kw)``; with ``[None, None]`` it fits ``cross_correlate``.

    Raises:
        ValueError: No such name; the nearest ones are suggested.
        TypeError: The name is no string, or ``dtype`` holds whole numbers, in which most kernels would be all zeros.

    Example:
        >>> get("sobel_x")
        tensor([[-1.,  0.,  1.],
                [-2.,  0.,  2.],
                [-1.,  0.,  1.]])
    """
    known = info(name)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating-point type such as torch.float32, got {dtype!r}")
    return known.build().to(device, dtype)
