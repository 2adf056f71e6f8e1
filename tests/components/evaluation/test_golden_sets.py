"""A small set of answers for every benchmark, with every number that it prints worked out by hand.

`test_no_number_is_left_out` fails when a benchmark gets a metric that no hand has computed. The items come from
the fakes in their published layouts, those of the corpus's own benchmarks from hand-made items.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from components.evaluation.catalog import load_benchmarks
from components.evaluation.items import Answer, Item, Judged
from components.evaluation.probes import make_probes
from components.evaluation.published import load_published
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.items import make_item

BENCHMARKS = load_benchmarks()
E = math.exp(1)
NOT_KNOWN = math.nan  # answers in words have no confidence
LUNG = (("label", "lung"),)


def own_items() -> dict[str, Item]:
    """Items of the corpus's own benchmarks, by a short name."""
    presence = [make_item(item_id=f"p-{gold}", gold=gold, facts=LUNG) for gold in ("no", "yes")]
    second = make_item(item_id="q-no", gold="no", facts=LUNG)
    side = make_item(item_id="s", question_type="side", options=("left", "right"), gold="left", facts=LUNG)
    probes = {probe.item_id: probe for probe in make_probes([*presence, second, side])}
    return probes | {
        "box": make_item(question_type="box", options=(), boxes=((0.0, 0.0, 0.5, 0.5),)),
        "caption": make_item(kind="caption", options=(), reference="An axial CT image of the chest."),
        "closed": make_item(options=("CT", "MR"), gold="MR"),
    }


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    found = own_items()
    for name, write in LAYOUTS.items():
        loaded = load_published(BENCHMARKS[name], write(tmp_path_factory.mktemp(name)))
        found |= {item.item_id: item for item in loaded.items}
    for item in list(found.values()):
        if item.source == "detection":
            kind = "boxed" if item.boxes else "none"
            found[f"detection/{kind}"] = item
        if item.source == "diagnosis":
            found[f"diagnosis/{item.question_type}={item.gold}"] = item
    return found


