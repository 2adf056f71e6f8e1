import math

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch

from components.errors import TrainingError
from components.model.packing import make_segments, pack_segments
from components.model.vision import num_image_tokens
from components.model.vlm import compose_vlm, part_of
from components.settings import Stage
from components.training.datamodule import Collator, PackDataModule
from components.training.module import StageModule, pack_losses
from components.training.stages import check_frozen, part_hashes
from tests.components.training.conftest import conversations
from tests.fakes.models import EVERY_FAMILY, family_name, tiny_model


def stage(**changes) -> Stage:
    row = {
        "trains": ("projector",), "starts_from": "x", "mixture": "instruction", "learning_rate": 3e-3,
        "schedule": "constant", "warmup_ratio": 0.0, "weight_decay": 0.0, "clip": 1.0, "packs_per_step": 2,
        "epochs": 1.0, "max_steps": 0,
    }  # fmt: skip
    return Stage(**{**row, **changes})


def data_module(folder, processor, *, micro_batch=2, workers=0):
    return PackDataModule(
        folder, mixture="instruction", image_processor=processor.image_processor,
        pad_id=processor.tokenizer.pad_token_id, micro_batch=micro_batch, workers=workers, seed=1,
    )  # fmt: skip


def fit(vlm, row, folder, processor, *, steps=6):
    points = []
    module = StageModule(vlm, row, name="test", steps=steps, log=lambda point, step: points.append((step, point)))
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, gradient_clip_val=row.clip, logger=False, barebones=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data_module(folder, processor))
    return module, points


@pytest.mark.parametrize("model", EVERY_FAMILY, ids=family_name)
def test_a_conversations_loss_in_a_pack_is_its_loss_alone(model, processor):
    vlm = compose_vlm(model, "unused", seed=2).eval()
    tokens = num_image_tokens(model.vision)
    rows = conversations(processor, image_tokens=tokens)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    collate = Collator(pixels, processor.image_processor, pad_id=0)
    module = StageModule(vlm, stage(), name="t", steps=1, log=lambda *_: None)

    def losses(items) -> list[float]:
        batch = collate([(str(number), pack) for number, pack in enumerate(items)])
        with torch.no_grad():
            return pack_losses(vlm, batch, image_features=module.image_features(batch)).tolist()

    alone = []
    for image in range(3):
        for number, row in enumerate(rows):
            [segment] = make_segments([(str(number), row)], [image], max_length=400)
            alone.extend(losses(list(pack_segments([segment], max_length=400))))
    shared = [
        next(make_segments([(f"{image}-{n}", row) for n, row in enumerate(rows)], [image], max_length=400))
        for image in range(3)
    ]
    together = losses(list(pack_segments(shared, max_length=700)))
    assert len(alone) == len(together) > 20
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_loss_is_transformers_own_loss_on_one_unpacked_conversation(vlm, processor):
    vlm.eval()
    [row, *_] = conversations(processor, image_tokens=num_image_tokens(tiny_model().vision))
    pixels = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), dtype=np.uint8)
    [segment] = make_segments([("a", row)], [0], max_length=400)
    batch = Collator(pixels, processor.image_processor, pad_id=0)(
        [("p", pack) for pack in pack_segments([segment], max_length=400)]
    )
    labels = torch.tensor([[t if s else -100 for t, s in zip(row.ids, row.supervised, strict=True)]])
    module = StageModule(vlm, stage(), name="t", steps=1, log=lambda *_: None)
    with torch.no_grad():
        theirs = vlm(input_ids=torch.tensor([row.ids]), pixel_values=batch.pixels, labels=labels).loss
        ours = pack_losses(vlm, batch, image_features=module.image_features(batch)).mean()
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.parametrize("trains", [("projector",), ("projector", "vision"), ("projector", "vision", "language")])
def test_only_the_rows_parts_change_and_the_loss_falls(trains, vlm, packs_folder, processor):
    before = part_hashes(vlm.named_parameters(), part_of)
    _, points = fit(vlm, stage(trains=trains, learning_rate=1e-2), packs_folder, processor, steps=12)
    after = part_hashes(vlm.named_parameters(), part_of)
    check_frozen(before, after, trains=trains, stage="test")
    assert points[-1][1]["loss"] < points[0][1]["loss"]
    assert {name.removeprefix("gradient_norm_") for name in points[0][1] if "norm" in name} == set(trains)


