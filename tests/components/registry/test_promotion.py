import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.errors import PromotionRefused, TrackingError
from components.registry import evidence as evidences
from components.registry.ledger import LEDGER, read_ledger
from components.registry.promotion import (
    champion_at,
    history,
    judge,
    policy_from,
    promote_version,
    rollback_champion,
    run_register,
)
from components.tracking.model_package import DIGEST_TAG, open_registry
from components.tracking.stage import read_manifest
from tests.fakes.project import DATA_MD5, last_model, make_stage, write_model, write_predictions, write_scores

CANDIDATE = Path("artifacts/registration/candidate.json")


def train_again(settings, value: float, *, right: int = 24, **scores) -> None:
    """Stand in for a retraining: other weights, evaluated by the same protocol."""
    from components.tracking.stage import open_stage

    model = last_model(settings)
    before = model.parent / list(settings.recipe.stages)[-2]
    with open_stage(f"train@{model.name}", settings, output=model, inputs=[before], sections=["seed"]) as work:
        write_model(work.scratch, value)
    evaluation = settings.work_root / "evaluation"
    with open_stage("evaluate", settings, output=evaluation, inputs=[model], sections=["evaluation"]) as work:
        write_predictions(work.scratch / "predictions", right=right)
    write_scores(**scores)


def kinds() -> list[str]:
    return [event.kind for event in read_ledger()]


