"""How far a corpus moved is a number, shown in the report, and stops the gate only when the settings say so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.errors import DataError, QualityError
from components.quality import check as quality_check
from components.quality.check import read_profile, run_check
from components.quality.drift import (
    EDGES,
    PROFILE,
    REFUSED,
    Drift,
    accept_corpus,
    drift_between,
    is_same_choice,
    load_profile,
    offer_profile,
    stability,
    text_lengths,
)
from components.records import Pair
from components.settings import Settings, load_settings
from tests.fakes.tables import make_corpus, write_corpus

CHECKED = Path("artifacts/checked")


def test_the_index_is_zero_for_equal_shares_and_that_of_a_hand_made_example() -> None:
    assert stability({"a": 5, "b": 5}, {"a": 50, "b": 50}) == (0.0, "")
    psi, name = stability({"a": 50, "b": 50}, {"a": 80, "b": 20})
    assert psi == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4), abs=1e-6)
    assert name == "b"


def test_a_class_never_seen_before_is_far_and_finite_and_nothing_has_no_distance() -> None:
    psi, name = stability({"CT": 100}, {"CT": 50, "MR": 50})
    assert (name, 3 < psi < 10) == ("MR", True)
    assert stability({}, {"CT": 1}) == stability({"CT": 1}, {}) == (0.0, "")


def test_columns_come_farthest_first_with_the_bin_that_moved_and_a_word() -> None:
    old = {"kind": {"vqa": 90, "caption": 10}, "split": {"train": 9}, "gone": {"x": 1}}
    new = {"kind": {"vqa": 10, "caption": 90}, "split": {"train": 90}, "fresh": {"x": 1}}
    far, same = drift_between(old, new)
    assert (far.column, far.old, far.new, far.verdict) == ("kind", 0.9, 0.1, "moved") or far.bin == "caption"
    assert (same.column, same.psi, same.verdict) == ("split", 0.0, "stable")
    assert Drift("x", 0.2, "", 0, 0).verdict == "moving"


def test_lengths_are_characters_of_questions_and_of_answers() -> None:
    talk = [{"speaker": "human", "value": "1234"}, {"speaker": "gpt", "value": "肝脏"}]
    column = pa.chunked_array([pa.array([talk, talk * 2])])
    asked, answered = text_lengths(column)
    assert (asked.tolist(), answered.tolist()) == ([4, 4, 4], [2, 2, 2])


def test_a_profile_counts_every_pair_and_image_once_a_column(settings) -> None:
    records, pairs = make_corpus()
    root = write_corpus(Path("artifacts"), records, pairs)
    profile = read_profile(root / "curated")
    assert sum(profile["kind"].values()) == len(pairs)
    assert sum(profile["shorter side"].values()) == len(records)
    assert profile["shorter side"]["32 to 64"] == len(records)
    assert len(profile["answer length"]) == len(EDGES["answer length"]) + 1
    assert "brightness" not in profile  # an index of before has none


def test_a_profile_read_in_parts_is_that_of_the_whole(settings, monkeypatch) -> None:
    records, pairs = make_corpus()
    root = write_corpus(Path("artifacts"), records, pairs)
    whole = read_profile(root / "curated")
    sizes = []
    seen = quality_check.profile_of_pairs
    monkeypatch.setattr(quality_check, "PROFILE_ROWS", 3)
    monkeypatch.setattr(quality_check, "profile_of_pairs", lambda part: sizes.append(len(part)) or seen(part))
    assert read_profile(root / "curated") == whole
    assert max(sizes) == 3 and sum(sizes) == len(pairs)


def test_the_stage_writes_a_profile_and_the_next_corpus_is_compared_with_the_accepted(settings, fake_run) -> None:
    records, pairs = make_corpus()
    write_corpus(Path("artifacts"), records, pairs)
    with pytest.raises(DataError, match="no checked corpus"):
        accept_corpus(CHECKED)
    run_check(settings)
    assert json.loads((CHECKED / "results.json").read_text())["drift"] == {}
    accept_corpus(CHECKED)
    assert load_profile() == load_profile(CHECKED / PROFILE)
    moved = [replace(pair, language="zh") if n % 2 else pair for n, pair in enumerate(pairs)]
    write_corpus(Path("artifacts"), records, moved)
    run_check(with_check(settings, max_drift=0.0))
    results = json.loads((CHECKED / "results.json").read_text())
    assert results["passed"]
    assert results["drift"]["language"] > 0.25
    page = (CHECKED / "report.html").read_text()
    assert "Drift since the accepted corpus" in page
    assert '<td class="bad">moved</td>' in page


def with_check(settings: Settings, **changes: float) -> Settings:
    return settings.model_copy(update={"check": settings.check.model_copy(update=changes)})


def of_these_sources(settings: Settings, pairs: list[Pair]) -> Settings:
    named = tuple(sorted({pair.source for pair in pairs}))
    return settings.model_copy(update={"corpus": settings.corpus.model_copy(update={"sources": named})})


def test_a_shifted_batch_of_the_same_sources_stops_by_default_until_it_is_accepted(settings, fake_run) -> None:
    records, pairs = make_corpus()
    settings = of_these_sources(settings, pairs)
    write_corpus(Path("artifacts"), records, pairs)
    run_check(settings)
    accept_corpus(CHECKED)
    run_check(settings)  # the accepted corpus itself has no drift
    assert not REFUSED.exists()
    before = (CHECKED / PROFILE).read_bytes()
    moved = [replace(pair, language="zh") if n % 2 else pair for n, pair in enumerate(pairs)]
    write_corpus(Path("artifacts"), records, moved)
    with pytest.raises(QualityError, match=r"drift \(\d of \d+\): language [^;]*\n") as stopped:
        run_check(settings)
    assert "gmai accept-corpus" in str(stopped.value)
    assert (CHECKED / PROFILE).read_bytes() == before
    accept_corpus(CHECKED)
    assert not REFUSED.exists()
    run_check(settings)
    assert load_profile() == load_profile(CHECKED / PROFILE)


def test_another_rules_failure_offers_nothing_to_accept(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    offer_profile({"kind": {"vqa": 1}}, {"drift"}, path=path)
    assert load_profile(path) == {"kind": {"vqa": 1}}
    offer_profile({"kind": {"vqa": 2}}, {"drift", "boxes_valid"}, path=path)
    assert not path.exists()


def test_a_corpus_of_other_sources_was_chosen_and_one_that_lost_a_source_was_not() -> None:
    accepted = {"source": {"chest": 9, "eye": 1, "none": 0}}
    same, grown, lost = (
        {"source": counts} for counts in ({"chest": 5, "eye": 2}, {"chest": 5, "new": 1}, {"chest": 5})
    )
    assert is_same_choice(accepted, same, ["chest", "eye", "unread"])
    assert not is_same_choice(accepted, grown, ["chest", "eye", "new"])
    assert is_same_choice(accepted, lost, ["chest", "eye"])  # nothing of it is left: drift
    assert not is_same_choice(accepted, lost, ["chest"])  # taken off the list


def test_the_committed_profile_is_of_the_committed_sources() -> None:
    root = Path(__file__).parents[3]
    chosen = load_settings(root / "params.yaml")
    accepted = load_profile(root / "metrics" / "accepted_profile.json")
    assert accepted is not None
    assert is_same_choice(accepted, accepted, chosen.corpus.sources)
    assert chosen.check.max_drift == 0.25


def test_a_torn_profile_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"kind": 7}')
    with pytest.raises(DataError, match="not a profile"):
        load_profile(tmp_path / "profile.json")
    assert load_profile(tmp_path / "absent.json") is None
