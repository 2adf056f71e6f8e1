"""A large source in portions: runs of neighbouring files that are read, kept and read again together.

A reader with `PORTIONS = True` asks `context.takes(unit, *own)` before it decodes anything: a unit is the file (or
folder) that the records of some samples come from, `own` are the files that only this unit needs. Everything else
in the source (tables, names, files that two units need) counts for every portion. Listing the units is a reading
that takes none of them; what it yields all the same (rows without a picture, say) belongs to no portion and is
never old. Most readers' samples name their unit's path; one whose samples name another (a table's row, an image
inside an archive) says whose they are by `context.of`. What hangs together across units is not parted: the reader
raises WholeOnly while its units are listed. Where a portion ends is decided by the names and sizes of its own
units, so that a file that comes or goes moves no other border. A portion that is read is committed by rename and
found again after a crash.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from components.data.burned_in import Screen, screen_samples
from components.data.card import Card
from components.data.catalog import find_reader
from components.data.hidden_paths import HeldNames, PrivateNames, hide_path
from components.data.privacy import keep_names, open_screen
from components.data.reading import ReadContext, Rejection, WholeOnly, hide_rejections
from components.errors import DataError
from components.records import Record, record_schema, stable_id, to_rows
from components.settings import BurnedInText
from components.tracking.commit import folder_aside, write_json
from components.tracking.digest import digest_json
from components.tracking.tables import ShardWriter

ALL = "all"  # the one unit of a source that is read whole
HASH_RANGE = float(1 << 80)
Sample = Record | Rejection


@dataclass(frozen=True, slots=True)
class SourceJob:
    """One source to bring up to date, in plain values that any worker can be sent."""

    card: Card
    root: Path
    output: Path
    max_side: int
    shard_bytes: int
    secret: bytes
    private: Path = Path("var/private")
    burned_in: BurnedInText = BurnedInText()

    @property
    def store(self) -> Path:
        """Where portions wait until all of the source's are read."""
        return self.output.with_name(f".{self.output.name}.portions")


