"""The check stage: judge the curated pair table, write the report, and stop the pipeline when a rule fails.

The report of a failed check survives in `var/reports/` and in the stage's MLflow run, because a failed stage
commits no output. Refuses to let a pair go on that breaks any rule of `suite.py`; there is no warning level.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.data.card import Card
from components.data.catalog import CARDS, load_cards
from components.data.pictures_elsewhere import log_page, withheld_sources
from components.errors import QualityError
from components.pairs.columns import keys_of
from components.quality.card_suite import (
    card_expectations,
    count_expectations,
    count_frame,
    record_frame,
    source_shards,
)
from components.quality.drift import (
    ACCEPTED,
    CLASSES,
    MEASURED,
    PROFILE,
    Drift,
    Profile,
    drift_between,
    is_same_choice,
    load_profile,
    merged,
    offer_profile,
    profile_of_images,
    profile_of_pairs,
)
from components.quality.features import (
    CorpusFacts,
    load_pair_shard,
    read_corpus_facts,
    shard_features,
)
from components.quality.provenance import Provenance, read_provenance
from components.quality.report import DISTRIBUTIONS, MAX_SHOWN, make_cards, render_report
from components.quality.suite import (
    Expectation,
    Outcome,
    corpus_expectations,
    merge_outcomes,
    pair_expectations,
)
from components.settings import Settings
from components.tracking.commit import write_bytes, write_json
from components.tracking.stage import StageWork, open_stage, read_manifest
from components.tracking.tables import read_table, shards_below

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FAILED_REPORTS = Path("var/reports")
PROFILE_ROWS = 1 << 14
Judge = Callable[["pd.DataFrame"], list[Outcome]]
Counts = dict[str, dict[str, dict[str, int]]]


def run_check(settings: Settings) -> None:
    """Judge every shard of the curated pairs.

    Raises:
        QualityError: a rule failed; the message names it and the first rows.
    """
    root, bounds = settings.work_root, settings.check
    records, curated = root / "records", root / "curated"
    known = [path for path in (ACCEPTED, CARDS) if path.exists()]
    with open_stage(
        "check", settings, output=root / "checked", inputs=[records, curated, *known], sections=["check"]
    ) as work:
        pair_suite = pair_expectations(min_text=bounds.min_text, max_text=bounds.max_text)
        corpus_suite = corpus_expectations(min_pairs=bounds.min_pairs, max_rejected=bounds.max_rejected)
        shares = {name: rejected_share(root / name) for name in ("records", "pairs", "curated")}
        outcomes = judge_pairs(records, curated, pair_suite) + judge_corpus(curated, corpus_suite, shares)
        card_suite, card_outcomes = judge_cards(records, settings)
        profile = read_profile(curated)
        accepted = load_profile() or {}
        drifts = drift_between(accepted, profile)
        is_same = is_same_choice(accepted, profile, settings.corpus.sources)
        drift_suite, drift_outcomes = judge_drift(drifts, most=bounds.max_drift if is_same else 0.0)
        suite = (*pair_suite, *corpus_suite, *card_suite, *drift_suite)
        outcomes = [*outcomes, *card_outcomes, *drift_outcomes]
        results = summarise(outcomes, suite, shares) | {"drift": {drift.column: drift.psi for drift in drifts}}
        write_json(work.scratch / PROFILE, profile)
        provenance = read_provenance(root, _cards(settings))
        page = _page(records, curated, suite, outcomes, shares, drifts, provenance)
        _write(work, results, page, withheld_sources(work.run, _cards(settings)))
        num_pairs = next(outcome.checked for outcome in outcomes)
        work.count(read=num_pairs, kept=num_pairs)
        offer_profile(profile, {outcome.name for outcome in outcomes if not outcome.passed})
        _stop_if_failed(results)


def make_judge(suite: Sequence[Expectation], *, key: str, with_great: bool | None = None) -> Judge:
    """Return the engine: Great Expectations when it is installed, else plain pandas (equal verdicts)."""
    if with_great is None:
        with_great = importlib.util.find_spec("great_expectations") is not None
    if with_great:
        from components.quality.great import GreatJudge

        return GreatJudge(suite, key=key).judge
    from components.quality.plain import judge_plain

    return lambda frame: judge_plain(frame, suite, key=key)


def judge_pairs(
    records: Path, curated: Path, suite: Sequence[Expectation], *, with_great: bool | None = None
) -> list[Outcome]:
    """Judge the pair table shard by shard; memory holds one shard and the id columns."""
    from rich.progress import track

    facts = read_corpus_facts(records, curated)
    judge = make_judge(suite, key="pair_id", with_great=with_great)
    shards = track(shards_below(curated), description="check", transient=True)
    parts = [_judge_shard(path, facts, judge) for path in shards]
    judged = [part for part in parts if part]
    if not judged:
        return [Outcome(expectation.name, 0, 0) for expectation in suite]
    return [merge_outcomes(list(column)) for column in zip(*judged, strict=True)]


def _judge_shard(path: Path, facts: CorpusFacts, judge: Judge) -> list[Outcome]:
    frame = shard_features(load_pair_shard(path), facts)
    return [] if frame.empty else judge(frame)


def judge_corpus(
    curated: Path, suite: Sequence[Expectation], shares: Mapping[str, float], *, with_great: bool | None = None
) -> list[Outcome]:
    """Judge the one-row table of the whole corpus."""
    import pandas as pd

    counted = read_table(curated, ["split"])["split"].value_counts().to_pylist()
    splits = {row["values"]: row["counts"] for row in counted}
    row = {
        "corpus": "curated", "num_pairs": sum(splits.values()), "num_train_pairs": splits.get("train", 0),
        "num_test_pairs": splits.get("test", 0), "rejected_share": max(shares.values(), default=0.0),
    }  # fmt: skip
    return make_judge(suite, key="corpus", with_great=with_great)(pd.DataFrame([row]))


def judge_cards(
    records: Path, settings: Settings, *, with_great: bool | None = None
) -> tuple[list[Expectation], list[Outcome]]:
    """Judge each source's records by the suite that its card makes, shard by shard."""
    suite: list[Expectation] = []
    outcomes: list[Outcome] = []
    for card in _cards(settings):
        rules, found = _judge_card(records, card, with_great)
        suite += rules
        outcomes += found
    return suite, outcomes


