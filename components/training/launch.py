"""The train command: load what the stage starts from, run it, check its contract, commit its checkpoint."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from components.data.catalog import load_cards
from components.data.pictures_elsewhere import say_withheld, withheld_sources, without_pictures
from components.errors import ConfigError
from components.model.attention import attend
from components.model.block_attention import KERNELS, VARLEN, attend_densely, check_documents, check_kernel
from components.model.machine import prepare_machine
from components.model.vision import normalised
from components.model.vlm import count_parameters, part_of, save_vlm, train_only
from components.settings import Settings, Stage, process_rank
from components.tracking.runs import StageRun
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import write_table
from components.training.adapters import merge_adapters
from components.training.apart import LossesApart, sources_of_pairs
from components.training.budget import check_affordable
from components.training.checkpoint import Shelf
from components.training.continuation import (
    announce_start,
    continued_samples,
    deciding_sections,
    open_shelf,
    position_of,
    with_rollbacks,
)
from components.training.datamodule import PackDataModule, PackDataset
from components.training.expected import manifest_of
from components.training.features import FeatureCache
from components.training.forecast import shape_of
from components.training.guard import DivergenceGuard
from components.training.interruption import StopRequests, scheduler_plugins, without_handlers
from components.training.keeper import CheckpointKeeper, ShelfIO
from components.training.module import StageModule
from components.training.pack import FEATURES, packing_metrics
from components.training.progress import StepProgress
from components.training.samples import answer_samples, samples_page
from components.training.stages import (
    check_frozen,
    find_stage,
    micro_batch_of,
    num_steps,
    packs_of_passes,
    part_hashes,
)
from components.training.start import check_start, load_start, model_digest
from components.training.strategies import gathered_model, make_strategy, over_ranks
from components.training.telemetry import LogPoint, Telemetry

BUCKET = 64  # tokens
NEVER = 1 << 30  # epochs between validations: once, at the end, by hand


def run_train(settings: Settings, name: str) -> None:
    """Run one row of the recipe and commit `models/<name>`, a folder that plain transformers loads.

    SIGTERM and SIGUSR1 leave with code 75, at once or after the running step (`interruption.py`).
    """
    requests = StopRequests()
    with requests.heard():
        _run(settings, name, requests)


def _run(settings: Settings, name: str, requests: StopRequests) -> None:
    stage = find_stage(settings.recipe, name)
    training, accelerator = settings.training, settings.cluster.accelerator
    check_kernel(training.speed.attention, accelerator=accelerator, precision=training.precision)
    check_affordable(settings, name)
    quieten()
    prepare_machine(settings.cluster.threads)
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    packs = settings.work_root / "packs"
    with _open_work(settings, stage, name) as work, closing(open_shelf(settings, name)) as shelf:
        check_start(settings, stage, work.inputs)
        vlm, processor = with_rollbacks(
            lambda: _attempt(settings, stage, name=name, work=work, shelf=shelf, requests=requests),
            shelf=shelf,
            limit=settings.training.guard.rollbacks,
            packs=packs / stage.mixture / "train",
            note=functools.partial(_note_rollback, work.run),
        )
        if process_rank() == 0:
            save_vlm(vlm, processor, work.scratch)
        work.count(read=work.details["packs"], kept=work.details["packs"])
    if process_rank() == 0:
        shelf.clear()


@contextmanager
def _open_work(settings: Settings, stage: Stage, name: str) -> Generator[StageWork]:
    """Open the stage on the first process; the others work in a folder that is thrown away, and log nothing."""
    output = settings.work_root / "models" / name
    if process_rank() == 0:
        with open_stage(
            f"train@{name}",
            settings,
            output=output,
            inputs=[settings.work_root / "packs", Path(stage.starts_from)],
            sections=deciding_sections(name),  # not the cluster: going on under another is the same run
        ) as work:
            yield work
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield StageWork(name, settings, Path(scratch), output, StageRun("", name))


def _attempt(
    settings: Settings, stage: Stage, *, name: str, work: StageWork, shelf: Shelf, requests: StopRequests
) -> tuple[Any, Any]:
    """Train the stage from its start or from its newest good checkpoint; return model and processor."""
    vlm, processor = load_start(settings, stage)
    if settings.training.precision == "bf16-true":
        vlm = vlm.to(torch.bfloat16)  # before the parts are hashed: Lightning would cast them afterwards
    work.details["parameters"] = count_parameters(vlm)
    work.details["model"] = model_digest(settings)
    requests.leave_if_asked()
    resume = shelf.newest()
    announce_start(shelf, resume)
    initialised = bool(stage.initialise_vision and not settings.model.vision.pretrained)
    if initialised and resume is None:
        _initialise_vision(vlm, processor, stage, settings, work)
    facts = {"initialised": initialised, "hashes": part_hashes(vlm.named_parameters(), part_of)}
    facts |= {"captions": work.details["captions"]} if "captions" in work.details else {}
    if resume is not None:
        facts = shelf.facts_of(resume)
        work.details |= {key: facts[key] for key in ("captions",) if key in facts}
    module = _train_on_packs(vlm, processor, stage, name=name, settings=settings, work=work,
                             shelf=shelf, resume=resume, facts=facts, requests=requests)  # fmt: skip
    attend_densely(vlm)
    final = gathered_model(vlm) if module.is_sharded else vlm
    if settings.training.samples and process_rank() == 0:
        data = _data(processor, stage, settings)
        page = samples_page(answer_samples(final, processor, data, settings.training.samples), title=name)
        if not work.run.keeps_here:
            withheld = withheld_sources(work.run, load_cards(names=settings.corpus.sources))
            say_withheld(work.run, withheld)
            page = without_pictures(page) if withheld else page
        work.run.log_text(page, f"samples/step-{module.steps:08d}.html")
    return final, processor


def quieten() -> None:
    """Keep the libraries' tips and bars out of the way of ours; warnings and errors of ours stay."""
    import logging
    import warnings

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in ("lightning", "torchdata"):
        warnings.filterwarnings("ignore", module=rf"{module}\..*")


