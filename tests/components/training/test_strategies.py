"""Two processes on the CPU give what one gives: DDP and FSDP2, the same losses, weights and packs."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from components.errors import TRY_AGAIN
from components.model.vlm import compose_vlm
from components.settings import Cluster
from components.tracking.tables import iterate_rows, write_table
from components.training.strategies import ShardedStrategy, blocks_of, make_strategy
from drills.kill_training import STAGE, make_packs, tiny_settings
from tests.fakes.models import tiny_model

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "fakes" / "train_tiny.py"
STEPS = 10
LIMIT_SECONDS = 150


def cluster(**changes):
    values = {
        "launcher": "local",
        "accelerator": "cpu",
        "strategy": "auto",
        "devices": 1,
        "nodes": 1,
        "threads": 1,
    }
    return Cluster(**{**values, **changes})


def train(folder, strategy, devices, port, *, stop_at=-1, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
                   "OMP_NUM_THREADS": "1", "STOP_AT": str(stop_at), **more}  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(devices), "--master-port",
                str(port)] if devices > 1 else [sys.executable]  # fmt: skip
    command = [*launcher, str(SCRIPT), strategy, str(devices), str(STEPS)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as process:  # fmt: skip
        try:
            out, said = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:  # ranks that wait for each other for ever: torchrun ends them
            process.terminate()
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, said)


def losses(folder):
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    return dict(enumerate(loss for _, loss, _ in sorted(rows)))


def points(folder, prefix):
    """Metric and step -> value, of the metrics whose names begin so."""
    rows = [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]
    return {(name, step): point[name] for step, point in rows for name in point if name.startswith(prefix)}


def weights(folder):
    return load_file(folder / "artifacts" / "models" / STAGE / "model.safetensors")


def packs_a_step(folder):
    seen: dict[int, set[str]] = {}
    for row in iterate_rows(folder / "artifacts" / "models" / STAGE / "samples"):
        seen.setdefault(row["step"], set()).add(row["pack_id"])
    return seen


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    here = Path.cwd()
    os.chdir(folder)
    make_packs(tiny_settings(steps=STEPS, every=4, workers=0))
    packs = iterate_rows(Path("artifacts/packs/alignment/train"))
    pairs = [pair for pack in packs for pair in pack["pair_ids"]]
    schema = pa.schema([("pair_id", pa.string()), ("source", pa.string())])
    sources = ({"pair_id": pair, "source": "odd" if int(pair[-1]) % 2 else "even"} for pair in pairs)
    write_table(Path("artifacts/curated"), sources, schema)
    os.chdir(here)
    done = train(folder, "auto", 1, 0)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "port"), [("ddp", 29611), ("fsdp2", 29612)])
def test_two_processes_give_the_losses_of_one(strategy, port, single, tmp_path):
    linked(tmp_path, single)
    done = train(tmp_path, strategy, 2, port)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path) == pytest.approx(losses(single), abs=2e-5)
    assert packs_a_step(tmp_path) == packs_a_step(single)
    ours, theirs = weights(tmp_path), weights(single)
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=5e-4) for name in ours)
    for prefix, names in (("gradient_norm_", 3), ("loss_kind/", 1), ("loss_source/", 2), ("learning_rate_", 3)):
        assert len({name for name, _ in points(single, prefix)}) == names
        assert points(tmp_path, prefix) == pytest.approx(points(single, prefix), rel=1e-3, abs=1e-6), prefix


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "port"), [("ddp", 29681), ("fsdp2", 29682)])
def test_two_processes_validate_each_pack_once(strategy, port, single, tmp_path):
    """Three packs on two ranks: none counts twice, and as many are read as by one process."""
    changes = json.dumps({"validate_batches": 3, "row": {"learning_rate": 1e-8}})
    found = []
    for name, devices in (("auto", 1), (strategy, 2)):
        folder = tmp_path / name
        folder.mkdir()
        linked(folder, single)
        done = train(folder, name, devices, port, CHANGES=changes)
        assert done.returncode == 0, done.stderr[-3000:]
        ((_, loss),) = points(folder, "validation_loss").items()
        found.append(loss)
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def linked(folder, single):
    """A folder of its own with the packs of the single run."""
    (folder / "artifacts").mkdir()
    for name in ("packs", "curated"):
        (folder / "artifacts" / name).symlink_to(single / "artifacts" / name)


def agrees_with(folder, single):
    """Say whether a run's losses and packs are the single one's, and it was one run of MLflow's."""
    assert losses(folder) == pytest.approx(losses(single), abs=2e-5)
    assert packs_a_step(folder) == packs_a_step(single)
    assert stage_runs(folder) == 1


