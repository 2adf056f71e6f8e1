"""The train command: load what the stage starts from, run it, check its contract, commit its checkpoint."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from components.errors import CheckpointError, ConfigError
from components.model.chat import TURN_END
from components.model.vision import normalised
from components.model.vlm import compose_vlm, count_parameters, load_vlm, part_of, save_vlm, train_only
from components.records import LANGUAGES
from components.settings import Settings, Stage
from components.tracking.stage import StageWork, open_stage
from components.tracking.tables import write_table
from components.training.datamodule import PackDataModule
from components.training.module import StageModule
from components.training.progress import StepProgress
from components.training.stages import check_frozen, find_stage, num_steps, part_hashes

Log = Callable[[dict[str, float], int], None]


def run_train(settings: Settings, name: str) -> None:
    """Run one row of the recipe and commit `models/<name>`, a folder that plain transformers loads."""
    stage = find_stage(settings.recipe, name)
    quieten()
    torch.set_num_threads(settings.cluster.threads)
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    packs = settings.work_root / "packs"
    with open_stage(
        f"train@{name}",
        settings,
        output=settings.work_root / "models" / name,
        inputs=[packs, Path(stage.starts_from)],
        sections=[f"recipe.stages.{name}", "model", "training", "cluster", "seed"],
    ) as work:
        vlm, processor = load_start(settings, stage)
        work.details["parameters"] = count_parameters(vlm)
        if stage.initialise_vision and not settings.model.vision.pretrained:
            _initialise_vision(vlm, processor, stage, settings, work)
        _train_on_packs(vlm, processor, stage, name=name, settings=settings, work=work)
        save_vlm(vlm, processor, work.scratch)
        work.count(read=work.details["packs"], kept=work.details["packs"])


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


def load_start(settings: Settings, stage: Stage) -> tuple[Any, Any]:
    """Load the model and processor that a stage starts from; a folder without weights gets a composed model."""
    from transformers import AutoProcessor

    folder = Path(stage.starts_from)
    if not folder.is_dir():
        raise CheckpointError("the folder this stage starts from is missing", where=str(folder), fix="dvc repro")
    if any(folder.glob("*.safetensors*")):
        loaded = load_vlm(folder)
        return loaded.model.train(), loaded.processor
    vlm = compose_vlm(settings.model, settings.packages_root, seed=settings.seed)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    vlm.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids(TURN_END)
    vlm.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return vlm.train(), processor


def _trainer(settings: Settings, *, steps: int, label: str, accumulate: int = 1, clip: float | None = None) -> Any:
    cluster, training = settings.cluster, settings.training
    return lightning.Trainer(
        accelerator=cluster.accelerator,
        devices=cluster.devices,
        num_nodes=cluster.nodes,
        strategy=cluster.strategy,
        precision=training.precision,
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=clip,
        limit_val_batches=training.validate_batches,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[StepProgress(label)],
    )


def _train_on_packs(
    vlm: Any, processor: Any, stage: Stage, *, name: str, settings: Settings, work: StageWork
) -> None:
    data = PackDataModule(
        settings.work_root / "packs",
        mixture=stage.mixture,
        image_processor=processor.image_processor,
        pad_id=processor.tokenizer.pad_token_id,
        micro_batch=settings.training.micro_batch,
        workers=settings.training.workers,
        seed=settings.seed,
    )
    steps = num_steps(
        len(data.train_packs),
        packs_per_step=stage.packs_per_step,
        epochs=stage.epochs,
        max_steps=stage.max_steps,
    )
    accumulate = accumulation(settings, stage)
    module = StageModule(vlm, stage, name=name, steps=steps, log=work.run.log_metrics)
    before = part_hashes(vlm.named_parameters(), part_of)
    trainer = _trainer(settings, steps=steps, label=name, accumulate=accumulate, clip=stage.clip)
    started = time.perf_counter()
    trainer.fit(module, train_dataloaders=None, datamodule=data)
    seconds = time.perf_counter() - started
    after = part_hashes(vlm.named_parameters(), part_of)
    check_frozen(before, after, trains=stage.trains, stage=name)
    trainer.validate(module, datamodule=data, verbose=False)
    _write_samples(work, module.seen)
    work.details |= {"steps": steps, "packs": len(module.seen), "part_hashes": after}
    _log_end(work, module, seconds=seconds, steps=steps)


def accumulation(settings: Settings, stage: Stage) -> int:
    """Return the micro-batches an optimiser step joins, so that it reads `packs_per_step` on any device count.

    Raises:
        ConfigError: the packs of a step do not divide into whole micro-batches.
    """
    at_once = settings.training.micro_batch * settings.cluster.devices * settings.cluster.nodes
    if stage.packs_per_step % at_once:
        raise ConfigError(
            f"packs_per_step {stage.packs_per_step} is no multiple of micro_batch x devices x nodes = {at_once}",
            where="conf/recipe and conf/cluster",
            fix="gmai configure training.micro_batch=...",
        )
    return stage.packs_per_step // at_once


def _log_end(work: StageWork, module: StageModule, *, seconds: float, steps: int) -> None:
    total = sum(loss for loss, _ in module.validation_losses)
    count = sum(number for _, number in module.validation_losses)
    if count:
        work.run.log_metrics({"validation_loss": total / count}, steps)
        work.details["validation_loss"] = round(total / count, 6)
    work.run.log_metrics({"seconds_training": seconds, "steps_per_second": steps / seconds}, steps)


def _write_samples(work: StageWork, seen: list[tuple[int, str]]) -> None:
    import pyarrow as pa

    schema = pa.schema([("step", pa.int64()), ("pack_id", pa.string())])
    write_table(work.scratch / "samples", ({"step": step, "pack_id": pack} for step, pack in seen), schema)


def _initialise_vision(vlm: Any, processor: Any, stage: Stage, settings: Settings, work: StageWork) -> None:
    from components.training.captions import load_captions
    from components.training.contrastive import CaptionedImages, ContrastiveModule, collate_captions

    packs = settings.work_root / "packs"
    row = stage.initialise_vision
    assert row is not None
    ratios = settings.recipe.mixtures[stage.mixture].languages
    languages = [language for language in LANGUAGES if ratios.get(language, 1.0) >= 1.0]  # ty: ignore[no-matching-overload]
    rows, captions = load_captions(settings.work_root, stage.mixture, processor.tokenizer, languages=languages)
    images = CaptionedImages(np.load(packs / "images" / "pixels.npy", mmap_mode="r"), rows, captions)
    train_only(vlm, ["vision", "projector"])
    module = ContrastiveModule(
        vlm,
        row,
        captions=captions,
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
        collate_fn=functools.partial(collate_captions, pad_id=processor.tokenizer.pad_token_id),
    )
    _trainer(settings, steps=row.steps, label="image encoder", clip=1.0).fit(module, loader)
    work.details["captions"] = len(images)
