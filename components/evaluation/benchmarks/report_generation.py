"""Reports of chest radiographs: IU X-ray and MIMIC-CXR in R2Gen's layout, or MedEvalKit's test.json.

R2Gen: annotation.json = {train, val, test: [{id, report, image_path [list]}]}, pictures below images/; of
MIMIC-CXR the first picture is shown, of IU X-ray all (R2Gen, modules/datasets.py). MedEvalKit: a list of {id,
image [list], findings, impression}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.errors import BenchmarkError
from components.evaluation.baselines import typical_caption
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
    as_asked,
    of_source,
)
from components.evaluation.metrics import coco_rouge_l, rouge_l
from components.evaluation.metrics_clinical import clinical_f1, corpus_clinical_f1
from components.evaluation.metrics_text import bleu, cider_d, corpus_bleu, meteor_exact_stem
from components.evaluation.rows import Row, find_pictures, read_json, read_json_rows, text_of
from components.records import stable_id

NAME = "report_generation"
PARTS = {"test": "test", "validation": "val", "train": "train"}
ROOTS = ("images", ".", "files")
MIMIC_PATIENT = re.compile(r"(?:^|/)p(\d{8})/")
WANTED = {"report": "Write the findings of this chest X-ray as a report.",
          "sections": "Write the findings and the impression of this chest X-ray as a report."}  # fmt: skip


def _read(folder: Path, split: str) -> Iterator[Question | Refused]:
    path = folder / "annotation.json"
    if not path.is_file():
        yield from (
            _question(folder, row, _sections(row), "sections") for row in read_json_rows(folder / "test.json")
        )
        return
    parts = read_json(path)
    if not isinstance(parts, dict) or PARTS[split] not in parts:
        raise BenchmarkError(f"no part {PARTS[split]!r}", where=str(path))
    yield from (_question(folder, row, text_of(row, "report"), "report") for row in parts[PARTS[split]])


def _sections(row: Row) -> str:
    findings, impression = text_of(row, "findings"), text_of(row, "impression")
    named = (("Findings", findings), ("Impression", impression))
    return " ".join(f"{name}: {text}" for name, text in named if text)


def _question(folder: Path, row: Row, report: str, form: str) -> Question | Refused:
    item_id, names = text_of(row, "id"), row.get("image_path") or row.get("image") or []
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    mimic = MIMIC_PATIENT.search(names[0]) if names else None
    pictures = find_pictures(folder, names[:1] if mimic else names, ROOTS, benchmark=NAME) if names else None
    if pictures is None:
        return Refused(item_id, "picture_missing")
    if not report:
        return Refused(item_id, "report_empty")
    item = Item(
        item_id=f"{NAME}/{item_id}", question="<image>\n" * len(pictures) + WANTED[form], gold=report,
        reference=report, record_ids=tuple(pictures), patient_key=stable_id(NAME, mimic[1] if mimic else item_id),
        modality="X-ray", department="Pulmonary Medicine", language="en", question_type="report", kind="report",
        source=NAME, facts=(("subset", "mimic_cxr" if mimic else "iu_xray"),),
    )  # fmt: skip
    return Question(item, pictures)


def _score(answer: Answer, item: Item) -> Judgement:
    text = answer.text.strip()
    scores = {
        "rouge_l": rouge_l(text, item.reference) if text else 0.0,
        "coco_rouge_l": coco_rouge_l(text, item.reference),
        **{f"bleu_{order}": bleu(text, item.reference, order=order) for order in range(1, 5)},
        "meteor_exact_stem": meteor_exact_stem(text, item.reference),
        "clinical_f1": clinical_f1(text, item.reference),
    }
    return Judgement(text, bool(text), scores)


def _texts(judged: Sequence[Judged]) -> tuple[list[str], list[str]]:
    return [row.answer.text.strip() for row in judged], [row.item.reference for row in judged]


def _bleu(order: int) -> CorpusMetric:
    return CorpusMetric(f"corpus_bleu_{order}", lambda judged: corpus_bleu(*_texts(judged), order=order))


def _cider(judged: Sequence[Judged]) -> float:
    return cider_d(*_texts(judged))


def _micro(judged: Sequence[Judged]) -> float:
    return corpus_clinical_f1(*_texts(judged), average="micro")


def _macro(judged: Sequence[Judged]) -> float:
    return corpus_clinical_f1(*_texts(judged), average="macro")


BENCHMARK = Benchmark(
    name=NAME,
    version=2,
    card=BenchmarkCard(
        title="Chest X-ray report generation",
        measures="ROUGE-L by two rules, BLEU-1 to 4 of sentences and of the corpus, "
        "METEOR (exact and stem), CIDEr-D, F1 of 14 findings by rule",
        dataset="IU X-ray or MIMIC-CXR, in R2Gen's split; or MedEvalKit's 296 IU X-ray studies",
        citation="layout: Chen et al., EMNLP 2020 (R2Gen), github.com/cuhksz-nlp/R2Gen; CIDEr: CVPR 2015",
        licence="IU X-ray CC BY-NC-ND 4.0; MIMIC-CXR needs PhysioNet credentials",
        known_limits="one reference; 122 of MedEvalKit's 296 IU reports hold XXXX where names were; the labeller "
        "is rules, not CheXbert: it agrees with 80 of 84 sentences labelled by hand for its test; METEOR has "
        "exact and stem matches only, for WordNet's synonyms are not in any package that this project installs; "
        "R2Gen's ROUGE-L is coco_rouge_l (beta 1.2), rouge_l is google-research's (beta 1)",
    ),
    answering="text",
    budget="captions",
    metrics=(
        "rouge_l",
        "coco_rouge_l",
        "bleu_1",
        "bleu_2",
        "bleu_3",
        "bleu_4",
        "meteor_exact_stem",
        "clinical_f1",
    ),
    corpus_metrics=(
        *(_bleu(order) for order in range(1, 5)),
        CorpusMetric("cider_d", _cider, high=10.0),
        CorpusMetric("clinical_micro_f1", _micro),
        CorpusMetric("clinical_macro_f1", _macro),
    ),
    takes=of_source(NAME),
    prompt=as_asked,
    score=_score,
    majority=typical_caption,
    publication=Publication(
        splits={
            "test": "official test part",
            "validation": "official validation part (R2Gen's layout only)",
            "train": "official training part (R2Gen's layout only)",
        },
        files={
            "test": ("annotation.json|test.json",),
            "validation": ("annotation.json",),
            "train": ("annotation.json",),
        },
        read=_read,
        obtain="take annotation.json and images/ as github.com/cuhksz-nlp/R2Gen describes (IU X-ray is open; "
        "MIMIC-CXR through https://physionet.org/content/mimic-cxr-jpg)",
    ),
)
