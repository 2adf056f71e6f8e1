"""The judge: pinned, remembered, audited, bound by the terms, and never taken for the rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from components.data.catalog import Found
from components.errors import BenchmarkError, TermsDenied
from components.evaluation import judge as room
from components.evaluation.catalog import find_benchmark
from components.evaluation.exams import MODEL, Exam, judge_all, make_exam
from components.evaluation.items import Answer
from components.evaluation.judge import METRIC, AnswerJudge, audit, check_terms, open_judge, with_judge
from components.evaluation.protocol import NO_JUDGE, differing_parts
from components.evaluation.published_run import Wanted, run_published
from components.model.vlm import save_vlm
from components.pairs.endpoint import Reply
from components.pairs.prompts import Prompt
from components.settings import Judge, Settings, settings_from
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.items import make_item

ROOT = Path(__file__).parents[3]
RIGHT, WRONG = '{"correct": true}', 'Well: {"correct": false}.'


@dataclass
class Reader:
    """A judge that replies by a rule of the test, and keeps what it was asked."""

    reply: Callable[[str], str]
    name: str = "reader@1"
    is_third_party: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)

    def complete(self, prompt: Prompt, *, seed: int) -> Reply:
        self.asked.append((prompt.text, seed))
        return Reply(self.reply(prompt.text))


def lenient(text: str) -> str:
    """Take any answer for right in which the reference's first word occurs, as a reader would take a synonym."""
    gold, answer = (
        text.split(f"{name}: ")[1].split("\n", maxsplit=1)[0] for name in ("Reference answer", "Answer")
    )
    return RIGHT if gold.split()[0].lower() in answer.lower() else WRONG


def judge_of(reply: Callable[[str], str] = lenient, **changes) -> AnswerJudge:
    options = {"model": "reader", "attempts": 2} | changes.pop("options", {})
    return AnswerJudge(Reader(reply, **changes), Judge(**options))


@pytest.fixture
def exam() -> Exam:
    """Two open questions and two closed ones, answered: synonym, nonsense, right, wrong."""
    items = [
        make_item(item_id="a", source="vqa_rad", gold="lung", options=(), facts=(("answer_type", "OPEN"),)),
        make_item(item_id="b", source="vqa_rad", gold="liver", options=(), facts=(("answer_type", "OPEN"),)),
        make_item(item_id="c", source="vqa_rad", gold="yes", facts=(("answer_type", "CLOSED"),)),
        make_item(item_id="d", source="vqa_rad", gold="no", facts=(("answer_type", "CLOSED"),)),
    ]
    found = make_exam(find_benchmark("vqa_rad"), items, [], number=4, seed=0)
    found.items = items
    said = ("The left lung, it seems", "the heart", "Yes.", "yes")
    found.answers[MODEL] = [Answer(text) for text in said]
    return found


def test_its_verdict_is_a_number_of_its_own_and_the_rules_stay(exam: Exam) -> None:
    judge = judge_of()
    rows = judge_all(with_judge(exam, judge))[MODEL]
    assert [row.judgement.scores["accuracy"] for row in rows] == [0.0, 0.0, 1.0, 0.0]
    assert [row.judgement.scores[METRIC] for row in rows] == [1.0, 0.0, 1.0, 0.0]
    assert METRIC not in exam.benchmark.metrics  # the exam handed in is as it was
    assert rows[0].judgement.parsed == judge_all(exam)[MODEL][0].judgement.parsed


def test_the_audit_is_the_agreement_with_the_rules(exam: Exam) -> None:
    judge = judge_of()
    judged = with_judge(exam, judge)
    found = audit(judged, judge_all(judged)[MODEL], judge)
    # rules: wrong wrong right wrong; judge: right wrong right wrong; chance (1*2 + 3*2) / 16
    assert found["all"] == {
        "n": 4, "both_right": 1, "both_wrong": 2, "rules_only": 0, "judge_only": 1, "agreement": 0.75,
        "kappa": pytest.approx((0.75 - 0.5) / 0.5),
    }  # fmt: skip
    assert found["with_options"]["agreement"] == 1.0 and found["unread"] == 0


def test_kappa_is_not_known_where_chance_agrees_always(exam: Exam) -> None:
    judge = judge_of(lambda _: WRONG)
    exam.answers[MODEL] = [Answer("what?")] * 4
    found = audit(with_judge(exam, judge), judge_all(with_judge(exam, judge))[MODEL], judge)
    assert found["all"]["agreement"] == 1.0 and found["all"]["kappa"] is None


@pytest.mark.parametrize("reply", ["1", "0", "correct", '{"correct": "yes"}', '{"correct": 1}', "", "{"])
def test_a_reply_that_is_no_verdict_is_wrong_and_counted(exam: Exam, reply: str) -> None:
    """MedEvalKit reads "0" as correct; here a verdict is a JSON truth value and nothing else."""
    judge = judge_of(lambda _: reply)
    rows = judge_all(with_judge(exam, judge))[MODEL]
    assert {row.judgement.scores[METRIC] for row in rows} == {0.0}
    assert audit(with_judge(exam, judge), rows, judge)["unread"] == 4
    assert [seed for _, seed in judge.model.asked[:2]] == [0, 1]  # asked again under another seed, then given up