@dataclass(frozen=True, slots=True)
class Portion:
    """Units in the reader's order; `paths` are theirs and those of the files that only they need."""

    digest: str
    units: tuple[str, ...]
    paths: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Tell whether this is a source that is read in one go."""
        return self.units == (ALL,)


@dataclass(frozen=True, slots=True)
class Units:
    """What a reader asks for: unit -> its own files; and the rejections that belong to none."""

    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: tuple[Rejection, ...] = ()


def list_units(job: SourceJob) -> Units:
    """Ask a reader for its units without decoding one; none where it cannot be read in portions."""
    reader = find_reader(job.card.reader)
    if not getattr(reader, "PORTIONS", False):
        return Units()
    asked: list[tuple[str, tuple[str, ...]]] = []

    def note(unit: str, own: Iterable[str]) -> bool:
        asked.append((unit, tuple(own)))
        return False

    with keep_names(job.card, job.private, "units") as names:
        context = ReadContext(job.max_side, job.secret, names=names, choose=note, is_listing=True)
        try:
            rest = list(hide_rejections(reader.read(job.root, job.card, context), job.card, context))
        except WholeOnly:
            return Units()
    refused = tuple(sample for sample in rest if isinstance(sample, Rejection))
    assert len(refused) == len(rest), f"reader {job.card.reader} made a record that it did not ask for"
    own = dict(asked)
    return Units(own, refused) if len(own) == len(asked) else Units()  # what is read twice has no one place


def cut(units: Units, files: Mapping[str, tuple[str, int]], basis: Any, *, portion_bytes: int) -> list[Portion]:
    """Cut a source's units into portions of some `portion_bytes` of raw files.

    `files` is path -> (sha256, bytes) of all its files, `basis` what decides every record beside them.
    """
    needed = Counter(path for unit, own in units.own.items() for path in {unit, *own})
    owned = {
        unit: sorted(path for path in {unit, *own} if path in files and needed[path] == 1)
        for unit, own in units.own.items()
    }
    taken = {path for paths in owned.values() for path in paths}
    shared = digest_json([basis, [[path, sha] for path, (sha, _) in files.items() if path not in taken]])
    portions, run = [], []
    for unit, paths in owned.items():
        run.append(unit)
        if _ends_here(unit, sum(files[path][1] for path in paths), portion_bytes):
            portions.append(_portion(run, owned, files, shared))
            run = []
    return [*portions, _portion(run, owned, files, shared)] if run else portions


def _ends_here(unit: str, num_bytes: int, portion_bytes: int) -> bool:
    return int(stable_id(unit), 16) / HASH_RANGE < num_bytes / portion_bytes


def _portion(
    units: Sequence[str], owned: Mapping[str, list[str]], files: Mapping[str, tuple[str, int]], shared: str
) -> Portion:
    content = [[unit, [[path, files[path][0]] for path in owned[unit]]] for unit in units]
    paths = frozenset(path for unit in units for path in (unit, *owned[unit]))
    return Portion(digest_json([shared, content]), tuple(units), paths)


@dataclass
class Found:
    """What de-identification found in a portion: texts scrubbed by kind, images looked at and hit by modality.

    `withdrawn` are the records that were taken out of it since, by reason.
    """

    scrubbed: Counter[str] = field(default_factory=Counter)
    looked_at: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    withdrawn: Counter[str] = field(default_factory=Counter)

    def add(self, other: Mapping[str, Mapping[str, int]]) -> None:
        """Add what another portion's manifest says."""
        for name in ("scrubbed", "looked_at", "hits"):
            getattr(self, name).update(other[name])
        self.withdrawn.update(other.get("withdrawn", {}))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return plain, sorted counts."""
        names = ("scrubbed", "looked_at", "hits")
        return {name: dict(sorted((k, n) for k, n in getattr(self, name).items() if n)) for name in names}


def read_portions(job: SourceJob, portions: Sequence[Portion]) -> None:
    """Read neighbouring portions in one go; each is committed to the job's store as soon as it is read."""
    reader, screen = find_reader(job.card.reader), open_screen(job.burned_in)
    chosen = {unit for portion in portions for unit in portion.units}
    is_whole = portions[0].is_whole
    place = {path: number for number, portion in enumerate(portions) for path in portion.paths}
    hidden = {hide_path(path, job.card, job.secret): number for path, number in place.items()}
    choose = None if is_whole else lambda unit, _: unit in chosen
    names = HeldNames()
    context = ReadContext(job.max_side, job.secret, names=names, choose=choose)
    found = with_asides(reader.read(job.root, job.card, context), context.scrubbed, names)

    def place_of(sample: Sample) -> int | None:
        if is_whole:
            return 0
        return place.get(context.unit[0]) if context.unit else _place_of(sample, job.card, place, hidden)

    mine = ((place_of(made.sample), made) for made in found)
    left = dict(enumerate(portions))
    for number, group in groupby(mine, key=lambda item: item[0]):
        if number is not None:
            write_portion(job, left.pop(number), (made for _, made in group), screen)
    for portion in left.values():
        write_portion(job, portion, (), screen)


@dataclass(frozen=True, slots=True)
class Made:
    """A sample, what was scrubbed to make it, and the private names that it hides."""

    sample: Sample
    scrubbed: Counter[str]
    names: list[tuple[str, str]]


def with_asides(samples: Iterator[Sample], scrubbed: Counter[str], names: HeldNames) -> Iterator[Made]:
    """Yield each sample with what came up while it was made, of a counter and names that grow meanwhile."""
    before, total = Counter(scrubbed), scrubbed.total()
    for sample in samples:
        found: Counter[str] = Counter()
        if scrubbed.total() != total:
            found = scrubbed - before
            before, total = Counter(scrubbed), scrubbed.total()
        yield Made(sample, found, names.take())


def _place_of(sample: Sample, card: Card, place: Mapping[str, int], hidden: Mapping[str, int]) -> int | None:
    """Return the number of the portion that a sample's path belongs to, or None; `#` parts a file and its part."""
    if isinstance(sample, Record):
        return hidden.get(sample.source_path.removeprefix(f"{card.name}/"))
    where = sample.where
    while where and where not in place:
        where = where.rpartition("#")[0]
    return place.get(where)


