"""The stage "curate": pairs that may be trained on and scored, each refused one with its reason.

Patients in two splits stop the stage. Images are refused for size, aspect, blankness and duplication; pairs for
a refused image, for repeating another pair's words on the same image, or for contaminating a held-out pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.pairs.dedupe import exact_duplicates, near_duplicates
from components.pairs.firewall import EXTRA_BITS, Firewall, held_out_links
from components.pairs.images import ImageFacts, measure_images, quality_reason
from components.pairs.rejected import REJECTED, write_rejected
from components.pairs.split import check_patients
from components.records import pair_schema, stable_id
from components.settings import Settings
from components.tracking.stage import open_stage
from components.tracking.tables import ShardWriter, iterate_rows

IMAGE_INDEX = "images.parquet"
INDEX_COLUMNS = ("record_id", "split", "sha256", "entropy", "width", "height")


@dataclass(frozen=True, slots=True)
class Curated:
    """What became of the pairs: counts by column of the kept, by reason of the refused."""

    kept: dict[str, Counter[str]]
    refused: Counter[str]
    images: Counter[str]


def run_curate(settings: Settings) -> None:
    """Run the stage: artifacts/records + artifacts/pairs -> artifacts/curated.

    Raises:
        DataError: a patient is in two splits, or there are no shards.
    """
    root, limits = settings.work_root, settings.curate
    with open_stage(
        "curate", settings, output=root / "curated", inputs=[root / "records", root / "pairs"],
        sections=["curate", "seed"],
    ) as work:  # fmt: skip
        images = measure_images(root / "records")
        check_patients(images, where=str(root / "records"))
        refused = refuse_images(
            images, bits=limits.near_duplicate_bits,
            quality=lambda facts: quality_reason(
                facts, min_side=limits.min_side, max_aspect=limits.max_aspect, min_entropy=limits.min_entropy
            ),
        )  # fmt: skip
        curated = write_curated(
            root / "pairs", work.scratch, images, refused, bits=limits.near_duplicate_bits,
            shard_bytes=limits.shard_megabytes << 20,
        )  # fmt: skip
        kept = sum(curated.kept["split"].values())
        work.count(read=kept + sum(curated.refused.values()), kept=kept, rejected=curated.refused)
        work.details |= {name: dict(sorted(counts.items())) for name, counts in curated.kept.items()}
        work.details["images_refused"] = dict(sorted(curated.images.items()))
        _print(curated)


def refuse_images(
    images: Sequence[ImageFacts], *, bits: int, quality: Callable[[ImageFacts], str]
) -> dict[str, str]:
    """Return record id -> reason for the images that may not be used; quality first, then duplicates."""
    poor = {facts.record_id: reason for facts in images if (reason := quality(facts))}
    sound = [facts for facts in images if facts.record_id not in poor]
    exact = exact_duplicates(sound)
    single = [facts for facts in sound if facts.record_id not in exact]
    return poor | exact | near_duplicates(single, bits=bits)


def write_curated(
    pairs: Path,
    output: Path,
    images: Sequence[ImageFacts],
    refused: dict[str, str],
    *,
    bits: int,
    shard_bytes: int,
) -> Curated:
    """Write the kept pairs, the refused ones with their reasons, and the index of usable images."""
    usable = [facts for facts in images if facts.record_id not in refused]
    firewall = Firewall(
        held_out_links(usable, bits=bits + EXTRA_BITS),
        (row for row in iterate_rows(pairs) if row["split"] != "train"),
    )
    judge = Judge(images, refused, firewall)
    counts = Curated(
        {"split": Counter(), "kind": Counter(), "modality": Counter()}, Counter(), Counter(refused.values())
    )
    rejected: list[dict[str, Any]] = []
    with ShardWriter(output, pair_schema(), shard_bytes=shard_bytes) as writer:
        for row in iterate_rows(pairs):
            reason = judge.reason(row)
            if reason:
                counts.refused[reason] += 1
                rejected.append(row | {"rejected_reason": reason})
                continue
            writer.write(row)
            for column, counter in counts.kept.items():
                counter[row[column]] += 1
    write_rejected(output / REJECTED, rejected)
    _write_index(output / IMAGE_INDEX, usable)
    return counts


class Judge:
    """Decides about pairs one after the other; remembers what has been said of each image."""

    def __init__(self, images: Iterable[ImageFacts], refused: dict[str, str], firewall: Firewall) -> None:
        self.pixels = {facts.record_id: facts.sha256 for facts in images}
        self.refused, self.firewall = refused, firewall
        self.said: set[str] = set()

    def reason(self, row: dict[str, Any]) -> str:
        """Return why a pair is refused, or ""; a pair that is kept is remembered."""
        for record_id in row["record_ids"]:
            if record_id not in self.pixels:
                return "record_missing"
            if record_id in self.refused:
                return self.refused[record_id]
        contaminating = self.firewall.reason(row)
        if contaminating:
            return contaminating
        said = stable_id(*(self.pixels[i] for i in row["record_ids"]), *(t["value"] for t in row["conversations"]))
        if said in self.said:
            return "duplicate_text"
        self.said.add(said)
        return ""


def _write_index(path: Path, images: Sequence[ImageFacts]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int32()
    types = dict(zip(INDEX_COLUMNS, (text, text, text, pa.float32(), whole, whole), strict=True))
    rows = [{name: row[name] for name in INDEX_COLUMNS} for row in map(asdict, images)]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), path, compression="zstd")


def _print(curated: Curated) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Curated pairs", title_justify="left")
    table.add_column("by"), table.add_column("pairs", overflow="fold")
    rows = {**curated.kept, "refused": curated.refused, "images refused": curated.images}
    for column, counts in rows.items():
        table.add_row(column, "  ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none")
    Console().print(table)
