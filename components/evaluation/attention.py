"""Where the model looks: attention to image tokens as a heat map over the picture, and whether it hits the box.

Two methods, both from the position that predicts the answer's first token. Rollout (Abnar & Zuidema 2020, arXiv
2005.00928) multiplies the layers' mean attention with the residual added. Gradient-weighted attention (Chefer,
Gur & Wolf 2021, arXiv 2103.15679) keeps only attention that raises the log-probability of that token. A map
points right when its greatest cell's centre lies in a gold box (the pointing game, Zhang et al. 2016, arXiv
1608.00507); chance is the share of cells that do. A box that holds no cell's centre cannot be hit: such items are
counted and left out.

L tokens, T image tokens (a square of G x G cells), H heads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from components.evaluation.exams import MODEL, Exam, cluster_of
from components.evaluation.items import Answer, Item
from components.evaluation.sampling import in_turn
from components.evaluation.statistics import cluster_interval, paired_difference
from components.model.chat import TURN_END
from components.quality.pictures import GOLD_COLOUR, data_uri, draw_boxes, open_rgb, png_bytes

if TYPE_CHECKING:
    from components.model.vlm import VLM
    from components.records import Box
    from components.settings import HeatMaps

ROLLOUT, GRADIENT = "attention rollout", "gradient-weighted attention"
SEVERAL, SMALL = "several pictures in one question", "no cell's centre lies in the box"
HEAT_SHARE = 0.5
Array = np.ndarray


@dataclass(frozen=True)
class HeatMap:
    """One item's map by one method; `pointing` and `chance` are None where the item has no gold box.

    `picture` is "" for a map that is measured and not shown.
    """

    benchmark: str
    item_id: str
    method: str
    question: str
    answer: str
    gold: str
    picture: str
    pointing: bool | None
    chance: float | None
    cluster: str


@dataclass(frozen=True)
class Looked:
    """The maps, and what was not mapped: `left_out` holds a number by reason, or under "refused" a sentence."""

    maps: list[HeatMap]
    left_out: dict[str, int | str]


@dataclass(frozen=True)
class Chosen:
    """One item to map: its answer, its gold boxes (or none), and whether its picture stands in the report."""

    item: Item
    answer: Answer
    boxes: tuple[Box, ...]
    is_drawn: bool


def look(vlm: VLM, exams: Sequence[Exam], images: Mapping[str, bytes], *, wanted: HeatMaps) -> Looked:
    """Make both maps of some items with one image: those with a gold box first, and a few without.

    Refused, with the reason, where a picture's tokens are no one square. The model's attention is computed plainly
    from here on.
    """
    if refusal := why_no_maps(vlm):
        return Looked([], {"refused": refusal})
    vlm.model.set_attn_implementation("eager")  # the fused kinds do not give their weights out
    side, maps, left_out = math.isqrt(vlm.image_tokens), list[HeatMap](), Counter[str]()
    for exam in exams:
        left_out.update(unmeasured(exam, side))
        for one in chosen_items(exam, side, wanted):
            maps += _maps(vlm, exam, one, images)
    return Looked(maps, dict(sorted(left_out.items())))


def why_no_maps(vlm: VLM) -> str:
    """Say why no map can be laid over this model's pictures, or ""."""
    if vlm.max_tiles > 1:
        return f"the model cuts a picture into up to {vlm.max_tiles} squares, so its tokens are no one grid"
    if math.isqrt(vlm.image_tokens) ** 2 != vlm.image_tokens:
        return f"{vlm.image_tokens} tokens an image are no square"
    return ""


def boxes_of(exam: Exam, item: Item) -> tuple[Box, ...]:
    """Return the gold boxes of what an item asks about: its answer's, else those its record states."""
    return item.boxes or exam.boxes.get(item.item_id, ())


def unmeasured(exam: Exam, side: int) -> dict[str, int]:
    """Count, by reason, the items with a gold box on which pointing cannot be measured."""
    boxed = [item for item in exam.items if boxes_of(exam, item)]
    several = sum(len(item.record_ids) > 1 for item in boxed)
    small = sum(len(item.record_ids) == 1 and not cells_inside(boxes_of(exam, item), side).any() for item in boxed)
    return {name: number for name, number in ((SEVERAL, several), (SMALL, small)) if number}


def chosen_items(exam: Exam, side: int, wanted: HeatMaps) -> list[Chosen]:
    """Choose items with one image: the named ones, then boxed ones in turn over patients, then a few others."""
    rows = [
        row for row in zip(exam.items, exam.answers.get(MODEL, ()), strict=False) if len(row[0].record_ids) == 1
    ]
    boxes = {item.item_id: boxes_of(exam, item) for item, _ in rows}
    named = [row for row in rows if row[0].item_id in wanted.items]
    rest = [row for row in rows if row[0].item_id not in wanted.items]
    fit = [row for row in rest if boxes[row[0].item_id] and cells_inside(boxes[row[0].item_id], side).any()]
    boxed = in_turn(list(_by_patient(fit).values()))[: wanted.boxed]
    others = [row for row in rest if not boxes[row[0].item_id]][: wanted.others]
    shown = {item.item_id for item, _ in (*named, *boxed[: wanted.drawn], *others)}
    return [
        Chosen(item, answer, boxes[item.item_id], item.item_id in shown)
        for item, answer in (*named, *boxed, *others)
    ]


