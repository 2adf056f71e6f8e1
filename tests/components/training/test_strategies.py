"""Two processes on the CPU give what one gives: DDP and FSDP2, the same losses, weights and packs."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from components.model.vlm import compose_vlm
from components.settings import Cluster
from components.tracking.tables import iterate_rows
from components.training.continuation import REQUEUE
from components.training.strategies import ShardedStrategy, blocks_of, make_strategy
from drills.kill_training import STAGE, make_packs, tiny_settings
from tests.fakes.models import tiny_model

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "fakes" / "train_tiny.py"
STEPS = 10


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
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
                          start_new_session=True)  # fmt: skip


def losses(folder):
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    return dict(enumerate(loss for _, loss, _ in sorted(rows)))


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
    os.chdir(here)
    done = train(folder, "auto", 1, 0)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "port"), [("ddp", 29611), ("fsdp2", 29612)])
def test_two_processes_give_the_losses_of_one(strategy, port, single, tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "packs").symlink_to(single / "artifacts" / "packs")
    done = train(tmp_path, strategy, 2, port)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path) == pytest.approx(losses(single), abs=2e-5)
    assert packs_a_step(tmp_path) == packs_a_step(single)
    ours, theirs = weights(tmp_path), weights(single)
    assert set(ours) == set(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=5e-4) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "port"), [("ddp", 29613), ("fsdp2", 29614)])
def test_two_processes_stop_together_and_one_process_can_go_on(strategy, port, single, tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "packs").symlink_to(single / "artifacts" / "packs")
    stopped = train(tmp_path, strategy, 2, port, stop_at=5)
    assert stopped.returncode != 0
    done = train(tmp_path, "auto", 1, 0) if strategy == "ddp" else train(tmp_path, strategy, 2, port)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "step-00000006" in done.stderr
    assert losses(tmp_path) == pytest.approx(losses(single), abs=2e-5)
    assert packs_a_step(tmp_path) == packs_a_step(single)
    # One process is another layout and so another execution; two processes started twice are one.
    assert stage_runs(tmp_path) == (2 if strategy == "ddp" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [15, 10], ids=["SIGTERM", "SIGUSR1"])
def test_a_signal_to_the_whole_group_spares_the_loading_processes(number, single, tmp_path):
    """Schedulers signal every process of a job; the trainer still takes its checkpoint and leaves with 75."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "packs").symlink_to(single / "artifacts" / "packs")
    group = {"WORKERS": "2", "STOP_GROUP": "yes", "STOP_SIGNAL": str(number)}
    stopped = train(tmp_path, "auto", 1, 0, stop_at=5, **group)
    assert stopped.returncode == REQUEUE, stopped.stderr[-2000:]
    done = train(tmp_path, "auto", 1, 0, WORKERS="2")
    assert done.returncode == 0 and "step-00000006" in done.stderr
    assert all(torch.equal(weights(tmp_path)[name], value) for name, value in weights(single).items())


@pytest.mark.slow
def test_two_processes_killed_once_and_started_twice_more_leave_one_run(single, tmp_path):
    """2 ranks x 2 retries x 1 kill: one run, finished, every step's every metric in it once."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "packs").symlink_to(single / "artifacts" / "packs")
    killed = train(tmp_path, "ddp", 2, 29615, stop_at=5, STOP_SIGNAL="9", STOP_RANK="0")
    assert killed.returncode != 0 and not (tmp_path / "artifacts" / "models" / STAGE).exists()
    stopped = train(tmp_path, "ddp", 2, 29616, stop_at=6)
    assert stopped.returncode != 0 and "step-00000004" in stopped.stderr
    done = train(tmp_path, "ddp", 2, 29617)
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
