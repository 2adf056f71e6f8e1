import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from components.errors import TrackingError
from components.tracking import owner as owner_module
from components.tracking.runs import (
    TAG_ATTEMPTS,
    TAG_OUTPUT,
    TAG_OWNER,
    TAG_PARENT,
    TAG_STAGE,
    checked_artifact_name,
    open_run,
    pipeline_key,
    stage_params,
)
from components.tracking.store import check_address, open_store

FINGERPRINT = "f" * 64


def all_runs(settings):
    store = open_store(settings)
    return store.client.search_runs([store.experiment_id])


def stage_runs(settings):
    return [run for run in all_runs(settings) if run.data.tags[TAG_STAGE] != "pipeline"]


def finish(run, digest="d" * 64):
    manifest = {"fingerprint": FINGERPRINT, "counts": {"read": 5, "kept": 3, "rejected": {"blank_image": 2}}}
    run.finish_stage(
        manifest=manifest, sidecar={"seconds": 1.5, "git_commit": "abc+changes", "output_digest": digest}
    )


def test_a_stage_is_one_finished_run_below_its_pipeline(tracked) -> None:
    with open_run("ingest", tracked, fingerprint=FINGERPRINT, inputs={}) as run:
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0, "closed/modality=CT": 0.5}, step=2)
        finish(run)
    (logged,) = stage_runs(tracked)
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["rows_read"] == 5
    assert logged.data.metrics["rejected.blank_image"] == 2
    assert logged.data.metrics["seconds"] == 1.5
    assert logged.data.metrics["closed/modality_CT"] == 0.5
    assert logged.data.tags[TAG_OUTPUT] == "d" * 64
    assert logged.data.tags["mlflow.source.git.commit"] == "abc"
    assert logged.data.params["seed"] == str(tracked.seed)
    client = open_store(tracked).client
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [2.0, 1.0]
    parent = client.get_run(logged.data.tags[TAG_PARENT])
    assert parent.info.run_name == f"pipeline-{pipeline_key(tracked)[:8]}"
    assert parent.info.status == "FINISHED"
    manifest = client.download_artifacts(run.run_id, "manifest.json")
    assert json.loads(Path(manifest).read_text())["counts"]["kept"] == 3


