"""Named data sets: found in every layout, verified, never confused, and the real values."""

import gzip
import io
import os
import re
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from convscope import data
from convscope.data.catalog import CATALOG, CIFAR10, IDX_FILES, KMNIST, Content, Published
from convscope.errors import DataError

REAL = os.environ.get("CONVSCOPE_DATA", "")
IMAGES = IDX_FILES[0][0]


# digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_in_bytes() -> None:
    digits, bunch = data.load("digits"), load_digits()
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.train.counts() == [142, 146, 142, 146, 145, 146, 145, 143, 139, 144]
    everything = torch.cat([digits.train.images, digits.test.images]).reshape(1797, 64).numpy()
    labels = torch.cat([digits.train.labels, digits.test.labels]).numpy()
    ours = sorted((*row, label) for row, label in zip((everything / 255 * 16).round().tolist(), labels, strict=True))
    theirs = sorted((*row, label) for row, label in zip(bunch.data.tolist(), bunch.target, strict=True))
    assert ours == theirs
    assert digits.train.images.max() == 255
    assert digits.mean[0] == pytest.approx((digits.train.images.double() / 255).mean().item(), abs=1e-12)
    assert digits.std[0] == pytest.approx((digits.train.images.double() / 255).std(correction=0).item(), abs=1e-12)


def test_digits_are_split_the_same_way_every_time() -> None:
    first, second = data.load("digits"), data.load("digits", seed=9, test_fraction=0.5)
    assert torch.equal(first.test.images, second.test.images)
    assert data.fingerprint(first.train) == "59795b0dd0bea5243d24255113245e44"


def test_digits_need_no_files() -> None:
    assert data.get("digits") is None
    assert data.load("digits").source == {"name_or_folder": "digits"}


# the catalogue ----------------------------------------------------------------------------------------------------


def test_every_name_is_described() -> None:
    assert data.names() == ["digits", "fashion-mnist", "mnist", "kmnist", "cifar10"]
    sums = set()
    for name in data.names():
        info = data.info(name)
        assert info.name == name
        assert len(info.classes) == len(set(info.classes)) == 10
        assert info.description
        assert info.licence
        assert info.citation
        if info.needs_files:
            assert len(info.mirrors) >= 2
            sums |= {content.sha256 or file.sha256 for file in info.files for content in file.contents}
    assert len(sums) == 4 + 4 + 4 + 6
    assert all(value and len(value) == 64 for value in sums)


def test_sizes_follow_from_shapes() -> None:
    for name in ("fashion-mnist", "mnist", "kmnist"):
        info = data.info(name)
        sizes = [content.size for content in info.contents]
        assert sizes == [16 + 784 * info.train_images, 8 + info.train_images, 16 + 784 * 10_000, 8 + 10_000]
    assert [content.size for content in CIFAR10.contents] == [10_000 * 3073] * 6


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown data set 'fashionmnist'; did you mean 'fashion-mnist'"):
        data.load("fashionmnist")
    with pytest.raises(ValueError, match="convscope data list"):
        data.info("imagenet")


# where files are found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "tiny", "Tiny/raw", "tiny/raw", "raw"])
def test_every_layout_is_found(tiny, tmp_path: Path, below: str, packed: bool) -> None:
    tiny.write(tmp_path / below, packed=packed)
    found = data.load("tiny", data_dir=tmp_path, download=False)
    assert np.array_equal(found.train.images[:, 0].numpy(), tiny.images[0])
    assert np.array_equal(found.test.images[:, 0].numpy(), tiny.images[1])
    assert np.array_equal(found.train.labels.numpy(), tiny.labels[0])
    assert found.mean[0] == pytest.approx(tiny.images[0].mean() / 255)
    assert found.std[0] == pytest.approx(tiny.images[0].std() / 255)
    assert found.source == {"name_or_folder": "tiny", "data_dir": str(tmp_path)}
    again = data.load(**found.source)
    assert torch.equal(again.train.images, found.train.images)


def test_the_folder_given_wins_over_the_environment_and_that_over_the_cache(
    tiny, twin, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "given", tmp_path / "environment", own_cache / "data"]
    for folder in folders:
        tiny.write(folder)
    monkeypatch.setenv("CONVSCOPE_DATA", str(folders[1]))
    assert data.get("tiny", data_dir=folders[0]) == folders[0]
    assert data.get("tiny") == folders[1]
    for name in tiny.contents:
        (folders[1] / name).unlink()
    assert data.get("tiny") == folders[2]


