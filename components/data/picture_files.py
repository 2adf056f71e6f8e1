"""Image bytes by path, from folders and from zip and tar archives read member by member; nothing is unpacked.

A member whose name is absolute or climbs is refused, one larger than `MAX_BYTES` too. Archives are read once,
in their own order, and only members that are asked for are opened.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.data.faults import Refused
from components.data.image import store
from components.data.reading import UNREADABLE, Rejection, find_files, name_of, reason_of, resolve_inside
from components.data.row_mapping import (
    check_path,
)
from components.errors import DataError

MAX_BYTES = 256 << 20
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")
MEMBER_FAULTS = (*UNREADABLE, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error)
Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; `load` reads its bytes and may raise one of MEMBER_FAULTS."""

    archive: str
    name: str
    size: int
    load: Callable[[], bytes]

    @property
    def where(self) -> str:
        """The archive and the member, as a rejection names them."""
        return f"{self.archive}#{self.name}"


def decode_pixels(content: bytes, *, max_side: int) -> Pixels:
    """Decode 8-bit image bytes into grey (H, W) or RGB (H, W, 3) at the stored size.

    Raises Refused: `image_not_8_bit`, `image_too_large`, or how the bytes are broken.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.mode not in EIGHT_BIT:
                raise Refused("image_not_8_bit")
            pixels = np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise Refused("image_too_large") from error
    except (*UNREADABLE, SyntaxError) as error:
        raise Refused(reason_of(error)) from error
    return store(pixels, max_side)


def read_picture(root: Path, relative: str) -> bytes:
    """Return the bytes of a file inside the source; Refused when it is absent, outside or too large."""
    try:
        path = resolve_inside(root, relative)
        if path.stat().st_size > MAX_BYTES:
            raise Refused("file_too_large")
        return path.read_bytes()
    except DataError as error:
        raise Refused(name_of(error)) from error
    except NotADirectoryError as error:
        raise Refused("file_missing") from error
    except OSError as error:
        raise Refused(reason_of(error)) from error


def load_member(member: Member) -> bytes:
    """Return a member's bytes; Refused when it is too large or its bytes are broken."""
    if member.size > MAX_BYTES:
        raise Refused("file_too_large")
    try:
        return member.load()
    except MEMBER_FAULTS as error:
        raise Refused(reason_of(error)) from error


def iterate_archives(
    root: Path, patterns: tuple[str, ...], *, takes: Callable[[str], bool] | None = None
) -> Iterator[Member | Rejection]:
    """Yield the members of every zip and tar file that matches, archive by archive in name order.

    An archive that `takes` does not want is not opened.

    Raises:
        DataError: a file is neither, or its directory is cut short.
        DatasetMissing: a glob matches nothing.
    """
    for pattern in patterns:
        for path in find_files(root, pattern):
            relative = path.relative_to(root).as_posix()
            if takes is not None and not takes(relative):
                continue
            members = _zip_members if _is_zip(path) else _tar_members
            for member in members(path, relative):
                yield _checked(member)


def _is_zip(path: Path) -> bool:
    """Tell a zip by its first bytes; a tar that ends with a zip would deceive `zipfile.is_zipfile`."""
    with path.open("rb") as handle:
        return handle.read(2) == b"PK"


def _checked(member: Member) -> Member | Rejection:
    try:
        check_path(member.name)
    except Refused as fault:
        return Rejection(member.where, fault.reason)
    return member


def _zip_members(path: Path, relative: str) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield Member(relative, info.filename, info.file_size, lambda i=info: archive.read(i))
    except zipfile.BadZipFile as error:
        raise DataError(
            f"archive_unreadable: zip file is broken: {error}", where=relative, fix="fetch it again"
        ) from error


def _tar_members(path: Path, relative: str) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for info in archive:
                if info.isfile():
                    yield Member(relative, info.name, info.size, lambda i=info: _extract(archive, i))
                elif not info.isdir():
                    yield Member(relative, info.name, info.size, _refuse_link)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"archive_unreadable: tar file is broken: {error}", where=relative, fix="fetch it again"
        ) from error


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    handle = archive.extractfile(info)
    if handle is None:
        raise FileNotFoundError(info.name)
    return handle.read()


def _refuse_link() -> bytes:
    raise OSError("a link in an archive is not followed")