def _by_patient(rows: Iterable[tuple[Item, Answer]]) -> dict[str, list[tuple[Item, Answer]]]:
    found: dict[str, list[tuple[Item, Answer]]] = {}
    for row in rows:
        found.setdefault(cluster_of(row[0]), []).append(row)
    return found


def _maps(vlm: VLM, exam: Exam, one: Chosen, images: Mapping[str, bytes]) -> Iterator[HeatMap]:
    item, answer = one.item, one.answer
    content = images[item.record_ids[0]]
    rollout, gradient = attention_maps(vlm, content, exam.benchmark.prompt(item), answer.text)
    for method, cells in ((ROLLOUT, rollout), (GRADIENT, gradient)):
        inside = cells_inside(one.boxes, len(cells)) if one.boxes else None
        yield HeatMap(
            exam.benchmark.name, item.item_id, method, item.question.replace("<image>", "").strip(), answer.text,
            item.gold, data_uri(draw_heat(content, cells, one.boxes)) if one.is_drawn else "",
            is_pointing(cells, inside), None if inside is None else float(inside.mean()), cluster_of(item),
        )  # fmt: skip


def attention_maps(vlm: VLM, image: bytes, prompt: str, answer: str) -> tuple[Array, Array]:
    """Return rollout and gradient-weighted attention to the image's cells, (G, G) each, both from 0 to 1."""
    ids = torch.tensor([vlm.prompt_ids(prompt, 1)], device=vlm.model.device)
    spot = (ids[0] == vlm.model.config.image_token_index).nonzero()[:, 0]
    target = vlm.tokenizer.encode(answer + TURN_END, add_special_tokens=False)[0]
    with torch.enable_grad():
        embeddings = vlm.embed(ids, vlm.encode_images([open_rgb(image)])).detach().requires_grad_(True)
        output = vlm.model.model.language_model(
            inputs_embeds=embeddings, use_cache=False, output_attentions=True, return_dict=True
        )
        logprobs = vlm.model.lm_head(output.last_hidden_state[:, -1]).float().log_softmax(-1)
        gradients = torch.autograd.grad(logprobs[0, target], output.attentions)
    weights = [layer[0].detach().float() for layer in output.attentions]
    slopes = [layer[0].float() for layer in gradients]
    raised = [(weight * slope).clamp(min=0).mean(0) for weight, slope in zip(weights, slopes, strict=True)]
    side = math.isqrt(len(spot))
    maps = (rollout_of([weight.mean(0) for weight in weights]), relevance_of(raised))
    first, second = (_scaled(whole[-1, spot].reshape(side, side).cpu().numpy()) for whole in maps)
    return first, second


def rollout_of(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply the layers' attention (L, L), half of it the residual."""
    whole = torch.eye(layers[0].shape[0], device=layers[0].device)
    for layer in layers:
        whole = (0.5 * layer + 0.5 * torch.eye(len(layer), device=layer.device)) @ whole
    return whole


def relevance_of(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum up relevance over layers: R becomes R + A R, with A the attention that raises the answer."""
    whole = torch.eye(layers[0].shape[0], device=layers[0].device)
    for layer in layers:
        whole = whole + layer @ whole
    return whole


def _scaled(cells: Array) -> Array:
    spread = float(cells.max() - cells.min())
    return (cells - cells.min()) / spread if spread > 0 else np.zeros_like(cells)


def cells_inside(boxes: Sequence[Box], side: int) -> Array:
    """Mark the cells (side, side) whose centre lies in a box (0-1)."""
    centres = (np.arange(side) + 0.5) / side
    inside = np.zeros((side, side), dtype=bool)
    for left, top, right, bottom in boxes:
        rows, columns = (centres >= top) & (centres <= bottom), (centres >= left) & (centres <= right)
        inside |= rows[:, None] & columns[None, :]
    return inside


def is_pointing(cells: Array, inside: Array | None) -> bool | None:
    """Say whether the greatest cell is inside; None without boxes. A flat map points nowhere."""
    if inside is None:
        return None
    return bool(cells.max() > 0 and inside.flat[int(cells.argmax())])


def draw_heat(image: bytes, cells: Array, boxes: Sequence[Box]) -> bytes:
    """Lay the map in red over the picture, gold boxes drawn, as PNG."""
    from PIL import Image

    picture = open_rgb(image)
    heat = Image.fromarray((cells * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    red = Image.new("RGB", picture.size, (255, 0, 0))
    mask = heat.point([round(value * HEAT_SHARE) for value in range(256)])
    return png_bytes(draw_boxes(Image.composite(red, picture, mask), [(boxes, GOLD_COLOUR)]))


def pointing_rows(maps: Sequence[HeatMap], *, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return by method how often maps point into the box, with interval, chance, and the test against it.

    {} when no item drawn has a box with a cell's centre in it.
    """
    found: dict[str, dict[str, Any]] = {}
    for method in (ROLLOUT, GRADIENT):
        rows = [one for one in maps if one.method == method and one.chance]
        if rows:
            hits, chances = [float(bool(one.pointing)) for one in rows], [one.chance or 0.0 for one in rows]
            clusters = [one.cluster for one in rows]
            lead = paired_difference(hits, chances, clusters, resamples=resamples, seed=seed)
            found[method] = {
                **{name: value if isinstance(value, int) else round(value, 6)
                   for name, value in asdict(cluster_interval(hits, clusters)).items()},
                "chance": round(float(np.mean(chances)), 6), "p": round(lead.p, 6),
            }  # fmt: skip
    return found
