import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convscope.data import Dataset, ImageSet, fingerprint, mean_std, statistics


@given(arrays(np.uint8, st.tuples(*(st.integers(1, 5),) * 4)), st.sampled_from([1, 7, 1 << 20]))
def test_mean_and_deviation_are_numpys(values: np.ndarray, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "CHUNK_BYTES", chunk)
        mean, std = mean_std(torch.from_numpy(values))
    scaled = values / 255
    assert np.allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=0, atol=1e-12)
    assert np.allclose(std, scaled.std(axis=(0, 2, 3)), rtol=0, atol=1e-7)  # NumPy's own rounding, not ours


def test_a_constant_has_deviation_zero_exactly() -> None:
    assert mean_std(torch.full((1000, 1, 7, 7), 51, dtype=torch.uint8)) == ((0.2,), (0.0,))


def some(count: int = 300, seed: int = 0) -> ImageSet:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=draw)
    return ImageSet(images, torch.arange(count) % 3, ("a", "b", "c"))


def test_equal_sets_have_equal_fingerprints() -> None:
    first, second = some(), some()
    assert fingerprint(first) == fingerprint(second)
    assert len(fingerprint(first)) == 32
    strided = ImageSet(first.images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2), first.labels, first.classes)
    assert fingerprint(strided) == fingerprint(first)


def test_changes_are_noticed() -> None:
    base = some()
    other_label = base.labels.clone()
    other_label[17] = (other_label[17] + 1) % 3
    last_pixel = base.images.clone()
    last_pixel[-1, 0, 0, 0] ^= 1
    first_pixel = base.images.clone()
    first_pixel[0, 0, 0, 0] ^= 1
    variants = [
        some(seed=1),
        some(301),
        ImageSet(base.images, other_label, base.classes),
        ImageSet(base.images, base.labels, ("a", "b", "d")),
        ImageSet(last_pixel, base.labels, base.classes),
        ImageSet(first_pixel, base.labels, base.classes),
        ImageSet(base.images.view(300, 3, 4, 16), base.labels, base.classes),
        ImageSet(base.images.flip(0), base.labels.flip(0), base.classes),
    ]
    assert len({fingerprint(variant) for variant in [base, *variants]}) == 1 + len(variants)


def test_the_fingerprint_of_a_data_set_sees_both_splits() -> None:
    def pair(train: ImageSet, test: ImageSet) -> str:
        return fingerprint(Dataset("pair", train, test, (0.5,) * 3, (0.5,) * 3))

    assert pair(some(), some(30, seed=1)) == pair(some(), some(30, seed=1))
    assert len(pair(some(), some(30, seed=1))) == 32
    others = [(some(seed=2), some(30, seed=1)), (some(), some(30, seed=2)), (some(30, seed=1), some())]
    assert len({pair(some(), some(30, seed=1)), *(pair(*other) for other in others)}) == 4


def test_a_million_mapped_images_take_milliseconds(tmp_path: Path) -> None:
    with (tmp_path / "images").open("wb") as file:
        file.truncate(1_000_000 * 3 * 32 * 32)  # sparse: takes no space
    images = torch.from_file(str(tmp_path / "images"), shared=False, size=1_000_000 * 3072, dtype=torch.uint8)
    many = ImageSet(images.view(-1, 3, 32, 32), torch.zeros(1_000_000, dtype=torch.int64), ("a",))
    times = []
    for _ in range(3):
        start = time.process_time()
        fingerprint(many)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
