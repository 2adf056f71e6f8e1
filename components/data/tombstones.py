"""Tombstones: patients and sources that were withdrawn, and are left out of every corpus from then on.

`conf/withdrawn.yaml` is the list: `gmai withdraw` adds to it by rename, git keeps its history, and DVC sees it as
an input of ingest, pairing and curation: the next run takes the records of what is withdrawn out of the shards
(their images too, whether or not the files are still in data/), makes no pair of it, refuses what was made already
(its words are not kept among the refused), and removes the replies that a language model gave about it. Patients
are named by their keyed hash, as records do. Nothing is ever taken off the list by this project; whoever takes a
name off it by hand removes the source's folder below artifacts/records too, so that it is read anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from components.errors import DataError
from components.records import record_schema
from components.settings import Frozen
from components.tracking.commit import write_bytes, write_json
from components.tracking.digest import digest_json
from components.tracking.tables import ROW_GROUP_ROWS, ShardWriter

TOMBSTONES = Path("conf/withdrawn.yaml")
SWEPT = "swept"  # the digest of the withdrawals for which a folder was emptied
PATIENT, SOURCE = GONE = ("patient_withdrawn", "source_withdrawn")


class Withdrawn(Frozen):
    """Everything that was withdrawn, sorted."""

    patients: tuple[str, ...] = Field(default=(), description="patient keys, as records hold them")
    sources: tuple[str, ...] = Field(default=(), description="names of cards")

    @cached_property
    def _gone(self) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(self.patients), frozenset(self.sources)

    def reason(self, *, patient: str, source: str) -> str:
        """Return why something of a patient and a source is left out, "" where it is not."""
        patients, sources = self._gone
        return SOURCE if source in sources else PATIENT if patient in patients else ""


def load_withdrawn(path: Path = TOMBSTONES) -> Withdrawn:
    """Read the list; an absent one is empty.

    Raises:
        DataError: it is not what this module writes. A list that cannot be read must not be taken for empty.
    """
    if not path.is_file():
        return Withdrawn()
    try:
        return Withdrawn.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(
            f"not a list of withdrawals: {error}", where=str(path), fix=f"git log -p {path}"
        ) from error


def sweep(folder: Path, withdrawn: Withdrawn) -> bool:
    """Empty a folder of what is only remembered about images, once for each list of withdrawals.

    Nothing in it says whose image it is about, and all of it can be computed again. Says whether it was emptied.
    """
    swept, digest = folder / SWEPT, digest_json(withdrawn.model_dump(mode="json"))
    known = swept.read_text() if swept.is_file() else digest_json(Withdrawn().model_dump(mode="json"))
    if known == digest:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    write_bytes(swept, digest.encode())
    return True


def check_named(*, patient: str, source: str) -> None:
    """Raise DataError when neither a patient nor a source is named."""
    if not patient and not source:
        raise DataError(
            "nothing to withdraw", fix="gmai withdraw --patient KEY, --patient-id ID, or --source NAME"
        )


def add_withdrawn(*, patient: str = "", source: str = "", path: Path = TOMBSTONES) -> Withdrawn:
    """Add a patient, a source or both to the list, by rename; return the whole list.

    Raises:
        DataError: neither is given.
    """
    check_named(patient=patient, source=source)
    known = load_withdrawn(path)
    grown = Withdrawn(
        patients=tuple(sorted({*known.patients, *([patient] if patient else [])})),
        sources=tuple(sorted({*known.sources, *([source] if source else [])})),
    )
    content = yaml.safe_dump({"patients": list(grown.patients), "sources": list(grown.sources)})
    write_bytes(path, content.encode())
    return grown


def leave_out(records: Path, withdrawn: Withdrawn) -> Counter[str]:
    """Take what is withdrawn out of every shard below a folder, also of portions that wait there.

    A shard that has none of it is left as it is; another is written anew beside it and renamed. The manifests
    of its folder and source say how many records are gone, by reason, and count them neither as read nor as kept.

    Returns:
        How many records went just now, by reason.
    """
    gone: Counter[str] = Counter()
    if withdrawn.patients or withdrawn.sources:
        for shard in sorted(records.rglob("part-*.parquet")):
            found = _clean(shard, withdrawn)
            for folder in (shard.parent, *shard.parent.parents) if found else ():
                if folder == records:
                    break
                _uncount(folder / "manifest.json", found)
            gone += found
    return gone


def _clean(shard: Path, withdrawn: Withdrawn) -> Counter[str]:
    """Rewrite a shard without what is withdrawn, a row group in memory; return how many rows went, by reason."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(shard, columns=["patient_key", "source"])
    whose = zip(rows["patient_key"].to_pylist(), rows["source"].to_pylist(), strict=True)
    reasons = [withdrawn.reason(patient=patient, source=source) for patient, source in whose]
    gone = Counter(reason for reason in reasons if reason)
    if not gone:
        return gone
    with tempfile.TemporaryDirectory(dir=shard.parent, prefix=".") as aside, pq.ParquetFile(shard) as file:
        with ShardWriter(Path(aside), record_schema(), shard_bytes=1 << 62, groups=1 << 62) as writer:
            done = 0
            for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                here = pa.array([not reason for reason in reasons[done : done + len(batch)]])
                writer.write_table(pa.Table.from_batches([batch]).filter(here))
                done += len(batch)
        (written,) = Path(aside).glob("part-*.parquet")
        written.replace(shard)
    return gone


def _uncount(path: Path, gone: Counter[str]) -> None:
    if not path.is_file():
        return
    content: dict[str, Any] = json.loads(path.read_text())
    for name in ("read", "kept"):
        if name in content:
            content[name] -= gone.total()
    content["withdrawn"] = dict(sorted((Counter(content.get("withdrawn", {})) + gone).items()))
    write_json(path, content)
