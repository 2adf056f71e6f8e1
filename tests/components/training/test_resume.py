"""Exact resume: the same packs at the same steps and the same final bytes, whatever stopped the stage before."""

import json
import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from threading import current_thread

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

from components.errors import TRY_AGAIN, Diverged
from components.model.vlm import part_of
from components.settings.recipe import VisionInitialisation
from components.tracking import stage as stage_module
from components.tracking.runs import TAG_STAGE, StageRun
from components.tracking.stage import read_manifest
from components.tracking.store import open_store
from components.tracking.tables import read_table
from components.training import launch
from components.training.checkpoint import Shelf
from components.training.continuation import open_shelf
from components.training.datamodule import IGNORE
from components.training.interruption import SIGNALS
from components.training.module import StageModule
from components.training.order import PackOrder
from components.training.resume import random_state, restore_random_state
from components.training.stages import num_steps
from drills.kill_training import STAGE, make_packs, outcome, tiny_settings

STEPS = 14


@pytest.fixture
def settings(tracked):
    """A tiny stage in an empty folder, with its own experiment."""
    tiny = tiny_settings(steps=STEPS, every=5, workers=0)
    tiny = tiny.model_copy(update={"tracking": tracked.tracking})
    make_packs(tiny)
    return tiny


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the stage ends in when nothing happens to it; computed once."""
    return {}


def expected(settings, undisturbed):
    if not undisturbed:
        launch.run_train(settings, STAGE)
        undisturbed |= outcome(settings)
    return undisturbed


def at_step(monkeypatch, number, act):
    logged = StageRun.log_metrics

    def log(run, metrics, step=None):
        logged(run, metrics, step)
        if step == number and "loss" in metrics:
            act()

    monkeypatch.setattr(StageRun, "log_metrics", log)


def stage_runs(settings):
    store = open_store(settings)
    return [
        run for run in store.client.search_runs([store.experiment_id]) if run.data.tags[TAG_STAGE] != "pipeline"
    ]


def test_random_generators_go_back_to_where_they_were():
    state = random_state()
    first = (random.random(), np.random.rand(), torch.rand(2).tolist())
    restore_random_state(state)
    assert first == (random.random(), np.random.rand(), torch.rand(2).tolist())


@pytest.mark.parametrize(("number", "step", "workers"), [(signal.SIGTERM, 3, 0), (signal.SIGUSR1, 11, 2)])
def test_a_signal_ends_in_a_checkpoint_and_the_next_start_goes_on(
    number, step, workers, settings, undisturbed, monkeypatch, capfd
):
    wanted = dict(expected(settings, undisturbed))
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        again = settings.model_copy(update={"work_root": settings.work_root})
        with pytest.raises(SystemExit) as stop:
            launch.run_train(again, STAGE)
    assert stop.value.code == TRY_AGAIN
    shelf = open_shelf(settings, STAGE)
    assert shelf.newest() == shelf.path_of(step + 1)
    training = settings.training.model_copy(update={"workers": workers})
    launch.run_train(settings.model_copy(update={"training": training}), STAGE)
    assert outcome(settings) == wanted
    assert f"going on from {shelf.path_of(step + 1)}" in capfd.readouterr().err
    assert not shelf.stage_folder.exists()


def test_one_mlflow_run_whatever_ended_it_before(settings, undisturbed, monkeypatch):
    class Broken(RuntimeError):
        pass

    def fail():
        raise Broken

    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            launch.run_train(settings, STAGE)
    with monkeypatch.context() as patch:
        at_step(patch, 7, fail)
        with pytest.raises(Broken):
            launch.run_train(settings, STAGE)
    launch.run_train(settings, STAGE)
    (run,) = stage_runs(settings)
    assert run.info.status == "FINISHED" and run.data.tags["gmai.attempts"] == "3"
    assert outcome(settings)["seen"][-1][0] == STEPS - 1


def with_training(settings, **changes):
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


def test_a_bad_pack_alone_is_left_out_after_going_back_and_its_pairs_are_on_record(settings, monkeypatch):
    """A micro-batch of two packs, one of them with a loss that is not a number whenever it comes."""
    losses_of = StageModule.losses_of
    bad: list[str] = []

    def poisoned(module, batch):
        losses, nothing = losses_of(module, batch)
        if module.trainer.training and module.global_step == 8 and not bad:
            bad.append(batch.pack_ids[1])
        rows = (batch.labels != IGNORE).nonzero()[:, 0]
        chosen = torch.tensor([batch.pack_ids[row] in bad for row in rows.tolist()], dtype=torch.bool)
        return losses.masked_fill(chosen, float("nan")), nothing

    monkeypatch.setattr(StageModule, "losses_of", poisoned)
    settings = with_training(settings, micro_batch=2, validate_batches=0)
    with pytest.raises(Diverged) as error:
        launch.run_train(settings, STAGE)
    assert error.value.packs == tuple(bad) and len(bad) == 1
    guard = settings.training.guard.model_copy(update={"rollbacks": 1})
    launch.run_train(with_training(settings, guard=guard), STAGE)
    packs = read_table(settings.work_root / "packs" / "alignment" / "train").to_pylist()
    pairs = next(row["pair_ids"] for row in packs if row["pack_id"] == bad[0])
    skipped = {bad[0]: {"reason": "loss is nan at step 8", "pairs": pairs, "rollback": 1}}
    assert pairs and read_manifest(settings.work_root / "models" / STAGE)["details"]["skipped_packs"] == skipped
    (run,) = stage_runs(settings)
    kept = open_store(settings).client.download_artifacts(run.info.run_id, "skipped_packs.json")
    assert json.loads(Path(kept).read_text()) == skipped
    seen = outcome(settings)["seen"]
    assert {step for step, _ in seen} == set(range(STEPS))
    assert bad[0] not in {pack for step, pack in seen if step >= 5}
    assert len([pack for step, pack in seen if step == 8]) == 1


def test_gradients_that_are_not_finite_are_not_stepped_along(settings, monkeypatch):
    """The loss of that step is as good as any: the weights would be lost, and a checkpoint of them the newest."""
    checked, spoiled = StageModule.on_after_backward, []

    def spoil(module):
        checked(module)
        if module.global_step == 9 and not spoiled:
            spoiled.extend(pack for step, pack in module.seen if step == 9)
            next(p for p in module.parameters() if p.grad is not None).grad.view(-1)[0] = float("inf")

    monkeypatch.setattr(StageModule, "on_after_backward", spoil)
    settings = with_training(settings, micro_batch=2, validate_batches=0)
    with pytest.raises(Diverged, match="gradients' norm is inf at step 9") as error:
        launch.run_train(settings, STAGE)
    assert error.value.packs == tuple(spoiled) and len(spoiled) == 2
    launch.run_train(settings, STAGE)
    assert {step for step, _ in outcome(settings)["seen"]} == set(range(STEPS))


def ask(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def calls_first(monkeypatch, target, name, act):
    """Call `act` at the first call of a function, then the function."""
    function = getattr(target, name)
    done: list[int] = []

    def first(*arguments, **named):
        if not done:
            done.append(1)
            act()
        return function(*arguments, **named)

    monkeypatch.setattr(target, name, first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(
    ("target", "name"),
    [
        (launch, "quieten"),
        (stage_module, "_known_before"),  # the hashing of what the stage reads
        (launch, "load_start"),
        (launch, "_initialise_vision"),
        (StageModule, "configure_optimizers"),  # inside fit, before the first step
        (StageModule, "validation_step"),
        (launch, "check_frozen"),
        (launch, "save_vlm"),
    ],
)
def test_a_signal_where_no_step_runs_leaves_at_once_with_the_code_to_run_again(
    target, name, number, settings, undisturbed, monkeypatch
):
    wanted = dict(expected(settings, undisturbed))
    shutil.rmtree(settings.work_root / "models", ignore_errors=True)
    if name == "_initialise_vision":
        monkeypatch.setattr(launch, name, lambda *_: None)
        settings = initialised(settings)
    handlers = [signal.getsignal(each) for each in SIGNALS]
    with monkeypatch.context() as patch:
        calls_first(patch, target, name, lambda: ask(number))
        with pytest.raises(SystemExit) as stop:
            launch.run_train(settings, STAGE)
    assert stop.value.code == TRY_AGAIN
    assert [signal.getsignal(each) for each in SIGNALS] == handlers
    assert {run.info.status for run in stage_runs(settings)} <= {"KILLED", "FINISHED"}
    assert not list(Path().rglob("hpc_ckpt*")) and not (settings.work_root / "models" / STAGE).exists()
    launch.run_train(settings, STAGE)
    assert outcome(settings)["seen"] == wanted["seen"]
    if name != "_initialise_vision":
        assert outcome(settings) == wanted


def initialised(settings):
    """The stage with a contrastive initialisation of its fresh tower."""
    row = settings.recipe.stages[STAGE].model_copy(
        update={"initialise_vision": VisionInitialisation(
            steps=2, batch_size=8, learning_rate=1e-3, warmup_steps=1, weight_decay=0.0
        )}
    )  # fmt: skip
    return settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"stages": {STAGE: row}})})


def test_a_signal_in_the_last_step_keeps_its_checkpoint(settings, undisturbed, monkeypatch):
    wanted = dict(expected(settings, undisturbed))
    with monkeypatch.context() as patch:
        at_step(patch, STEPS - 1, ask)
        with pytest.raises(SystemExit) as stop:
            launch.run_train(settings, STAGE)
    assert stop.value.code == TRY_AGAIN
    shelf = open_shelf(settings, STAGE)
    assert shelf.newest() == shelf.path_of(STEPS)
    launch.run_train(settings, STAGE)
    assert outcome(settings) == wanted


def test_lightning_neither_requeues_a_slurm_job_nor_sets_a_handler(settings, monkeypatch):
    for name, value in {"NTASKS": "1", "JOB_NAME": "gmai", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    trainer = launch.make_trainer(settings, steps=1, label="t")
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment) and not environment.auto_requeue
    before = [signal.getsignal(number) for number in SIGNALS]
    trainer._signal_connector.register_signal_handlers()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_stage_goes_on_after_its_initialisation_without_making_it_again(settings, monkeypatch):
    """Frozen weights are in no folder the stage starts from: the checkpoint keeps them too."""
    settings = initialised(settings)
    row = settings.recipe.stages[STAGE].model_copy(update={"trains": ("projector",)})
    recipe = settings.recipe.model_copy(update={"stages": {STAGE: row}})
    settings = settings.model_copy(update={"recipe": recipe})
    made: list[int] = []

    def initialise(vlm, *_):
        made.append(1)
        with torch.no_grad():
            for name, parameter in vlm.named_parameters():
                if part_of(name) == "vision":
                    parameter.mul_(1.25)

    monkeypatch.setattr(launch, "_initialise_vision", initialise)
    launch.run_train(settings, STAGE)
    wanted = outcome(settings)
    for step in (0, 7):
        with monkeypatch.context() as patch:
            at_step(patch, step, ask)
            with pytest.raises(SystemExit):
                launch.run_train(settings, STAGE)
    launch.run_train(settings, STAGE)
    assert len(made) == 2 and outcome(settings) == wanted


@pytest.mark.parametrize("stop", [3, 11])
def test_checkpoints_written_beside_the_training_lose_nothing(stop, settings, undisturbed, monkeypatch):
    wanted = dict(expected(settings, undisturbed))
    checkpoint = settings.training.checkpoint.model_copy(update={"asynchronous": True, "every_steps": 1})
    beside = with_training(settings, checkpoint=checkpoint)
    threads: set[str] = set()
    put = Shelf._put
    monkeypatch.setattr(Shelf, "_put", lambda *given: (threads.add(current_thread().name), put(*given)))
    with monkeypatch.context() as patch:
        at_step(patch, stop, ask)
        with pytest.raises(SystemExit):
            launch.run_train(beside, STAGE)
    shelf = open_shelf(settings, STAGE)
    assert shelf.newest() == shelf.path_of(stop + 1)
    launch.run_train(beside, STAGE)
    assert outcome(settings) == wanted and not shelf.stage_folder.exists()
    assert threads and all(name.startswith("checkpoint") for name in threads)


def test_other_settings_do_not_go_on_from_a_checkpoint_and_say_so(settings, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        at_step(patch, 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            launch.run_train(settings, STAGE)
    launch.run_train(settings.model_copy(update={"seed": 7}), STAGE)
    assert "other settings" in capfd.readouterr().err


def packs_of_steps(world, *, packs, passes=1, start=0, per_step=8):
    """The packs each optimiser step reads from a position on, over all ranks."""
    steps = num_steps(packs, packs_per_step=per_step, epochs=passes, max_steps=0)
    orders = [
        PackOrder(range(packs), num_replicas=world, rank=rank, seed=3, total=steps * per_step, start=start)
        for rank in range(world)
    ]
    lists, each = [list(order) for order in orders], per_step // world
    assert {len(order) for order in orders} == {steps * each}
    return [
        sorted(pack for part in lists for pack in part[step * each : (step + 1) * each])
        for step in range(steps - start // per_step)
    ]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("done", [0, 8, 24])
@pytest.mark.parametrize("packs", [40, 41, 43])
def test_any_number_of_ranks_goes_on_with_the_same_packs_a_step_and_reads_none_twice(packs, done, world):
    whole = packs_of_steps(1, packs=packs)
    assert packs_of_steps(world, packs=packs, start=done) == whole[done // 8 :]
    read = [pack for step in whole for pack in step]
    assert len(read) == len(set(read)) == 40


@pytest.mark.parametrize("world", [1, 2, 8])
@pytest.mark.parametrize("packs", [41, 43])
def test_passes_follow_without_a_seam_each_with_every_pack_once(packs, world):
    steps = packs_of_steps(world, packs=packs, passes=8)
    assert len(steps) == packs and {len(step) for step in steps} == {8}
    assert Counter(pack for step in steps for pack in step) == dict.fromkeys(range(packs), 8)
    across = packs // 8  # the step in which the first pass runs out
    first = Counter(pack for step in steps[:across] for pack in step) + Counter(steps[across])
    assert len(first) == packs and sum(first.values()) == (across + 1) * 8


def test_a_pass_is_in_the_order_of_torchs_own_sampler():
    order = PackOrder(range(41), num_replicas=1, rank=0, seed=3, total=82)
    passes = []
    for epoch in (0, 1):
        sampler = StatefulDistributedSampler(range(41), num_replicas=1, rank=0, shuffle=True, seed=3)
        sampler.set_epoch(epoch)
        passes.extend(sampler)
    assert list(order) == passes


def test_a_stage_of_odd_packs_reads_each_once_a_pass_however_often_it_is_stopped(settings, monkeypatch, capfd):
    def row(**changes):
        recipe = settings.recipe
        stage = recipe.stages[STAGE].model_copy(update=changes)
        return settings.model_copy(update={"recipe": recipe.model_copy(update={"stages": {STAGE: stage}})})

    packs = read_table(settings.work_root / "packs" / "alignment" / "train").column("pack_id").to_pylist()
    odd = row(packs_per_step=5, epochs=2.0, max_steps=0)
    steps, left = divmod(2 * len(packs), 5)
    assert left
    with monkeypatch.context() as patch:
        at_step(patch, len(packs) // 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            launch.run_train(odd, STAGE)
    launch.run_train(odd, STAGE)
    seen = outcome(odd)["seen"]
    assert [step for step, _ in seen] == [step for step in range(steps) for _ in range(5)]
    counts = Counter(pack for _, pack in seen)
    assert (
        set(counts) == set(packs) and sum(counts.values()) == 2 * len(packs) - left and max(counts.values()) == 2
    )
    assert f"the last {left} are left out" in capfd.readouterr().err
