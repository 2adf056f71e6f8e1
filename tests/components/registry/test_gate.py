from dataclasses import replace

import pytest

from components.errors import ConfigError
from components.registry.gate import Case, Comparison, Evidence, Policy, decide, find_gate, gate_functions

DIGEST = "d" * 64
ROW = {"stage": "train", "output": "artifacts/models/last", "digest": DIGEST, "fingerprint": "f", "run_id": "r"}
SCORE = {"benchmark": "closed", "metric": "accuracy", "value": 0.6, "low": 0.5, "high": 0.7, "n": 100,
         "baseline": 0.4, "fingerprint": "p1"}  # fmt: skip
GOOD = Evidence(
    model_digest=DIGEST,
    files={"model.safetensors": "s", "config.json": "c"},
    evaluated_digest=DIGEST,
    package_digest=DIGEST,
    quality={"passed": True, "failed": [], "rejected_share": 0.1},
    lineage=({**ROW, "gaps": ()},),
    image_minus_blind={"value": 0.2, "low": 0.1, "high": 0.3, "n": 100, "num_patients": 20},
    scores=(SCORE,),
)
CHAMPION = replace(GOOD, model_digest="e" * 64, package_digest="e" * 64, version="3")
POLICY = Policy("closed", 0.0, 0.01, True, 0.5, dict.fromkeys(gate_functions(), "REJECT"), "h")
BETTER = Comparison(0.1, 0.05, 0.15, 100, 20, 12, 2)


def found(gate: str, **case):
    return find_gate(gate)(Case(**{"candidate": GOOD, "policy": POLICY, **case}))


def test_a_good_first_model_is_promoted() -> None:
    verdict = decide(Case(GOOD, POLICY))
    assert (verdict.outcome, verdict.champion_version, verdict.policy_hash) == ("PROMOTE", "", "h")
    assert {finding.result for finding in verdict.findings} == {"passed"}
    assert verdict.reasons() == ""


def test_every_piece_of_evidence_that_is_missing_fails_and_is_named() -> None:
    verdict = decide(Case(Evidence(DIGEST, {}), POLICY, CHAMPION))
    assert verdict.outcome == "REJECT"
    for words in ("no safetensors", "evaluated weights are not known", "packaged weights are not known",
                  "missing evidence: the quality check's results", "missing evidence: image minus blind",
                  "missing evidence: the score 'closed'", "the chain does not end in this model"):  # fmt: skip
        assert words in verdict.reasons()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {"model.safetensors": "s", "optimizer.pt": "x"}}, "unsafe file optimizer.pt"),
        ({"files": {"model.safetensors": "s", "code.py": "x"}}, "unsafe file code.py"),
        ({"files": {"config.json": "c"}}, "no safetensors"),
        ({"damaged": ("model.safetensors: cut short",)}, "cut short"),
        ({"evaluated_digest": "0" * 64}, "evaluated weights are others"),
        ({"package_digest": "0" * 64}, "packaged weights are others"),
    ],
)
def test_integrity(change, words: str) -> None:
    finding = found("integrity", candidate=replace(GOOD, **change))
    assert finding.result == "failed"
    assert words in finding.reason


def test_a_gap_in_the_lineage_fails_unless_the_policy_does_not_ask() -> None:
    gap = replace(GOOD, lineage=({**ROW, "gaps": ("no finished run",)},))
    assert found("lineage_complete", candidate=gap).reason == "train: no finished run"
    assert found("lineage_complete", candidate=gap).result == "failed"
    assert (
        found("lineage_complete", candidate=gap, policy=replace(POLICY, require_lineage=False)).result == "passed"
    )


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"passed": False, "failed": ["unique_ids"], "rejected_share": 0.1}, "expectation unique_ids failed"),
        ({"passed": False, "failed": [], "rejected_share": 0.1}, "did not pass"),
        ({"passed": True, "failed": [], "rejected_share": 0.6}, "60.0% of the rows"),
        ({"passed": True, "failed": []}, "missing evidence: the share"),
    ],
)
def test_data_quality(quality, words: str) -> None:
    finding = found("data_quality", candidate=replace(GOOD, quality=quality))
    assert finding.result == "failed"
    assert words in finding.reason


@pytest.mark.parametrize(("low", "result"), [(0.001, "passed"), (0.0, "failed"), (-0.1, "failed")])
def test_seeing_must_be_sure(low: float, result: str) -> None:
    margin = {"value": 0.2, "low": low, "high": 0.3, "n": 100, "num_patients": 20}
    assert found("beats_blind", candidate=replace(GOOD, image_minus_blind=margin)).result == result


def test_another_protocol_is_not_compared_and_what_differs_is_named() -> None:
    ours = replace(GOOD, protocol={"prompt": "1", "parser": "1", "code": "1"})
    theirs = replace(
        CHAMPION, scores=({**SCORE, "fingerprint": "p2"},), protocol={"prompt": "2", "parser": "1", "code": "2"}
    )
    finding = found("not_worse_than_champion", candidate=ours, champion=theirs, comparison=BETTER)
    assert finding.result == "inconclusive"
    assert finding.reason.startswith("another protocol fingerprint: prompt, code differ; evaluate the champion")
    unscored = found("not_worse_than_champion", champion=replace(CHAMPION, scores=()))
    assert unscored.reason.startswith("the champion has no score 'closed'")


def test_a_model_without_a_blind_row_is_refused_with_the_reason() -> None:
    reason = "closed_questions: no blind row: one patient"
    finding = found("beats_blind", candidate=replace(GOOD, image_minus_blind=None, no_blind=reason))
    assert finding.result == "failed"
    assert finding.reason == f"missing evidence: image minus blind ({reason})"


