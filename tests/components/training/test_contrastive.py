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
    ContrastiveModule,
    TextEmbedding,
    WordedImages,
    augmented,
    collate_worded,
    sigmoid_loss,
)
from components.training.stages import part_hashes


def test_the_loss_is_siglips_by_hand():
    images = texts = torch.eye(2)
    scale, bias = torch.tensor(math.log(2.0)), torch.tensor(-1.0)
    # Matching logits are 2 - 1 = 1, the others -1: each of the four terms is log(1 + e^-1).
    value = sigmoid_loss(images, texts, torch.eye(2, dtype=torch.bool), scale, bias)
    assert float(value) == pytest.approx(4 * math.log1p(math.exp(-1)) / 2)


def test_images_with_equal_words_share_a_text():
    chest, brain = ((5, 6), (7,)), ((8,),)
    data = WordedImages(np.zeros((3, 4, 4, 3), np.uint8), [0, 1, 2], [chest, brain, chest])
    assert data.numbers == [0, 1, 0] and data.distinct == [chest, brain]
    assert collate_worded([data[0], data[1], data[2]])["texts"].tolist() == [0, 1, 0]


def test_a_text_is_the_mean_of_its_phrases_whatever_their_length():
    embedding = torch.eye(4)
    text = TextEmbedding(embedding, [((0, 1), (2,)), ((3,), (2,))])
    centre = torch.tensor([0.5, 0.5, 2, 1]) / 4
    expected = torch.tensor([[0.25, 0.25, 0.5, 0], [0, 0, 0.5, 0.5]]) - centre
    assert torch.allclose(text(torch.tensor([0, 1])), expected) and float(text.norm()) == 1.0


def test_augmentation_is_decided_by_its_generator_and_never_mirrors():
    pixels = torch.linspace(0, 1, 32).expand(1, 3, 32, 32).contiguous()
    first, again = (augmented(pixels, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, pixels)
    for seed in range(20):
        changed = augmented(pixels, torch.Generator().manual_seed(seed))
        assert changed[..., 16:].mean() > changed[..., :16].mean()


def test_tower_and_projector_learn_to_match_and_the_language_model_stays(vlm, processor):
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 255, (8, 1, 1, 3))
    pixels = (colours + generator.integers(0, 20, (8, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    data = WordedImages(pixels, list(range(8)), [((10 + number,), (60,)) for number in range(8)])
    row = VisionInitialisation(steps=30, batch_size=8, learning_rate=2e-3, warmup_steps=2, weight_decay=0.0)
    points: list[float] = []
    train_only(vlm, ["vision", "projector"])
    module = ContrastiveModule(
        vlm, row, texts=data.distinct, seed=1,
        normalise=functools.partial(normalised, processor.image_processor),
        log=lambda point, step: points.append(point["contrastive_loss"]),
    )  # fmt: skip
    before = part_hashes(vlm.named_parameters(), part_of)
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=row.steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=8, collate_fn=collate_worded))
    after = part_hashes(vlm.named_parameters(), part_of)
    assert points[-1] < 0.7 * points[0]
    assert {part for part in before if before[part] != after[part]} == {"vision", "projector"}
