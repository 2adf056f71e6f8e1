"""Each rule catches the row planted against it, both engines agree, and a failed check stops with a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from components.errors import QualityError
from components.quality import check
from components.quality.check import (
    count_values,
    failing_pairs,
    judge_corpus,
    judge_pairs,
    make_judge,
    rejected_share,
    run_check,
    sample_ids,
)
from components.quality.suite import corpus_expectations, pair_expectations
from components.records import Pair, Record, Region, Turn
from tests.fakes.tables import make_corpus, write_corpus

SUITE = pair_expectations(min_text=1, max_text=60)
PLANTED = 5  # row of the pair list that each planter spoils
Planter = Callable[[Pair], Pair]


def turns(*values: str, speakers: tuple[str, ...] = ("human", "gpt")) -> tuple[Turn, ...]:
    return tuple(Turn(speaker, value) for speaker, value in zip(speakers, values, strict=True))


BAD_PAIRS: dict[str, Planter] = {
    "pair_id_filled": lambda p: replace(p, pair_id=" "),
    "pair_id_unique": lambda p: replace(p, pair_id="record000-modality-percept"),
    "every_record_exists": lambda p: replace(p, record_ids=("record999",)),
    "modality_filled": lambda p: replace(p, modality=""),
    "department_filled": lambda p: replace(p, department=" "),
    "modality_in_vocabulary": lambda p: replace(p, modality="Photograph"),
    "department_in_vocabulary": lambda p: replace(p, department="Alchemy"),
    "task_in_vocabulary": lambda p: replace(p, task="Guessing"),
    "kind_in_vocabulary": lambda p: replace(p, kind="poem"),
    "language_in_vocabulary": lambda p: replace(p, language="la"),
    "split_in_vocabulary": lambda p: replace(p, split="dev", patient_key="other"),
    "boxes_valid": lambda p: replace(p, boxes=((0.5, 0.2, 0.1, 0.6),)),
    "text_boxes_valid": lambda p: replace(
        p, conversations=turns("<image>\nx", "<box> [[0.1, 0.2, 1.4, 0.6]]</box>")
    ),
    "placeholder_count": lambda p: replace(p, conversations=turns("<image>\n<image>\nx", "yes")),
    "placeholders_first": lambda p: replace(
        p, conversations=turns("x", "a", "<image>\ny", "b", speakers=("human", "gpt") * 2)
    ),
    "turns_alternate": lambda p: replace(
        p, conversations=turns("<image>\nx", "y", "z", speakers=("human", "human", "gpt"))
    ),
    "question_asked": lambda p: replace(p, conversations=turns("<image>\n ", "yes")),
    "answer_not_short": lambda p: replace(p, conversations=turns("<image>\nx", "  ")),
    "answer_not_long": lambda p: replace(p, conversations=turns("<image>\nx", "y" * 61)),
    "answer_among_options": lambda p: replace(p, answer="maybe", options=("yes", "no")),
    "patient_key_filled": lambda p: replace(p, patient_key=""),
    "patient_in_one_split": lambda p: replace(p, patient_key="test-patient1"),
    "split_matches_image": lambda p: replace(p, split="validation", patient_key="other"),
    "modality_matches_record": lambda p: replace(p, modality="PET"),
}
BAD_RECORDS: dict[str, Callable[[Record], Record]] = {
    "image_has_pixels": lambda r: replace(r, width=0),
    "label_stated": lambda r: replace(r, labels=(), regions=(), body_part="not stated"),
    "record_boxes_valid": lambda r: replace(r, regions=(Region("lung", (0.1, 0.2, 0.5, 1.6)),)),
}


def spoiled(tmp_path: Path, name: str) -> tuple[Path, str]:
    """Write the corpus with one bad row; return its root and the pair id that must be named."""
    records, pairs = make_corpus()
    if name in BAD_PAIRS:
        pairs[PLANTED] = BAD_PAIRS[name](pairs[PLANTED])
    else:
        records[PLANTED // 4] = BAD_RECORDS[name](records[PLANTED // 4])
    return write_corpus(tmp_path / "artifacts", records, pairs), pairs[PLANTED].pair_id


@pytest.mark.parametrize("name", [*BAD_PAIRS, *BAD_RECORDS])
def test_each_rule_catches_its_planted_row(tmp_path: Path, name: str) -> None:
    root, pair_id = spoiled(tmp_path, name)
    outcomes = judge_pairs(root / "records", root / "curated", SUITE, with_great=False)
    found = next(outcome for outcome in outcomes if outcome.name == name)
    assert not found.passed
    assert pair_id in [row["pair_id"] for row in found.rows]
    assert found.checked == 48


def test_every_rule_has_a_planted_row() -> None:
    assert {expectation.name for expectation in SUITE} == BAD_PAIRS.keys() | BAD_RECORDS.keys()


def test_a_clean_corpus_fails_nothing(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "artifacts", *make_corpus())
    outcomes = judge_pairs(root / "records", root / "curated", SUITE, with_great=False)
    assert [outcome.name for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize("names", [(), tuple(BAD_PAIRS)[:12], tuple(BAD_PAIRS)[12:], tuple(BAD_RECORDS)])
def test_great_expectations_and_pandas_agree(tmp_path: Path, names: tuple[str, ...]) -> None:
    records, pairs = make_corpus()
    for offset, name in enumerate(names):
        if name in BAD_PAIRS:
            pairs[offset * 2 + 1] = BAD_PAIRS[name](pairs[offset * 2 + 1])
        else:
            records[offset] = BAD_RECORDS[name](records[offset])
    root = write_corpus(tmp_path / "artifacts", records, pairs)
    great = judge_pairs(root / "records", root / "curated", SUITE, with_great=True)
    plain = judge_pairs(root / "records", root / "curated", SUITE, with_great=False)
    assert great == plain
    assert all(name in {o.name for o in great if not o.passed} for name in names)


@pytest.mark.parametrize("with_great", [True, False])
def test_corpus_rules_count_pairs_and_rejected_rows(tmp_path: Path, with_great: bool) -> None:
    records, pairs = make_corpus()
    root = write_corpus(tmp_path / "artifacts", records, [p for p in pairs if p.split == "train"])
    suite = corpus_expectations(min_pairs=100, max_rejected=0.1)
    outcomes = judge_corpus(root / "curated", suite, {"records": 0.0, "curated": 0.2}, with_great=with_great)
    failed = {outcome.name: outcome.rows[0]["observed"] for outcome in outcomes if not outcome.passed}
    assert failed == {
        "num_pairs": "num_pairs=24", "num_test_pairs": "num_test_pairs=0", "rejected_share": "rejected_share=0.2",
    }  # fmt: skip


def test_rejected_share_is_over_kept_and_rejected(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "artifacts", *make_corpus(), rejected=16)
    assert rejected_share(root / "curated") == pytest.approx(16 / 64)
    assert rejected_share(root / "pairs") == 0.0
    (root / "pairs" / "manifest.json").unlink()
    with pytest.raises(QualityError, match="unfinished output"):
        rejected_share(root / "pairs")


def test_a_passing_check_commits_results_and_report(settings, fake_run) -> None:
    write_corpus(settings.work_root, *make_corpus(), rejected=12)
    run_check(settings)
    output = settings.work_root / "checked"
    results = json.loads((output / "results.json").read_text())
    assert results["passed"] is True
    assert results["rejected_share"] == pytest.approx(0.2)
    assert len(results["expectations"]) == len(SUITE) + 4
    page = (output / "report.html").read_text()
    assert "passed" in page and "data:image/png;base64," in page
    assert "http://" not in page and "https://" not in page
    assert fake_run.artifacts == ["results.json", "report.html"]
    assert json.loads((output / "manifest.json").read_text())["counts"]["kept"] == 48


def test_the_same_corpus_gives_the_same_bytes(settings, fake_run) -> None:
    write_corpus(settings.work_root, *make_corpus())
    output = settings.work_root / "checked"
    run_check(settings)
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    run_check(settings)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == first


def test_a_failing_check_names_rule_and_rows_and_keeps_its_report(settings, fake_run) -> None:
    root, pair_id = spoiled(Path.cwd(), "boxes_valid")
    with pytest.raises(QualityError) as caught:
        run_check(settings)
    assert "boxes_valid (1 of 48)" in str(caught.value) and pair_id in str(caught.value)
    assert not (root / "checked").exists()
    page = Path("var/reports/check-failed.html").read_text()
    assert "stopped" in page and page.count(pair_id) >= 2 and "Pairs that fail" in page
    assert json.loads(Path("var/reports/check-failed.json").read_text())["passed"] is False
    assert fake_run.artifacts == ["check-failed.json", "check-failed.html"]
    assert fake_run.metrics["expectations_failed"] == 1 and not fake_run.finished


def test_a_null_never_passes_a_vocabulary(tmp_path: Path) -> None:
    records, pairs = make_corpus()
    pairs[PLANTED] = replace(pairs[PLANTED], modality=None)  # ty: ignore[invalid-argument-type]
    root = write_corpus(tmp_path / "artifacts", records, pairs)
    outcomes = judge_pairs(root / "records", root / "curated", SUITE, with_great=True)
    failed = failing_pairs(outcomes)
    assert {"modality_filled", "modality_in_vocabulary"} <= failed[pairs[PLANTED].pair_id]


def test_sample_takes_kinds_in_turn() -> None:
    ids, kinds = [f"p{i}" for i in range(20)], ["caption"] * 18 + ["percept", "vqa"]
    chosen = sample_ids(pa.table({"pair_id": ids, "kind": kinds}), number=3)
    assert {kinds[ids.index(name)] for name in chosen} == {"caption", "percept", "vqa"}
    assert chosen == sample_ids(pa.table({"pair_id": ids[::-1], "kind": kinds[::-1]}), number=3)


def test_values_are_counted_by_split() -> None:
    table = pa.table({"split": ["train", "train", "test"], "kind": ["vqa", None, "vqa"]})
    counts = count_values(table, ("split", "kind"))
    assert counts["kind"] == {"test": {"vqa": 1}, "train": {"": 1, "vqa": 1}}
    assert counts["split"]["train"] == {"train": 2}


def test_an_engine_that_cannot_judge_is_an_error() -> None:
    import pandas as pd

    judge = make_judge(SUITE[:1], key="pair_id", with_great=True)
    with pytest.raises(QualityError, match="could not judge pair_id_filled"):
        judge(pd.DataFrame({"other": ["x"]}))


def test_a_store_elsewhere_gets_no_pictures_that_may_not_leave(settings, fake_run, monkeypatch) -> None:
    write_corpus(settings.work_root, *make_corpus(), rejected=12)
    fake_run.keeps_here = False
    monkeypatch.setattr(check, "withheld_sources", lambda run, cards: frozenset(["fake"]))
    run_check(settings)
    assert "data:image/png;base64," in (settings.work_root / "checked" / "report.html").read_text()
    assert fake_run.artifacts == ["results.json"] and fake_run.tags["gmai.pictures_withheld"] == "fake"
    assert "passed" in fake_run.texts["report.html"] and "base64," not in fake_run.texts["report.html"]