def make_trainer(
    settings: Settings, *, steps: int, label: str, accumulate: int = 1, clip: float | None = None,
    keeper: CheckpointKeeper | None = None, telemetry: Telemetry | None = None,
) -> Any:  # fmt: skip
    """Return Lightning's trainer for one fit; with a keeper it takes checkpoints and the cluster's strategy."""
    cluster, training = settings.cluster, settings.training
    alone = cluster.devices * cluster.nodes == 1
    trainer = lightning.Trainer(
        accelerator=cluster.accelerator,
        devices=cluster.devices,
        num_nodes=cluster.nodes,
        strategy=make_strategy(cluster) if keeper else ("auto" if alone else "ddp"),
        precision=training.precision,
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        limit_val_batches=training.validate_batches,
        check_val_every_n_epoch=NEVER,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[StepProgress(label), *watchers(telemetry, keeper)],
        plugins=[*scheduler_plugins(), *([ShelfIO(keeper.shelf)] if keeper else [])],
    )
    return without_handlers(trainer)


def watchers(telemetry: Telemetry | None, keeper: CheckpointKeeper | None) -> list[lightning.Callback]:
    """Return the callbacks in order: a step is reported before the keeper may leave, the clock starts after it."""
    found = (telemetry, keeper, telemetry.clock if telemetry else None)
    return [callback for callback in found if callback]


