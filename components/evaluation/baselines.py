"""Answers without a model: what training answered most, the mean box, the most typical caption, chance.

They are learned on the training split alone and look at no image; a model that does not beat them has learned
the prior and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from components.evaluation.answers import write_boxes
from components.evaluation.items import Answer, Item, Responder
from components.evaluation.metrics import overlap_f1, tokenise
from components.records import Box, stable_id

MEDOID_CANDIDATES = 60
MEDOID_PEERS = 200


def most_frequent_option(train: Iterable[Item]) -> Responder:
    """Answer with the option that was gold most often in training for this question type and language."""
    seen: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for item in train:
        seen[item.question_type, item.language][item.gold] += 1

    def respond(item: Item) -> Answer:
        counts = seen[item.question_type, item.language]
        best = max(range(len(item.options)), key=lambda index: (counts[item.options[index]], -index))
        return Answer(item.options[best], choice=best)

    return respond


def mean_box(train: Iterable[Item]) -> Responder:
    """Answer with the mean of the training boxes, corner by corner."""
    boxes = [box for item in train for box in item.boxes]
    number = max(len(boxes), 1)
    left, top, right, bottom = (sum(box[side] for box in boxes) / number for side in range(4))
    mean: Box = (left, top, right, bottom)
    text = f"<box> {write_boxes([mean])}</box>" if boxes else ""
    return lambda item: Answer(text)


def typical_caption(train: Iterable[Item]) -> Responder:
    """Answer with the training caption most like the others in its language (the most frequent, if repeated)."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for item in train:
        texts[item.language].append(item.reference)
    typical = {language: medoid(found) for language, found in texts.items()}
    return lambda item: Answer(typical.get(item.language, ""))


def medoid(texts: Sequence[str]) -> str:
    """Return the most frequent text if it is over 1 % of all, else the one nearest in words to a sample."""
    (most, times), *_ = sorted(Counter(texts).items(), key=lambda row: (-row[1], row[0]))
    if times > 1 and times > len(texts) / 100:
        return most
    ranked = sorted(set(texts), key=lambda text: stable_id("medoid", text))
    peers = [tokenise(text) for text in ranked[:MEDOID_PEERS]]
    candidates = ranked[:MEDOID_CANDIDATES]
    return max(candidates, key=lambda text: (sum(overlap_f1(tokenise(text), peer) for peer in peers), text))


def random_answer(seed: int, train: Iterable[Item] = ()) -> Responder:
    """Answer with an option drawn by the hash of seed and item; without options, with a training answer so drawn.

    A training answer is one in the item's language, to its type of question where training has any, as training
    wrote it (a box in its form). "" when training has none in the language.
    """
    answers: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in train:
        answers[item.language, item.question_type].append(item.reference)
        answers[(item.language,)].append(item.reference)

    def respond(item: Item) -> Answer:
        drawn = int(stable_id("random", seed, item.item_id), 16)
        if item.options:
            index = drawn % len(item.options)
            return Answer(item.options[index], choice=index)
        known = answers.get((item.language, item.question_type)) or answers.get((item.language,)) or [""]
        return Answer(known[drawn % len(known)])

    return respond
