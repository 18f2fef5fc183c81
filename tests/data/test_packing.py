"""Folders of pictures as data sets: real values, packs that are reused, rebuilt, never half written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import data
from convscope.data import packwriter, splitting
from convscope.errors import DataError


def packs(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packs").iterdir()) if (cache / "packs").exists() else []


def values(images: data.ImageSet) -> list[int]:
    """The one value of each picture that the ``pictures`` fixture wrote."""
    assert (images.images == images.images[:, :, :1, :1]).all()
    return images.images[:, 0, 0, 0].tolist()


# values -----------------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_pictures(pets: Path) -> None:
    found = data.load(pets)
    assert found.name == "pets"
    assert found.classes == ("cat", "dog")
    assert values(found.train) == [10, 20, 30, 40]
    assert found.train.labels.tolist() == [0, 0, 1, 1]
    assert values(found.test) == [50]
    assert found.test.labels.tolist() == [1]
    assert found.train.images.shape == (4, 1, 6, 6)
    assert found.mean == pytest.approx((25 / 255,))
    assert found.std == pytest.approx((np.std([10, 20, 30, 40]) / 255,))


def test_a_folder_of_digits_is_digits(tmp_path: Path) -> None:
    digits = data.load("digits")
    for split, images in (("train", digits.train), ("test", digits.test)):
        for place, (pixels, label) in enumerate(zip(images.images, images.labels.tolist(), strict=True)):
            folder = tmp_path / "digits" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0].numpy()).save(folder / f"{place:04}.png")
    found = data.load(tmp_path / "digits")
    for ours, theirs in ((found.train, digits.train), (found.test, digits.test)):
        order = torch.argsort(theirs.labels, stable=True)  # a folder comes class by class
        assert torch.equal(ours.images, theirs.images[order])
        assert torch.equal(ours.labels, theirs.labels[order])
    assert found.classes == digits.classes
    assert found.mean == digits.mean
    assert found.std == digits.std


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_chunks_make_no_difference(pictures, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(packwriter, "CHUNK_FILES", chunk)
    found = data.load(pictures({"train/a": [1, 2, 3, 4, 5], "train/b": [6, 7], "test/a": [8, 9, 10]}))
    assert values(found.train) == [1, 2, 3, 4, 5, 6, 7]
    assert values(found.test) == [8, 9, 10]
    assert found.mean == pytest.approx((4 / 255,))


def test_one_colour_picture_makes_the_folder_colour(pets: Path) -> None:
    Image.new("RGB", (6, 6), (1, 2, 3)).save(pets / "train/cat/000.png")
    found = data.load(pets)
    assert found.train.images[:, :, 0, 0].tolist() == [[1, 2, 3], [20] * 3, [30] * 3, [40] * 3]
    assert found.mean == pytest.approx(tuple(np.array([91, 92, 93]) / 4 / 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_can_be_asked_for(pets: Path, channels: int, own_cache: Path, no_decoding) -> None:
    Image.new("RGB", (6, 6), (200, 100, 0)).save(pets / "train/cat/000.png")
    found = data.load(pets, channels=channels)
    red, green, blue = 200, 100, 0
    first = [round(0.299 * red + 0.587 * green + 0.114 * blue)] if channels == 1 else [red, green, blue]
    assert found.train.images[:, :, 0, 0].tolist() == [first, [20] * channels, [30] * channels, [40] * channels]
    assert found.source["channels"] == channels
    no_decoding()
    assert torch.equal(data.load(**found.source).train.images, found.train.images)
    assert len(packs(own_cache)) == 1


def test_grey_pictures_can_be_made_colour_and_stay_grey_by_default(pets: Path) -> None:
    assert data.load(pets, channels=3).train.images.shape == (4, 3, 6, 6)
    assert data.load(pets).train.images.shape == (4, 1, 6, 6)
    assert "channels" not in data.load(pets).source


def test_the_default_size_is_the_median_short_side_at_most_64(pictures) -> None:
    root = pictures({"train/a": [1], "test/a": [2]}, size=(9, 20))
    pictures({"train/b": [1]}, size=(30, 11))
    pictures({"train/c": [1]}, size=(500, 400))
    assert data.load(root).image_size == (11, 11)
    pictures({"train/b": [1], "train/a": [1]}, size=(300, 200))
    assert data.load(root).image_size == (64, 64)
    assert data.load(root, image_size=100).image_size == (100, 100)


def test_a_split_by_seed_is_loaded_again_from_its_source(pictures) -> None:
    root = pictures({"a": list(range(20)), "b": list(range(100, 120))})
    found = data.load(root, test_fraction=0.25, seed=5)
    assert len(found.test) == 10
    assert sorted(values(found.train) + values(found.test)) == [*range(20), *range(100, 120)]
    assert json.loads(json.dumps(dict(found.source))) == found.source
    again = data.load(**found.source)
    assert values(again.test) == values(found.test)
    assert values(data.load(root, test_fraction=0.25, seed=6).test) != values(found.test)


def test_nothing_here_writes_into_the_read_only_map(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it otherwise, this test would end the process."""
    found = data.load(pets)
    found.train.take(torch.tensor([0, 1])).images.zero_()
    for limit in (splitting.IN_MEMORY_BYTES, 0):
        monkeypatch.setattr(splitting, "IN_MEMORY_BYTES", limit)
        for part in data.hold_out(found.train, 0.5, seed=0):
            part.images.zero_()
    for seed in (None, 0):
        for x, _ in data.Loader(found.train, data.Preprocess.of(found), batch_size=3, shuffle_seed=seed).batches():
            x.zero_()
    data.fingerprint(found)
    data.mean_std(found.train.images)
    assert values(found.train) == values(data.load(pets).train) == [10, 20, 30, 40]