def write_portion(job: SourceJob, portion: Portion, samples: Iterable[Made], screen: Screen | None) -> None:
    """Write a portion's shards, its rejections, and how many there are."""
    refused: list[Rejection] = []
    found = Found()
    own = screen and Screen(screen.options, screen.reader)
    part = "" if portion.is_whole else portion.digest[:16]
    with folder_aside(job.store / portion.digest) as scratch, keep_names(job.card, job.private, part) as names:
        context = ReadContext(job.max_side, job.secret, names=names)
        counted = _counted(samples, found.scrubbed, names)
        told = screen_samples(hide_rejections(counted, job.card, context), own)
        with ShardWriter(scratch, record_schema(), shard_bytes=job.shard_bytes) as writer:
            for row in to_rows(keep_records(told, refused)):
                writer.write(row)
        write_refused(scratch, refused)
        if own is not None:
            found.looked_at, found.hits = own.looked_at, own.hits
        content = {"kept": writer.num_rows, **counts_of(refused), **found.counts()}
        write_json(scratch / "manifest.json", content)


def _counted(made: Iterable[Made], scrubbed: Counter[str], names: PrivateNames) -> Iterator[Sample]:
    for one in made:
        scrubbed.update(one.scrubbed)
        for hidden, stated in one.names:
            names.note(hidden, stated)
        yield one.sample


def keep_records(samples: Any, refused: list[Rejection]) -> Iterator[Record]:
    """Pass records on; put rejections, and records whose id was seen before, into `refused`."""
    seen: set[str] = set()
    for sample in samples:
        if isinstance(sample, Rejection):
            refused.append(sample)
        elif sample.record_id in seen:
            refused.append(Rejection(sample.source_path, "record_id_repeated"))
        else:
            seen.add(sample.record_id)
            yield sample


def counts_of(refused: Sequence[Rejection]) -> dict[str, Any]:
    """Return the rejections counted by reason."""
    return {"rejected": dict(sorted(Counter(one.reason for one in refused).items()))}


def write_refused(folder: Path, refused: Sequence[Rejection]) -> None:
    """Write a folder's `rejected.jsonl`."""
    lines = (json.dumps(refusal_row(one), ensure_ascii=False) for one in refused)
    (folder / "rejected.jsonl").write_text("".join(f"{line}\n" for line in lines))


def refusal_row(rejection: Rejection) -> dict[str, str]:
    """What `rejected.jsonl` says of a rejection; a hint is there only when the reader gave one."""
    row = {"where": rejection.where, "reason": rejection.reason}
    return {**row, "hint": rejection.hint} if rejection.hint else row


def read_refused(folder: Path) -> list[Rejection]:
    """Return what a folder's `rejected.jsonl` says."""
    rows = (json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines())
    return [Rejection(row["where"], row["reason"], row.get("hint", "")) for row in rows]


def committed_portions(output: Path) -> dict[str, Path]:
    """Return digest -> folder of the portions inside a source's committed output."""
    path = output / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    folders = (output / folder_name(number) for number in range(len(manifest.get("portions", []))))
    return dict(zip(manifest.get("portions", []), folders, strict=True))


def folder_name(number: int) -> str:
    """Return the name of a source's n-th portion; names sort as the numbers do."""
    return f"portion-{number:06d}"


def waiting(job: SourceJob, portions: Sequence[Portion]) -> list[Portion]:
    """Return the portions that have to be read: neither in the source's output nor in the store."""
    there = committed_portions(job.output)
    return [
        p for p in portions if p.digest not in there and not (job.store / p.digest / "manifest.json").is_file()
    ]


def assemble(job: SourceJob, portions: Sequence[Portion], scratch: Path) -> tuple[int, list[Rejection], Found]:
    """Link every portion into `scratch`, as shards or, where there are several, a folder each.

    Returns:
        How many records there are, all rejections in order, and what de-identification found.

    Raises:
        DataError: a portion is gone since it was read.
    """
    there, kept, refused, found = committed_portions(job.output), 0, [], Found()
    for number, portion in enumerate(portions):
        folder = there.get(portion.digest, job.store / portion.digest)
        if not (folder / "manifest.json").is_file():
            raise DataError("a portion is gone since it was read", where=str(folder), fix="gmai ingest")
        target = scratch if portion.is_whole else scratch / folder_name(number)
        link_files(folder, target)
        counts = json.loads((folder / "manifest.json").read_text())
        kept += counts["kept"]
        found.add(counts)
        refused += read_refused(folder)
    return kept, refused, found


def link_files(folder: Path, target: Path) -> None:
    """Give a folder's files a second name in `target`; copied where the file system knows no links."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy2(path, target / path.name)