def test_each_step_is_logged_once_with_its_learning_rate(vlm, packs_folder, processor):
    row = stage(schedule="cosine", warmup_ratio=0.5)
    module, points = fit(vlm, row, packs_folder, processor, steps=4)
    assert [step for step, _ in points] == [0, 1, 2, 3]
    assert points[0][1]["learning_rate"] == pytest.approx(row.learning_rate / 2)
    assert {step for step, _ in module.seen} == {0, 1, 2, 3}


@pytest.mark.parametrize("fault", ["rate", "state"])
def test_an_optimiser_off_its_schedule_or_not_fresh_is_refused(fault, vlm, packs_folder, processor, monkeypatch):
    configure = StageModule.configure_optimizers

    def spoiled(module):
        made = configure(module)
        optimizer = made["optimizer"]
        if fault == "rate":
            optimizer.param_groups[-1]["lr"] *= 1.01
        else:
            parameter = optimizer.param_groups[0]["params"][0]
            optimizer.state[parameter]["step"] = torch.zeros(())
            monkeypatch.setattr(optimizer, "step", lambda closure: closure())
        return made

    monkeypatch.setattr(StageModule, "configure_optimizers", spoiled)
    wanted = "learning rates at step 0" if fault == "rate" else "not fresh"
    with pytest.raises(TrainingError, match=wanted):
        fit(vlm, stage(), packs_folder, processor, steps=1)


def test_two_runs_give_the_same_bytes(packs_folder, processor):
    def final():
        vlm = compose_vlm(tiny_model(), "unused", seed=5)
        fit(vlm, stage(trains=("projector", "language")), packs_folder, processor, steps=3)
        return part_hashes(vlm.named_parameters(), part_of)

    assert final() == final()


def test_a_loss_that_is_not_finite_names_the_packs(vlm, packs_folder, processor):
    with torch.no_grad():
        vlm.model.multi_modal_projector.linear_2.bias.fill_(math.nan)
    with pytest.raises(TrainingError, match="loss is nan at step 0") as error:
        fit(vlm, stage(), packs_folder, processor, steps=1)
    assert "packs" in error.value.where


def test_ranks_read_disjoint_packs_that_cover_the_set(packs_folder, processor):
    class Ranks:
        world_size = 2

        def __init__(self, rank):
            self.global_rank = rank

    seen = []
    for rank in (0, 1):
        data = data_module(packs_folder, processor, micro_batch=1)
        data.trainer = Ranks(rank)
        seen.append([batch.pack_ids[0] for batch in data.train_dataloader()])
    assert not set(seen[0]) & set(seen[1])
    assert set(seen[0]) | set(seen[1]) == {
        pack_id for pack_id, _ in map(data.train_packs.__getitem__, range(len(data.train_packs)))
    }


def test_padding_does_not_change_a_packs_loss(vlm, packs_folder, processor):
    data = data_module(packs_folder, processor)
    module = StageModule(vlm.eval(), stage(), name="t", steps=1, log=lambda *_: None)
    short, full = data.train_packs[len(data.train_packs) - 1], data.train_packs[0]
    with torch.no_grad():
        alone = data.collator([short])
        both = data.collator([short, full])
        first = pack_losses(vlm, alone, image_features=module.image_features(alone))
        second = pack_losses(vlm, both, image_features=module.image_features(both))
    assert torch.allclose(first, second[: len(first)], atol=1e-5)
