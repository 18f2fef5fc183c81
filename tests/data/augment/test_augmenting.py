"""All of it in order: image by image as by hand, and the same however the batch is cut."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convscope.data import Preprocess
from convscope.data.augment import Augment, AugmentConfig
from data.augment import by_hand

EVERYTHING = {
    "flip": "random", "shift": 2, "crop": 0.4, "rotate": 20.0, "brightness": 0.3, "contrast": 0.4, "saturation": 0.5,
    "erase": 0.6, "cutout": 3,
}  # fmt: skip


def preprocess(size: tuple[int, int], channels: int = 3) -> Preprocess:
    return Preprocess(size, (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels])


def batch_of(count: int, channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, channels, height, width), generator=generator).to(torch.uint8)
    return images, torch.arange(count) % 10, torch.randperm(10 * count, generator=generator)[:count]


def augmented(config: AugmentConfig, images, index, *, size=None, seed: int = 0, epoch: int = 0) -> torch.Tensor:
    """Images alone, of any size, with labels that do not matter."""
    made = Augment(config, preprocess(size or images.shape[2:], images.shape[1]), seed=seed)
    return made(images, index % 10, index, epoch=epoch, batch=0, classes=10)[0]


def one_by_hand(config: AugmentConfig, image: np.ndarray, draws: dict[str, float], size: tuple[int, int]) -> np.ndarray:
    """What becomes of ``(C, h, w)``, from the draws of this image alone."""
    if config.flip == "random" and draws["flip"] < 0.5:
        image = image[:, :, ::-1]
    if config.shift:
        down, right = (by_hand.whole(draws[name], 2 * config.shift + 1) for name in ("shift_down", "shift_right"))
        image = by_hand.shift(image, down - config.shift, right - config.shift)
    image, stored = image.astype(float), image.shape[1:]
    if config.crop < 1 or config.rotate:
        box = (0.0, 0.0, *stored)
        if config.crop < 1:
            area = config.crop + (1 - config.crop) * draws["crop_area"]
            tall, wide = by_hand.box(area, draws["crop_aspect"], aspects=(3 / 4, 4 / 3), image=stored)
            box = ((stored[0] - tall) * draws["crop_down"], (stored[1] - wide) * draws["crop_right"], tall, wide)
        looks = tuple(max(1, math.ceil(old / new - 0.5)) for old, new in zip(stored, size, strict=True))
        image = by_hand.warp(image, size, box=box, degrees=(2 * draws["angle"] - 1) * config.rotate, looks=looks)
    names = ("brightness", "contrast", "saturation")
    image = by_hand.color(image, **{name: 1 + (2 * draws[name] - 1) * getattr(config, name) for name in names})
    see = preprocess(size, len(image))
    image = (image / 255 - np.reshape(see.mean, (-1, 1, 1))) / np.reshape(see.std, (-1, 1, 1))
    if draws["erase"] < config.erase:
        area = 0.02 + 0.31 * draws["erase_area"]
        sides = by_hand.box(area, draws["erase_aspect"], aspects=(0.3, 1 / 0.3), image=size)
        tall, wide = (max(1, round(side)) for side in sides)
        top = by_hand.whole(draws["erase_down"], size[0] + 1 - tall)
        left = by_hand.whole(draws["erase_right"], size[1] + 1 - wide)
        by_hand.hide(image, top, left, tall, wide)
    if config.cutout:
        row, column = by_hand.whole(draws["cutout_down"], size[0]), by_hand.whole(draws["cutout_right"], size[1])
        side = config.cutout
        by_hand.hide(image, row - side // 2, column - side // 2, side, side)
    return image


CONFIGS = [{name: value} for name, value in EVERYTHING.items()] + [
    EVERYTHING,
    {"flip": "random", "shift": 2},
    {"crop": 0.4, "rotate": 20.0},
    {"erase": 1.0, "cutout": 3},
]


SIZES = {"same": (8, 10), "larger": (14, 12), "smaller": (3, 4)}
SIZED = [  # what is not warped is resized by Preprocess, and tested there
    pytest.param(settings, size, id="-".join([*settings, name]))
    for settings in CONFIGS
    for name, size in SIZES.items()
    if name == "same" or {"crop", "rotate"} & settings.keys()
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("settings", "size"), SIZED)
def test_a_batch_is_varied_as_image_by_image_by_hand(settings: dict, size: tuple[int, int], channels: int):
    config = AugmentConfig(**settings)
    images, _, index = batch_of(6, channels, 8, 10)
    x = augmented(config, images, index, size=size, seed=5, epoch=3)
    assert x.dtype == torch.float32
    for i, image in enumerate(images.numpy()):
        expected = one_by_hand(config, image, by_hand.draws(5, 3, int(index[i])), size)
        np.testing.assert_allclose(x[i].numpy(), expected, atol=2e-3)


def test_off_is_preprocess_and_nothing_else():
    images, labels, index = batch_of(4, 3, 8, 10)
    see = preprocess((9, 9))
    x, same = Augment(AugmentConfig(), see, seed=0)(images, labels, index, epoch=0, batch=0, classes=10)
    assert torch.equal(x, see(images))
    assert same is labels


MIXED = {"mixup": 0.2, "cutmix": 1.0}


@given(
    st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in (EVERYTHING | MIXED).items()}),
    st.sampled_from([1, 3]), st.integers(1, 5), st.integers(0, 2**80), st.integers(0, 1000), st.integers(0, 1000),
)  # fmt: skip
def test_every_combination_gives_what_was_promised(settings, channels, count, seed, epoch, batch):
    images, labels, index = batch_of(count, channels, 8, 10)
    before = images.clone()
    augment = Augment(AugmentConfig(**settings), preprocess((6, 7), channels), seed=seed)
    x, targets = augment(images, labels, index, epoch=epoch, batch=batch, classes=10)
    assert torch.equal(images, before)
    assert x.shape == (count, channels, 6, 7)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    if MIXED.keys() & settings.keys():
        assert targets.shape == (count, 10)
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets.sum(1), torch.ones(count))
        assert targets.min() >= 0
        if labels[0] != labels[-1]:
            assert (targets[0] > 0).sum() <= 2
    else:
        assert torch.equal(targets, labels)
    again = Augment(AugmentConfig(**settings), preprocess((6, 7), channels), seed=seed)
    torch.manual_seed(epoch)  # and whatever else drew numbers meanwhile
    for one, other in zip(
        again(images, labels, index, epoch=epoch, batch=batch, classes=10), (x, targets), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("settings", CONFIGS, ids="+".join)
def test_a_batch_cut_into_shares_gives_the_same_images(settings: dict):
    config = AugmentConfig(**settings)
    images, _, index = batch_of(12, 3, 8, 10)
    whole = augmented(config, images, index)
    for cuts in ([12], [6, 6], [5, 4, 3], [1] * 12):
        shares = [augmented(config, *share) for share in zip(images.split(cuts), index.split(cuts), strict=True)]
        torch.testing.assert_close(torch.cat(shares), whole, atol=1e-5, rtol=0)
    order = torch.randperm(12)
    torch.testing.assert_close(augmented(config, images[order], index[order]), whole[order], atol=1e-5, rtol=0)


def test_epochs_seeds_and_images_differ():
    images = batch_of(1, 3, 8, 10)[0].expand(64, -1, -1, -1)
    config = AugmentConfig(shift=3, brightness=0.5)
    seen = [
        augmented(config, images, torch.arange(64) + start, seed=seed, epoch=epoch)
        for seed, epoch, start in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 64))
    ]
    assert len({tuple(x.flatten().tolist()) for x in torch.cat(seen)}) == 4 * 64


def test_turning_one_thing_on_leaves_the_draws_of_the_others():
    images, _, index = batch_of(200, 3, 8, 10)
    shifted = augmented(AugmentConfig(shift=2), images, index)
    both = augmented(AugmentConfig(shift=2, erase=0.5), images, index)
    untouched = (both != 0).flatten(1).all(1)
    assert 40 < untouched.sum() < 160
    assert torch.equal(both[untouched], shifted[untouched])


def test_alternate_flips_every_image_every_second_epoch():
    images, _, index = batch_of(500, 1, 4, 6)
    plain = preprocess((4, 6), 1)(images)
    config = AugmentConfig(flip="alternate")
    mirrored = [(augmented(config, images, index, epoch=epoch) != plain).flatten(1).any(1) for epoch in range(5)]
    for epoch in range(5):
        x = augmented(config, images, index, epoch=epoch)
        assert torch.equal(x[mirrored[epoch]], plain[mirrored[epoch]].flip(3))
        assert torch.equal(mirrored[epoch], mirrored[0] ^ bool(epoch % 2))
    assert torch.equal(augmented(AugmentConfig(flip="random"), images, index), augmented(config, images, index))
    assert stats.binomtest(int(mirrored[0].sum()), 500).pvalue > 1e-3
    other = (augmented(config, images, index, seed=1) != plain).flatten(1).any(1)
    assert stats.binomtest(int((other ^ mirrored[0]).sum()), 500).pvalue > 1e-3, "another seed begins otherwise"


@pytest.mark.parametrize("most", [1, 3])
def test_shifts_are_all_equally_frequent_and_none_is_larger(most: int):
    images = torch.zeros(20_000, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    x = augmented(AugmentConfig(shift=most), images, torch.arange(20_000))
    counts = (x > 0).sum((0, 1))[4 - most : 5 + most, 4 - most : 5 + most].flatten()
    assert counts.sum() == 20_000
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_angles_and_factors_are_spread_over_both_sides():
    many = torch.arange(5000)
    grey = torch.full((5000, 1, 1, 1), 100, dtype=torch.uint8)
    see = preprocess((1, 1), 1)
    factor = (augmented(AugmentConfig(brightness=0.4), grey, many) * see.std[0] + see.mean[0]) * 255 / 100
    assert stats.kstest(factor.flatten().numpy(), "uniform", (0.6, 0.8)).pvalue > 1e-3
    ramp = torch.arange(0, 99, 9, dtype=torch.uint8).expand(5000, 1, 11, 11)
    turned = augmented(AugmentConfig(rotate=30.0), ramp, many) * see.std[0] * 255 / 9
    middle = turned[:, 0, 4:7, 4:7]
    right, down = (middle[:, 1, 2] - middle[:, 1, 0]) / 2, (middle[:, 2, 1] - middle[:, 0, 1]) / 2
    angle = torch.atan2(-down, right).rad2deg().numpy()  # of the slope, which turns with the image
    assert stats.kstest(angle, "uniform", (-30, 60)).pvalue > 1e-3


def test_images_are_erased_as_often_as_asked():
    images = torch.full((4000, 1, 8, 8), 200, dtype=torch.uint8)
    x = augmented(AugmentConfig(erase=0.3), images, torch.arange(4000))
    assert stats.binomtest(int((x == 0).flatten(1).any(1).sum()), 4000, 0.3).pvalue > 1e-3


@pytest.mark.parametrize("settings", [{"mixup": 0.5}, {"cutmix": 1.0}])
def test_mixed_labels_say_what_is_seen(settings: dict):
    levels = torch.tensor([0, 80, 160, 240], dtype=torch.uint8)
    images = levels.view(-1, 1, 1, 1).expand(4, 1, 10, 10).contiguous()
    see = Preprocess((10, 10), (0.0,), (1.0,))
    augment = Augment(AugmentConfig(**settings), see, seed=0)
    for batch in range(20):
        x, targets = augment(images, torch.arange(4), torch.arange(4), epoch=0, batch=batch, classes=4)
        torch.testing.assert_close(x.mean((1, 2, 3)), targets @ (levels / 255), atol=1e-5, rtol=0)


def test_mixing_comes_after_all_else_and_follows_the_batch():
    images, labels, index = batch_of(8, 3, 8, 10)
    see = preprocess((8, 10))
    plain = Augment(AugmentConfig(shift=2), see, seed=0)(images, labels, index, epoch=1, batch=4, classes=10)[0]
    mixing = Augment(AugmentConfig(shift=2, mixup=1.0), see, seed=0)
    x, targets = mixing(images, labels, index, epoch=1, batch=4, classes=10)
    own = targets[torch.arange(8), labels][:, None, None, None]
    torch.testing.assert_close(x, own * plain + (1 - own) * plain.roll(1, 0))
    others = {
        mixing(images, labels, index, epoch=e, batch=b, classes=10)[1].max().item() for e in (0, 1) for b in (4, 5)
    }
    assert len(others) == 4


def test_nothing_is_waited_for():
    """Tensors without values have no answer to give: whoever asked for one would fail."""
    images = torch.empty(5, 3, 12, 12, dtype=torch.uint8, device="meta")
    numbers = torch.empty(5, dtype=torch.int64, device="meta")
    for flip in ("random", "alternate"):
        config = AugmentConfig(**EVERYTHING | MIXED | {"flip": flip})
        x, targets = Augment(config, preprocess((8, 8)), seed=0)(images, numbers, numbers, epoch=1, batch=0, classes=7)
        assert (x.device.type, x.shape, x.dtype) == ("meta", (5, 3, 8, 8), torch.float32)
        assert (targets.device.type, targets.shape) == ("meta", (5, 7))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_accelerator_gives_the_same_images():
    images, labels, index = batch_of(16, 3, 12, 14)
    augment = Augment(AugmentConfig(**EVERYTHING | MIXED), preprocess((9, 8)), seed=3)
    for batch in range(3):
        here = augment(images, labels, index, epoch=1, batch=batch, classes=10)
        there = augment(images.cuda(), labels.cuda(), index.cuda(), epoch=1, batch=batch, classes=10)
        for one, other in zip(here, there, strict=True):
            torch.testing.assert_close(other.cpu(), one, atol=1e-3, rtol=0)


GOOD = (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), torch.arange(2))


@pytest.mark.parametrize(
    ("place", "bad", "message"),
    [
        (0, GOOD[0].float(), "expected uint8 images (N, C, H, W), got torch.float32 (2, 3, 8, 8)"),
        (0, GOOD[0][0], "expected uint8 images (N, C, H, W), got torch.uint8 (3, 8, 8)"),
        (0, GOOD[0][:, :, :2], "--shift must be below the images' smaller side of 2, got 2"),
        (0, GOOD[0][:, :1], "expected uint8 images (N, 3, H, W) or floats in 0..255, got torch.uint8 (2, 1, 8, 8)"),
        (1, GOOD[1].int(), "expected labels (2,) int64, one per image, got torch.int32 (2,)"),
        (1, GOOD[1][:1], "expected labels (2,) int64, one per image, got torch.int64 (1,)"),
        (2, torch.zeros(2, 1, dtype=torch.int64), "expected index (2,) int64, one per image, got torch.int64 (2, 1)"),
    ],
)
def test_what_does_not_fit_is_refused(place: int, bad: torch.Tensor, message: str):
    batch = [*GOOD]
    batch[place] = bad
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Augment(AugmentConfig(shift=2), preprocess((8, 8)), seed=0)(*batch, epoch=0, batch=0, classes=2)


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        Augment(AugmentConfig(), preprocess((8, 8)), seed=-1)
    augment = Augment(AugmentConfig(shift=2), preprocess((8, 8)), seed=0)
    for epoch, batch in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=f"epoch and batch must not be negative, got {epoch} and {batch}"):
            augment(*GOOD, epoch=epoch, batch=batch, classes=2)


def test_no_images_are_no_mistake():
    augment = Augment(AugmentConfig(flip="random", shift=2, cutout=2, mixup=0.2), preprocess((8, 8)), seed=0)
    x, targets = augment(*(tensor[:0] for tensor in GOOD), epoch=0, batch=0, classes=2)
    assert x.shape == (0, 3, 8, 8)
    assert targets.shape == (0, 2)


def test_floats_are_preprocessed_as_bytes_are():
    images = batch_of(3, 3, 8, 10)[0]
    for size in ((8, 10), (5, 12)):
        floats = images.float()
        assert torch.equal(preprocess(size)(floats), preprocess(size)(images))
        assert torch.equal(floats, images.float()), "its argument is not changed"
