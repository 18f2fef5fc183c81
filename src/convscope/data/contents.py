"""The files of a named data set, unpacked and known to be right: nothing unverified gets past this page."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from pathlib import Path

from convscope.data.catalog import Content, DataInfo, Published, recognise
from convscope.data.idx import parse_idx
from convscope.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


class OtherDataError(DataError):
    """The file is whole, but belongs to another data set with the same file names."""


def read_published(path: Path, file: Published, info: DataInfo) -> dict[str, bytes]:
    """Unpack a file as it was published, or compressed anew, and verify what is inside.

    Args:
        path: The file; whether it is compressed shows in its first bytes, not in its name.
        file: What it should be.
        info: The data set it should belong to.

    Returns:
        Contents by name, each verified.

    Raises:
        DataError: The file cannot be read, is damaged or is something else.
    """
    raw = _read(path)
    if file.sha256 and any(content.sha256 is None for content in file.contents):
        _require_published(raw, path, file)
    if len(file.contents) > 1:
        found = _untar(raw, path, file)
    else:
        found = {file.contents[0].name: _gunzip(raw, path, file.contents[0].size)}
    for content in file.contents:
        verify(found[content.name], content, info, path)
    return found


def read_unpacked(folder: Path, file: Published, info: DataInfo) -> dict[str, bytes]:
    """Read the contents of a published file that lie unpacked in a folder, and verify them."""
    found = {}
    for content in file.contents:
        found[content.name] = _read(folder / content.name)
        verify(found[content.name], content, info, folder / content.name)
    return found


def verify(contents: bytes, expected: Content, info: DataInfo, path: Path) -> None:
    """Refuse contents that are not exactly the expected ones.

    Raises:
        OtherDataError: They are a file of another data set.
        DataError: They are damaged.
    """
    found = hashlib.sha256(contents).hexdigest()
    if found == expected.sha256:
        return
    other = recognise(found)
    if other:
        raise OtherDataError(f"{path} is {other[1].name} of {other[0].name!r}, not {expected.name} of {info.name!r}")
    if len(contents) != expected.size:
        raise DataError(
            f"{path} is damaged: {expected.name} of {info.name} has {expected.size:,} bytes, this has {len(contents):,}"
        )
    if info.form == "idx":  # says what is wrong where it can; the only check of contents without a public sum
        parse_idx(contents, dimensions=3 if "idx3" in expected.name else 1, name=str(path))
    if expected.sha256:
        raise DataError(f"{path} is damaged: expected contents with SHA-256 {expected.sha256}, got {found}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _require_published(raw: bytes, path: Path, file: Published) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{path} is not the published file: expected SHA-256 {file.sha256}, got {found}; "
            f"for {file.contents[0].name} no sum of the contents is public, so a compressed copy must be the original"
        )


def _gunzip(raw: bytes, path: Path, size: int) -> bytes:
    if not raw.startswith(GZIP_MAGIC):
        return raw  # some servers unpack on the way; the contents decide
    try:
        with gzip.open(io.BytesIO(raw)) as stream:
            return stream.read(size + 1)  # one byte too many is enough to know; a bomb is never unpacked
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: its gzip stream ends or breaks ({error})") from error


def _untar(raw: bytes, path: Path, file: Published) -> dict[str, bytes]:
    sizes = {content.name: content.size for content in file.contents}
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if name not in sizes or not member.isfile() or member.size != sizes[name]:
                    continue  # nothing is written to disk by the names in an archive
                stream = archive.extractfile(member)
                if stream is not None:
                    found[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: it cannot be unpacked ({error})") from error
    missing = [name for name in sizes if name not in found]
    if missing:
        raise DataError(f"{path} is damaged: {', '.join(missing)} not found inside, or of another size")
    return found