LAYOUTS = [("auto", 1), ("ddp", 2), ("fsdp2", 2), ("fsdp2", 1), ("auto", 1)]


@pytest.mark.slow
def test_a_stage_goes_on_under_another_strategy_and_number_of_processes_in_one_run(single, tmp_path):
    """One process, DDP on two, FSDP2 on two, FSDP2 on one, one process: each takes up what the one before left."""
    linked(tmp_path, single)
    for number, (strategy, devices) in enumerate(LAYOUTS):
        is_last = number == len(LAYOUTS) - 1
        ended = train(tmp_path, strategy, devices, 29640 + number, stop_at=-1 if is_last else 2 * number + 1)
        assert (ended.returncode == 0) == is_last, ended.stderr[-3000:]
        assert not number or f"step-{2 * number:08d}" in ended.stderr, ended.stderr[-3000:]
    agrees_with(tmp_path, single)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_on_one_rank_ends_all_together(single, tmp_path):
    """Without rollbacks an error that names the pack; with one, all leave to be run again, and it is left out."""
    linked(tmp_path, single)
    started = time.monotonic()
    failed = train(tmp_path, "fsdp2", 2, 29622, POISON_RANK="1", POISON_STEP="3")
    assert failed.returncode != 0 and time.monotonic() - started < 60
    assert (
        failed.stderr.count("loss is nan at step 3") >= 1
        and not (tmp_path / "artifacts" / "models" / STAGE).exists()
    )
    left = train(tmp_path, "fsdp2", 2, 29622, POISON_RANK="1", POISON_STEP="3", ROLLBACKS="1")
    assert left.returncode != 0 and "left out from now on" in left.stderr, left.stderr[-2000:]
    done = train(tmp_path, "fsdp2", 2, 29622, ROLLBACKS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((tmp_path / "artifacts" / "models" / STAGE / "manifest.json").read_text())
    ((pack, row),) = manifest["details"]["skipped_packs"].items()
    assert row["reason"] == "loss is nan at step 3" and row["pairs"]
    assert pack in packs_a_step(single)[3] and pack not in packs_a_step(tmp_path)[3]
    assert stage_runs(tmp_path) == 1


@pytest.mark.slow
def test_a_sharded_rank_with_text_alone_takes_part_in_what_the_others_gather(single, tmp_path):
    """The ranks gather the same pieces in the same order, whatever each one's micro-batch holds."""
    linked(tmp_path, single)
    changes = json.dumps({"row": {"trains": ["projector"]}, "speed": {"cache_features": True}})
    done = train(tmp_path, "fsdp2", 2, 29627, CHANGES=changes, TEXT_RANK="1", TEXT_STEP="4")
    assert done.returncode == 0, done.stderr[-3000:]
    assert packs_a_step(tmp_path) == packs_a_step(single)
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "port"),
    [
        ({"precision": "bf16-mixed", "speed": {"activation_checkpointing": True}}, 29623),
        ({"row": {"adapters": {"language": {"rank": 2, "alpha": 8.0, "layers": ["q_proj", "down_proj"]}}}}, 29624),
        ({"row": {"trains": ["projector"]}, "speed": {"cache_features": True}}, 29625),
    ],
    ids=["mixed_recomputed", "adapters", "cached"],
)
def test_fsdp2_gives_the_losses_of_one_process_with_every_other_option(changes, port, single, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, strategy, devices in zip(folders, ("auto", "fsdp2"), (1, 2), strict=True):
        folder.mkdir()
        linked(folder, single)
        done = train(folder, strategy, devices, port, CHANGES=json.dumps(changes))
        assert done.returncode == 0, done.stderr[-3000:]
    near = 0.05 if "precision" in changes else 2e-5
    assert losses(folders[1]) == pytest.approx(losses(folders[0]), abs=near)
    assert packs_a_step(folders[1]) == packs_a_step(folders[0])
    ours, theirs = weights(folders[1]), weights(folders[0])
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-2 if near > 1e-3 else 5e-4) for name in ours)


