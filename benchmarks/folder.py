"""How long a folder of 60,000 pictures takes: packed once, loaded ever after.

    python benchmarks/folder.py [--images 60000] [--packs 3] [--loads 7] [--json]

Writes grey 28x28 PNG files of random pixels in ten classes to a temporary folder, packs them into a fresh cache, then
loads them again and again. Target: the second load takes under a second.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from _common import arguments, publish, spread
from convscope import data

LIMIT_SECONDS = 1.0
SIDE = 28


def write_pictures(root: Path, count: int) -> None:
    """One picture in seven goes to the test split, as in MNIST."""
    draw = np.random.default_rng(0)
    for place in range(count):
        folder = root / ("test" if place % 7 == 6 else "train") / f"class {place % 10}"
        if place < 70:  # by then every folder came up once
            folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"{place:06}.png")


def timed_load(root: Path, cache: Path) -> tuple[float, float, data.Dataset]:
    """Wall and processor seconds of one ``data.load``, and what came."""
    began, worked = time.perf_counter(), time.process_time()
    found = data.load(root, cache_dir=cache)
    return time.perf_counter() - began, time.process_time() - worked, found


def main() -> None:
    """Time both, several times."""
    asked = arguments(__doc__, images=60_000, packs=3, loads=7)
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name) / "pictures", Path(name) / "cache"
        write_pictures(root, asked.images)
        packing = []
        for _ in range(asked.packs):
            shutil.rmtree(cache, ignore_errors=True)
            packing.append(timed_load(root, cache)[0])
        loading, working = [], []
        for _ in range(asked.loads):
            seconds, processor_seconds, found = timed_load(root, cache)
            loading.append(seconds)
            working.append(processor_seconds)
        if len(found.train) + len(found.test) != asked.images or found.image_size != (SIDE, SIDE):
            raise SystemExit(f"expected {asked.images} images of {SIDE}x{SIDE}, got {found.train} and {found.test}")
        began = time.perf_counter()
        for start in range(0, len(found.train), 4096):
            found.train.images[start : start + 4096].sum()
        reading = time.perf_counter() - began
    publish(
        "folder",
        {
            "images": asked.images,
            "image_shape": [1, SIDE, SIDE],
            "pillow": PIL.__version__,
            "pack_seconds": spread(packing),
            "second_load_seconds": spread(loading),
            "second_load_processor_seconds": spread(working),
            "others_at_work": os.getloadavg()[0],  # wall times on a busy machine say more about the others
            "read_all_training_pixels_seconds": reading,
            "target_second_load_seconds": LIMIT_SECONDS,
            "target_met": statistics.median(loading) < LIMIT_SECONDS,
        },
        as_json=asked.json,
    )


if __name__ == "__main__":
    main()
