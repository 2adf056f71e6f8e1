"""Scores of texts against one reference: short answers by their words, long ones by n-grams.

Words are those of `metrics.tokenise` (lower case; Chinese by character), for every metric but LLaVA-Med's. All
lie in 0-1 and are better when greater, but CIDEr-D (0-10) and perplexity (from 1, better when smaller).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from components.evaluation.answers import llava_med_normalise, normalise_short
from components.evaluation.metrics import tokenise

MAX_ORDER = 4
CIDER_SIGMA = 6.0
Gram = tuple[str, ...]


def exact_match(predicted: str, gold: str) -> float:
    """Return 1.0 when both short answers are the same after normalising (articles, case, number words)."""
    return float(bool(normalise_short(gold)) and normalise_short(predicted) == normalise_short(gold))


def _bags(predicted: str, gold: str) -> tuple[Counter[str], Counter[str]]:
    return Counter(tokenise(normalise_short(predicted))), Counter(tokenise(normalise_short(gold)))


def token_recall(predicted: str, gold: str) -> float:
    """Return the share of the gold answer's words that the answer has, none counted oftener than it is said."""
    said, wanted = _bags(predicted, gold)
    return (said & wanted).total() / wanted.total() if wanted else 0.0


def token_f1(predicted: str, gold: str) -> float:
    """Return F1 of the two bags of words (SQuAD's rule, Rajpurkar et al. 2016)."""
    said, wanted = _bags(predicted, gold)
    total = said.total() + wanted.total()
    return 2 * (said & wanted).total() / total if total else 0.0


def llava_med_recall(predicted: str, gold: str) -> float:
    """Return the recall that LLaVA-Med prints for open questions (calculate_f1score in evaluate_metrics.py).

    A word of both texts counts as often as the ANSWER has it, so saying "left left left" for "left lung" gives
    3/4 where the share of the gold that was said is 1/2. `token_recall` is the one without this fault. Chinese
    is one word a sentence there; so it is here.
    """
    said = Counter(llava_med_normalise(predicted.lower()).split())
    wanted = Counter(llava_med_normalise(gold.lower()).split())
    hits = sum(number for word, number in said.items() if word in wanted)
    misses = sum(number for word, number in wanted.items() if word not in said)
    return hits / (hits + misses) if hits else 0.0


@cache
def _sentence_bleu(order: int) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(max_ngram_order=order, tokenize="none", effective_order=True, smooth_method="exp")


@cache
def _corpus_bleu(order: int) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(max_ngram_order=order, tokenize="none", smooth_method="none")


def bleu(predicted: str, reference: str, *, order: int) -> float:
    """Return sacrebleu's sentence BLEU of this order (effective order, exponential smoothing), on our words."""
    words = " ".join(tokenise(predicted)), " ".join(tokenise(reference))
    return _share(_sentence_bleu(order).sentence_score(words[0], [words[1]])) if words[0] else 0.0


def corpus_bleu(predicted: Sequence[str], references: Sequence[str], *, order: int) -> float:
    """Return BLEU over a corpus: counts are added up before they are divided, as R2Gen's pycocoevalcap does."""
    said = [" ".join(tokenise(text)) for text in predicted]
    wanted = [" ".join(tokenise(text)) for text in references]
    return _share(_corpus_bleu(order).corpus_score(said, [wanted])) if any(said) else 0.0


def _share(score: Any) -> float:
    return min(float(score.score) / 100.0, 1.0)  # equal texts give 100.00000000000004


class _NoSynonyms:
    """Stands in for WordNet, which would have to be downloaded."""

    def synsets(self, word: str) -> list[Any]:
        return []


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def meteor_exact_stem(predicted: str, reference: str) -> float:
    """Return METEOR with exact and stem matches only (nltk, alpha 0.9, beta 3, gamma 0.5).

    Not comparable with METEOR as pycocoevalcap prints it: that one has WordNet synonyms, paraphrases and tuned
    weights. Hence the name.
    """
    from nltk.translate.meteor_score import single_meteor_score

    said, wanted = tokenise(predicted), tokenise(reference)
    if not said or not wanted:
        return 0.0
    return float(single_meteor_score(wanted, said, stemmer=_stemmer(), wordnet=_NoSynonyms()))  # ty: ignore


def _grams(text: str, order: int) -> Counter[Gram]:
    words = tokenise(text)
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def cider_d(predicted: Sequence[str], references: Sequence[str]) -> float:
    """Return CIDEr-D of a corpus with one reference each, 0-10 (Vedantam et al., CVPR 2015, equations 1-3, 7).

    Document frequencies are those of the references of this very corpus, so values from different corpora, or
    subsets, are not compared; one item alone has none (its value is 0). Counts of an answer are clipped to
    the reference's, and a Gaussian of the difference in length (sigma 6) is laid over.
    """
    if not references:
        return math.nan
    scores = np.zeros(len(references))
    for order in range(1, MAX_ORDER + 1):
        wanted = [_grams(text, order) for text in references]
        rarity = _rarity(wanted)
        for index, (text, gold) in enumerate(zip(predicted, wanted, strict=True)):
            lengths = len(tokenise(text)) - len(tokenise(references[index]))
            scores[index] += _cider_similarity(_grams(text, order), gold, rarity, len(references), lengths)
    return float(10.0 * scores.mean() / MAX_ORDER)


def _rarity(documents: Sequence[Counter[Gram]]) -> dict[Gram, float]:
    """Return each n-gram's weight: log of the number of documents over the number that have it."""
    seen = Counter(gram for document in documents for gram in document)
    return {gram: math.log(len(documents)) - math.log(number) for gram, number in seen.items()}


def _cider_similarity(
    said: Counter[Gram], gold: Counter[Gram], rarity: dict[Gram, float], documents: int, lengths: int
) -> float:
    unseen = math.log(documents)
    weights_said = {gram: number * rarity.get(gram, unseen) for gram, number in said.items()}
    weights_gold = {gram: number * rarity[gram] for gram, number in gold.items()}
    size = math.hypot(*weights_said.values()) * math.hypot(*weights_gold.values())
    if not size:
        return 0.0
    shared = sum(
        min(value, weights_gold[g]) * weights_gold[g] for g, value in weights_said.items() if g in weights_gold
    )
    return shared / size * math.exp(-(lengths**2) / (2 * CIDER_SIGMA**2))


def perplexity(log_probabilities: Sequence[float], num_tokens: Sequence[int]) -> float:
    """Return the perplexity of a corpus: each text's mean log-probability (nats) weighted by its tokens."""
    total = sum(num_tokens)
    if not total:
        return math.nan
    return math.exp(-sum(mean * n for mean, n in zip(log_probabilities, num_tokens, strict=True)) / total)


def bits_per_byte(log_probabilities: Sequence[float], num_tokens: Sequence[int], texts: Sequence[str]) -> float:
    """Return bits per UTF-8 byte: unlike perplexity, comparable between tokenisers."""
    size = sum(len(text.encode()) for text in texts)
    nats = -sum(mean * n for mean, n in zip(log_probabilities, num_tokens, strict=True))
    return nats / math.log(2) / size if size else math.nan