@pytest.mark.slow
def test_a_signal_to_the_whole_group_spares_the_loading_processes(single, tmp_path):
    """Schedulers signal every process of a job; the trainer still takes its checkpoint and leaves with 75."""
    linked(tmp_path, single)
    group = {"WORKERS": "2", "STOP_GROUP": "yes", "STOP_SIGNAL": str(int(signal.SIGUSR1))}
    stopped = train(tmp_path, "auto", 1, 0, stop_at=5, **group)
    assert stopped.returncode == TRY_AGAIN, stopped.stderr[-2000:]
    done = train(tmp_path, "auto", 1, 0, WORKERS="2")
    assert done.returncode == 0 and "step-00000006" in done.stderr
    assert all(torch.equal(weights(tmp_path)[name], value) for name, value in weights(single).items())


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "port"), [("ddp", 29615), ("fsdp2", 29626)])
def test_two_processes_killed_once_and_started_twice_more_leave_one_run(strategy, port, single, tmp_path):
    """2 ranks x 2 retries x 1 kill: one run, finished, every step's every metric in it once."""
    linked(tmp_path, single)
    killed = train(tmp_path, strategy, 2, port, stop_at=5, STOP_SIGNAL="9", STOP_RANK="0")
    assert killed.returncode != 0 and not (tmp_path / "artifacts" / "models" / STAGE).exists()
    stopped = train(tmp_path, strategy, 2, port + 40, stop_at=6)
    assert stopped.returncode != 0 and "step-00000004" in stopped.stderr
    done = train(tmp_path, strategy, 2, port + 60)
    assert done.returncode == 0, done.stderr[-3000:]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        query = "select status from runs join tags using (run_uuid) where tags.key = 'gmai.stage' and value = ?"
        assert database.execute(query, (f"train@{STAGE}",)).fetchall() == [("FINISHED",)]
        points = database.execute("select key, step from metrics where key not like 'rows%'").fetchall()
    assert sorted(step for key, step in points if key == "loss") == list(range(STEPS))
    twice = {point for point in points if points.count(point) > 1}
    assert twice == set(), twice
    assert packs_a_step(tmp_path) == packs_a_step(single)


def stage_runs(folder):
    with sqlite3.connect(folder / "mlflow.db") as database:
        query = "select count(*) from tags where key = 'gmai.stage' and value = ?"
        return database.execute(query, (f"train@{STAGE}",)).fetchone()[0]


def test_every_block_is_sharded_and_the_tower_is_not():
    vlm = compose_vlm(tiny_model(), "unused", seed=0)
    blocks = blocks_of(vlm)
    assert len(blocks) == 4 and vlm.model.vision_tower not in blocks


def test_the_strategy_follows_the_cluster():
    assert make_strategy(cluster()) == "auto" and make_strategy(cluster(strategy="ddp")) == "ddp"
    sharded = make_strategy(cluster(strategy="fsdp2", devices=4, nodes=2))
    assert isinstance(sharded, ShardedStrategy) and sharded._data_parallel_size == 8