def _cards(settings: Settings) -> list[Card]:
    return load_cards(names=settings.corpus.sources) if CARDS.is_dir() else []


def _judge_card(records: Path, card: Card, with_great: bool | None) -> tuple[list[Expectation], list[Outcome]]:
    shards = source_shards(records, card)
    if not shards:
        return [], []
    rules, counts = card_expectations(card), count_expectations(card, most_rejected=card.tolerance)
    judge = make_judge(rules, key="record_id", with_great=with_great)
    parts = [judge(frame) for frame in (record_frame(path, card) for path in shards) if not frame.empty]
    frame = count_frame(card, read_manifest(records / card.name))
    outcomes = [merge_outcomes(list(column)) for column in zip(*parts, strict=True)]
    outcomes += make_judge(counts, key="source", with_great=with_great)(frame)
    return [*(rules if parts else ()), *counts], outcomes


def judge_drift(drifts: Sequence[Drift], *, most: float) -> tuple[list[Expectation], list[Outcome]]:
    """Judge the distance from the accepted corpus, one row a column; nothing to judge when `most` is 0."""
    import pandas as pd

    if not most or not drifts:
        return [], []
    meaning = f"no column is farther than {most:g} from the accepted corpus"
    rule = Expectation("drift", "between", ("psi",), meaning, "corpus", high=most)
    frame = pd.DataFrame([{"column": drift.column, "psi": drift.psi} for drift in drifts])
    return [rule], make_judge([rule], key="column")(frame)


def read_profile(curated: Path) -> Profile:
    """Count the curated corpus into a profile, a batch of pairs in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    profile = profile_of_images(pq.read_table(curated / "images.parquet", columns=_measured_in(curated)))
    for path in shards_below(curated):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PROFILE_ROWS, columns=[*CLASSES, "conversations"]):
                profile = merged(profile, profile_of_pairs(pa.Table.from_batches([batch])))
    return profile


def _measured_in(curated: Path) -> list[str]:
    """Name the columns of the image index that are profiled; an index of before has no brightness."""
    import pyarrow.parquet as pq

    return [name for name in pq.read_schema(curated / "images.parquet").names if name in MEASURED]


def rejected_share(output: Path) -> float:
    """Return the share of an earlier stage's rows that it rejected (0-1), from its manifest.

    Raises:
        QualityError: there is no manifest, so the output is unfinished.
    """
    try:
        counts = read_manifest(output)["counts"]
    except FileNotFoundError as error:
        raise QualityError("an unfinished output: no manifest", where=str(output), fix="dvc repro") from error
    rejected = sum(counts.get("rejected", {}).values())
    return rejected / max(1, rejected + counts["kept"])


def summarise(
    outcomes: Sequence[Outcome], suite: Sequence[Expectation], shares: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the promotion gate reads (`results.json`)."""
    meanings = {expectation.name: expectation.meaning for expectation in suite}
    rows = [
        {
            "name": outcome.name, "meaning": meanings[outcome.name], "passed": outcome.passed,
            "checked": outcome.checked, "failed": outcome.failed, "rows": list(outcome.rows),
        }
        for outcome in outcomes
    ]  # fmt: skip
    return {
        "passed": all(outcome.passed for outcome in outcomes),
        "expectations": rows,
        "rejected_share": round(max(shares.values(), default=0.0), 6),
        "rejected_shares": {name: round(share, 6) for name, share in shares.items()},
    }