# what cannot be read ----------------------------------------------------------------------------------------------


@pytest.fixture
def spoiled(pets: Path) -> Path:
    (pets / "train/cat/text.png").write_text("not a picture")
    whole = (pets / "train/dog/000.png").read_bytes()
    (pets / "train/dog/truncated.png").write_bytes(whole[:-30])
    return pets


def test_unreadable_pictures_are_left_out_and_named(spoiled: Path, no_decoding) -> None:
    for again in (False, True):
        named: list[tuple[Path, str]] = []
        found = data.load(spoiled, on_skip=lambda path, reason: named.append((path, reason)))  # noqa: B023
        assert values(found.train) == [10, 20, 30, 40]
        assert sorted(path.name for path, _ in named) == ["text.png", "truncated.png"]
        assert all(str(path) in reason for path, reason in named)
        with pytest.warns(UserWarning, match=r"2 pictures were left out of .*\n.*text\.png cannot be read"):
            data.load(spoiled)
        if not again:
            no_decoding()


def test_strict_stops_at_the_first(spoiled: Path, own_cache: Path) -> None:
    with pytest.raises(DataError, match=r"text\.png cannot be read as a picture: .* \(strict"):
        data.load(spoiled, strict=True)
    assert packs(own_cache) == []
    data.load(spoiled, on_skip=lambda *_: None)
    with pytest.raises(DataError, match=r"\.png cannot be read as a picture: .* \(strict"):  # also from the pack
        data.load(spoiled, strict=True)


def test_a_class_without_a_readable_training_picture_is_an_error(pets: Path) -> None:
    for path in (pets / "train/cat").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 2 training pictures of class 'cat'"):
        data.load(pets)


def test_a_test_split_without_a_readable_picture_is_an_error(pets: Path, own_cache: Path) -> None:
    whole = (pets / "test/dog/000.png").read_bytes()
    for raw in (b"x", whole[:-30]):  # the second has a whole header
        (pets / "test/dog/000.png").write_bytes(raw)
        with pytest.raises(DataError, match="none of the 1 test pictures"):
            data.load(pets)
    assert packs(own_cache) == []


def test_a_bomb_in_a_folder_is_named(pets: Path) -> None:
    Image.new("1", (9_500, 9_500)).save(pets / "train/dog/bomb.png")
    with pytest.warns(UserWarning, match=r"bomb\.png is larger than 89,478,485 pixels: refused"):
        data.load(pets)