def _train_on_packs(
    vlm: Any, processor: Any, stage: Stage, *, name: str, settings: Settings, work: StageWork,
    shelf: Shelf, resume: Path | None, facts: dict[str, Any], requests: StopRequests,
) -> StageModule:  # fmt: skip
    data = _data(processor, stage, settings, start=position_of(shelf, resume))
    if settings.training.speed.attention == VARLEN:
        check_documents(max(data.train_packs.num_branches(), PackDataset(data.validation_folder).num_branches()))
    steps = steps_of(stage, len(data.train_packs), name=name)
    data.total = steps * stage.packs_per_step
    telemetry = _telemetry(vlm, stage, settings, log=work.run.log_metrics)
    guard, speed = settings.training.guard, settings.training.speed
    module = StageModule(
        vlm, stage, name=name, steps=steps, log=work.run.log_metrics, speed=speed,
        guard=DivergenceGuard(spike_factor=guard.spike_factor, window=guard.window, skipped=shelf.skipped()),
        features=feature_cache(vlm, processor, settings, data=data, tower=facts["hashes"]["vision"])
        if speed.cache_features else None,
        apart=LossesApart(sources_of_pairs(settings.work_root / "curated")),
        log_every=settings.training.log_every,
    )  # fmt: skip
    module.seen = continued_samples(shelf, resume)
    log_packing(work, settings.work_root / "packs", stage)
    micro_batch, every = micro_batch_of(settings.training, stage), settings.training.checkpoint.every_steps
    keeper = CheckpointKeeper(shelf, every=every, micro_batch=micro_batch, facts=facts, requests=requests)
    trainer = make_trainer(settings, steps=steps, label=name, accumulate=accumulation(settings, stage),
                       clip=stage.clip, keeper=keeper, telemetry=telemetry)  # fmt: skip
    started = time.perf_counter()
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    seconds = time.perf_counter() - started
    merge_adapters(vlm)
    after = part_hashes(vlm.named_parameters(), part_of)
    check_frozen(facts["hashes"], after, trains=stage.trains, stage=name)
    trainer.validate(module, datamodule=data, verbose=False)
    seen = keeper.all_rows(trainer, module)
    _write_samples(work, seen)
    work.details |= {"steps": steps, "packs": len(seen), "part_hashes": after}
    work.details |= {"skipped_packs": shelf.skipped()} if shelf.skipped() else {}
    _log_end(work, module, seconds=seconds, steps=steps)
    return module


def _data(processor: Any, stage: Stage, settings: Settings, *, start: int = 0) -> PackDataModule:
    return PackDataModule(
        settings.work_root / "packs",
        mixture=stage.mixture,
        image_processor=processor.image_processor,
        pad_id=processor.tokenizer.pad_token_id,
        micro_batch=micro_batch_of(settings.training, stage),
        workers=settings.training.workers,
        seed=settings.seed,
        start=start,
        multiple=BUCKET if settings.training.speed.bucket_lengths else 1,
        masked=settings.training.speed.attention not in KERNELS,
        validation_packs=settings.training.validate_batches * micro_batch_of(settings.training, stage),
    )


def feature_cache(
    vlm: Any, processor: Any, settings: Settings, *, data: PackDataModule, tower: str
) -> FeatureCache:
    """Return the cache of a frozen tower's features; `tower` is the hash of its weights."""
    recipe = {
        "tower": tower,
        "preprocessing": processor.image_processor.to_json_string(),
        "feature_layer": vlm.config.vision_feature_layer,
        "feature_strategy": vlm.config.vision_feature_select_strategy,
        "precision": settings.training.precision,
        "attention": settings.training.speed.attention,
    }
    return FeatureCache(FEATURES, data.collator.pixels, recipe=recipe, rank=process_rank())


def _telemetry(vlm: Any, stage: Stage, settings: Settings, *, log: LogPoint) -> Telemetry:
    peak = settings.cluster.device.teraflops * 1e12
    every = settings.training.log_every
    return Telemetry(shape_of(vlm), trains=stage.trains, peak_flops=peak, log=log, every=every)


