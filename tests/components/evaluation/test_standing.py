"""The standing of an evaluation: against the champion's own answers, and among earlier runs of its protocol."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.errors import TrackingError
from components.evaluation import standing as standing_module
from components.evaluation.comparison import read_evaluated
from components.evaluation.published_run import Wanted, run_published
from components.evaluation.standing import PROTOCOL_TAG, Question, Standing, find_standing, standing_of
from components.evaluation.standing_page import render_standing, with_standing
from components.model.vlm import save_vlm
from components.records import prediction_schema, to_rows
from components.settings import Settings, settings_from
from components.tracking.commit import write_json
from components.tracking.model_package import DIGEST_TAG, Version
from components.tracking.past import PastRun, open_past
from components.tracking.runs import TAG_STAGE
from components.tracking.store import open_store
from components.tracking.tables import write_table
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.past import FakePast
from tests.fakes.report import make_report_inputs
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[3]
OURS, THEIRS = "a" * 64, "b" * 64


def write_evaluation(folder: Path, *, worse: bool = False, prompt: str = "same") -> Path:
    """Write the fake report's evaluation; with `worse` the model answers everything wrongly."""
    _, predictions, metrics, _, _ = make_report_inputs()
    if worse:
        predictions = [replace(row, score=0.0) if row.system == "model" else row for row in predictions]
    if prompt != "same":
        for row in metrics["scores"]:
            row["fingerprint"] = prompt
        for parts in metrics["details"]["protocols"].values():
            parts["prompt"] = prompt
    write_table(folder / "predictions", to_rows(predictions), prediction_schema())
    write_json(folder / "scores.json", metrics)
    return folder


def champion(digest: str = THEIRS) -> Version:
    return Version("3", "train", "models:/m", {DIGEST_TAG: digest}, 0)


def run_of(run_id: str, digest: str, *, stage: str = "evaluate", **tags: str) -> PastRun:
    metrics = {"closed_questions/accuracy": 0.5, "closed_questions/accuracy/low": 0.4}
    return PastRun(run_id, 86_400_000, metrics, {TAG_STAGE: stage, DIGEST_TAG: digest, **tags})


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    return Question(read_evaluated(write_evaluation(tmp_path / "ours")), "evaluate", OURS, 200, 0)


def test_a_better_model_differs_from_its_champion(asked: Question, tmp_path: Path) -> None:
    kept = {"run1": write_evaluation(tmp_path / "theirs", worse=True)}
    found = standing_of(FakePast(champion(), [run_of("run1", THEIRS)], kept), asked)
    whole = {one.benchmark: one for one in found.compared if one.metric == "accuracy" and "/" not in one.benchmark}
    assert whole["closed_questions"].differs
    assert whole["closed_questions"].difference.interval.value == pytest.approx(20 / 24)
    page = render_standing(found)
    assert "version 3" in page and "+0.833" in page and "data:image/png" in page


def test_other_fingerprints_are_refused_and_what_differs_is_named(asked: Question, tmp_path: Path) -> None:
    kept = {"run1": write_evaluation(tmp_path / "theirs", prompt="other")}
    found = standing_of(FakePast(champion(), [run_of("run1", THEIRS)], kept), asked)
    assert not found.compared and "prompt differ" in found.words
    assert "prompt differ" in render_standing(found) and "closed_questions" in found.words


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (FakePast(), "there is no champion yet"),
        (FakePast(champion(OURS)), "the champion is this very model"),
        (FakePast(champion()), "no evaluate run of the champion has kept its answers"),
        (FakePast(champion(), [run_of("gone", THEIRS)]), "no evaluate run of the champion has kept its answers"),
        (FakePast(champion(), [run_of("x", THEIRS, stage="other")]), "no evaluate run of the champion"),
        (FakePast(champion("")), "no evaluate run of the champion"),
    ],
)
def test_what_is_not_there_is_a_sentence(asked: Question, past: FakePast, words: str) -> None:
    found = standing_of(past, asked)
    assert words in found.words and not found.compared
    assert words in render_standing(found)


def test_the_newest_evaluation_that_is_whole_is_taken(asked: Question, tmp_path: Path) -> None:
    kept = {"old": write_evaluation(tmp_path / "old", worse=True), "new": tmp_path / "cut off"}
    found = standing_of(FakePast(champion(), [run_of("old", THEIRS), run_of("new", THEIRS)], kept), asked)
    assert found.compared


