"""The second way in: a benchmark's items from its own published files, as they are, from this disk only.

`load_published` checks the files' hashes, reads the rows of one split by name, counts what it refuses by
reason, and gives out the pictures of chosen items. Nothing is downloaded; what is missing raises
BenchmarkMissing with the way to obtain it.

A decontaminated run leaves out items whose pictures are (nearly) among pictures seen in training: `without`.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.errors import BenchmarkError, BenchmarkMissing, ChecksumMismatch
from components.evaluation.items import Benchmark, Item, Publication, Question, Refused
from components.tracking.digest import digest_bytes, digest_file, digest_json

TRAIN = "train"
SUMS = "SHA256SUMS"
SEEN = "picture_seen_in_training"
UNREADABLE = "picture_unreadable"


@dataclass(frozen=True)
class Loaded:
    """One split of a benchmark as read: items in file order, refusals by reason, hashes of the files.

    `pictures` holds the place of each picture that lies in a file of its own; those inside a table are read
    again when asked for, so that a split of any size fits in memory.
    """

    benchmark: Benchmark
    folder: Path
    split: str
    items: list[Item]
    refused: Counter[str]
    files: dict[str, str]
    pictures: Mapping[str, Path | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hash of split, annotation files and refusals: what the protocol's fingerprint says of the data."""
        return digest_json({"split": self.split, "files": self.files, "refused": dict(self.refused)})


def load_published(benchmark: Benchmark, folder: Path, split: str = "") -> Loaded:
    """Read one split ("" is the default one).

    Raises:
        BenchmarkError: the benchmark has no published form, no such split, or no row of it can be asked.
        BenchmarkMissing: files are absent.
        ChecksumMismatch: a file is not the one that was pinned.
    """
    publication = publication_of(benchmark)
    name = split or next(iter(publication.splits))
    if name not in publication.splits:
        near = difflib.get_close_matches(name, publication.splits) or list(publication.splits)
        raise BenchmarkError(f"{benchmark.name} has no split {name!r}; it has: {', '.join(near)}")
    files = check_files(benchmark, folder, name)
    items, refused, places = _collect(publication.read(folder, name))
    if not items:
        raise BenchmarkError(f"no row of {benchmark.name} {name} can be asked: {dict(refused)}", where=str(folder))
    return Loaded(benchmark, folder, name, items, refused, files, places)


def load_train(benchmark: Benchmark, folder: Path) -> list[Item]:
    """Read the items that baselines learn from; none when the training files are not there."""
    if TRAIN not in publication_of(benchmark).splits:
        return []
    try:
        return load_published(benchmark, folder, TRAIN).items
    except BenchmarkMissing:
        return []


def publication_of(benchmark: Benchmark) -> Publication:
    """Return how the benchmark is published; BenchmarkError when it takes the corpus's own pairs only."""
    if benchmark.publication is None:
        raise BenchmarkError(
            f"{benchmark.name} has no published files: it takes curated pairs", fix="gmai evaluate"
        )
    return benchmark.publication


def _collect(rows: Iterator[Question | Refused]) -> tuple[list[Item], Counter[str], dict[str, Path | None]]:
    items: list[Item] = []
    refused: Counter[str] = Counter()
    places: dict[str, Path | None] = {}
    known: set[str] = set()
    for row in rows:
        if isinstance(row, Refused):
            refused[row.reason] += 1
        elif row.item.item_id in known:
            refused["item_id_repeated"] += 1
        else:
            known.add(row.item.item_id)
            items.append(row.item)
            places |= {name: place if isinstance(place, Path) else None for name, place in row.pictures.items()}
    return items, refused, places


def drop_unreadable(loaded: Loaded, names: Collection[str]) -> Loaded:
    """Return the split without the items whose pictures do not decode, counted among what is refused.

    Raises:
        BenchmarkError: nothing is left.
    """
    kept = [item for item in loaded.items if not set(item.record_ids) & set(names)]
    refused = loaded.refused + Counter({UNREADABLE: len(loaded.items) - len(kept)})
    if not kept:
        raise BenchmarkError(
            f"no row of {loaded.benchmark.name} {loaded.split} can be asked: {dict(refused)}",
            where=str(loaded.folder), fix="look at the pictures; they are no images, or damaged",
        )  # fmt: skip
    return replace(loaded, items=kept, refused=refused)


def read_pictures(loaded: Loaded, names: Collection[str]) -> dict[str, bytes]:
    """Return the encoded bytes of the named pictures, in name order.

    Raises:
        BenchmarkError: a picture is not one of this split's.
    """
    wanted = set(names)
    strangers = sorted(wanted - loaded.pictures.keys())
    if strangers:
        raise BenchmarkError(f"no such pictures: {strangers[:3]}", where=str(loaded.folder))
    found = {name: place.read_bytes() for name in wanted if (place := loaded.pictures[name]) is not None}
    if len(found) < len(wanted):
        found |= _embedded(loaded, wanted - found.keys())
    return {name: found[name] for name in sorted(wanted)}