def steps_of(stage: Stage, packs: int, *, name: str) -> int:
    """Return a stage's optimiser steps; say on standard error when its passes are not whole steps."""
    steps = num_steps(packs, packs_per_step=stage.packs_per_step, epochs=stage.epochs, max_steps=stage.max_steps)
    over = packs_of_passes(packs, stage.epochs) - steps * stage.packs_per_step
    if over and steps != stage.max_steps and process_rank() == 0:
        what = f"the last {over} are left out" if over > 0 else f"{-over} are read again"
        print(
            f"{name}: {packs} packs x {stage.epochs:g} passes in steps of {stage.packs_per_step}: {what}",
            file=sys.stderr,
        )
    return steps


def accumulation(settings: Settings, stage: Stage) -> int:
    """Return the micro-batches an optimiser step joins, so that it reads `packs_per_step` on any device count.

    Raises:
        ConfigError: the packs of a step do not divide into whole micro-batches.
    """
    at_once = micro_batch_of(settings.training, stage) * settings.cluster.devices * settings.cluster.nodes
    if stage.packs_per_step % at_once:
        raise ConfigError(
            f"packs_per_step {stage.packs_per_step} is no multiple of micro_batch x devices x nodes = {at_once}",
            where="conf/recipe and conf/cluster",
            fix="gmai configure training.micro_batch=... (or micro_batch of the stage's row, where it has one)",
        )
    return stage.packs_per_step // at_once


def _note_rollback(run: StageRun, skipped: Mapping[str, Any]) -> None:
    """Log how often a stage went back, and why which pairs are left out: the shelf forgets it at the end."""
    run.log_metrics({"rollbacks": float(max(row["rollback"] for row in skipped.values()))})
    run.log_text(json.dumps(skipped, indent=2, ensure_ascii=False), "skipped_packs.json")


def _log_end(work: StageWork, module: StageModule, *, seconds: float, steps: int) -> None:
    rows = module.validation_losses
    total, count = over_ranks(module.trainer, [sum(row[0] for row in rows), sum(row[1] for row in rows)], "sum")
    if count:
        work.run.log_metrics({"validation_loss": total / count}, steps)
        work.details["validation_loss"] = round(total / count, 6)
    work.run.log_metrics({"seconds_training": seconds, "steps_per_second": steps / seconds}, steps)


def log_packing(work: StageWork, packs: Path, stage: Stage) -> None:
    """Log how full the stage's packs are and what share of their tokens is learned from, as they were made."""
    if metrics := packing_metrics(manifest_of(packs).get("details", {}), stage.mixture):
        work.run.log_metrics(metrics, 0)


def _write_samples(work: StageWork, seen: list[tuple[int, str]]) -> None:
    import pyarrow as pa

    schema = pa.schema([("step", pa.int64()), ("pack_id", pa.string())])
    write_table(work.scratch / "samples", ({"step": step, "pack_id": pack} for step, pack in seen), schema)


def _initialise_vision(vlm: Any, processor: Any, stage: Stage, settings: Settings, work: StageWork) -> None:
    from components.training.captions import load_texts
    from components.training.contrastive import ContrastiveModule, WordedImages, collate_worded

    attend(vlm, settings.training.speed.attention)
    row, mixture = stage.initialise_vision, settings.recipe.mixtures[stage.mixture]
    assert row is not None
    rows, texts = load_texts(settings.work_root, mixture, processor.tokenizer, seed=settings.seed)
    pixels = np.load(settings.work_root / "packs" / "images" / "pixels.npy", mmap_mode="r")
    images = WordedImages(pixels, rows, texts)
    train_only(vlm, ["vision", "projector"])
    module = ContrastiveModule(
        vlm,
        row,
        texts=images.distinct,
        normalise=functools.partial(normalised, processor.image_processor),
        seed=settings.seed,
        log=work.run.log_metrics,
    )
    loader = DataLoader(
        images,
        batch_size=row.batch_size,
        shuffle=True,
        drop_last=len(images) > row.batch_size,
        generator=torch.Generator().manual_seed(settings.seed),
        collate_fn=collate_worded,
    )
    make_trainer(settings, steps=row.steps, label="image encoder", clip=1.0).fit(module, loader)
    work.details["captions"] = len(images)