def test_an_incomplete_folder_is_passed_over(tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path, leave_out=IMAGES)
    whole = tiny.write(tmp_path / "tiny")
    assert data.get("tiny", data_dir=tmp_path) == whole


def test_files_of_another_data_set_with_the_same_names_are_never_loaded(tiny, twin, tmp_path: Path) -> None:
    twin.write(tmp_path)
    with pytest.raises(DataError, match=f"{IMAGES} is {IMAGES} of 'twin', not {IMAGES} of 'tiny'"):
        data.load("tiny", data_dir=tmp_path, download=False)
    tiny.write(tmp_path / "tiny")
    assert np.array_equal(data.load("tiny", data_dir=tmp_path).train.images[:, 0].numpy(), tiny.images[0])
    assert np.array_equal(data.load("twin", data_dir=tmp_path).train.images[:, 0].numpy(), twin.images[0])


def test_offline_and_missing_says_where_it_looked_and_what_to_type(tiny, tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        data.load("tiny", data_dir=tmp_path, download=False)
    message = str(caught.value)
    for part in (*(f"{name}.gz" for name in tiny.contents), str(tmp_path), str(own_cache / "data"), "Tiny/raw/"):
        assert part in message
    for words in ("convscope data get tiny", "--data-dir FOLDER", "--data digits"):
        assert words in message


def test_a_data_folder_that_does_not_exist_is_named(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        data.load("tiny", data_dir=tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"nowhere (relative to {tmp_path}) does not exist")):
        data.load("tiny", data_dir="nowhere")


# damage -----------------------------------------------------------------------------------------------------------


def damage(path: Path, kind: str) -> None:
    raw = bytearray(path.read_bytes())
    if kind == "short":
        del raw[-7:]
    elif kind == "long":
        raw += b"x"
    elif kind == "bit":
        raw[len(raw) // 2] ^= 1
    elif kind == "magic":
        raw[2] = 9
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["short", "long", "bit", "magic"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_is_refused_by_name(tiny, tmp_path: Path, kind: str, packed: bool) -> None:
    folder = tiny.write(tmp_path, packed=packed)
    name = f"{IMAGES}.gz" if packed else IMAGES
    damage(folder / name, kind)
    if packed and kind == "long":  # gzip's own rule: what follows the stream must be another stream
        (folder / name).write_bytes(gzip.compress(tiny.contents[IMAGES] + b"x"))
    with pytest.raises(DataError, match=name) as caught:
        data.load("tiny", data_dir=tmp_path, download=False)
    assert "convscope data get tiny" in str(caught.value)


def test_a_whole_packed_copy_stands_in_for_a_damaged_unpacked_one(tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path, packed=True)
    tiny.write(tmp_path)
    damage(tmp_path / IMAGES, "short")
    assert np.array_equal(data.load("tiny", data_dir=tmp_path).train.images[:, 0].numpy(), tiny.images[0])


def test_a_gzip_bomb_is_not_unpacked(tiny, tmp_path: Path) -> None:
    tiny.write(tmp_path, packed=True)
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    size = len(tiny.contents[IMAGES])
    with pytest.raises(DataError, match=f"has {size:,} bytes, this has {size + 1:,}"):
        data.load("tiny", data_dir=tmp_path, download=False)


def test_without_public_sums_structure_counts_and_packed_files_must_be_the_published_ones(
    tiny, twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = {f"{name}.gz": gzip.compress(raw, 9, mtime=1) for name, raw in tiny.contents.items()}
    files = tuple(
        Published(file, (Content(name, len(tiny.contents[name])),), sha256(packed[file]).hexdigest())
        for file, name in zip(packed, tiny.contents, strict=True)
    )
    monkeypatch.setitem(CATALOG, "tiny", replace(KMNIST, name="tiny", files=files))
    for file, raw in packed.items():
        (tmp_path / file).write_bytes(raw)
    assert np.array_equal(data.load("tiny", data_dir=tmp_path).train.images[:, 0].numpy(), tiny.images[0])
    tiny.write(tmp_path, packed=True)  # compressed in another way
    with pytest.raises(DataError, match="is not the published file"):
        data.load("tiny", data_dir=tmp_path, download=False)
    tiny.write(tmp_path)
    assert np.array_equal(data.load("tiny", data_dir=tmp_path).train.images[:, 0].numpy(), tiny.images[0])
    labels = IDX_FILES[1][0]
    (tmp_path / labels).write_bytes(tiny.contents[labels][:-1] + b"\x0a")
    for file in packed:
        (tmp_path / file).unlink()
    with pytest.raises(DataError, match=r"expected labels in 0..9, got 10 at position 39"):
        data.load("tiny", data_dir=tmp_path, download=False)
    twin.write(tmp_path)
    with pytest.raises(DataError, match="of 'twin'"):
        data.load("tiny", data_dir=tmp_path, download=False)


# CIFAR ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    labels, pixels = draw.integers(0, 10, (6, 4)), draw.integers(0, 256, (6, 4, 3, 32, 32))
    names = [content.name for content in CIFAR10.contents]
    contents = {
        name: b"".join(bytes([label]) + image.astype(np.uint8).tobytes() for label, image in zip(*rows, strict=True))
        for name, rows in zip(names, zip(labels, pixels, strict=True), strict=True)
    }
    parts = tuple(Content(name, len(raw), sha256(raw).hexdigest()) for name, raw in contents.items())
    monkeypatch.setitem(CATALOG, "cifar10", replace(CIFAR10, files=(Published(CIFAR10.files[0].name, parts),)))
    return contents, labels, pixels


def tar(contents: dict[str, bytes], prefix: str = "cifar-10-batches-bin/") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, raw in contents.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return file.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_is_read_plane_by_plane(small_cifar, tmp_path: Path, packed: bool) -> None:
    contents, labels, pixels = small_cifar
    if packed:
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(tar({"readme.html": b"hello", **contents}))
    else:
        (tmp_path / "cifar-10-batches-bin").mkdir()
        for name, raw in contents.items():
            (tmp_path / "cifar-10-batches-bin" / name).write_bytes(raw)
    found = data.load("cifar10", data_dir=tmp_path, download=False)
    assert np.array_equal(found.train.images.numpy(), pixels[:5].reshape(20, 3, 32, 32))
    assert np.array_equal(found.train.labels.numpy(), labels[:5].reshape(20))
    assert np.array_equal(found.test.images.numpy(), pixels[5])
    assert found.mean == pytest.approx(tuple(pixels[:5].mean(axis=(0, 1, 3, 4)) / 255))


def test_damaged_archives_are_refused(small_cifar, tmp_path: Path) -> None:
    contents, path = small_cifar[0], tmp_path / "cifar-10-binary.tar.gz"
    changed = contents | {"test_batch.bin": contents["test_batch.bin"][:-1] + b"!"}
    short = contents | {"test_batch.bin": contents["test_batch.bin"][:-1]}
    for raw, words in (
        (tar(contents)[:-3000], "cannot be unpacked"),
        (tar(changed), "SHA-256"),
        (tar(short), "test_batch.bin not found inside, or of another size"),
        (b"hello", "cannot be unpacked"),
    ):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=words) as caught:
            data.load("cifar10", data_dir=tmp_path, download=False)
        assert str(path) in str(caught.value)


def test_names_inside_an_archive_write_nothing(small_cifar, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cifar-10-binary.tar.gz").write_bytes(tar(small_cifar[0], prefix="../../"))
    before = sorted(tmp_path.rglob("*"))
    data.load("cifar10", data_dir=tmp_path / "in", download=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_pickled_version_is_explained(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match="only the binary version is read"):
        data.load("cifar10", data_dir=tmp_path, download=False)


# the real Fashion-MNIST -------------------------------------------------------------------------------------------


@pytest.mark.fashion_mnist
@pytest.mark.skipif(not REAL, reason="CONVSCOPE_DATA names no folder with the real Fashion-MNIST")
def test_real_fashion_mnist(tmp_path: Path) -> None:
    fashion = data.load("fashion-mnist", data_dir=REAL, download=False)
    assert fashion.train.images.shape == (60_000, 1, 28, 28)
    assert fashion.train.counts() == [6000] * 10
    assert fashion.test.counts() == [1000] * 10
    assert fashion.mean == pytest.approx((0.2860,), abs=5e-5)
    assert fashion.std == pytest.approx((0.3530,), abs=5e-5)
    assert fashion.classes[fashion.train.labels[0]] == "Ankle boot"
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, _ in IDX_FILES:
        with gzip.open(Path(REAL) / "fashion-mnist" / f"{name}.gz") as file:
            (raw / name).write_bytes(file.read())
    assert data.fingerprint(data.load("fashion-mnist", data_dir=tmp_path).train) == data.fingerprint(fashion.train)
    with pytest.raises(DataError, match="of 'fashion-mnist', not train-images-idx3-ubyte of 'mnist'"):
        data.load("mnist", data_dir=raw, download=False)
    with pytest.raises(DataError, match="of 'fashion-mnist', not train-images-idx3-ubyte of 'kmnist'"):
        data.load("kmnist", data_dir=raw, download=False)
