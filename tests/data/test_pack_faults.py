"""Packing that is interrupted, meets a full disk, happens several times at once, or is larger than memory."""

import errno
import json
import math
import os
import threading
import time
from pathlib import Path

import pytest

from convscope import data
from convscope.data import packing, packwriter
from convscope.errors import DataError


def packs(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packs").iterdir()) if (cache / "packs").exists() else []


def values(images: data.ImageSet) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left"), RuntimeError("bug")])
def test_an_interrupted_pack_leaves_nothing(
    pets: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 8:
            raise error

    expected = DataError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        data.load(pets, progress=stop)
    if isinstance(error, OSError):
        assert "has no space left while packing" in str(caught.value)
    assert packs(own_cache) == []
    assert values(data.load(pets).train) == [10, 20, 30, 40]


def test_a_disk_that_is_too_small_is_noticed_before_decoding(
    pets: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packwriter.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5 * (36 + 8) - 1})())
    with pytest.raises(DataError, match="has no space left"):
        data.load(pets)
    assert packs(own_cache) == []
    monkeypatch.setattr(packwriter.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5 * (36 + 8)})())
    data.load(pets)


def test_a_cache_that_cannot_be_written_is_named(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"the cache folder .*file.packs cannot be written"):
        data.load(pets, cache_dir=tmp_path / "file")


def test_of_several_that_want_the_same_pack_one_makes_it(pets: Path, own_cache: Path) -> None:
    """The others wait, however long it takes, and find it made."""
    found, errors, makers = [], [], set()

    def note(done: int, total: int) -> None:
        makers.add(threading.get_ident())
        if done == 1:
            time.sleep(1)

    def work() -> None:
        try:
            found.append(values(data.load(pets, progress=note).train))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert found == [[10, 20, 30, 40]] * 4
    assert len(makers) == len(packs(own_cache)) == 1


def test_without_locks_several_pack_at_once(pets: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network file systems have none: the first to be ready wins, and all have the same."""
    barrier, found, errors = threading.Barrier(4), [], []

    def refuse(_lock: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(packing.FileLock, "__enter__", refuse)

    def meet(done: int, total: int) -> None:
        if done == 1:
            barrier.wait(10)

    def work() -> None:
        try:
            found.append(values(data.load(pets, progress=meet).train))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert found == [[10, 20, 30, 40]] * 4
    assert len(packs(own_cache)) == 1


def test_packs_abandoned_by_killed_processes_are_swept(pets: Path, own_cache: Path) -> None:
    for name, age in ((".packing-old", packing.ABANDONED_SECONDS + 60), (".packing-new", 60)):
        folder = own_cache / "packs" / name
        folder.mkdir(parents=True)
        stamp = folder.stat().st_mtime - age
        os.utime(folder, (stamp, stamp))
    data.load(pets)
    assert [name for name in packs(own_cache) if name.startswith(".")] == [".packing-new"]


def test_images_larger_than_memory_are_mapped(pets: Path, own_cache: Path) -> None:
    data.load(pets)
    folder = own_cache / "packs" / packs(own_cache)[0]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    side = math.isqrt(8 * memory // 4) + 1  # four training images, eight times as large as memory
    for split, count in (("train", 4), ("test", 1)):
        with (folder / f"{split}.images").open("wb") as file:
            try:
                file.truncate(count * side * side)  # sparse: takes no space
            except OSError as error:
                pytest.skip(f"no sparse file of {count * side * side:,} bytes here: {error}")
            file.seek(-1, os.SEEK_END)
            file.write(b"\x07")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"shape": [1, side, side]}))
    found = packing.open_pack(folder)
    assert found is not None
    assert found.train.images.shape == (4, 1, side, side)
    assert found.train.images[:, 0, -1, -1].tolist() == [0, 0, 0, 7]
    assert found.test.images[0, 0, -1, -2:].tolist() == [0, 7]


def test_a_map_that_the_system_refuses_is_an_error_and_the_pack_stays(
    pets: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, no_decoding
) -> None:
    data.load(pets)
    before = packs(own_cache)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    no_decoding()
    with monkeypatch.context() as patch:
        patch.setattr(packing.np, "memmap", refuse)
        with pytest.raises(DataError, match=r"cannot be mapped: no address space left; look at `ulimit -v`"):
            data.load(pets)
    assert packs(own_cache) == before
    assert values(data.load(pets).train) == [10, 20, 30, 40]