SIZE = len(b"The liver lies below the right lung.")
GOLDEN: dict[str, tuple[list[tuple[str, Answer]], dict[str, float]]] = {
    "boxes": (
        [("box", Answer("<box> [[0.00, 0.00, 0.50, 0.30]]</box>")), ("box", Answer("nothing"))],
        {"mean_iou": 0.6 / 2, "iou_at_50": 1 / 2},
    ),
    # LCS 4 of 4 and 7 words; BLEU on 5 and 8 tokens: 5/5, 3/4, 2/3, 1/2, too short by exp(1 - 8/5)
    "captions": (
        [("caption", Answer("An axial CT image.")), ("caption", Answer(""))],
        {"rouge_l": 8 / 11 / 2, "bleu_4": (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4) * E ** (1 - 8 / 5) / 2},
    ),
    "closed_questions": (
        [("closed", Answer("MR", choice=1, confidence=0.7)), ("closed", Answer("MR image.")),
         ("closed", Answer("?"))],
        {"accuracy": 2 / 3, "expected_calibration_error": 0.3},
    ),
    # 11: yes; 12: closed, not yes/no; 13: 1 of 3 words, said three times; 14: a number
    "vqa_rad": (
        [
            ("vqa_rad/11", Answer("Yes, there is.")), ("vqa_rad/12", Answer("axial")),
            ("vqa_rad/13", Answer("right right right")), ("vqa_rad/14", Answer("two")),
        ],
        {
            "accuracy": 3 / 4, "closed_accuracy": 2 / 2, "yes_no_accuracy": 1 / 1, "open_exact_match": 1 / 2,
            "open_recall": (1 / 3 + 1) / 2, "open_token_f1": (2 / 6 + 1) / 2,
            "llava_med_closed_accuracy": 1 / 2, "llava_med_closed_hit_rate": 1 / 2,
            "llava_med_open_recall": (3 / 5 + 1) / 2,
        },
    ),
    # two English, two Chinese; LLaVA-Med's rules are of the English ones alone
    "slake": (
        [
            ("slake/11934", Answer("MRI.")), ("slake/11935", Answer("no")),
            ("slake/11936", Answer("没有。")), ("slake/11937", Answer("磁共振成像")),
        ],
        {
            "accuracy": 2 / 4, "closed_accuracy": 1 / 2, "yes_no_accuracy": 1 / 2, "open_exact_match": 1 / 2,
            "open_recall": 1.0, "open_token_f1": (1 + 6 / 8) / 2, "llava_med_closed_accuracy": 0.0,
            "llava_med_closed_hit_rate": 0.0, "llava_med_open_recall": 1.0,
        },
    ),
    "path_vqa": (
        [("path_vqa/test-00000", Answer("yes")), ("path_vqa/test-00001", Answer("fat"))],
        {
            "accuracy": 1 / 2, "closed_accuracy": 1.0, "yes_no_accuracy": 1.0, "open_exact_match": 0.0,
            "open_recall": 1 / 2, "open_token_f1": 2 / 3, "llava_med_closed_accuracy": 1.0,
            "llava_med_closed_hit_rate": 1.0, "llava_med_open_recall": 1 / 2,
        },
    ),
    "pmc_vqa": (
        [("pmc_vqa/test_clean-0", Answer("B")), ("pmc_vqa/test_clean-0", Answer("C"))],
        {"accuracy": 1 / 2, "expected_calibration_error": NOT_KNOWN},
    ),
    # "Glaukom" names no option, and the published rule takes the nearest
    "omnimedvqa": (
        [
            ("omnimedvqa/ACRIMA_0000", Answer("Glaucoma")), ("omnimedvqa/ACRIMA_0000", Answer("Glaukom")),
            ("omnimedvqa/ACRIMA_0001", Answer("Optic disc")),
        ],
        {
            "accuracy": 2 / 3, "omnimedvqa_difflib_accuracy": 3 / 3,
            "accuracy_mean_over_question_types": (1 / 2 + 1) / 2, "expected_calibration_error": NOT_KNOWN,
        },
    ),
    "gmai_mmbench": (
        [(f"gmai_mmbench/validation-{k}", Answer("A")) for k in range(3)],  # gold A, B, and A of another task
        {
            "accuracy": 2 / 3, "accuracy_mean_over_tasks": (1 / 2 + 1) / 2,
            "expected_calibration_error": NOT_KNOWN,
        },
    ),
    "mmmu_medical": (
        [
            ("mmmu_medical/validation_Pharmacy_1", Answer("(A)")),
            ("mmmu_medical/validation_Pharmacy_3", Answer("25")),
            ("mmmu_medical/validation_Pharmacy_3", Answer("The dose is 2.50 mg")),
        ],
        {"accuracy": 2 / 3, "expected_calibration_error": NOT_KNOWN},
    ),
    "medxpertqa": (
        [("medxpertqa/MM-26", Answer("C. MRI")), ("medxpertqa/MM-26", Answer("It depends"))],
        {"accuracy": 1 / 2, "expected_calibration_error": NOT_KNOWN},
    ),
    # one of two lungs found; nothing claimed where nothing is
    "detection": (
        [
            ("detection/boxed", Answer("<box> [[0.10, 0.20, 0.50, 0.60]]</box>")),
            ("detection/none", Answer("None.")),
        ],
        {
            "mean_iou": (1 / 2 + 1) / 2, "iou_at_50": 1.0, "pointing_accuracy": 1.0, "absent_accuracy": 1.0,
            "map_50": 1 / 2, "map_50_95": 1 / 2,
        },
    ),
    # AUROC: mass 0.9 over 0.1 and 0.3 (1); normal 0.1 under 0.2 and 0.6 (0); pneumonia 0.7 over 0.6 (1)
    "diagnosis": (
        [
            ("diagnosis/which_label=pneumonia", Answer("", choice=2, confidence=0.7, shares=(0.1, 0.2, 0.7))),
            ("diagnosis/which_label=normal", Answer("", choice=2, confidence=0.6, shares=(0.3, 0.1, 0.6))),
            ("diagnosis/presence=yes", Answer("yes", choice=0, confidence=0.9)),
            ("diagnosis/presence=no", Answer("yes", choice=0, confidence=0.6)),
        ],
        {
            "accuracy": 2 / 4, "auroc": 2 / 3, "sensitivity": 1.0, "specificity": 0.0,
            "expected_calibration_error": (0.3 + 2 * 0.6 + 0.1) / 4,
        },
    ),
    # "left" for "no": 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours; the second is word for word
    "report_generation": (
        [
            ("report_generation/CXR1", Answer("The heart is enlarged. Left pneumothorax.")),
            ("report_generation/50414267", Answer("Small left pleural effusion.")),
        ],
        {
            "rouge_l": (5 / 6 + 1) / 2, "coco_rouge_l": (5 / 6 + 1) / 2, "bleu_1": (5 / 6 + 1) / 2,
            "bleu_2": ((5 / 6 * 3 / 5) ** (1 / 2) + 1) / 2,
            "bleu_3": ((5 / 6 * 3 / 5 * 2 / 4) ** (1 / 3) + 1) / 2,
            "bleu_4": ((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4) + 1) / 2,
            "meteor_exact_stem": (5 / 6 * (1 - 0.5 * (2 / 5) ** 3) + 1 - 0.5 * (1 / 4) ** 3) / 2,
            "clinical_f1": (2 / 3 + 1) / 2,  # Cardiomegaly agreed, a pneumothorax claimed
            "corpus_bleu_1": 9 / 10, "corpus_bleu_2": (9 / 10 * 6 / 8) ** (1 / 2),
            "corpus_bleu_3": (9 / 10 * 6 / 8 * 4 / 6) ** (1 / 3),
            "corpus_bleu_4": (9 / 10 * 6 / 8 * 4 / 6 * 2 / 4) ** (1 / 4),
            "cider_d": 10 * ((5 / 6 + 3 / 5 + 2 / 4 + 1 / 3) / 4 + 1) / 2,
            "clinical_micro_f1": 2 * 2 / (2 + 1 + 2), "clinical_macro_f1": (1 + 0 + 1) / 3,
        },
    ),
    # three tokens of probability 1/2, one of 1/4: five bits in four tokens
    "text_perplexity": (
        [
            ("text_perplexity/test.txt#0.0", Answer("", log_probability=-math.log(2), num_tokens=3)),
            ("text_perplexity/test.txt#0.0", Answer("", log_probability=-math.log(4), num_tokens=1)),
        ],
        {
            "mean_token_probability": (1 / 2 + 1 / 4) / 2, "perplexity": 2 ** (5 / 4),
            "bits_per_byte": 5 / (2 * SIZE),
        },
    ),
    "hallucination": (
        [
            ("p-no/absent_object", Answer("Yes.")), ("q-no/absent_object", Answer("No.")),
            ("p-yes/present_object", Answer("Yes.")), ("p-no/negation", Answer("yes")),
            ("s/laterality/left", Answer("yes")), ("s/laterality/right", Answer("yes")),
            ("p-no/image_removed", Answer("I cannot tell without the image.")),
        ],
        {
            "accuracy": 5 / 7, "absent_object_accuracy": 1 / 2, "present_object_accuracy": 1.0,
            "negation_accuracy": 1.0, "laterality_accuracy": 1 / 2, "abstention": 1.0,
            "accuracy_mean_over_kinds": (1 / 2 + 1 + 1 + 1 / 2 + 1) / 5, "hallucination_rate": 1 / 2,
            "share_answered_yes": 2 / 3,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_set(items: dict[str, Item], name: str) -> None:
    benchmark, (answers, expected) = BENCHMARKS[name], GOLDEN[name]
    rows = [Judged(items[item_id], answer, benchmark.score(answer, items[item_id])) for item_id, answer in answers]
    found = {metric.name: metric.compute(rows) for metric in benchmark.corpus_metrics}
    for metric in benchmark.metrics:
        values = [row.judgement.scores[metric] for row in rows if metric in row.judgement.scores]
        found[metric] = sum(values) / len(values)
    assert found == pytest.approx(expected, nan_ok=True)


def test_no_number_is_left_out() -> None:
    printed = {
        name: {*benchmark.metrics, *(metric.name for metric in benchmark.corpus_metrics)}
        for name, benchmark in BENCHMARKS.items()
    }
    assert {name: set(expected) for name, (_, expected) in GOLDEN.items()} == printed


def test_no_golden_answer_is_of_another_benchmark(items: dict[str, Item]) -> None:
    for name, (answers, _) in GOLDEN.items():
        assert all(BENCHMARKS[name].takes(items[item_id]) for item_id, _ in answers), name


def test_the_passage_is_as_long_as_was_counted(items: dict[str, Item]) -> None:
    assert len(items["text_perplexity/test.txt#0.0"].reference.encode()) == SIZE


def test_layouts_have_their_folder(tmp_path: Path) -> None:
    assert set(LAYOUTS) < set(GOLDEN)
