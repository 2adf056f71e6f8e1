"""MetaImage volumes (.mha, and .mhd with its .raw or .zraw) without ITK: a text header and plain or zlib data.

Source of the header fields: https://itk.org/Wiki/ITK/MetaIO/Documentation. Directions are in LPS, as in ITK.
Read: two to four dimensions, one channel, data inside the file or in one file beside it. Refused: lists and
patterns of data files, several channels, text data.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from components.data.faults import Refused
from components.data.volume_records import check_unpacked
from components.data.volumes import RAS_FROM_LPS

Array = np.ndarray[Any, Any]
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class MetaImage:
    """Voxels (I, J[, K[, T]]), their RAS affine (4, 4), and whether the header states an orientation."""

    voxels: Array
    affine: Array
    is_oriented: bool


def read_metaimage(path: Path) -> MetaImage:
    """Read one MetaImage. Raises OSError when it is none, EOFError when its data are cut short."""
    header, data_start = _read_header(path)
    shape = tuple(int(number) for number in header["DimSize"].split())
    kind = TYPES.get(header["ElementType"])
    if kind is None or int(header.get("ElementNumberOfChannels", "1")) != 1 or not 2 <= len(shape) <= 4:
        raise OSError(f"MetaImage of {header['ElementType']} in {len(shape)} dimensions is not read")
    is_big = "true" in (
        header.get("BinaryDataByteOrderMSB", "").lower(), header.get("ElementByteOrderMSB", "").lower()
    )  # fmt: skip
    voxels = _read_data(path, header, data_start, np.dtype(kind).newbyteorder(">" if is_big else "<"), shape)
    return MetaImage(voxels, _affine(header, len(shape)), "TransformMatrix" in header or "Orientation" in header)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    header: dict[str, str] = {}
    with path.open("rb") as handle:
        while "ElementDataFile" not in header:
            line = handle.readline(MAX_HEADER_BYTES)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals or handle.tell() > MAX_HEADER_BYTES:
                raise OSError("not a MetaImage: no ElementDataFile")
            header[key.strip()] = value.strip()
        if not {"DimSize", "ElementType"} <= header.keys():
            raise OSError("not a MetaImage: no DimSize or ElementType")
        return header, handle.tell()


def _read_data(
    path: Path, header: Mapping[str, str], data_start: int, kind: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    file, start = _data_file(path, header, data_start)
    count = int(np.prod(shape, dtype=np.int64))
    if min(shape) < 1:
        raise OSError(f"MetaImage of size {shape} is not read")
    if header.get("CompressedData", "False").lower() == "true":
        check_unpacked(count, kind.itemsize)
        flat = np.frombuffer(_inflate(file, start, count * kind.itemsize), dtype=kind)
    else:
        if file.stat().st_size - start < count * kind.itemsize:
            raise EOFError("MetaImage data are cut short")
        # Mapped, not read: only the slices that are looked at come into memory.
        flat = np.memmap(file, dtype=kind, mode="r", offset=start, shape=(count,))
    return flat.reshape(shape, order="F")


def _data_file(path: Path, header: Mapping[str, str], data_start: int) -> tuple[Path, int]:
    name = header["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, data_start
    if PurePosixPath(name).name != name or "%" in name or name.upper().startswith("LIST"):
        raise OSError(f"MetaImage data file {name!r} is not one file beside its header")
    return file_beside(path, name), max(0, int(header.get("HeaderSize", "0")))


def file_beside(header: Path, name: str) -> Path:
    """Return the data file that a header names; Refused (`link_cyclic`, `link_leaves_source`) for a bad link."""
    beside = header.parent / name
    if beside.is_symlink():
        try:
            target = beside.resolve(strict=True)
        except FileNotFoundError:
            raise Refused("file_missing", name) from None
        except (OSError, RuntimeError) as error:  # Python before 3.13 tells a loop by a RuntimeError
            raise Refused("link_cyclic", name) from error
        # Where the source's root is, is not known here: nothing above the header is reached.
        if not target.is_relative_to(header.parent.resolve()):
            raise Refused("link_leaves_source", name)
    return beside


def _inflate(file: Path, start: int, num_bytes: int) -> bytes:
    """Inflate at most `num_bytes`, whatever the file claims to hold."""
    with file.open("rb") as handle:
        handle.seek(start)
        data = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(handle.read(), num_bytes)
    if len(data) < num_bytes:
        raise EOFError("MetaImage data are cut short")
    return data


def _affine(header: Mapping[str, str], num_dimensions: int) -> Array:
    """RAS affine; a row of TransformMatrix is the direction of one array axis."""
    spacing = _numbers(header, ("ElementSpacing", "ElementSize"), [1.0] * num_dimensions)
    origin = _numbers(header, ("Offset", "Position", "Origin"), [0.0] * num_dimensions)
    turn = _numbers(
        header, ("TransformMatrix", "Rotation", "Orientation"), np.eye(num_dimensions).reshape(-1).tolist()
    )
    directions = np.asarray(turn, dtype=float).reshape(num_dimensions, num_dimensions)
    kept = min(3, num_dimensions)
    lps = np.eye(4)
    lps[:kept, :kept] = directions[:kept, :kept].T * np.asarray(spacing[:kept])
    lps[:kept, 3] = origin[:kept]
    return RAS_FROM_LPS @ lps


def _numbers(header: Mapping[str, str], keys: tuple[str, ...], default: list[float]) -> list[float]:
    found = next((header[key] for key in keys if key in header), None)
    if found is None:
        return default
    numbers = [float(number) for number in found.split()]
    if len(numbers) != len(default):
        raise OSError(f"MetaImage header has {len(numbers)} numbers where {len(default)} are due")
    return numbers