def _embedded(loaded: Loaded, wanted: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for row in publication_of(loaded.benchmark).read(loaded.folder, loaded.split):
        if isinstance(row, Question):
            found |= {
                name: content
                for name, content in row.pictures.items()
                if name in wanted and isinstance(content, bytes)
            }
        if len(found) == len(wanted):
            break
    return found


def without(loaded: Loaded, seen: Collection[str]) -> Loaded:
    """Return the split without items that show a picture named in `seen`; the split's name says so.

    Raises:
        BenchmarkError: nothing is left.
    """
    kept = [item for item in loaded.items if not set(item.record_ids) & set(seen)]
    if not kept:
        raise BenchmarkError(
            f"every item of {loaded.benchmark.name} {loaded.split} shows a picture seen in training",
            where=str(loaded.folder), fix="choose a split with new pictures, or report the full score as it is",
        )  # fmt: skip
    refused = loaded.refused + Counter({SEEN: len(loaded.items) - len(kept)})
    return replace(loaded, items=kept, refused=refused, split=f"{loaded.split}_unseen")


def seen_pictures(
    loaded: Loaded, pixel_hashes: Collection[str], difference_hashes: Collection[str], *, bits: int
) -> set[str]:
    """Return the names of this split's pictures whose pixels, or nearly so, are among those given.

    Args:
        loaded: the split.
        pixel_hashes: `Record.sha256` of what was trained on.
        difference_hashes: `Record.perceptual_hash` of the same, 16 hex digits each.
        bits: the greatest Hamming distance that counts as the same picture.

    Raises:
        BenchmarkError: a picture does not decode.
    """
    import numpy as np

    from components.pairs.dedupe import near_matches

    names = sorted(loaded.pictures)
    hashes = [_hashes(name, content) for name, content in read_pictures(loaded, names).items()]
    known = set(pixel_hashes)
    exact = {name for name, (pixels, _) in zip(names, hashes, strict=True) if pixels in known}
    if not difference_hashes:
        return exact
    left = np.array([int(near, 16) for _, near in hashes], dtype=np.uint64)
    right = np.array(sorted(int(value, 16) for value in difference_hashes), dtype=np.uint64)
    return exact | {names[i] for i, _ in near_matches(left, right, bits=bits)}


def _hashes(name: str, content: bytes) -> tuple[str, str]:
    from components.data.image import decode, difference_hash, pixel_hash

    try:
        pixels = decode(content)
    except OSError as error:
        raise BenchmarkError("a picture does not decode", where=name) from error
    return pixel_hash(pixels), difference_hash(pixels)


def check_files(benchmark: Benchmark, folder: Path, split: str) -> dict[str, str]:
    """Return {relative name: sha256} of a split's annotation files, checked against every pin there is.

    Raises:
        BenchmarkMissing: the folder or a file is not there.
        ChecksumMismatch: a file is not the one that was pinned.
    """
    publication = publication_of(benchmark)
    sums = _sums(folder)
    found: dict[str, str] = {}
    for pattern in publication.files[split]:
        for path in _matches(benchmark, folder, pattern):
            name = path.relative_to(folder).as_posix()
            found[name] = digest_file(path)
            _check(path, found[name], publication.checksums.get(path.name, ""), sums.get(name, ""))
    return dict(sorted(found.items()))


def _matches(benchmark: Benchmark, folder: Path, pattern: str) -> list[Path]:
    for choice in pattern.split("|"):
        paths = [path for path in sorted(folder.glob(choice)) if path.is_file()] if folder.is_dir() else []
        if paths:
            return paths
    raise BenchmarkMissing(
        f"benchmark {benchmark.name}: no {pattern.replace('|', ' or ')}", where=str(folder),
        fix=publication_of(benchmark).obtain,
    )  # fmt: skip


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {row[1].removeprefix("*").removeprefix("./").strip(): row[0].lower() for row in rows if len(row) == 2}


def _check(path: Path, sha256: str, pinned: str, summed: str) -> None:
    algorithm, _, wanted = pinned.partition(":")
    actual = hashlib.file_digest(path.open("rb"), "md5").hexdigest() if algorithm == "md5" else sha256
    for expected, got, source in ((wanted, actual, "this project"), (summed, sha256, SUMS)):
        if expected and expected != got:
            raise ChecksumMismatch(
                f"{path.name} is not the file that {source} pins: {got[:12]}…, not {expected[:12]}…",
                where=str(path), fix="obtain the file again, or name the version that you mean",
            )  # fmt: skip


def digest_pictures(pictures: Mapping[str, bytes]) -> str:
    """Hash the pictures shown, names and bytes: they are part of what was asked."""
    return digest_json({name: digest_bytes(content) for name, content in sorted(pictures.items())})
