"""Captions of held-out images against the caption written from their annotations."""

from __future__ import annotations

from components.evaluation.baselines import typical_caption
from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    Item,
    Judgement,
    as_asked,
)
from components.evaluation.metrics import bleu_4, rouge_l


def _takes(item: Item) -> bool:
    return item.kind == "caption"


def _score(answer: Answer, item: Item) -> Judgement:
    text = answer.text.strip()
    scores = {
        "rouge_l": rouge_l(text, item.reference) if text else 0.0,
        "bleu_4": bleu_4(text, item.reference, item.language) if text else 0.0,
    }
    return Judgement(text, bool(text), scores)


BENCHMARK = Benchmark(
    name="captions",
    version=1,
    card=BenchmarkCard(
        title="Captions of held-out images",
        measures="mean ROUGE-L (F) and mean sentence BLEU-4 against one reference; Chinese by character",
        dataset="curated pairs of kind caption",
        citation="rouge-score (google-research), sacrebleu",
        licence="that of each source",
        known_limits="one reference; overlap of words is not clinical correctness",
    ),
    answering="text",
    budget="captions",
    metrics=("rouge_l", "bleu_4"),
    takes=_takes,
    prompt=as_asked,
    score=_score,
    majority=typical_caption,
)
