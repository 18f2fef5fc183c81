"""Downloads, from servers on this machine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convscope import data
from convscope.data.catalog import CATALOG, IDX_FILES
from convscope.errors import DataError

IMAGES = IDX_FILES[0][0]


@pytest.fixture
def mirrors(tiny, monkeypatch: pytest.MonkeyPatch):
    def use(*addresses: str) -> None:
        monkeypatch.setitem(CATALOG, "tiny", replace(tiny.info, mirrors=addresses))

    return use


def test_a_missing_data_set_is_downloaded_once(tiny, server, mirrors, own_cache: Path) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    seen: list[tuple[int, int]] = []
    first = data.load("tiny", progress=lambda done, total: seen.append((done, total)))
    assert np.array_equal(first.train.images[:, 0].numpy(), tiny.images[0])
    assert sorted(path.name for path in (own_cache / "data" / "tiny").iterdir()) == sorted(
        f"{name}.gz" for name in tiny.contents
    )
    sizes = {len(body) for body in web.files.values()}
    assert {total for _, total in seen} == sizes
    assert {done for done, total in seen if done == total} == sizes
    assert len(web.asked) == 4
    data.load("tiny")
    assert len(web.asked) == 4
    assert first.source == {"name_or_folder": "tiny"}


def test_a_good_mirror_after_failing_ones(tiny, server, mirrors) -> None:
    empty, wrong, good = server(), server(), server()
    wrong.files = dict.fromkeys(tiny.served(), b"<html>log in first</html>")
    good.files = tiny.served()
    mirrors("http://127.0.0.1:9/", empty.address, wrong.address, good.address)
    assert np.array_equal(data.load("tiny").test.images[:, 0].numpy(), tiny.images[1])
    assert len(empty.asked) == len(wrong.asked) == len(good.asked) == 4


def test_a_server_that_unpacks_on_the_way_is_understood(tiny, server, mirrors) -> None:
    web = server()
    web.files = {f"/{name}.gz": raw for name, raw in tiny.contents.items()}
    mirrors(web.address)
    assert np.array_equal(data.load("tiny").train.images[:, 0].numpy(), tiny.images[0])


def test_a_damaged_answer_is_asked_for_again(tiny, server, mirrors) -> None:
    web = server()
    good = tiny.served()
    web.files = {path: [body[:-9], body] for path, body in good.items()}
    mirrors(web.address)
    assert np.array_equal(data.load("tiny").train.images[:, 0].numpy(), tiny.images[0])
    assert len(web.asked) == 8


def test_damaged_answers_are_never_kept(tiny, twin, server, mirrors, own_cache: Path) -> None:
    web = server()
    web.files = twin.served()
    mirrors(web.address)
    with pytest.raises(DataError, match="sent a damaged file"):
        data.load("tiny")
    assert list((own_cache / "data" / "tiny").iterdir()) == []


def test_a_broken_connection_leaves_nothing_behind_and_the_next_call_goes_on(
    tiny, server, mirrors, own_cache: Path
) -> None:
    web = server()
    web.files = dict(list(tiny.served().items())[:2])
    mirrors(web.address)
    with pytest.raises(DataError, match=r"Download failed: .* answered 404"):
        data.load("tiny")
    assert len(list((own_cache / "data" / "tiny").iterdir())) == 2
    web.files, web.cut = tiny.served(), True
    with pytest.raises(DataError, match="Download failed"):
        data.load("tiny")
    assert len(list((own_cache / "data" / "tiny").iterdir())) == 2
    web.cut = False
    web.asked.clear()
    data.load("tiny")
    assert web.asked == [f"/{name}.gz" for name, _ in IDX_FILES[2:]]


def test_a_damaged_file_in_the_cache_is_replaced(tiny, server, mirrors, own_cache: Path) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    folder = data.get("tiny")
    assert folder == own_cache / "data" / "tiny"
    (folder / f"{IMAGES}.gz").write_bytes(b"\x1f\x8b but then nothing")
    web.asked.clear()
    assert np.array_equal(data.load("tiny").train.images[:, 0].numpy(), tiny.images[0])
    assert web.asked == [f"/{IMAGES}.gz"]


def test_a_damaged_file_of_the_user_is_left_alone(tiny, server, mirrors, tmp_path: Path) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    tiny.write(tmp_path / "tiny")
    (tmp_path / "tiny" / IMAGES).write_bytes(b"mine")
    with pytest.raises(DataError, match="is damaged"):
        data.get("tiny", data_dir=tmp_path)
    assert (tmp_path / "tiny" / IMAGES).read_bytes() == b"mine"
    assert web.asked == []


def test_download_false_never_touches_the_network(tiny, server, mirrors) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    with pytest.raises(DataError, match="are not on this machine"):
        data.load("tiny", download=False)
    assert web.asked == []


def test_offline_gives_one_message(tiny, mirrors) -> None:
    mirrors("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/")
    with pytest.raises(DataError) as caught:
        data.load("tiny")
    message = str(caught.value)
    assert message.count("127.0.0.1:9/a/ gave no answer") == message.count("127.0.0.1:9/b/ gave no answer") == 1
    assert "convscope data get tiny" in message
    assert len(message.splitlines()) == 4


def test_get_puts_files_where_it_is_told(tiny, server, mirrors, tmp_path: Path) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    assert data.get("tiny", data_dir=tmp_path / "usb stick") == tmp_path / "usb stick" / "tiny"
    assert data.load("tiny", data_dir=tmp_path / "usb stick", download=False).train.counts() == [4] * 10


def test_a_cache_that_cannot_be_made_is_named(tiny, server, mirrors, tmp_path: Path) -> None:
    web = server()
    mirrors(web.address)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"the folder .* cannot be made"):
        data.load("tiny", cache_dir=tmp_path / "file")


def test_files_of_another_data_set_in_the_cache_are_not_replaced(tiny, twin, server, mirrors, own_cache: Path) -> None:
    web = server()
    web.files = tiny.served()
    mirrors(web.address)
    twin.write(own_cache / "data" / "tiny")
    with pytest.raises(DataError, match=f"is {IMAGES} of 'twin'"):
        data.load("tiny")
    assert (own_cache / "data" / "tiny" / IMAGES).read_bytes() == twin.contents[IMAGES]
    assert web.asked == []
