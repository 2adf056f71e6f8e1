import functools
import math

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from components.model.vision import normalised
from components.model.vlm import part_of, train_only
from components.settings import VisionInitialisation
from components.training.contrastive import (
    CaptionedImages,
    ContrastiveModule,
    augmented,
    collate_captions,
    sigmoid_loss,
)
from components.training.stages import part_hashes


def test_the_loss_is_siglips_by_hand():
    images = texts = torch.eye(2)
    scale, bias = torch.tensor(math.log(2.0)), torch.tensor(-1.0)
    # Matching logits are 2 - 1 = 1, the others -1: each of the four terms is log(1 + e^-1).
    value = sigmoid_loss(images, texts, torch.eye(2, dtype=torch.bool), scale, bias)
    assert float(value) == pytest.approx(4 * math.log1p(math.exp(-1)) / 2)


def test_equal_captions_are_matches_of_each_other():
    data = CaptionedImages(np.zeros((3, 4, 4, 3), np.uint8), [0, 1, 2], [[5, 6], [7], [5, 6]])
    assert data.groups == [0, 1, 0]
    batch = collate_captions([data[0], data[1], data[2]], pad_id=9)
    assert batch["ids"].tolist() == [[5, 6], [7, 9], [5, 6]]
    assert batch["mask"].tolist() == [[True, True], [True, False], [True, True]]


def test_augmentation_is_decided_by_its_generator_and_never_mirrors():
    pixels = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32).contiguous()
    first, again = (augmented(pixels, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, pixels)
    for seed in range(20):
        changed = augmented(pixels, torch.Generator().manual_seed(seed))
        assert changed[..., 16:].mean() > changed[..., :16].mean()


def test_tower_and_projector_learn_to_match_and_the_language_model_stays(vlm, processor):
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 255, (8, 1, 1, 3))
    pixels = (colours + generator.integers(0, 20, (8, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    data = CaptionedImages(pixels, list(range(8)), [[10 + number, 60] for number in range(8)])
    row = VisionInitialisation(steps=30, batch_size=8, learning_rate=2e-3, warmup_steps=2, weight_decay=0.0)
    points: list[float] = []
    train_only(vlm, ["vision", "projector"])
    module = ContrastiveModule(
        vlm, row, captions=data.captions, seed=1,
        normalise=functools.partial(normalised, processor.image_processor),
        log=lambda point, step: points.append(point["contrastive_loss"]),
    )  # fmt: skip
    before = part_hashes(vlm.named_parameters(), part_of)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=row.steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=8, collate_fn=functools.partial(collate_captions, pad_id=0)))
    after = part_hashes(vlm.named_parameters(), part_of)
    assert points[-1] < 0.7 * points[0]
    assert {part for part in before if before[part] != after[part]} == {"vision", "projector"}
