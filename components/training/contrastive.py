"""Contrastive initialisation of a fresh image encoder, before the projector of stage I is trained.

SigLIP's sigmoid loss (Zhai et al. 2023, arXiv 2303.15343, equation 1) between images and the texts of the training
split. Slices of one volume share a text, so a batch is held against its distinct texts and not against one text
an image. The text side is the mean of the language model's frozen token embeddings, the image side the mean of
the projected image tokens, drawn onto it by its cosine as well (the sigmoid loss alone only orders images by
likeness): encoder and projector end where the language model keeps the words, and stage I goes on from there.

Few patients are seen, so images are varied as patients and scanners do (place, size, light, sharpness, noise);
measured on held-out patients, the modality was read off 0.65 of the images instead of 0.49. They are never
mirrored, because left and right carry meaning.

B images a batch, G distinct texts, D shared width, S image side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from components.model.vlm import project, vision_features
from components.settings import VisionInitialisation
from components.training.captions import Text
from components.training.module import ClippedByNorm, with_schedule

NORM_WEIGHT = 1.0
ANCHOR_WEIGHT = 1.0
BLURRED_SIDES = (16, 24, 32, 48, 64, 96, 128)  # pixels; a blur is as if the image had been taken at that side


class TextEmbedding(nn.Module):
    """Distinct texts as centred means of the language model's own token embeddings: numbers (B,) -> (B, D).

    A phrase is the mean of its tokens and a text the mean of its phrases. Nothing here learns, so the images are
    drawn to where the language model already keeps the words.
    """

    def __init__(self, embedding: torch.Tensor, texts: Sequence[Text]) -> None:
        super().__init__()
        frozen = embedding.detach()
        phrases = {phrase: frozen[list(phrase)].mean(0) for text in texts for phrase in text}
        means = torch.stack([torch.stack([phrases[phrase] for phrase in text]).mean(0) for text in texts])
        centre = torch.stack([phrases[phrase] for text in texts for phrase in text]).mean(0)
        self.register_buffer("table", means - centre)
        self.register_buffer("length", frozen.norm(dim=-1).mean())

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Look up texts by number."""
        assert isinstance(self.table, torch.Tensor)
        return self.table[numbers]

    def norm(self) -> torch.Tensor:
        """Return the mean norm of a token embedding, which projected image tokens are held to."""
        assert isinstance(self.length, torch.Tensor)
        return self.length


def sigmoid_loss(
    images: torch.Tensor, texts: torch.Tensor, matches: torch.Tensor, scale: Any, bias: Any
) -> torch.Tensor:
    """SigLIP's loss over all pairs of a batch's images and texts.

    Args:
        images: (B, D), any norm. texts: (G, D), any norm.
        matches: (B, G) bool, true where image i and text j belong together.
        scale: logarithm of the temperature's inverse. bias: added to every logit.
    """
    logits = functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    logits = logits * scale.exp() + bias
    signs = matches.to(logits.dtype) * 2 - 1
    return -functional.logsigmoid(signs * logits).sum() / len(images)


def augmented(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary images (B, 3, S, S) of values 0 to 1 in place, size, light, sharpness and noise; never mirrored.

    Turned by up to 14 degrees, sized by 0.6 to 1.65, stretched by 15 %, shifted by 15 %; gamma 0.6 to 1.65; half
    of a batch at a coarser resolution; noise of up to 6 % of the range.
    """

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(len(pixels), generator=generator) * (high - low) + low

    angle, size, stretch = uniform(-0.25, 0.25), uniform(-0.5, 0.5).exp(), uniform(-0.15, 0.15).exp()
    rows = [angle.cos() * size * stretch, -angle.sin() * size, uniform(-0.3, 0.3)]
    rows += [angle.sin() * size, angle.cos() * size / stretch, uniform(-0.3, 0.3)]
    grid = functional.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    light = moved.clamp(1e-3, 1) ** uniform(-0.5, 0.5).exp().view(-1, 1, 1, 1)
    light = light * uniform(0.6, 1.3).view(-1, 1, 1, 1) + uniform(-0.15, 0.15).view(-1, 1, 1, 1)
    light = _blurred(light, uniform(0, 1) < 0.5, generator)
    noise = torch.randn(light.shape, generator=generator) * uniform(0, 0.06).view(-1, 1, 1, 1)
    return light + noise


def _blurred(images: torch.Tensor, chosen: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    side = BLURRED_SIDES[int(torch.randint(len(BLURRED_SIDES), (1,), generator=generator))]
    if side >= images.shape[-1] or not chosen.any():
        return images
    coarse = functional.interpolate(images[chosen], size=(side, side), mode="area")
    fine = functional.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return images.index_put((chosen,), fine)


class WordedImages(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
    """Stored pixels and the number of their text among the `distinct` ones."""

    def __init__(self, pixels: np.ndarray, rows: Sequence[int], texts: Sequence[Text]) -> None:
        self.pixels, self.rows = pixels, rows
        numbers: dict[Text, int] = {}
        self.numbers = [numbers.setdefault(text, len(numbers)) for text in texts]
        self.distinct = list(numbers)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.pixels[self.rows[index]], self.numbers[index]


class ContrastiveModule(ClippedByNorm):
    """Train a LLaVA's vision tower and projector with the sigmoid loss against text embeddings."""

    def __init__(
        self,
        vlm: Any,
        row: VisionInitialisation,
        *,
        texts: Sequence[Text],
        normalise: Callable[[Any], torch.Tensor],
        seed: int,
        log: Callable[[dict[str, float], int], None],
    ) -> None:
        super().__init__()
        self.vision, self.projector = vlm.model.vision_tower, vlm.model.multi_modal_projector
        self.text = TextEmbedding(vlm.get_input_embeddings().weight, texts)
        self.scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))
        self.row, self.normalise, self.log_point = row, normalise, log
        self.generator = torch.Generator().manual_seed(seed)
        self._vlm = [vlm]  # in a list, so that Lightning does not count the language model as ours

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """One step over a batch of images and the numbers of their texts."""
        varied = augmented(batch["pixels"].permute(0, 3, 1, 2) / 255, self.generator)
        pixels = self.normalise(varied.permute(0, 2, 3, 1) * 255)
        tokens = project(self._vlm[0], vision_features(self._vlm[0], pixels))
        numbers = batch["texts"]
        distinct = numbers.unique()
        matches = numbers[:, None] == distinct[None, :]
        loss = sigmoid_loss(tokens.mean(1), self.text(distinct), matches, self.scale, self.bias)
        length = self.text.norm()
        stray = ((tokens.norm(dim=-1) - length) / length).square().mean()
        apart = (1 - functional.cosine_similarity(tokens.mean(1), self.text(numbers), dim=-1)).mean()
        self.log_point(
            {"contrastive_loss": float(loss.detach()), "contrastive_distance": float(apart.detach())},
            self.global_step,
        )
        return loss + NORM_WEIGHT * stray + ANCHOR_WEIGHT * apart

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay."""
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            learning, lr=self.row.learning_rate, weight_decay=self.row.weight_decay, fused=True
        )
        return with_schedule(
            optimizer,
            steps=self.row.steps,
            warmup_ratio=self.row.warmup_steps / self.row.steps,
            schedule="cosine",
        )


def collate_worded(items: list[tuple[np.ndarray, int]]) -> dict[str, torch.Tensor]:
    """Stack images: pixels (B, S, S, 3) uint8 and the numbers of their texts (B,)."""
    return {
        "pixels": torch.from_numpy(np.stack([pixels for pixels, _ in items])),
        "texts": torch.as_tensor([number for _, number in items]),
    }