def test_the_first_good_model_becomes_champion_and_can_be_followed_back_by_clicking(project) -> None:
    run_register(project)
    registry = open_registry(project)
    champion = registry.alias("champion")
    assert champion is not None
    assert champion.number == registry.alias("challenger").number == "1"
    client = registry.store.client
    trained = client.get_run(champion.run_id)
    assert trained.data.tags["gmai.stage"] == f"train@{last_model(project).name}"
    parent = client.get_run(trained.data.tags["mlflow.parentRunId"])
    siblings = client.search_runs(
        [registry.store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    (ingest,) = (run for run in siblings if run.data.tags["gmai.stage"] == "ingest")
    assert [(row.dataset.name, row.dataset.digest) for row in ingest.inputs.dataset_inputs] == [("data", DATA_MD5)]
    assert champion.tags["gmai.data_digest.data"] == DATA_MD5
    assert champion.tags["gmai.verdict"] == "PROMOTE"
    assert f"runs/{ingest.info.run_id}" in client.get_model_version(registry.name, "1").description
    assert kinds() == ["register", "promote"]


def test_the_committed_output_is_reproducible_and_names_no_run_version_or_time(project) -> None:
    run_register(project)
    first = CANDIDATE.read_bytes()
    registry = open_registry(project)
    register_run = registry.alias("champion").tags["gmai.register_run"]
    evidence = json.loads(evidences.read_artifact(registry.store, register_run, "evidence.json"))
    runs = {row["run_id"] for row in evidence["lineage"]}
    assert not [run for run in runs if run and run.encode() in first]
    shutil.rmtree("artifacts/registration")
    run_register(project)
    assert CANDIDATE.read_bytes() == first
    candidate = json.loads(first)
    assert candidate["data"] == {"data": DATA_MD5}
    assert candidate["model"]["digest"] == candidate["evaluated_digest"] == candidate["lineage"][-2]["digest"]
    assert set(read_manifest(Path("artifacts/registration"))["details"]) == {"model_digest", "policy_hash"}


def test_the_same_weights_are_never_registered_twice(project) -> None:
    run_register(project)
    run_register(project)
    assert [version.number for version in open_registry(project).versions()] == ["1"]
    assert kinds() == ["register", "promote"]


def test_a_model_that_does_not_see_is_registered_and_held_without_failing_the_stage(project, capsys) -> None:
    write_scores(accuracy=0.5, blind=0.45)
    run_register(project)
    registry = open_registry(project)
    assert registry.alias("champion") is None
    assert registry.alias("challenger").tags["gmai.verdict"] == "HOLD"
    assert CANDIDATE.is_file()
    assert kinds() == ["register", "refuse"]
    assert "beats_blind" in capsys.readouterr().out
    assert "HOLD" in Path("var/reports/verdict.html").read_text()
    with pytest.raises(PromotionRefused, match="image minus blind"):
        promote_version(project, "1")


def test_a_better_model_takes_over_and_rollback_brings_the_first_one_back(project) -> None:
    run_register(project)
    train_again(project, 7.0, right=36, accuracy=0.9)
    run_register(project)
    registry = open_registry(project)
    assert registry.alias("champion").number == "2"
    rollback_champion(project)
    assert registry.alias("champion").number == "1"
    assert champion_at(registry.name) == "1"
    assert champion_at(registry.name, datetime(2020, 1, 1, tzinfo=UTC)) == ""
    assert [event.kind for event in history()] == ["register", "promote", "register", "promote", "rollback"]
    with pytest.raises(PromotionRefused, match="no champion before"):
        rollback_champion(project)
    promote_version(project, "2")
    assert registry.alias("champion").number == "2"


def test_a_worse_model_is_held_on_the_same_items(project) -> None:
    run_register(project)
    train_again(project, 7.0, right=8, accuracy=0.6)
    run_register(project)
    registry = open_registry(project)
    assert registry.alias("champion").number == "1"
    assert registry.version("2").tags["gmai.verdict"] == "HOLD"
    with pytest.raises(PromotionRefused, match="candidate minus champion -0.400"):
        promote_version(project, "2")


def test_another_protocol_cannot_be_compared(project) -> None:
    run_register(project)
    train_again(project, 7.0, right=36, accuracy=0.9, fingerprint="protocol-2")
    run_register(project)
    assert open_registry(project).version("2").tags["gmai.verdict"] == "INCONCLUSIVE"


def test_weights_that_were_not_the_evaluated_ones_are_rejected(project) -> None:
    write_model(last_model(project), 99.0)
    run_register(project)
    registry = open_registry(project)
    assert registry.alias("champion") is None
    (event,) = (event for event in read_ledger() if event.kind == "refuse")
    assert event.outcome == "REJECT"
    assert "evaluated weights are others" in event.reason


def test_missing_quality_results_are_named(project) -> None:
    Path("artifacts/checked/results.json").unlink()
    run_register(project)
    (event,) = (event for event in read_ledger() if event.kind == "refuse")
    assert "missing evidence: the quality check's results" in event.reason
    assert "changed since it was read" in event.reason  # and the lineage saw the hand in the output


def test_a_champion_whose_package_is_gone_is_not_left(project) -> None:
    run_register(project)
    registry = open_registry(project)
    package = registry.package_folder(registry.version("1"))
    (package / "artifacts" / last_model(project).name / "model.safetensors").write_bytes(b"other")
    train_again(project, 7.0, right=36, accuracy=0.9)
    run_register(project)
    assert registry.alias("champion").number == "1"
    with pytest.raises(PromotionRefused, match="not those that were registered"):
        promote_version(project, "2")


def test_rollback_refuses_a_package_that_was_tampered_with(project) -> None:
    run_register(project)
    train_again(project, 7.0, right=36, accuracy=0.9)
    run_register(project)
    registry = open_registry(project)
    shutil.rmtree(registry.package_folder(registry.version("1")))
    with pytest.raises(PromotionRefused, match="gone"):
        rollback_champion(project)
    assert registry.alias("champion").number == "2"


def test_an_alias_moved_by_hand_is_noticed(project) -> None:
    run_register(project)
    train_again(project, 7.0, right=36, accuracy=0.9)
    run_register(project)
    registry = open_registry(project)
    registry.store.client.set_registered_model_alias(registry.name, "champion", "1")
    train_again(project, 8.0, right=38, accuracy=0.95)
    run_register(project)
    assert kinds()[-2:] == ["observe", "promote"]
    assert champion_at(registry.name) == registry.alias("champion").number == "3"


def test_an_alias_moved_meanwhile_is_not_moved_again(project) -> None:
    run_register(project)
    registry = open_registry(project)
    with pytest.raises(TrackingError, match="moved meanwhile"):
        registry.move_alias("champion", "1", expected="")


def test_an_unknown_version_is_named_with_those_that_exist(project) -> None:
    run_register(project)
    with pytest.raises(TrackingError, match="no version '9'.*known: 1"):
        promote_version(project, "9")


def test_the_ledger_survives_in_the_store(project) -> None:
    run_register(project)
    registry = open_registry(project)
    version = registry.alias("champion")
    kept = evidences.read_artifact(registry.store, version.tags["gmai.register_run"], "ledger/promotions.jsonl")
    assert kept == LEDGER.read_bytes()
    assert registry.with_digest(version.tags[DIGEST_TAG]) == version


def test_stand_in_stage_is_like_the_real_one(project) -> None:
    make_stage(project, "evaluate", Path("artifacts/evaluation"), inputs=[])
    assert evidences.evaluated_digest(Path("artifacts/evaluation"), last_model(project))


def test_a_version_says_what_the_terms_of_its_sources_allow_and_a_commercial_policy_refuses_it(project) -> None:
    run_register(project)
    registry = open_registry(project)
    tags = registry.alias("champion").tags
    assert tags["gmai.permitted_use.commercial_use"] == "no" and tags["gmai.trained_on"] == "some_ct"
    recalled = evidences.recall_evidence(registry, registry.alias("champion"))
    assert recalled.permitted_use["commercial_use"] == "no" and recalled.sources == ("some_ct",)
    policy = policy_from(project.promotion.model_copy(update={"intended_use": "commercial"}))
    verdict = judge(registry, recalled, policy, resamples=10, seed=0)
    assert verdict.outcome == "REJECT" and "meant for commercial use" in verdict.reasons()
