"""A tiny data set in IDX files, a web server on this machine that offers it, and a cache of its own for every test."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.data import packwriter
from convscope.data.catalog import CATALOG, FASHION_MNIST, IDX_FILES, Content, DataInfo, Published


def idx(values: np.ndarray) -> bytes:
    """An IDX file of bytes, written independently of the reader."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(struct.pack(">i", size) for size in values.shape)
    return header + values.astype(np.uint8).tobytes()


@dataclass(frozen=True)
class Tiny:
    """A named data set small enough to be written in every test."""

    info: DataInfo
    contents: dict[str, bytes]
    images: tuple[np.ndarray, np.ndarray]
    labels: tuple[np.ndarray, np.ndarray]

    def write(self, folder: Path, *, packed: bool = False, leave_out: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.contents.items():
            if name != leave_out:
                (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data, 1) if packed else data)
        return folder

    def served(self) -> dict[str, bytes]:
        return {f"/{name}.gz": gzip.compress(data) for name, data in self.contents.items()}


def make_tiny(name: str, seed: int, torchvision_folder: str) -> Tiny:
    draw = np.random.default_rng(seed)
    images = (draw.integers(0, 256, (40, 6, 5)), draw.integers(0, 256, (20, 6, 5)))
    labels = ((np.arange(40) + seed) % 10, (np.arange(20) + seed) % 10)
    arrays = (images[0], labels[0], images[1], labels[1])
    contents = {file: idx(values) for (file, _), values in zip(IDX_FILES, arrays, strict=True)}
    files = tuple(
        Published(f"{file}.gz", (Content(file, len(data), hashlib.sha256(data).hexdigest()),))
        for file, data in contents.items()
    )
    info = replace(
        FASHION_MNIST, name=name, files=files, mirrors=("http://127.0.0.1:9/",), torchvision_folder=torchvision_folder
    )
    return Tiny(info, contents, images, labels)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache or data folder."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return cache / "convscope"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    made = make_tiny("tiny", 1, "Tiny/raw")
    monkeypatch.setitem(CATALOG, "tiny", made.info)
    return made


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Another data set with the same file names."""
    made = make_tiny("twin", 2, "Twin/raw")
    monkeypatch.setitem(CATALOG, "twin", made.info)
    return made


@dataclass
class Server:
    """Serves bytes by path; a list of bytes is served one after the other, the last one for ever."""

    address: str
    files: dict[str, bytes | list[bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: bool = False


@pytest.fixture
def server() -> Iterator[Callable[[], Server]]:
    """Start servers; each stops at the end of the test."""
    running: list[ThreadingHTTPServer] = []

    def start() -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                state.asked.append(self.path)
                body = state.files.get(self.path)
                if isinstance(body, list):
                    body = body.pop(0) if len(body) > 1 else body[0]
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write((body or b"")[: len(body or b"") // 2 if state.cut else None])

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        state = Server(f"http://127.0.0.1:{http.server_address[1]}/")
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(http)
        return state

    yield start
    for http in running:
        http.shutdown()
        http.server_close()


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Write grey pictures of one value each: ``pictures({"train/cat": [1, 2]})``, file names by position."""

    def write(classes: dict[str, list[int]], *, root: str = "pets", size: tuple[int, int] = (6, 6)) -> Path:
        for folder, values in classes.items():
            (tmp_path / root / folder).mkdir(parents=True, exist_ok=True)
            for place, value in enumerate(values):
                Image.new("L", size, value).save(tmp_path / root / folder / f"{place:03}.png")
        return tmp_path / root

    return write


@pytest.fixture
def pets(pictures) -> Path:
    return pictures({"train/cat": [10, 20], "train/dog": [30, 40], "test/dog": [50]})


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and from then on looking at a picture fails."""

    def forbid() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("decoded again")

        monkeypatch.setattr(packwriter, "decode", refuse)
        monkeypatch.setattr(packwriter, "survey", refuse)

    return forbid
