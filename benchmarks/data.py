"""A folder of photographs: decoded once into a pack, read from it ever after.

5,000 JPEG files of 640x480 pixels (smooth colour fields with detail and noise, quality 90), brought to 160 pixels.
Against ours stands what people write: a ``torch.utils.data.DataLoader`` with two worker processes whose data set opens,
resizes and converts one file at a time with Pillow. Both deliver float batches of 64; the two alternate.

    python benchmarks/data.py [--images 5000] [--rounds 3] [--workers 2] [--json]

Targets: the pack is made at 1.5 times the peer's decoding rate at least, an epoch from it is 10 times as fast.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from _common import arguments, publish, spread
from convscope import data

SIZE, BATCH, CLASSES = 160, 64, 10


def write_photographs(root: Path, count: int) -> None:
    """Ten classes; every fifth picture goes to the test split."""
    draw = np.random.default_rng(0)
    y, x = np.arange(480, dtype=np.float32)[:, None], np.arange(640, dtype=np.float32)
    noise = draw.normal(0, 6, (960, 1280)).astype(np.float32)
    for place in range(count):
        folder = root / ("test" if place % 5 == 4 else "train") / f"class {place // 5 % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        waves = [  # sin(a x + b y + c), from its factors
            np.sin(a * x) * np.cos(b * y + c) + np.cos(a * x) * np.sin(b * y + c)
            for a, b, c in draw.uniform(-0.05, 0.05, (3, 3)) * (1, 1, 100)
        ]
        detail = np.sin(x * draw.uniform(0.2, 0.8)) * np.sin(y * draw.uniform(0.2, 0.8))
        top, left = draw.integers(0, 480), draw.integers(0, 640)
        grain = noise[top : top + 480, left : left + 640]
        pixels = 128 + 70 * np.stack(waves, -1) + (25 * detail + grain)[..., None]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{place:05}.jpg", quality=90)


class Files(TorchDataset[tuple[torch.Tensor, int]]):
    """One file at a time, as in every tutorial."""

    def __init__(self, root: Path) -> None:
        classes = sorted(folder.name for folder in root.iterdir())
        self.files = [(path, classes.index(path.parent.name)) for path in sorted(root.glob("*/*.jpg"))]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[place]
        with Image.open(path) as image:
            small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float().div(255), label


def peer_epoch(root: Path, workers: int) -> float:
    """Seconds until every file of both splits has come out of the loader once."""
    began, seen = time.perf_counter(), 0
    for split in ("train", "test"):
        for images, _ in DataLoader(Files(root / split), BATCH, shuffle=True, num_workers=workers):
            seen += len(images)
    return time.perf_counter() - began


def our_epoch(found: data.Dataset, epoch: int) -> float:
    """The same from the pack: shuffled, as normalised floats."""
    see, began = data.Preprocess.of(found), time.perf_counter()
    for split in (found.train, found.test):
        for _ in data.Loader(split, see, batch_size=BATCH, shuffle_seed=0).batches(epoch):
            pass
    return time.perf_counter() - began


def main() -> None:
    """Time both in turns."""
    asked = arguments(__doc__, images=5000, rounds=3, workers=2, threads=2)
    torch.set_num_threads(asked.threads)
    packing, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name) / "photographs", Path(name) / "cache"
        write_photographs(root, asked.images)
        for epoch in range(asked.rounds):
            shutil.rmtree(cache, ignore_errors=True)
            began = time.perf_counter()
            found = data.load(root, image_size=SIZE, cache_dir=cache)
            packing.append(time.perf_counter() - began)
            theirs.append(peer_epoch(root, asked.workers))
            ours.append(our_epoch(found, epoch))
            if not asked.json:
                print(f"pack {packing[-1]:.1f} s   epoch from it {ours[-1]:.2f} s   DataLoader {theirs[-1]:.1f} s")
        shape, count = tuple(found.train.images.shape[1:]), len(found.train) + len(found.test)
        if count != asked.images or shape != (3, SIZE, SIZE):
            raise SystemExit(f"expected {asked.images} images of 3x{SIZE}x{SIZE}, got {count} of {shape}")
    result = {
        "what": f"{asked.images:,} JPEG photographs of 640x480 to {SIZE} px; DataLoader with {asked.workers} workers",
        "pillow": PIL.__version__,
        "pack_seconds": spread(packing),
        "epoch_seconds": spread(ours),
        "peer_epoch_seconds": spread(theirs),
        "pack_rate_over_peer": spread([b / a for a, b in zip(packing, theirs, strict=True)]),
        "epoch_rate_over_peer": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "target": "pack >= 1.5, epoch >= 10",
    }
    publish("data", result, as_json=asked.json)


if __name__ == "__main__":
    main()