def test_stages_share_one_parent_and_other_data_makes_another(tracked, tmp_path: Path) -> None:
    for stage in ("ingest", "pair"):
        with open_run(stage, tracked, fingerprint=stage, inputs={}):
            pass
    assert len({run.data.tags[TAG_PARENT] for run in stage_runs(tracked)}) == 1
    Path("data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    with open_run("ingest", tracked, fingerprint="again", inputs={}):
        pass
    assert len({run.data.tags[TAG_PARENT] for run in stage_runs(tracked)}) == 2


def test_pinned_data_is_a_dataset_under_its_md5_with_the_way_back(tracked) -> None:
    Path("data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    Path("artifacts").mkdir()
    Path("artifacts/records.run.json").write_text(json.dumps({"run_id": "maker0001"}))
    with open_run(
        "pair", tracked, fingerprint="x", inputs={"data": "a" * 64, "artifacts/records": "b" * 64}
    ) as run:
        pass
    logged = open_store(tracked).client.get_run(run.run_id)
    found = {row.dataset.name: row for row in logged.inputs.dataset_inputs}
    assert found["data"].dataset.digest == "0123456789abcdef0123456789abcdef.dir"
    assert found["artifacts/records"].dataset.digest == "b" * 36
    tags = {tag.key: tag.value for tag in found["artifacts/records"].tags}
    assert tags["made_by_run"] == "maker0001"
    assert tags["sha256"] == "b" * 64
    assert "runs/maker0001" in logged.data.tags["mlflow.note.content"]
    parent = open_store(tracked).client.get_run(logged.data.tags[TAG_PARENT])
    assert [row.dataset.digest for row in parent.inputs.dataset_inputs] == ["0123456789abcdef0123456789abcdef.dir"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("boom"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(3), "KILLED")],
)
def test_the_status_is_true_whatever_ends_the_run(tracked, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), open_run("ingest", tracked, fingerprint="x", inputs={}):
        raise error
    assert {run.info.status for run in all_runs(tracked)} == {status}


def test_sigterm_kills_the_run_cleanly_and_the_old_handler_is_back(tracked) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped, open_run("ingest", tracked, fingerprint="x", inputs={}):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143
    assert [run.info.status for run in stage_runs(tracked)] == ["KILLED"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_retries_after_failure_and_crash_are_still_one_run(tracked) -> None:
    with pytest.raises(ValueError, match="boom"), open_run("ingest", tracked, fingerprint="x", inputs={}) as first:
        raise ValueError("boom")
    crashed = open_run("ingest", tracked, fingerprint="x", inputs={})
    second = crashed.__enter__()
    client = open_store(tracked).client
    client.set_tag(second.run_id, TAG_OWNER, owner_module.owner().rpartition(":")[0] + ":1")  # its process is gone
    with open_run("ingest", tracked, fingerprint="x", inputs={}) as third:
        finish(third)
    assert first.run_id == second.run_id == third.run_id
    (only,) = stage_runs(tracked)
    assert (only.info.status, only.data.tags[TAG_ATTEMPTS]) == ("FINISHED", "3")


def test_a_point_that_a_forerunner_logged_is_not_logged_again(tracked) -> None:
    for last in (3, 5):
        with pytest.raises(ValueError, match="boom"), open_run("a", tracked, fingerprint="x", inputs={}) as run:
            for step in range(last):
                run.log_metrics({"loss": float(step), f"only/{last}": 1.0}, step=step)
            run.log_metrics({"rollbacks": 1.0})
            raise ValueError("boom")
    client = open_store(tracked).client
    steps = [point.step for point in client.get_metric_history(run.run_id, "loss")]
    assert sorted(steps) == [0, 1, 2, 3, 4]
    assert len(client.get_metric_history(run.run_id, "only/5")) == 5
    assert client.get_run(run.run_id).data.metrics["rollbacks"] == 1.0


def test_a_requeued_job_on_another_host_goes_on_in_its_run(tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    crashed = open_run("train@x", tracked, fingerprint="x", inputs={})
    first = crashed.__enter__()
    open_store(tracked).client.set_tag(first.run_id, TAG_OWNER, "another-host:boot:1:1")
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as same_start:
        pass
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as requeued:
        pass
    assert same_start.run_id != first.run_id == requeued.run_id


def test_a_finished_or_a_living_run_is_not_taken_over(tracked) -> None:
    with open_run("ingest", tracked, fingerprint="x", inputs={}) as first:
        pass
    with (
        open_run("ingest", tracked, fingerprint="x", inputs={}) as second,
        open_run("ingest", tracked, fingerprint="x", inputs={}) as third,
    ):
        pass
    assert len({first.run_id, second.run_id, third.run_id}) == 3


def test_ranks_above_zero_are_silent(tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with open_run("train@x", tracked, fingerprint="x", inputs={}) as run:
        run.log_metrics({"loss": 1.0})
        finish(run)
    assert run.run_id == ""
    monkeypatch.delenv("LOCAL_RANK")
    assert all_runs(tracked) == []


def test_planted_secrets_reach_no_store(tracked, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = ["planted-in-env-77", "planted-patient-key", "hunter2planted", "planted-param"]
    monkeypatch.setenv("SOME_SERVICE_TOKEN", planted[0])
    monkeypatch.setenv("GMAI_PATIENT_KEY", planted[1])
    with pytest.raises(RuntimeError), open_run("ingest", tracked, fingerprint="x", inputs={}) as run:
        run.log_params({"storage.password": planted[3], "address": f"s3://user:{planted[2]}@host/bucket"})
        run.set_tags({"note": f"called with {planted[0]} and {planted[1]}"})
        run.log_text(f"log of {planted[1]}", "log.txt")
        run.log_dataset("raw", "0" * 64, f"https://u:{planted[2]}@host/raw?token={planted[0]}")
        raise RuntimeError(f"could not log in with {planted[0]}")
    with sqlite3.connect(tracking_database) as connection:
        dump = "\n".join(connection.iterdump())
    files = "\n".join(path.read_text() for path in Path("mlartifacts").rglob("*") if path.is_file())
    assert run.run_id in dump
    for secret in planted:
        assert secret not in dump
        assert secret not in files


def test_parameters_of_a_recipe_row_can_be_compared_across_stages(tracked) -> None:
    rows = list(tracked.recipe.stages)
    first, last = (stage_params(tracked, f"train@{row}") for row in (rows[0], rows[-1]))
    assert first["stage.learning_rate"] != last["stage.learning_rate"]
    assert not [name for name in first if name.startswith("recipe.stages.")]
    assert first["model.vision.image_size"] == tracked.model.vision.image_size


@pytest.mark.parametrize("uri", ["", "./mlruns", "file:///tmp/mlruns", "ftp://host/x", "databricks"])
def test_an_address_that_is_no_store_is_refused_at_the_start(tracked, monkeypatch, uri: str) -> None:
    with pytest.raises(TrackingError, match="not a tracking store"):
        check_address(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError), open_run("ingest", tracked, fingerprint="x", inputs={}):
        pytest.fail("the stage must not start")


def test_a_database_that_is_none_is_refused_quickly(tracked, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bad.db").write_bytes(b"this is not a database at all, whatever its name says" * 40)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/bad.db")
    with pytest.raises(TrackingError, match="cannot be opened"):
        open_store(tracked)


def test_the_store_is_in_write_ahead_mode_and_the_artefacts_lie_where_settings_say(
    tracked, tracking_database
) -> None:
    store = open_store(tracked)
    with sqlite3.connect(tracking_database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    location = store.client.get_experiment(store.experiment_id).artifact_location
    assert location == Path("mlartifacts").resolve().as_uri()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\b", "a\0b"])
def test_an_artefact_name_may_not_leave_the_run(name: str) -> None:
    with pytest.raises(ValueError, match="leaves the run"):
        checked_artifact_name(name)


def test_owners_are_told_apart() -> None:
    assert owner_module.owner_lives(owner_module.owner())
    host, boot, process, ticks = owner_module.owner().split(":")
    assert not owner_module.owner_lives(f"{host}:{boot}:{process}:1")  # the number was given to another process
    assert not owner_module.owner_lives(f"{host}:otherboot:{process}:{ticks}")
    assert owner_module.owner_lives("another-host:boot:1:1")  # not ours to judge
    assert not owner_module.owner_lives("")
