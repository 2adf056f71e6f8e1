"""What training answers most, for questions answered in words: the prior that a model must beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from components.evaluation.items import Answer, Item, Responder


def most_frequent_answer(train: Iterable[Item]) -> Responder:
    """Answer with the gold answer that training gave most often: to this type of question in this language.

    Falls back to the language as a whole, then to the first option, then to nothing. Among options only an
    option is answered.
    """
    by_type: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for item in train:
        kind = str(bool(item.options))
        by_type[item.question_type, kind, item.language][item.gold] += 1
        by_type[kind, item.language][item.gold] += 1

    def respond(item: Item) -> Answer:
        kind = str(bool(item.options))
        counts = by_type.get((item.question_type, kind, item.language)) or by_type[kind, item.language]
        allowed = [gold for gold in counts if not item.options or gold in item.options] or list(item.options[:1])
        best = min(allowed, key=lambda gold: (-counts[gold], gold), default="")
        return Answer(best, choice=item.options.index(best) if item.options else None)

    return respond
