"""One fake of every format goes from its files through ingest, pairing and curation to a passed check.

What came out is compared, source by source, with tests/golden/formats.json: records, labels, boxes, statements,
rejections, kinds of pairs and a text of each. After a change that is meant:
`GOLDEN=write pytest tests/test_golden_formats.py`, and read the difference before it is committed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from components.data.catalog import CARDS, reader_names
from components.data.ingest import run_ingest
from components.pairs.curate import IMAGE_INDEX, INDEX_COLUMNS, run_curate
from components.pairs.make import run_pair
from components.pairs.measure import measure_images
from components.quality.check import judge_pairs, run_check
from components.quality.suite import pair_expectations
from components.records import Pair, Record, pair_from_row, record_from_row
from components.settings import Settings, settings_from
from components.tracking.tables import iterate_rows
from drills.malformed_inputs import makers
from tests.fakes.sources import write_card
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "formats.json"
HELD_OUT = {3: "test", 7: "validation"}  # of every eight sources whose card decides the split
READERS = set(reader_names())


def make_sources(folder: Path) -> dict[str, str]:
    """Write every fake and its card; return the reader of each source."""
    found = {}
    for number, (name, make) in enumerate(makers().items()):
        source = name.removeprefix("make_")
        root = folder / source
        root.mkdir(parents=True)
        card = make(root).model_copy(update={"name": source})
        if card.split.rule == "fixed" and not card.split.assign and number % 8 in HELD_OUT:
            card = card.model_copy(
                update={"split": card.split.model_copy(update={"default": HELD_OUT[number % 8]})}
            )
        write_card(CARDS, card)
        found[source] = card.reader
    return found


def chosen_settings(sources: tuple[str, ...]) -> Settings:
    """The committed settings over these sources; a fake of few grey values is no blank image here."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["check"] |= {"min_pairs": 10, "max_rejected": 1.0}
    raw["curate"] |= {"min_side": 4, "min_entropy": 0.0, "max_aspect": 20.0}
    raw["ingest"] |= {"max_side": 64, "jobs": 1, "backend": "sequential"}
    raw["corpus"] |= {"sources": list(sources), "data_root": "data"}
    return settings_from(raw | {"work_root": "artifacts"}, where="test")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """Every stage up to the check, once; the settings, and the reader of each source."""
    run = FakeRun()

    @contextmanager
    def open_run(*_: Any, **__: Any):
        yield run

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("formats"))
        patch.setenv("GMAI_PATIENT_KEY", "a key for tests")
        patch.setattr("components.tracking.stage.open_run", open_run)
        readers = make_sources(Path("data"))
        settings = chosen_settings(tuple(readers))
        for stage in (run_ingest, run_pair, run_curate, run_check):
            stage(settings)
        yield settings, readers


def record_summary(records: list[Record]) -> dict[str, Any]:
    """What the records of one source say."""
    labels = Counter(label for record in records for label in record.labels)
    boxes = [
        (region.label, region.side, [round(x, 3) for x in region.box]) for r in records for region in r.regions
    ]
    first = records[0]
    return {
        "records": len(records), "splits": dict(Counter(record.split for record in records)),
        "labels": dict(sorted(labels.items())), "boxes": boxes[:4], "num_boxes": len(boxes),
        "facts": [list(fact) for fact in first.facts], "modality": first.modality, "plane": first.plane,
    }  # fmt: skip


def pair_summary(pairs: list[Pair]) -> dict[str, Any]:
    """What the pairs of one source say: how many of each kind, and the first of each in English."""
    texts: dict[str, list[str]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.kind, pair.pair_id)):
        if pair.language == "en":
            texts.setdefault(pair.kind, [turn.value for turn in pair.conversations[:2]])
    return {"pairs": dict(sorted(Counter(pair.kind for pair in pairs).items())), "texts": texts}


def summarised(settings: Settings, readers: dict[str, str]) -> dict[str, Any]:
    """Everything that is compared, source by source."""
    root = settings.work_root
    records, pairs, kept = defaultdict(list), defaultdict(list), Counter()
    for row in iterate_rows(root / "records"):
        records[row["source"]].append(record_from_row(row))
    for row in iterate_rows(root / "pairs"):
        pairs[row["source"]].append(pair_from_row(row))
    for row in iterate_rows(root / "curated", ["source"]):
        kept[row["source"]] += 1
    left_out = json.loads((root / "curated" / "manifest.json").read_text())["counts"]["rejected"]
    found: dict[str, Any] = {"left out by curation": left_out}
    for source, reader in sorted(readers.items()):
        manifest = json.loads((root / "records" / source / "manifest.json").read_text())
        found[source] = {"reader": reader, "rejected": manifest["rejected"]}
        found[source] |= record_summary(records[source]) | pair_summary(pairs[source])
        found[source]["kept"] = kept[source]  # fakes share their pictures: most are duplicates of another's
    return json.loads(json.dumps(found))


def test_every_reader_has_a_fake_here(done) -> None:
    assert set(done[1].values()) == READERS


def test_every_format_gives_the_golden_records_and_pairs(done) -> None:
    found = summarised(*done)
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert found.keys() == golden.keys()
    for source, expected in golden.items():
        assert found[source] == expected, source


def test_the_pairs_of_every_format_pass_the_checks(done) -> None:
    root, bounds = done[0].work_root, done[0].check
    suite = pair_expectations(min_text=bounds.min_text, max_text=bounds.max_text)
    every = root / "every"  # the pairs before any is left out as another fake's duplicate
    shutil.copytree(root / "pairs", every)
    images = measure_images(root / "records").select(list(INDEX_COLUMNS))
    pq.write_table(images, every / IMAGE_INDEX)
    outcomes = judge_pairs(root / "records", every, suite)
    assert {outcome.name: outcome.rows[:2] for outcome in outcomes if not outcome.passed} == {}
    made = {row["source"] for row in iterate_rows(root / "pairs", ["source"])}
    assert made == set(done[1])


def test_the_checks_pass_over_all_of_them(done) -> None:
    results, manifest = (
        json.loads((done[0].work_root / "checked" / name).read_text())
        for name in ("results.json", "manifest.json")
    )
    assert CARDS.as_posix() in manifest["inputs"]
    assert results["passed"]
    assert {row["name"].partition(":")[0] for row in results["expectations"] if ": " in row["name"]} == set(
        done[1]
    )


def test_manifest_and_page_say_how_many_from_where_why_not_and_under_what_terms(done) -> None:
    root = done[0].work_root
    records = json.loads((root / "records" / "manifest.json").read_text())
    page = (root / "checked" / "report.html").read_text()
    for source in done[1]:
        said = records["details"]["sources"][source]
        assert said["kept"] and said["url"] and said["revision"] and said["licence"]
        assert set(said["terms"]) == set(records["details"]["permitted_use"])
        row = page.partition(f"<b>{source}</b>")[2].partition("</tr>")[0]
        assert said["licence"] in row and f'<td class="n">{said["kept"]}</td>' in row
        assert all(reason in row for reason in said["rejected"])
    assert records["details"]["sources"]["vqa_med"]["rejected"] == {"row_length_differs": 1}
    for stage in ("pairs", "curated"):
        reasons = json.loads((root / stage / "manifest.json").read_text())["counts"]["rejected"]
        for reason, count in reasons.items():
            assert f'<td><code>{reason}</code></td><td class="n">{count}</td>' in page
