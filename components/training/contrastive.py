"""Contrastive initialisation of a fresh image encoder, before the projector of stage I is trained.

SigLIP's sigmoid loss (Zhai et al. 2023, arXiv 2303.15343, equation 1) between images and their texts of the
training split. Texts that say the same count as matches of each other, since slices of one volume share
captions. The text side is the mean of the language model's frozen token embeddings, the image side the mean of
the projected image tokens, drawn onto it by its cosine as well (the sigmoid loss alone only orders images by
likeness): encoder and projector end where the language model keeps the words, and stage I goes on from there.
Images are shifted, scaled and re-lit at random, never mirrored, because left and right carry meaning.

B images (and captions) a batch, L tokens, D shared width, S image side.
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
from components.training.module import ClippedByNorm, with_schedule

MAX_TOKENS = 64
NORM_WEIGHT = 1.0
ANCHOR_WEIGHT = 1.0


class CaptionEmbedding(nn.Module):
    """A text as the centred mean of the language model's own token embeddings: (B, L) -> (B, D).

    Nothing here learns, so the images are drawn to where the language model already keeps the words. A token
    weighs the square root of log(1 + texts / texts that hold it), so that what sets images apart counts for more.
    """

    def __init__(self, embedding: torch.Tensor, captions: Sequence[Sequence[int]]) -> None:
        super().__init__()
        tokens = torch.as_tensor([token for caption in captions for token in caption[:MAX_TOKENS]])
        holders = torch.as_tensor([token for caption in captions for token in set(caption[:MAX_TOKENS])])
        times = torch.bincount(holders, minlength=len(embedding)).clamp(min=1)
        self.register_buffer("embedding", embedding.detach().clone())
        self.register_buffer("centre", embedding.detach()[tokens].mean(0))
        self.register_buffer("weight", (1 + len(captions) / times).log().sqrt())

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embed token ids (B, L) with mask (B, L), true where there is text."""
        assert isinstance(self.embedding, torch.Tensor) and isinstance(self.centre, torch.Tensor)
        assert isinstance(self.weight, torch.Tensor)
        weight = self.weight[ids] * mask
        values = (self.embedding[ids] - self.centre) * weight.unsqueeze(-1)
        return values.sum(1) / weight.sum(1, keepdim=True)

    def norm(self) -> torch.Tensor:
        """Return the mean norm of a token embedding, which projected image tokens are held to."""
        assert isinstance(self.embedding, torch.Tensor)
        return self.embedding.norm(dim=-1).mean()


def sigmoid_loss(
    images: torch.Tensor, texts: torch.Tensor, matches: torch.Tensor, scale: Any, bias: Any
) -> torch.Tensor:
    """SigLIP's loss over all pairs of a batch.

    Args:
        images: (B, D), any norm. texts: (B, D), any norm.
        matches: (B, B) bool, true where image i and text j belong together.
        scale: logarithm of the temperature's inverse. bias: added to every logit.
    """
    logits = functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    logits = logits * scale.exp() + bias
    signs = matches.to(logits.dtype) * 2 - 1
    return -functional.logsigmoid(signs * logits).sum() / len(images)


def augmented(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Scale (0.8-1.2), shift (up to 10 %), and re-light images (B, 3, S, S); no mirroring, no colour swap."""
    count = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(0.8, 1.2)
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-0.2, 0.2), uniform(-0.2, 0.2)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    contrast, light = uniform(0.7, 1.3).view(-1, 1, 1, 1), uniform(-0.2, 0.2).view(-1, 1, 1, 1)
    return moved * contrast + light


class CaptionedImages(torch.utils.data.Dataset[tuple[np.ndarray, Sequence[int], int]]):
    """Stored pixels, a caption's token ids, and a number that equal captions share."""

    def __init__(self, pixels: np.ndarray, rows: Sequence[int], captions: Sequence[Sequence[int]]) -> None:
        self.pixels, self.rows, self.captions = pixels, rows, captions
        numbers: dict[tuple[int, ...], int] = {}
        self.groups = [numbers.setdefault(tuple(caption), len(numbers)) for caption in captions]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Sequence[int], int]:
        return self.pixels[self.rows[index]], self.captions[index][:MAX_TOKENS], self.groups[index]


class ContrastiveModule(ClippedByNorm):
    """Train a LLaVA's vision tower and projector with the sigmoid loss against caption embeddings."""

    def __init__(
        self,
        vlm: Any,
        row: VisionInitialisation,
        *,
        captions: Sequence[Sequence[int]],
        normalise: Callable[[Any], torch.Tensor],
        seed: int,
        log: Callable[[dict[str, float], int], None],
    ) -> None:
        super().__init__()
        self.vision, self.projector = vlm.model.vision_tower, vlm.model.multi_modal_projector
        self.text = CaptionEmbedding(vlm.get_input_embeddings().weight, captions)
        self.scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))
        self.row, self.normalise, self.log_point = row, normalise, log
        self.generator = torch.Generator().manual_seed(seed)
        self._vlm = [vlm]  # in a list, so that Lightning does not count the language model as ours

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """One step over a batch of images and captions."""
        pixels = augmented(self.normalise(batch["pixels"]), self.generator)
        tokens = project(self._vlm[0], vision_features(self._vlm[0], pixels))
        texts = self.text(batch["ids"], batch["mask"])
        matches = batch["groups"][:, None] == batch["groups"][None, :]
        loss = sigmoid_loss(tokens.mean(1), texts, matches, self.scale, self.bias)
        length = self.text.norm()
        stray = ((tokens.norm(dim=-1) - length) / length).square().mean()
        apart = (1 - functional.cosine_similarity(tokens.mean(1), texts, dim=-1)).mean()
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


def collate_captions(
    items: list[tuple[np.ndarray, Sequence[int], int]], *, pad_id: int
) -> dict[str, torch.Tensor]:
    """Pad captions and stack images: pixels (B, S, S, 3) uint8, ids and mask (B, L), groups (B,)."""
    length = max(len(caption) for _, caption, _ in items)
    ids = torch.full((len(items), length), pad_id)
    mask = torch.zeros(len(items), length, dtype=torch.bool)
    for row, (_, caption, _) in enumerate(items):
        ids[row, : len(caption)] = torch.as_tensor(list(caption))
        mask[row, : len(caption)] = True
    return {
        "pixels": torch.from_numpy(np.stack([pixels for pixels, _, _ in items])),
        "ids": ids,
        "mask": mask,
        "groups": torch.as_tensor([group for _, _, group in items]),
    }
