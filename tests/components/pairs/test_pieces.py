from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.data.tombstones import Withdrawn
from components.pairs import make
from components.pairs.claims import read_claims
from components.pairs.generate import TemplateGenerator
from components.pairs.make import write_pairs
from components.pairs.pieces import Machines, Making, look_at_piece, needed_by
from components.pairs.surroundings import look_around, study_of, together
from components.records import Record, record_schema, to_rows
from components.settings import Augmentation, Choices
from components.tracking.tables import spans_below, write_table
from tests.fakes.scans import make_scan, make_study

KINDS = ("caption", "region_caption", "instruct", "percept", "comparison", "report")
VARIED = Augmentation(turns=2, paraphrase_share=0.5, jitter_share=0.5, balance=0.8)
LEVELS = Choices(easy=0.3, medium=0.3, hard=0.4, hard_negatives=0.5)


def corpus() -> list[Record]:
    """Two sources; the studies of the first lie in several pieces."""
    shapes = make_study()
    scans = [
        make_scan(n, regions=shapes[n % 12].regions, patient_key=f"p{n % 7}", study_key=f"s{n % 7}")
        for n in range(450)
    ]
    told = [
        make_scan(1000 + n, source="told", regions=(), regions_complete=False, labels=("liver",), text=f"No {n}.",
                  text_kind="report", study_key="s1", patient_key="p1")
        for n in range(130)
    ]  # fmt: skip
    return [*scans, *told, replace(make_scan(2000), patient_key="gone")]


def write_corpus(folder: Path) -> None:
    records = corpus()
    for place, part in enumerate((records[:310], records[310:])):
        write_table(folder / f"source-{place}", to_rows(part), record_schema(), shard_bytes=1)


def made(folder: Path, output: Path, **changes) -> tuple[dict[str, bytes], object]:
    generator = TemplateGenerator(seed=1, chinese_share=0.3, max_questions=6, max_regions=2)
    tally = write_pairs(
        folder, output, generator, kinds=KINDS, shard_bytes=1 << 15, withdrawn=Withdrawn(patients=("gone",)),
        max_text=100, **changes,
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in sorted(output.rglob("*"))}, tally


@pytest.mark.parametrize("changes", [{}, {"augmentation": VARIED}, {"choices": LEVELS}])
def test_pieces_change_no_byte_and_no_count(tmp_path, monkeypatch, changes):
    write_corpus(tmp_path / "records")
    whole, counted = made(tmp_path / "records", tmp_path / "whole", **changes)
    assert len(whole) > 3 and "rejected.parquet" in whole and counted.reasons["text_too_long"]
    assert counted.withdrawn == {"patient_withdrawn": 1}
    monkeypatch.setattr(make, "PIECE_RECORDS", 100)
    assert len(spans_below(tmp_path / "records", rows=100)) == 6
    for machines in (Machines(), Machines(2, "threading")):
        output = tmp_path / f"{machines.jobs}"
        assert made(tmp_path / "records", output, machines=machines, **changes) == (whole, counted)
        assert not (output / ".pieces").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "ray", "dask"])
def test_processes_and_clusters_give_the_same_bytes(tmp_path, monkeypatch, backend):
    write_corpus(tmp_path / "records")
    whole = made(tmp_path / "records", tmp_path / "whole", augmentation=VARIED)
    monkeypatch.setattr(make, "PIECE_RECORDS", 100)
    machines = Machines(2, backend)
    assert made(tmp_path / "records", tmp_path / "other", augmentation=VARIED, machines=machines) == whole


def test_a_piece_is_sent_the_studies_of_its_own_records_alone(tmp_path):
    write_corpus(tmp_path / "records")
    making = Making(TemplateGenerator(seed=1, chinese_share=0, max_questions=1, max_regions=1), KINDS)
    pieces = spans_below(tmp_path / "records", rows=100)
    surroundings = together(look_at_piece(spans, making)[0] for spans in pieces)
    whole = look_around(corpus())
    assert surroundings["scans"].present == whole["scans"].present
    assert surroundings["scans"].body_parts == whole["told"].body_parts
    last = needed_by(pieces[-1], surroundings)
    assert set(last["scans"].partners) == {study_of("gone", "s1")}
    for number, record in enumerate(corpus()[:100]):
        first = needed_by(pieces[0], surroundings)
        assert first["scans"].partners_of(record) == whole["scans"].partners_of(record), number


def test_what_a_text_says_is_remembered_for_the_labels_it_was_read_with():
    said = "The zygomatic process is visible."
    assert not read_claims(said, "en", extra=("liver",)).mentions
    (claim,) = read_claims(said, "en", extra=("liver", "zygomatic process")).mentions
    assert claim.labels == {"zygomatic process"}