def _page(
    records: Path,
    curated: Path,
    suite: Sequence[Expectation],
    outcomes: Sequence[Outcome],
    shares: Mapping[str, float],
    drifts: Sequence[Drift],
    provenance: Provenance,
) -> str:
    table = read_table(curated, ["pair_id", *DISTRIBUTIONS])
    failed = failing_pairs(outcomes)
    sample = sample_ids(table, number=MAX_SHOWN)
    return render_report(
        suite=suite,
        outcomes=outcomes,
        counts=count_values(table, DISTRIBUTIONS),
        shares=shares,
        drifts=drifts,
        provenance=provenance,
        samples=make_cards(curated, records, sample),
        failing=make_cards(curated, records, list(failed)[:MAX_SHOWN], failed=failed),
    )


def failing_pairs(outcomes: Sequence[Outcome]) -> dict[str, set[str]]:
    """Return {pair id: names of the expectations it fails}, for the rows that the outcomes keep."""
    failed: dict[str, set[str]] = {}
    for outcome in outcomes:
        for row in outcome.rows:
            if "pair_id" in row:
                failed.setdefault(row["pair_id"], set()).add(outcome.name)
    return failed


def sample_ids(pairs: pa.Table, *, number: int) -> list[str]:
    """Choose pairs for the report, one of each kind in turn, by the hash of their id; columns pair_id and kind."""
    chosen = []
    for kind in sorted(pairs["kind"].unique().to_pylist()):
        rows = np.flatnonzero(pairs["kind"].to_numpy() == kind)
        keys = keys_of(pairs["pair_id"].take(rows))
        first = rows[np.argsort(keys, kind="stable")[:number]]
        chosen += [(turn, kind, pairs["pair_id"][int(row)].as_py()) for turn, row in enumerate(first)]
    return [pair_id for _, _, pair_id in sorted(chosen)[:number]]


def count_values(pairs: pa.Table, columns: Sequence[str]) -> Counts:
    """Return {column: {split: {value: pairs}}} for the report's bars."""
    counts: Counts = {}
    for column in columns:
        keys = list(dict.fromkeys(("split", column)))
        counted = pairs.group_by(keys).aggregate([([], "count_all")]).to_pylist()
        by_split = counts.setdefault(column, {})
        for row in sorted(counted, key=lambda row: (row["split"] or "", row[column] or "")):
            by_split.setdefault(row["split"] or "", {})[row[column] or ""] = row["count_all"]
    return counts


def _write(work: StageWork, results: Mapping[str, Any], page: str, withheld: Collection[str]) -> None:
    folder, stem = (work.scratch, "report") if results["passed"] else (FAILED_REPORTS, "check-failed")
    results_path = folder / ("results.json" if results["passed"] else "check-failed.json")
    write_json(results_path, results)
    write_bytes(folder / f"{stem}.html", page.encode())
    work.run.log_artifact(results_path)
    log_page(work.run, folder / f"{stem}.html", withheld)
    failed = sum(1 for row in results["expectations"] if not row["passed"])
    work.run.log_metrics({"expectations_failed": failed, "rejected_share": results["rejected_share"]})


def _stop_if_failed(results: Mapping[str, Any]) -> None:
    failed = [row for row in results["expectations"] if not row["passed"]]
    if not failed:
        return
    lines = [f"{row['name']} ({row['failed']} of {row['checked']}): {_first_rows(row)}" for row in failed]
    raise QualityError(
        f"{len(failed)} expectation(s) failed:\n  " + "\n  ".join(lines),
        where=str(FAILED_REPORTS / "check-failed.html"),
        fix="open the report, mend the card or the generator, then: dvc repro check"
        + (" (drift that is meant: gmai accept-corpus)" if failed[-1]["name"] == "drift" else ""),
    )


def _first_rows(row: Mapping[str, Any]) -> str:
    shown = [" ".join(f"{value}" for value in found.values()) for found in row["rows"][:3]]
    return "; ".join(shown) + (" …" if row["failed"] > 3 else "")
