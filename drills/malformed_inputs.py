"""At least 200 malformed inputs over every reader that has a fake: each must be named, none may crash or hang.

Every maker of tests/fakes (a function from a folder to a card) is built once; its files are then spoilt one at
a time in every way that fits their kind, and the source is read as ingest would. A try is unnamed when the
reader raises anything but a ProjectError, does not end in time, takes something from outside its folder, or
keeps or drops the record of a spoilt file without a word. `python drills/malformed_inputs.py [--seconds 20]
[--only NAME]` ends with one JSON line.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import json
import re
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
FILES_OF_A_KIND = 2
GONE = {"absent", "folder_in_its_place"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
TABLES, NESTED, MARKUP, ARCHIVES = {".csv", ".tsv"}, {".json", ".jsonl"}, {".xml"}, {".zip", ".tar"}
TEXTS = TABLES | NESTED | MARKUP | {".txt", ".yaml", ".yml"}
# YOLO's own way of saying that a picture shows no object (https://docs.ultralytics.com/datasets/detect/)
MEANT = {("yolo", ".txt", "zero_byte")}
OUTSIDE = "outside_the_source.png"
NAMED_FILE = re.compile(r"[\w./\-]+\.(?:png|jpe?g|bmp|tiff?|dcm|nii(?:\.gz)?)")


@dataclass(frozen=True)
class Spoiling:
    """One way to spoil a file. `must_refuse`: nothing of the file may be kept without a word."""

    name: str
    spoil: Callable[[Path], None]
    must_refuse: bool = True


def replace_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Make a spoiler out of a function over the file's bytes."""
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