def test_an_empty_answer_is_wrong_without_asking(exam: Exam) -> None:
    judge = judge_of(lambda _: RIGHT)
    exam.answers[MODEL] = [Answer(" ")] * 4
    assert {row.judgement.scores[METRIC] for row in judge_all(with_judge(exam, judge))[MODEL]} == {0.0}
    assert judge.model.asked == []


def test_each_claim_is_asked_once(exam: Exam) -> None:
    judge = judge_of()
    judged = with_judge(exam, judge)
    exam.answers["blind"] = exam.answers[MODEL]
    judge.prepare(judged)
    judge_all(judged)
    assert len(judge.model.asked) == 4
    assert all("<image>" not in text for text, _ in judge.model.asked)


def test_only_short_answers_in_words_are_judged() -> None:
    judge = judge_of()
    for name, is_judged in (("vqa_rad", True), ("hallucination", True), ("captions", False), ("boxes", False),
                            ("closed_questions", False), ("report_generation", False)):  # fmt: skip
        exam = with_judge(make_exam(find_benchmark(name), [], [], number=0, seed=0), judge)
        assert judge.judges(exam) is is_judged, name
        assert (judge.identity_of(exam) == NO_JUDGE) is not is_judged


def test_terms_bind_a_judge_on_another_machine(exam: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished = Found("vqa_rad", None, "still to fill in: terms")  # states no terms, so it may not be sent
    monkeypatch.setattr(room, "survey_cards", lambda: [unfinished])
    check_terms(judge_of(), [exam])
    with pytest.raises(TermsDenied, match="vqa_rad"):
        check_terms(judge_of(is_third_party=True), [exam])
    check_terms(judge_of(is_third_party=True, options={"may_send": ("vqa_rad",)}), [exam])


def test_a_judge_is_pinned_and_asked_coldly() -> None:
    with pytest.raises(ValidationError, match="needs its revision"):
        Judge(model="m", endpoint="http://127.0.0.1:1/v1")
    with pytest.raises(ValidationError, match="temperature 0"):
        Judge(model="m", temperature=0.5)
    assert Judge().model == "" and Judge().endpoint == ""  # none by default, and none elsewhere


def test_verdicts_are_kept_by_revision_and_an_endpoint_that_stays_away_is_named(
    exam: Exam, tmp_path: Path
) -> None:
    server = FakeEndpoint([(200, RIGHT), (200, WRONG), (200, RIGHT), (200, WRONG)])
    options = Judge(model="m", revision="1", endpoint=server.address, cache=str(tmp_path), retries=0, workers=1)
    try:
        first = judge_all(with_judge(exam, open_judge(options)))[MODEL]
        again = judge_all(with_judge(exam, open_judge(options)))[MODEL]
    finally:
        server.shutdown()
        server.server_close()
    assert [row.judgement.scores[METRIC] for row in first] == [1.0, 0.0, 1.0, 0.0]
    assert [row.judgement.scores[METRIC] for row in again] == [1.0, 0.0, 1.0, 0.0]
    assert len(server.requests) == 4 and server.requests[0]["temperature"] == 0.0
    with pytest.raises(BenchmarkError, match="the judge does not answer"):
        judge_all(with_judge(exam, open_judge(options.model_copy(update={"revision": "2"}))))


def test_the_whole_way_through_a_published_benchmark(vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 2, "batch_size": 4, "bootstrap": 50}
    monkeypatch.chdir(tmp_path)
    plain = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, plain.work_root / "models" / plain.recipe.final_stage)
    data = LAYOUTS["vqa_rad"](tmp_path / "data")
    server = FakeEndpoint([(200, WRONG)])
    raw["evaluation"]["judge"] |= {"model": "m", "revision": "1", "endpoint": server.address}

    def scored(settings: Settings) -> dict:
        return json.loads((run_published(settings, Wanted("vqa_rad", data)) / "scores.json").read_text())

    try:
        without, first = scored(plain), scored(settings_from(raw, where="test"))
        raw["evaluation"]["judge"]["revision"] = "2"
        second = scored(settings_from(raw, where="test"))
    finally:
        server.shutdown()
        server.server_close()
    parts = [metrics["details"]["protocols"]["vqa_rad"] for metrics in (without, first, second)]
    assert differing_parts(parts[0], parts[1]) == differing_parts(parts[1], parts[2]) == ["judge"]
    values = {row["metric"]: row["value"] for row in first["scores"] if row["benchmark"] == "vqa_rad"}
    assert values[METRIC] == 0.0
    assert first["details"]["judge"]["audit"]["vqa_rad"]["all"]["n"] == 4 and "judge" not in without["details"]
    page = Path("artifacts/benchmarks/vqa_rad-test/report.html").read_text()
    assert "The judge against the rules" in page and "m, revision 2" in page