@pytest.mark.parametrize(
    ("low", "high", "result"),
    [(0.0, 0.1, "passed"), (-0.005, 0.1, "passed"), (-0.05, 0.1, "inconclusive"), (-0.05, -0.02, "failed")],
)
def test_the_same_items_answered_by_both(low: float, high: float, result: str) -> None:
    finding = found("not_worse_than_champion", champion=CHAMPION, comparison=replace(BETTER, low=low, high=high))
    assert finding.result == result
    assert finding.measured["num_clusters"] == 20


@pytest.mark.parametrize(("value", "result"), [(0.9, "passed"), (0.6, "inconclusive"), (0.2, "failed")])
def test_intervals_when_single_answers_are_gone(value: float, result: str) -> None:
    score = {**SCORE, "value": value, "low": value - 0.05, "high": value + 0.05}
    finding = found("not_worse_than_champion", candidate=replace(GOOD, scores=(score,)), champion=CHAMPION)
    assert finding.result == result


def test_another_fingerprint_tells_nothing() -> None:
    other = replace(CHAMPION, scores=({**SCORE, "fingerprint": "p2"},))
    assert found("not_worse_than_champion", champion=other, comparison=BETTER).result == "inconclusive"


def test_the_champion_itself_is_not_worse_than_itself() -> None:
    assert found("not_worse_than_champion", champion=replace(GOOD, version="3")).result == "passed"


def test_the_champion_must_be_whole() -> None:
    assert found("reversibility", champion=CHAMPION).result == "passed"
    gone = found("reversibility", champion=replace(CHAMPION, package_digest=""))
    assert (gone.result, gone.reason) == ("failed", "version 3: its package is gone")
    assert found("reversibility", champion=replace(CHAMPION, package_digest="x")).result == "failed"


def test_gates_do_not_compensate_and_the_worst_decides() -> None:
    blind = replace(GOOD, image_minus_blind={"value": 0, "low": -0.1, "high": 0.1, "n": 9})
    hold = replace(POLICY, rules={**POLICY.rules, "beats_blind": "HOLD"})
    assert decide(Case(blind, hold)).outcome == "HOLD"
    assert decide(Case(replace(blind, package_digest=""), hold)).outcome == "REJECT"
    unclear = replace(BETTER, low=-0.5, high=0.5)
    assert decide(Case(GOOD, POLICY, CHAMPION, unclear)).outcome == "INCONCLUSIVE"
    assert decide(Case(blind, hold, CHAMPION, unclear)).outcome == "HOLD"


def test_no_gates_promote_nothing() -> None:
    assert decide(Case(GOOD, replace(POLICY, rules={}))).outcome == "INCONCLUSIVE"


def test_an_unknown_gate_is_named_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match="no gate is called 'integrety'; near: integrity"):
        decide(Case(GOOD, replace(POLICY, rules={"integrety": "REJECT"})))


def test_the_gates_are_those_of_the_policy_file(project_gates) -> None:
    assert set(project_gates) == set(gate_functions())


@pytest.fixture
def project_gates():
    from pathlib import Path

    import yaml

    return yaml.safe_load((Path(__file__).parents[3] / "conf/promotion/default.yaml").read_text())["gates"]


MEANT_TO_SELL = replace(POLICY, intended_use="commercial")


@pytest.mark.parametrize(
    ("policy", "use", "result"),
    [
        (POLICY, {"commercial_use": "no"}, "passed"),
        (POLICY, {}, "passed"),
        (MEANT_TO_SELL, {"commercial_use": "yes"}, "passed"),
        (MEANT_TO_SELL, {"commercial_use": "no"}, "failed"),
        (MEANT_TO_SELL, {"commercial_use": "not stated"}, "failed"),
        (MEANT_TO_SELL, {}, "failed"),
    ],
)
def test_a_model_is_used_as_the_terms_of_its_sources_allow(policy, use, result) -> None:
    candidate = replace(GOOD, permitted_use=use, sources=("a", "b"))
    finding = found("permitted_use", candidate=candidate, policy=policy)
    assert finding.result == result
    assert "missing evidence" in found("permitted_use", policy=MEANT_TO_SELL).reason


def test_the_finding_says_what_the_sources_allow() -> None:
    candidate = replace(GOOD, permitted_use={"commercial_use": "no"}, sources=("a", "b"))
    assert "commercial use: no, by the terms of 2 sources" in found("permitted_use", candidate=candidate).reason


def test_a_sure_interval_of_few_patients_shows_nothing_and_says_why() -> None:
    margin = {"value": 0.2, "low": 0.2, "high": 0.2, "n": 9, "num_patients": 3}
    blind = found("beats_blind", candidate=replace(GOOD, image_minus_blind=margin))
    assert blind.result == "inconclusive" and blind.measured["num_patients"] == 3
    assert blind.reason.endswith("too few patients: 3, fewer than 6 can show no difference")
    unknown = found("beats_blind", candidate=replace(GOOD, image_minus_blind={"value": 0.2, "low": 0.1, "n": 9}))
    assert unknown.result == "inconclusive" and "not known of how many patients" in unknown.reason
    six = found("beats_blind", candidate=replace(GOOD, image_minus_blind={**margin, "num_patients": 6}))
    assert six.result == "passed"
    few = replace(BETTER, low=0.1, high=0.1, num_clusters=5)
    paired = found("not_worse_than_champion", champion=CHAMPION, comparison=few)
    assert paired.result == "inconclusive" and "too few patients: 5" in paired.reason
    assert decide(Case(GOOD, POLICY, CHAMPION, few)).outcome == "INCONCLUSIVE"
