"""A CLIP-style scorer as a baseline: which option's text lies nearest to the picture, with nothing learned here.

Any CLIP (Radford et al. 2021, arXiv 2103.00020) or SigLIP (Zhai et al. 2023, arXiv 2303.15343) in transformers'
form serves, if its text side is there. An option is read as "option. question"; the option stands first because
the text side cuts what is too long. The probability of an option is the softmax over the options of the scaled
cosine, averaged over an item's pictures. It answers a benchmark only if each of its items has options and a
picture.

N pictures or texts, D the shared width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from components.errors import CheckpointError, ConfigError
from components.evaluation.exams import IMAGE_MARK, Exam
from components.evaluation.items import Answer, Item
from components.quality.pictures import open_rgb
from components.settings import Settings

ZERO_SHOT = "zero_shot"
TOWER = "tower"
IMAGE_PROCESSORS = {"clip": "CLIPImageProcessorPil", "siglip": "SiglipImageProcessorPil"}
AT_ONCE = 32
Row = TypeVar("Row")


@dataclass(frozen=True)
class TwoSides:
    """A model with an image side and a text side, and what prepares their inputs."""

    model: Any
    tokenizer: Any
    image_processor: Any
    family: str

    @torch.no_grad()
    def encode_pictures(self, pictures: Sequence[bytes]) -> torch.Tensor:
        """Return unit vectors (N, D), float32 on the CPU."""
        found = [self._image_features(part).cpu() for part in _parts(pictures)]
        return torch.nn.functional.normalize(torch.cat(found).float(), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit vectors (N, D), float32 on the CPU."""
        found = [self._text_features(part).cpu() for part in _parts(texts)]
        return torch.nn.functional.normalize(torch.cat(found).float(), dim=-1)

    def _image_features(self, pictures: Sequence[bytes]) -> torch.Tensor:
        pixels = self.image_processor([open_rgb(content) for content in pictures], return_tensors="pt")
        return _pooled(self.model.get_image_features(pixel_values=pixels["pixel_values"].to(self.model.device)))

    def _text_features(self, texts: Sequence[str]) -> torch.Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        padding = "max_length" if self.family == "siglip" else True  # SigLIP was trained on padded texts alone
        ids = self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.model.device)
        mask = {} if self.family == "siglip" else {"attention_mask": ids["attention_mask"]}
        return _pooled(self.model.get_text_features(input_ids=ids["input_ids"], **mask))

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by before the softmax."""
        return math.exp(float(self.model.logit_scale.detach()))


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    yield from (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


def _pooled(features: Any) -> torch.Tensor:
    """Return the projected features; transformers 5 wraps them, 4 gave them bare."""
    return getattr(features, "pooler_output", features)


def place_of(settings: Settings) -> str:
    """Return the folder or hub name that the settings mean; "tower" is the model's own pretrained tower.

    Raises:
        ConfigError: the model's tower is a fresh one.
    """
    wanted = settings.evaluation.zero_shot
    if wanted != TOWER:
        return wanted
    if not settings.model.vision.pretrained:
        raise ConfigError(
            "zero_shot: tower, but the model's tower is not a pretrained one", where="evaluation.zero_shot",
            fix="name a folder, or set model.vision.pretrained",
        )  # fmt: skip
    return settings.model.vision.pretrained


def load_two_sides(place: str, *, revision: str = "", device: str = "cpu") -> TwoSides:
    """Load a model from this disk (a folder, or a hub name that was fetched before) onto a device.

    Raises:
        CheckpointError: there is none, or it has no text side.
    """
    import transformers

    named = {"local_files_only": True, "revision": revision or "main"}
    try:
        config = transformers.AutoConfig.from_pretrained(place, **named)
        family = config.model_type
        if family not in IMAGE_PROCESSORS:
            raise CheckpointError(
                f"a {family} has no text side that can be compared", where=place, fix="name a CLIP or a SigLIP"
            )
        model = transformers.AutoModel.from_pretrained(place, use_safetensors=True, **named).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **named)
        images = getattr(transformers, IMAGE_PROCESSORS[family]).from_pretrained(place, **named)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"no CLIP or SigLIP with its text side: {error}", where=place) from error
    return TwoSides(model.to(device), tokenizer, images, family)


def answer_zero_shot(sides: TwoSides, exams: Sequence[Exam], images: Mapping[str, bytes]) -> list[str]:
    """Fill in this baseline's answers where it can answer every item; return the benchmarks' names."""
    answered = []
    for exam in exams:
        if all(len(item.options) > 1 and item.record_ids for item in exam.items):
            exam.answers[ZERO_SHOT] = list(_answers(sides, exam.items, images))
            answered.append(exam.benchmark.name)
    return answered


def _answers(sides: TwoSides, items: Sequence[Item], images: Mapping[str, bytes]) -> Iterator[Answer]:
    names = sorted({name for item in items for name in item.record_ids})
    texts = sorted({text for item in items for text in option_texts(item)})
    pictures_ND = dict(zip(names, sides.encode_pictures([images[name] for name in names]), strict=True))
    texts_ND = dict(zip(texts, sides.encode_texts(texts), strict=True))
    for item in items:
        shown = torch.stack([pictures_ND[name] for name in item.record_ids])
        offered = torch.stack([texts_ND[text] for text in option_texts(item)])
        yield _choose(item, (sides.scale * shown @ offered.T).mean(0).double().numpy())


def option_texts(item: Item) -> list[str]:
    """Return what stands for each option on the text side."""
    question = IMAGE_MARK.sub("", item.question).strip()
    return [f"{option}. {question}" for option in item.options]


def _choose(item: Item, logits: np.ndarray) -> Answer:
    weights = np.exp(logits - logits.max())
    shares = tuple(float(share) for share in weights / weights.sum())
    best = int(np.argmax(logits))
    return Answer(item.options[best], choice=best, confidence=shares[best], shares=shares)
