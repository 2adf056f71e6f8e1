"""What a stage's model answers to a few validation items, as one page of pictures for the stage's run.

The items are chosen by their place in the validation packs alone, the answers are greedy, and every random
generator is put back where it was, so a stage ends in the same bytes with and without them.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.model.packing import PREFIX_BRANCH, Pack
from components.model.vision import normalised
from components.model.vlm import VLM, project, vision_features
from components.training.datamodule import PackDataModule
from components.training.resume import random_state, restore_random_state
from components.training.stored_packs import PackDataset

ANSWER_TOKENS = 32
PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px sans-serif;margin:2em}} article{{display:flex;gap:1em;margin:0 0 1.5em}}
img{{height:12em;image-rendering:pixelated}} dt{{color:#666}} dd{{margin:0 0 .5em}}</style>
<h1>{title}</h1>
{rows}
"""


@dataclass(frozen=True, slots=True)
class SampleItem:
    """One conversation up to its first answer, as token ids, and the rows of the image store it is about."""

    prompt: tuple[int, ...]
    gold: tuple[int, ...]
    images: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnsweredItem:
    """What a person compares: pictures (S, S, 3) uint8, question, right answer, the model's."""

    pictures: tuple[np.ndarray, ...]
    question: str
    gold: str
    answer: str


def choose_items(packs: PackDataset, count: int, *, image_token: int, image_tokens: int) -> list[SampleItem]:
    """Return at most `count` items, evenly spaced over the packs, each another conversation of its pack."""
    places = np.unique(np.linspace(0, len(packs) - 1, min(count, len(packs))).round().astype(int))
    return [
        item_of(packs[int(place)][1], number, image_token=image_token, image_tokens=image_tokens)
        for number, place in enumerate(places)
    ]


def item_of(pack: Pack, number: int, *, image_token: int, image_tokens: int) -> SampleItem:
    """Take one conversation out of a pack again (`number` counts them, from the first again after the last)."""
    starts = [
        (segment, branch)
        for segment in range(int(pack.segments.max()) + 1)
        for branch in range(1, int(pack.branches[pack.segments == segment].max()) + 1)
    ]
    segment, branch = starts[number % len(starts)]
    mine = (pack.segments == segment) & ((pack.branches == PREFIX_BRANCH) | (pack.branches == branch))
    ids, supervised = pack.ids[mine], pack.supervised[mine]
    first = int(np.argmax(supervised))
    last = first + int(np.argmin(np.append(supervised[first:], False)))
    before, here = (int((pack.ids[where] == image_token).sum()) for where in (pack.segments < segment, mine))
    images = pack.images[before // image_tokens : (before + here) // image_tokens]
    return SampleItem(tuple(ids[:first].tolist()), tuple(ids[first:last].tolist()), images)


def answer_samples(model: Any, processor: Any, data: PackDataModule, count: int) -> list[AnsweredItem]:
    """Let a whole model answer items of the validation packs; model and random generators stay as they were."""
    packs = PackDataset(data.validation_folder)
    if not len(packs):
        return []
    vlm, config = VLM(model, processor), model.config
    items = choose_items(packs, count, image_token=config.image_token_index, image_tokens=vlm.image_tokens)
    with _as_it_was(model):
        return [_answered(vlm, item, data.collator.pixels) for item in items]


@contextmanager
def _as_it_was(model: Any) -> Any:
    state, training = random_state(), model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        restore_random_state(state)


def _answered(vlm: VLM, item: SampleItem, store: np.ndarray) -> AnsweredItem:
    import torch

    pictures = tuple(np.asarray(store[image]) for image in item.images)
    features = None
    with torch.no_grad():
        if pictures:
            pixels = normalised(vlm.processor.image_processor, np.stack(pictures)).to(vlm.model.device)
            features = project(vlm.model, vision_features(vlm.model, pixels))
        answer = vlm.continue_from(list(item.prompt), features, max_new_tokens=ANSWER_TOKENS)
    question = [token for token in item.prompt if token != vlm.model.config.image_token_index]
    texts = [vlm.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in (question, item.gold)]
    return AnsweredItem(pictures, *texts, answer)


def samples_page(items: Iterable[AnsweredItem], *, title: str) -> str:
    """Return one page that needs nothing beside it: pictures inside, texts escaped."""
    return PAGE.format(title=html.escape(title), rows="\n".join(_row(item) for item in items))


def _row(item: AnsweredItem) -> str:
    said = (("question", item.question), ("right answer", item.gold), ("the model's answer", item.answer))
    words = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in said)
    return f"<article>{_images(item.pictures)}<dl>{words}</dl></article>"


def _images(pictures: Sequence[np.ndarray]) -> str:
    from PIL import Image

    tags = []
    for picture in pictures:
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG")
        tags.append(f'<img alt="" src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">')
    return "".join(tags)