def replace_text(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Make a spoiler out of a function over the file's text."""
    return replace_bytes(lambda content: change(content.decode("utf-8", "replace")).encode())


def wrong_magic(content: bytes) -> bytes:
    """Spoil the bytes that say what a file is; a DICOM file has them behind 128 bytes that say nothing."""
    start = 128 if content[128:132] == b"DICM" else 0
    return content[:start] + b"WRONGMAGICWRONG!" + content[start + 16 :]


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _noise(content: bytes) -> bytes:
    return bytes((7 * place * place + 13) % 251 for place in range(max(64, len(content) // 2)))


def bomb_png(_: bytes) -> bytes:
    """Return a PNG that says it is 60,000 x 60,000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    )


def picture_of(mode: str, kind: str, side: int = 40) -> Callable[[bytes], bytes]:
    """Return a spoiler that puts a picture of another pixel mode in place."""

    def change(_: bytes) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new(mode, (side, side), 7).save(buffer, kind)
        return buffer.getvalue()

    return change


def _not_a_number(path: Path) -> None:
    import nibabel
    import numpy as np

    volume: Any = nibabel.load(path)
    data = np.full(volume.shape, np.nan, dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(data, volume.affine), path)


def _entities(text: str) -> str:
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "boom">' for n in range(10))
    body = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    return f'<?xml version="1.0"?><!DOCTYPE x [{layers}]>' + re.sub(r">([^<>]+)</", ">&e9;</", body, count=1)


def _external(text: str) -> str:
    body = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
    head = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/hostname">]>'
    return head + re.sub(r">([^<>]+)</", ">&file;</", body, count=1)


def _slip(path: Path) -> None:
    content = b"slipped"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../../slipped.png", content)
        return
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("../../slipped.png")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _boxes_flat(text: str) -> str:
    """Make right edges left ones: XML corners and JSON boxes of no width."""
    text = re.sub(r"<xmax>[^<]*</xmax>", "<xmax>1</xmax>", re.sub(r"<xmin>[^<]*", "<xmin>9", text))
    return re.sub(r'("bbox":\s*\[[^,\]]+,[^,\]]+,)[^,\]]+,', r"\1 0,", text)


ANY = (
    Spoiling("zero_byte", replace_bytes(lambda _: b"")),
    Spoiling("absent", lambda path: path.unlink()),
    Spoiling("noise", replace_bytes(_noise)),
    Spoiling("folder_in_its_place", _to_folder),
)
BINARY = (
    Spoiling("truncated", replace_bytes(lambda content: content[: len(content) // 2])),
    Spoiling("wrong_magic", replace_bytes(wrong_magic)),
    Spoiling("text_in_its_place", replace_bytes(lambda _: b"404: Not Found\n" * 20)),
)
PICTURE = (
    Spoiling("decompression_bomb", replace_bytes(bomb_png)),
    Spoiling("cmyk", replace_bytes(picture_of("CMYK", "JPEG")), must_refuse=False),
    Spoiling("sixteen_bit", replace_bytes(picture_of("I;16", "PNG")), must_refuse=False),
    Spoiling("palette", replace_bytes(picture_of("P", "PNG")), must_refuse=False),
    Spoiling("one_pixel", replace_bytes(picture_of("L", "PNG", 1)), must_refuse=False),
)
TEXT = (
    Spoiling("utf_16", replace_bytes(lambda content: content.decode("utf-8", "replace").encode("utf-16"))),
    Spoiling("names_absent_files", replace_text(lambda text: NAMED_FILE.sub("nowhere/absent.png", text))),
    Spoiling("names_parent_folder", replace_text(lambda text: NAMED_FILE.sub(f"../{OUTSIDE}", text))),
    Spoiling("names_absolute_path", replace_text(lambda text: NAMED_FILE.sub("/etc/hostname.png", text))),
    Spoiling("half_a_file", replace_text(lambda text: text[: len(text) // 2]), must_refuse=False),
    Spoiling(
        "every_line_twice", replace_text(lambda t: "".join(2 * ln for ln in t.splitlines(keepends=True))), False
    ),
)
BY_KIND: tuple[tuple[set[str], tuple[Spoiling, ...]], ...] = (
    (PICTURES, PICTURE),
    (TABLES, (
        Spoiling("wrong_delimiter", replace_text(lambda text: text.replace(",", "|").replace("\t", "|"))),
        Spoiling("empty_cells", replace_text(lambda text: re.sub(r"[^,\n]+(?=\n|$)", "", text)), False),
    )),
    (NESTED, (
        Spoiling("trailing_comma", replace_text(lambda text: re.sub(r"([}\]])", r",\1", text))),
        Spoiling("numbers_for_texts", replace_text(lambda text: re.sub(r':\s*"[^"]*"', ": 7", text))),
        Spoiling("empty_texts", replace_text(lambda text: re.sub(r':\s*"[^"]*"', ': ""', text))),
        Spoiling("flat_boxes", replace_text(_boxes_flat), must_refuse=False),
        Spoiling("deeply_nested", replace_bytes(lambda _: b"[" * 100_000)),
    )),
    (MARKUP, (
        Spoiling("entity_bomb", replace_text(_entities)),
        Spoiling("external_entity", replace_text(_external)),
        Spoiling("unclosed", replace_text(lambda text: text[: text.rfind("<")])),
        Spoiling("flat_boxes", replace_text(_boxes_flat), must_refuse=False),
    )),
    (ARCHIVES, (Spoiling("slip", _slip),)),
    ({".nii", ".gz"}, (Spoiling("not_a_number", _not_a_number),)),
)  # fmt: skip


def makers() -> dict[str, Callable[[Path], Any]]:
    """Return every function of tests/fakes that turns a folder into a card, by name."""
    found: dict[str, Callable[[Path], Any]] = {}
    for path in sorted((ROOT / "tests" / "fakes").glob("*.py")):
        if path.stem != "sources" and not path.stem.startswith("formats"):
            continue
        module = importlib.import_module(f"tests.fakes.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_maker = name.startswith("make_") and function.__annotations__.get("return") == "Card"
            named = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
            required = [parameter for parameter in named if parameter.default is parameter.empty]
            if is_maker and [parameter.name for parameter in required] == ["root"]:
                found[name] = function
    return found


def spoilings_of(path: Path) -> tuple[Spoiling, ...]:
    """Return every way to spoil a file of this kind."""
    kind = path.suffix.lower()
    general = TEXT if kind in TEXTS else BINARY
    if kind == ".raw":
        general = tuple(one for one in BINARY if one.name != "wrong_magic")  # bare pixels have none
    return ANY + general + tuple(one for kinds, some in BY_KIND if kind in kinds for one in some)


def some_files(root: Path) -> list[Path]:
    """Return at most FILES_OF_A_KIND files of each ending."""
    seen: Counter[str] = Counter()
    chosen = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        seen[path.suffix.lower()] += 1
        if seen[path.suffix.lower()] <= FILES_OF_A_KIND:
            chosen.append(path.relative_to(root))
    return chosen


class TooLong(BaseException):
    """A reader did not end in time; no `except` of a reader catches it."""


def _raise_too_long(*_: object) -> None:
    raise TooLong


def read_within(root: Path, card: Any, seconds: int) -> tuple[list[Any], list[Any]]:
    """Read a source whole, as ingest does; TooLong when it does not end."""
    from tests.fakes.sources import read_all

    signal.signal(signal.SIGALRM, _raise_too_long)
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read_all(root, card)
    finally:
        signal.alarm(0)


Read = tuple[list[Any], list[Any]]  # records and rejections


def verdict(root: Path, card: Any, sound: Read, spoiling: Spoiling, seconds: int) -> str:
    """Return "" when the spoilt source was named (or may be kept), else what went wrong."""
    from components.errors import ProjectError

    try:
        records, refused = read_within(root, card, seconds)
    except ProjectError:
        return ""
    except TooLong:
        return "hang"
    except BaseException as error:  # noqa: BLE001 - the drill's very purpose is to see what escapes a reader
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"crash: {type(error).__name__}: {error}"[:160]
    return judged(records, refused, sound, spoiling)


def judged(records: list[Any], refused: list[Any], sound: Read, spoiling: Spoiling) -> str:
    """Return what is wrong with a read that ended, "" for nothing."""
    if any(".." in record.source_path or OUTSIDE in record.source_path for record in records):
        return "escape"
    if not spoiling.must_refuse or any(one not in sound[1] for one in refused) or records == sound[0]:
        return ""  # equal records: nothing of this file reaches one, spoilt or not
    return "silent keep" if len(records) >= len(sound[0]) else "silent loss"


def is_named(root: Path, relative: Path) -> bool:
    """Tell whether a table or document of the source names a file: only then can it be known to be absent."""
    texts = (path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in TEXTS)
    named = relative.stem.encode() if len(relative.stem) > 3 else relative.name.encode()
    return any(named in path.read_bytes() for path in texts if path != root / relative)


def tries(only: str, seconds: int, scratch: Path) -> Iterator[tuple[str, str]]:
    """Yield (maker, file and spoiling; what went wrong or "") one by one."""
    for name, maker in makers().items():
        if only and only != name:
            continue
        original = scratch / "original" / name
        original.mkdir(parents=True)
        card = maker(original)
        sound = read_within(original, card, seconds)
        for relative in some_files(original):
            for spoiling in spoilings_of(relative):
                root = scratch / "spoilt" / card.name
                shutil.rmtree(root.parent, ignore_errors=True)
                shutil.copytree(original, root)
                (root.parent / OUTSIDE).write_bytes(picture_of("L", "PNG")(b""))
                before = (root / relative).read_bytes()
                spoiling.spoil(root / relative)
                if (root / relative).is_file() and (root / relative).read_bytes() == before:
                    continue
                found = verdict(root, card, sound, spoiling, seconds)
                if found.startswith("silent") and spoiling.name in GONE and not is_named(original, relative):
                    found = ""  # a folder that is merely listed does not say what is missing from it
                if (card.reader, relative.suffix, spoiling.name) in MEANT:
                    found = ""
                yield f"{card.reader} {relative.as_posix()} {spoiling.name}", found


def main() -> None:
    """Run every try, print what went wrong and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="after which a reader is said to hang")
    parser.add_argument("--only", default="", help="one maker of tests/fakes")
    asked = parser.parse_args()
    number, wrong = 0, Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for what, found in tries(asked.only, asked.seconds, Path(scratch)):
            number += 1
            if found:
                wrong[found.split(":")[0]] += 1
                print(f"{what}: {found}", flush=True)
    content = {"name": "malformed_inputs", "tries": number, "unnamed": wrong.total(), "by_kind": dict(wrong)}
    print(json.dumps(content))


if __name__ == "__main__":
    main()