# reuse ------------------------------------------------------------------------------------------------------------


def test_the_second_load_decodes_nothing(pets: Path, own_cache: Path, no_decoding) -> None:
    seen: list[tuple[int, int]] = []
    first = data.load(pets, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 10) for done in range(1, 11)]
    no_decoding()
    second = data.load(pets, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 10
    assert torch.equal(first.train.images, second.train.images)
    assert (first.mean, first.std, first.source) == (second.mean, second.std, second.source)
    assert len(packs(own_cache)) == 1


def test_the_source_of_a_folder_names_the_pack_that_is_there(
    pets: Path, pictures, own_cache: Path, no_decoding
) -> None:
    for root in (pets, pictures({"a": [1, 2], "b": [3, 4]}, root="flat")):
        found = data.load(root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packwriter, "decode", None)  # to call it fails
            patch.setattr(packwriter, "survey", None)
            again = data.load(**found.source)
            data.load(root, channels=1, image_size=6)
        assert torch.equal(again.train.images, found.train.images)
        assert again.source == found.source
    assert len(packs(own_cache)) == 2


def change_time(root: Path) -> None:
    path = root / "train/cat/000.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def change_pixels(root: Path) -> None:
    Image.new("L", (6, 6), 99).save(root / "train/cat/000.png")
    os.utime(root / "train/cat/000.png", ns=(0, 1))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_time, [10, 20, 30, 40]),
        (change_pixels, [99, 20, 30, 40]),
        (lambda root: (root / "train/cat/000.png").unlink(), [20, 30, 40]),
        (lambda root: (root / "train/cat/000.png").rename(root / "train/cat/zzz.png"), [20, 10, 30, 40]),
        (lambda root: Image.new("L", (6, 6), 15).save(root / "train/cat/0005.png"), [10, 15, 20, 30, 40]),
        (lambda root: (root / "train/dog").rename(root / "train/ant") and (root / "test/dog").rename(root / "test/ant"),
         [30, 40, 10, 20]),
    ],
)  # fmt: skip
def test_a_change_packs_again_and_the_stale_pack_goes(pets: Path, own_cache: Path, change, expected) -> None:
    data.load(pets)
    before = packs(own_cache)
    change(pets)
    assert values(data.load(pets).train) == expected
    after = packs(own_cache)
    assert len(after) == 1
    assert after != before


def test_packs_of_other_sizes_and_folders_stay(pets: Path, pictures, own_cache: Path, no_decoding) -> None:
    other = pictures({"a": [1, 2], "b": [3, 4]}, root="other")
    data.load(pets)
    data.load(pets, image_size=3)
    data.load(other)
    data.load(other, seed=1)
    assert len(packs(own_cache)) == 4
    no_decoding()
    assert data.load(pets).image_size == (6, 6)
    assert data.load(pets, image_size=3).image_size == (3, 3)


@pytest.mark.parametrize("name", ["meta.json", "train.images", "train.labels", "test.images", "test.labels"])
@pytest.mark.parametrize("how", ["cut", "gone", "longer"])
def test_a_damaged_pack_is_made_again(pets: Path, own_cache: Path, name: str, how: str) -> None:
    data.load(pets)
    path = own_cache / "packs" / packs(own_cache)[0] / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3] if how == "cut" else path.read_bytes() + b"123")
    found = data.load(pets)
    assert values(found.train) == [10, 20, 30, 40]
    assert values(found.test) == [50]
    assert path.exists()


def test_a_pack_of_another_format_is_made_again(pets: Path, own_cache: Path) -> None:
    data.load(pets)
    folder = own_cache / "packs" / packs(own_cache)[0]
    (folder / "train.images").write_bytes(bytes(4 * 36))  # whole, but with pixels of another time
    assert values(data.load(pets).train) == [0, 0, 0, 0]
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format": meta["format"] - 1}))
    assert values(data.load(pets).train) == [10, 20, 30, 40]