def test_earlier_scores_are_those_of_the_same_fingerprint(asked: Question) -> None:
    scores = asked.ours.metrics["scores"]
    mine = next(row["fingerprint"] for row in scores if row["benchmark"] == "closed_questions")
    name = PROTOCOL_TAG + "closed_questions"
    runs = [run_of(f"run{k}", THEIRS, **{name: mine if k < 2 else "another"}) for k in range(3)]
    found = standing_of(FakePast(None, runs), asked)
    (points,) = found.trend.values()
    assert list(found.trend) == ["closed_questions accuracy"]
    assert [(point.run_id, point.when) for point in points] == [("run0", "1970-01-02"), ("run1", "1970-01-02")]
    assert (points[0].value, points[0].low, points[0].high) == (0.5, 0.4, 0.5)
    page = render_standing(found)
    assert "run1" in page and "earlier scores of closed_questions accuracy" in page


def test_a_mute_store_is_a_sentence(tmp_path: Path, tracked: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(_: Settings):
        raise TrackingError("the tracking store does not answer", where="http://nowhere")

    monkeypatch.setattr(standing_module, "open_past", mute)
    found = find_standing(tracked, write_evaluation(tmp_path / "e"), stage="evaluate", model_digest=OURS)
    assert found == Standing("", words="not known: the tracking store does not answer")


def test_the_section_lies_before_the_parts_and_only_in_a_whole_report() -> None:
    page = with_standing("<h1>x</h1><h2>By part</h2>", Standing("", words="there is no champion yet"))
    assert page.index("Against the champion") < page.index("By part")
    with pytest.raises(AssertionError, match="lost the place"):
        with_standing("<h1>x</h1>", Standing(""))


@pytest.fixture
def world(tracked: Settings, vlm) -> Settings:
    """A tiny model in a working folder whose runs go to a real store."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 2, "batch_size": 4, "bootstrap": 50}
    raw["tracking"], raw["promotion"] = tracked.tracking.model_dump(mode="json"), tracked.promotion.model_dump()
    made = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, made.work_root / "models" / made.recipe.final_stage)
    return made


def test_a_published_run_is_kept_and_the_next_model_is_held_against_it(
    world: Settings, vlm, tmp_path: Path
) -> None:
    data = LAYOUTS["vqa_rad"](tmp_path / "data")
    output = run_published(world, Wanted("vqa_rad", data))
    metrics = json.loads((output / "scores.json").read_text())
    past = open_past(world)
    (first,) = past.finished({TAG_STAGE: "evaluate.vqa_rad-test"})
    whole = metrics["scores"][0]
    assert first.metrics["vqa_rad/accuracy"] == whole["value"]
    assert first.tags[PROTOCOL_TAG + "vqa_rad"] == whole["fingerprint"]
    names = {entry.path for entry in open_store(world).client.list_artifacts(first.run_id)}
    assert {"report.html", "evaluation", "plots", "pictures", f"{output.name}.report.html"} <= names
    assert read_evaluated(past.fetch(first.run_id, "evaluation", tmp_path / "back")).metrics == metrics

    client = open_store(world).client
    client.create_registered_model(past.registry.name)
    version = client.create_model_version(
        past.registry.name, source="none", tags={DIGEST_TAG: first.tags[DIGEST_TAG]}
    )
    client.set_registered_model_alias(past.registry.name, "champion", version.version)
    other = vlm.model.state_dict()["lm_head.weight"].flatten()[:1]
    other.add_(1.0)
    try:
        save_vlm(vlm.model, vlm.processor, tmp_path / "other")
    finally:
        other.sub_(1.0)
    before, output = output, run_published(world, Wanted("vqa_rad", data, model=tmp_path / "other"))
    assert (before / "scores.json").is_file() and before != output
    page = output.with_name(f"{output.name}.report.html").read_text()
    assert "This evaluation minus the champion's (version 1)" in page
    assert first.run_id[:8] in page and "vqa_rad accuracy" in page
    assert "Against the champion" not in (output / "report.html").read_text()


def test_nothing_is_logged_where_there_is_no_store(vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.tracking.store import is_store_configured

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert not is_store_configured()  # run_published then opens a silent run, as test_published_run.py does
    Path("mlflow.db").touch()
    assert is_store_configured()


def test_a_fake_run_keeps_what_it_is_told(tmp_path: Path) -> None:
    from components.evaluation.standing import keep_evaluation

    run, folder = FakeRun(), write_evaluation(tmp_path / "e")
    (folder / "plots").mkdir()
    keep_evaluation(run, folder, model_digest=OURS)
    assert run.tags[DIGEST_TAG] == OURS and PROTOCOL_TAG + "boxes" in run.tags
    assert run.artifacts == ["evaluation/scores.json", "evaluation/predictions", "plots"]
