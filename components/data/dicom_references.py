"""DICOM series, and the objects drawn over them (SEG, RTSTRUCT) that say in their header which series they mean.

Both may lie anywhere below a source's root. An object whose series is not there, or that names none, is
refused (`series_missing`); a series to which nothing refers is told from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from components.data.dicom_volumes import FileKey
from components.data.reading import Rejection
from components.data.volume_records import attempt


@dataclass(frozen=True, slots=True)
class SeriesFiles:
    """One series: its name among those of its folder (`series/00`), its files, and those that refer to it."""

    part: str
    files: tuple[str, ...]
    referring: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The folder of the series' first file; "." for the root."""
        return self.files[0].rpartition("/")[0] or "."


@dataclass(frozen=True, slots=True)
class References:
    """A source's series, in the order of their first file's name, and what was refused on the way."""

    series: tuple[SeriesFiles, ...]
    refused: tuple[Rejection, ...]


def match_references(
    keys: Iterable[FileKey | Rejection], kinds: Collection[str], series_of: Callable[[str], str]
) -> References:
    """Match objects of these SOP classes to the series that `series_of(file)` reads off their headers.

    `series_of` may raise Refused and what the imaging libraries raise; its object is then refused alone.
    """
    found = list(keys)
    files = [key for key in found if isinstance(key, FileKey)]
    series = _by_uid((key.series, key.file) for key in files if key.is_image)
    named = [(attempt(partial(series_of, key.file), key.file), key.file) for key in files if key.kind in kinds]
    referring = _by_uid((uid, file) for uid, file in named if not isinstance(uid, Rejection))
    refused = [one for one in (*found, *(uid for uid, _ in named)) if isinstance(one, Rejection)]
    refused += [
        Rejection(file, "series_missing") for uid in referring if uid not in series for file in referring[uid]
    ]
    return References(tuple(_numbered(series, referring)), tuple(refused))


def _by_uid(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Files by UID, in the order of their first file's name."""
    found: dict[str, list[str]] = {}
    for uid, file in sorted(pairs, key=lambda pair: pair[1]):
        found.setdefault(uid, []).append(file)
    return {uid: tuple(files) for uid, files in found.items()}


def _numbered(
    series: Mapping[str, tuple[str, ...]], referring: Mapping[str, tuple[str, ...]]
) -> Iterator[SeriesFiles]:
    numbers: dict[str, int] = {}
    for uid, files in series.items():
        folder = files[0].rpartition("/")[0]
        numbers[folder] = numbers.get(folder, -1) + 1
        yield SeriesFiles(f"series/{numbers[folder]:02d}", files, referring.get(uid, ()))
