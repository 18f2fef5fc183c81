"""Augmentation again, one image and one pixel at a time, from the definitions."""

from __future__ import annotations

import hashlib
import math

import numpy as np

PURPOSES = [
    "flip", "shift_down", "shift_right", "cutout_down", "cutout_right", "crop_area", "crop_aspect", "crop_down",
    "crop_right", "angle", "brightness", "contrast", "saturation", "erase", "erase_area", "erase_aspect", "erase_down",
    "erase_right", "trivial", "trivial_strength", "trivial_sign",
]  # fmt: skip

MASK = 2**64 - 1


def splitmix64(state: int) -> int:
    """One output of splitmix64 as its authors' C code has it, with Python's unlimited whole numbers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key(*words: object) -> int:
    text = " ".join(str(word) for word in words)
    return int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16)


def draw(key: int, image: int, row: int) -> float:
    """The output number ``row`` of a generator that begins with the output number ``image`` of another one."""
    first = splitmix64((key + (image - 1) * 0x9E3779B97F4A7C15) & MASK)
    return (splitmix64((first + row * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24


def draws(seed: int, epoch: int, image: int) -> dict[str, float]:
    """All draws of one image."""
    start = key("augment", seed, epoch)
    return {purpose: draw(start, image, row) for row, purpose in enumerate(PURPOSES)}


def whole(value: float, count: int) -> int:
    return math.floor(value * count)


def shift(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """``(C, H, W)`` moved: cut out of the padded image."""
    room = max(abs(down), abs(right))
    padded = np.pad(image, ((0, 0), (room, room), (room, room)), mode="reflect")
    height, width = image.shape[1:]
    return padded[:, room - down : room - down + height, room - right : room - right + width]


def reflect(place: float, length: int) -> float:
    """Where a place from 0 to ``length``, measured along the pixels' edges, lies when the edges are mirrors."""
    place %= 2 * length
    return 2 * length - place if place > length else place


def look(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """``(C,)`` at a place, blended from the four pixels whose middles are around it."""
    height, width = image.shape[1:]
    y, x = reflect(y, height) - 0.5, reflect(x, width) - 0.5
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    value = np.zeros(len(image))
    for row, weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share in ((left, 1 - (x - left)), (left + 1, x - left)):
            if weight * share > 0:
                value += weight * share * image[:, row, column]
    return value


def warp(
    image: np.ndarray, size: tuple[int, int], *, box: tuple[float, float, float, float], degrees: float, looks: tuple
) -> np.ndarray:
    """``(C, h, w) -> (C, H, W)``; ``box`` is top, left, height and width in pixels of the turned image."""
    height, width = image.shape[1:]
    top, left, tall, wide = box
    out = np.zeros((len(image), *size))
    turn = math.radians(degrees)
    for row in range(size[0]):
        for column in range(size[1]):
            for i in range(looks[0]):
                for j in range(looks[1]):
                    y = top + tall * (row + (i + 0.5) / looks[0]) / size[0] - height / 2
                    x = left + wide * (column + (j + 0.5) / looks[1]) / size[1] - width / 2
                    # Counter-clockwise on a screen, whose y points down, so the look goes clockwise.
                    from_x = math.cos(turn) * x - math.sin(turn) * y
                    from_y = math.sin(turn) * x + math.cos(turn) * y
                    out[:, row, column] += look(image, from_y + height / 2, from_x + width / 2)
    return out / (looks[0] * looks[1])


def box(area: float, aspect: float, *, aspects: tuple[float, float], image: tuple[int, int]) -> tuple[float, float]:
    """Height and width in pixels of a box with this area."""
    height, width = image
    pixels = area * height * width
    # width / height = r fits where sqrt(pixels * r) <= width and sqrt(pixels / r) <= height
    low, high = pixels / height**2, width**2 / pixels
    smallest, largest = (min(max(value, low), high) for value in aspects)
    r = smallest * (largest / smallest) ** aspect
    return math.sqrt(pixels / r), math.sqrt(pixels * r)


def grey(image: np.ndarray) -> np.ndarray:
    return image[0] if len(image) == 1 else 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def color(image: np.ndarray, *, brightness: float = 1, contrast: float = 1, saturation: float = 1) -> np.ndarray:
    image = np.clip(image * brightness, 0, 255)
    image = np.clip(contrast * image + (1 - contrast) * grey(image).mean(), 0, 255)
    return np.clip(saturation * image + (1 - saturation) * grey(image), 0, 255) if len(image) == 3 else image


def hide(image: np.ndarray, top: int, left: int, height: int, width: int) -> None:
    """Fill a box with zero, in place, pixel by pixel; what lies outside is left out."""
    for row in range(top, top + height):
        for column in range(left, left + width):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                image[:, row, column] = 0
