"""How a file is spoilt: functions that change one in place: bytes, text, pixels, volumes, links, archives."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Spoil = Callable[[Path], None]
OUTSIDE = "outside_the_source.png"


def replace_bytes(change: Callable[[bytes], bytes]) -> Spoil:
    """Make a spoiler out of a function over the file's bytes."""
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


def replace_text(change: Callable[[str], str]) -> Spoil:
    """Make a spoiler out of a function over the file's text."""
    return replace_bytes(lambda content: change(content.decode("utf-8", "replace")).encode())


def wrong_magic(content: bytes) -> bytes:
    """Spoil the bytes that say what a file is; a DICOM file has them behind 128 bytes that say nothing."""
    start = 128 if content[128:132] == b"DICM" else 0
    return content[:start] + b"WRONGMAGICWRONG!" + content[start + 16 :]


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to(target: Callable[[Path], Path | str]) -> Spoil:
    """Make a spoiler that puts a link in the file's place."""

    def spoil(path: Path) -> None:
        to = target(path)
        path.unlink()
        path.symlink_to(to)

    return spoil


def outside(path: Path) -> Path:
    """The file beside the source's folder that nothing may reach."""
    return next(parent / OUTSIDE for parent in path.parents if (parent / OUTSIDE).is_file())


def noise(content: bytes) -> bytes:
    return bytes((7 * place * place + 13) % 251 for place in range(max(64, len(content) // 2)))


def bomb_png(_: bytes) -> bytes:
    """Return a PNG that says it is 60,000 x 60,000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    )


def picture_of(mode: str, kind: str, size: tuple[int, int] | None = None) -> Spoil:
    """Return a spoiler that puts a picture of another pixel mode in place, as large as before or (W, H)."""

    def spoil(path: Path) -> None:
        from PIL import Image

        with Image.open(path) as before:
            width, height = size or before.size
        picture = Image.fromarray(_ramp(height, width, mode))
        if mode == "P":
            picture.putpalette([(5 * place + channel) % 256 for place in range(256) for channel in (0, 90, 200)])
        picture.save(path, "TIFF" if path.suffix.startswith(".tif") else kind, **_lossless(kind, path))

    return spoil


def _lossless(kind: str, path: Path) -> dict[str, Any]:
    return {"quality": 100} if kind == "JPEG" and not path.suffix.startswith(".tif") else {}


def _ramp(height: int, width: int, mode: str) -> np.ndarray:
    """A smooth picture of which every corner differs, in the number type of the mode."""
    rows, columns = np.mgrid[0:height, 0:width]
    share = (rows / max(1, height - 1) + 2 * columns / max(1, width - 1)) / 3
    if mode == "I;16":
        return (1000 + 40_000 * share).astype(np.uint16)
    grey = (10 + 200 * share).astype(np.uint8)
    if mode != "CMYK":
        return grey
    return np.stack([grey, 255 - grey, np.full_like(grey, 40), np.full_like(grey, 20)], axis=-1)


def cmyk_in_place(path: Path) -> None:
    """Pillow takes four channels for RGBA: the mode is said apart."""
    from PIL import Image

    with Image.open(path) as before:
        width, height = before.size
    picture = Image.frombytes("CMYK", (width, height), _ramp(height, width, "CMYK").tobytes())
    picture.save(path, "TIFF" if path.suffix.startswith(".tif") else "JPEG", **_lossless("JPEG", path))


def another_size(path: Path) -> None:
    """Take two rows and three columns off: no longer the size of its picture, its mask or its row."""
    from PIL import Image

    with Image.open(path) as before:
        cut = before.crop((0, 0, before.width - 3, before.height - 2))
    cut.save(path, "TIFF" if path.suffix.startswith(".tif") else None)


def volume_of_another_size(path: Path) -> None:
    import nibabel

    volume: Any = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(volume.dataobj)[: volume.shape[0] // 2], volume.affine), path)


def not_a_number(path: Path) -> None:
    import nibabel

    volume: Any = nibabel.load(path)
    data = np.full(volume.shape, np.nan, dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(data, volume.affine), path)


def monochrome1(path: Path) -> None:
    """Store a grey DICOM file with black for white, as its photometric interpretation then says."""
    import pydicom

    data = pydicom.dcmread(path)
    if (
        "PixelData" not in data
        or data.get("PhotometricInterpretation") != "MONOCHROME2"
        or data.get("Modality") == "SEG"
    ):
        return
    stored = data.pixel_array
    data.PixelData = (stored.max() + stored.min() - stored).astype(stored.dtype).tobytes()
    data.PhotometricInterpretation = "MONOCHROME1"
    data.save_as(path)


def entities(text: str) -> str:
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "boom">' for n in range(10))
    body = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    return f'<?xml version="1.0"?><!DOCTYPE x [{layers}]>' + re.sub(r">([^<>]+)</", ">&e9;</", body, count=1)


def external(text: str) -> str:
    body = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    head = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/hostname">]>'
    return head + re.sub(r">([^<>]+)</", ">&file;</", body, count=1)


def members_of(path: Path) -> dict[str, bytes]:
    """Return an archive's files by name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        return {item.name: archive.extractfile(item).read() for item in archive if item.isfile()}  # ty: ignore


def write_members(path: Path, members: list[tuple[str, bytes]]) -> None:
    """Write an archive of these members, in this order."""
    import warnings

    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of a name that is there already
            for name, content in members:
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def slip(path: Path) -> None:
    write_members(path, [("../../slipped.png", b"slipped")])


def slip_in(path: Path) -> None:
    """Leave the archive whole and add a member that climbs out, and one by an absolute path."""
    added = [("../../slipped.png", b"slipped"), ("/tmp/gmai_slipped.png", b"slipped")]  # noqa: S108 - never written
    write_members(path, [*members_of(path).items(), *added])


def members_twice(path: Path) -> None:
    members = list(members_of(path).items())
    write_members(path, members + members)


def boxes_flat(text: str) -> str:
    """Make right edges left ones: XML corners and JSON boxes of no width."""
    text = re.sub(r"<xmax>[^<]*</xmax>", "<xmax>1</xmax>", re.sub(r"<xmin>[^<]*", "<xmin>9", text))
    return re.sub(r'("bbox":\s*\[[^,\]]+,[^,\]]+,)[^,\]]+,', r"\1 0,", text)


def rows_twice(path: Path) -> None:
    """Say every row of a JSON list (or of the lists in an object) a second time."""
    if path.suffix == ".json":
        raw = json.loads(path.read_text())
        lists = raw if isinstance(raw, dict) else {"": raw}
        twice = {key: value + value if isinstance(value, list) else value for key, value in lists.items()}
        path.write_text(json.dumps(twice if isinstance(raw, dict) else twice[""]))
