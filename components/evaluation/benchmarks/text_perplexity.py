"""How well medical text is predicted without an image: perplexity, and bits per byte, of held-out passages.

Text files (one passage a paragraph) or JSON lines with "text". A passage longer than WORDS words is cut, so
that it fits the model whole. An exact perplexity needs the engine's log-probabilities, end mark included.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from components.evaluation.items import (
    Answer,
    Benchmark,
    BenchmarkCard,
    CorpusMetric,
    Item,
    Judged,
    Judgement,
    Publication,
    Question,
    Refused,
    Responder,
    as_asked,
    of_source,
)
from components.evaluation.metrics_text import bits_per_byte, perplexity
from components.evaluation.rows import read_json_lines, text_of
from components.records import NOT_STATED, stable_id

NAME = "text_perplexity"
WORDS = 160
LEAST_WORDS = 5
QUESTION = "Write a passage of medical text."


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    for path in sorted([*folder.glob(f"{split}*.jsonl"), *folder.glob(f"{split}*.txt")]):
        for number, passage in enumerate(_passages(path)):
            for part, text in enumerate(_pieces(passage)):
                yield _question(f"{path.name}#{number}.{part}", text, document=f"{path.name}#{number}")


def _passages(path: Path) -> Iterator[str]:
    if path.suffix == ".jsonl":
        yield from (text_of(row, "text") for row in read_json_lines(path))
    else:
        yield from (" ".join(block.split()) for block in path.read_text(encoding="utf-8").split("\n\n"))


def _pieces(passage: str) -> Iterator[str]:
    """Cut by words, or by characters where words are not spaced (Chinese)."""
    words = passage.split() if " " in passage else list(passage)
    joint = " " if " " in passage else ""
    yield from (joint.join(words[i : i + WORDS]) for i in range(0, max(len(words), 1), WORDS))


def _question(item_id: str, text: str, *, document: str) -> Question | Refused:
    is_chinese = any("\u3400" <= character <= "\u9fff" for character in text)
    if len(text if is_chinese else text.split()) < LEAST_WORDS:
        return Refused(item_id, "passage_too_short")
    item = Item(
        item_id=f"{NAME}/{item_id}", question=QUESTION, gold=text, reference=text, record_ids=(),
        patient_key=stable_id(NAME, document), modality=NOT_STATED, department=NOT_STATED,
        language="zh" if is_chinese else "en", question_type="passage", kind="text_only", source=NAME,
    )  # fmt: skip
    return Question(item, {})


def _score(answer: Answer, item: Item) -> Judgement:
    known = answer.num_tokens > 0
    return Judgement("", known, {"mean_token_probability": math.exp(answer.log_probability) if known else 0.0})


def _numbers(judged: Sequence[Judged]) -> tuple[list[float], list[int]]:
    return [row.answer.log_probability for row in judged], [row.answer.num_tokens for row in judged]


def _perplexity(judged: Sequence[Judged]) -> float:
    return perplexity(*_numbers(judged))


def _bits(judged: Sequence[Judged]) -> float:
    return bits_per_byte(*_numbers(judged), [row.item.reference for row in judged])


def _nothing(train: Iterable[Item]) -> Responder:
    return lambda item: Answer("")


BENCHMARK = Benchmark(
    name=NAME,
    version=1,
    card=BenchmarkCard(
        title="Perplexity of medical text",
        measures="geometric mean of a token's probability; perplexity and bits per byte of the corpus",
        dataset="any folder of text files named by split",
        citation="this project; bits per byte as in lm-evaluation-harness",
        licence="that of the text",
        known_limits="perplexity depends on the tokeniser (bits per byte does not); no majority baseline exists",
    ),
    answering="likelihood",
    budget="captions",
    metrics=("mean_token_probability",),
    corpus_metrics=(
        CorpusMetric("perplexity", _perplexity, low=1.0, high=math.inf, greater_is_better=False),
        CorpusMetric("bits_per_byte", _bits, high=math.inf, greater_is_better=False),
    ),
    takes=of_source(NAME),
    prompt=as_asked,
    score=_score,
    majority=_nothing,
    publication=Publication(
        splits={"test": "files whose name begins with test", "validation": "files that begin with validation"},
        files={split: (f"{split}*.jsonl|{split}*.txt",) for split in ("test", "validation")},
        read=_read,
        obtain="put test.txt (passages parted by empty lines) or test.jsonl ({'text': …} lines) in the folder",
    ),
)
