"""Metrics of texts, boxes, decisions and findings against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.metrics_boxes import (
    COCO_THRESHOLDS,
    Detection,
    average_precision,
    centre,
    is_pointing_hit,
    mean_average_precision,
    pointing_chance,
)
from components.evaluation.metrics_choice import auroc, expected_calibration_error, sensitivity, specificity
from components.evaluation.metrics_clinical import (
    FINDINGS,
    LABELS,
    NO_FINDING,
    clinical_f1,
    corpus_clinical_f1,
    label_report,
    positive_labels,
)
from components.evaluation.metrics_text import (
    bits_per_byte,
    bleu,
    cider_d,
    corpus_bleu,
    exact_match,
    llava_med_recall,
    meteor_exact_stem,
    perplexity,
    token_f1,
    token_recall,
)

SAID, WANTED = "the heart is enlarged", "the heart was enlarged"


@pytest.mark.parametrize(
    ("said", "gold", "match", "recall", "f1", "llava_med"),
    [
        ("left lung", "left lung", 1, 1, 1, 1),
        ("The left lung.", "left lung", 1, 1, 1, 1),
        ("left", "left lung", 0, 1 / 2, 2 / 3, 1 / 2),
        ("left left left", "left lung", 0, 1 / 2, 2 / 5, 3 / 4),  # repeating pays in the published recall
        ("right kidney", "left lung", 0, 0, 0, 0),
        ("", "left lung", 0, 0, 0, 0),
        ("left lung", "", 0, 0, 0, 0),
        ("磁共振成像", "磁共振", 0, 1, 3 / 4, 0),  # by character; the published rule sees one word
        ("two", "2", 1, 1, 1, 1),
    ],
)
def test_short_answers(said: str, gold: str, match: float, recall: float, f1: float, llava_med: float) -> None:
    assert exact_match(said, gold) == match
    assert token_recall(said, gold) == pytest.approx(recall)
    assert token_f1(said, gold) == pytest.approx(f1)
    assert llava_med_recall(said, gold) == pytest.approx(llava_med)


def test_f1_and_recall_are_not_mixed_up() -> None:
    """MedEvalKit unpacks (f1, precision, recall) as (precision, recall, f1), and crashes on an empty answer."""
    said, gold = "left lung and heart", "lung"
    assert token_recall(said, gold) == 1.0
    assert token_f1(said, gold) == pytest.approx(2 / 5)
    assert token_f1("", gold) == 0.0


def test_bleu_of_a_sentence() -> None:
    # 3 of 4 words, 1 of 3 pairs, 0 of 2 triples (smoothed to 1 / 4)
    assert bleu(SAID, WANTED, order=1) == pytest.approx(3 / 4)
    assert bleu(SAID, WANTED, order=2) == pytest.approx(math.sqrt(3 / 4 * 1 / 3))
    assert bleu(SAID, WANTED, order=3) == pytest.approx((3 / 4 * 1 / 3 * 1 / 4) ** (1 / 3))
    assert bleu("the heart", WANTED, order=1) == pytest.approx(math.exp(1 - 4 / 2))  # too short
    assert bleu("", WANTED, order=1) == 0.0
    assert bleu("心脏增大", "心脏增大", order=4) == pytest.approx(1.0)


def test_bleu_of_a_corpus_is_not_the_mean_of_sentences() -> None:
    said, wanted = ["a b", "c"], ["a b", "d e f"]
    assert corpus_bleu(said, wanted, order=1) == pytest.approx(2 / 3 * math.exp(1 - 5 / 3))
    assert corpus_bleu([SAID], [WANTED], order=3) == 0.0  # no triple agrees, and nothing is smoothed
    assert corpus_bleu(["", ""], wanted, order=1) == 0.0


def test_meteor_with_exact_and_stem_matches() -> None:
    # 3 matches of 4 and 4 words in 2 chunks: 3/4 * (1 - 1/2 * (2/3)^3)
    expected = 3 / 4 * (1 - 0.5 * (2 / 3) ** 3)
    assert meteor_exact_stem(SAID, WANTED) == pytest.approx(expected)
    assert meteor_exact_stem("the heart is enlarging", WANTED) == pytest.approx(expected)  # by stem
    assert meteor_exact_stem("the cardiac one", "heart") == 0.0  # a synonym is not known
    assert meteor_exact_stem("", WANTED) == meteor_exact_stem(SAID, "") == 0.0


def test_cider_d() -> None:
    # two references share no n-gram, so every n-gram weighs log 2; order 3 and 4 do not exist
    assert cider_d(["a b", "x y"], ["a b", "c d"]) == pytest.approx((10 * 2 / 4 + 0) / 2)
    # one word too many: cosines 4/(2 sqrt 5), 3/(2 sqrt 3), 2/sqrt 6, 1/sqrt 2, times exp(-1/72)
    cosines = 4 / (2 * math.sqrt(5)) + 3 / (2 * math.sqrt(3)) + 2 / math.sqrt(6) + 1 / math.sqrt(2)
    expected = 10 * cosines / 4 * math.exp(-1 / 72) / 2
    assert cider_d(["a b c d e", "x"], ["a b c d", "e f g h"]) == pytest.approx(expected)
    assert cider_d(["a a a a", "x"], ["a b c d", "e f g h"]) < cider_d(["a b c d", "x"], ["a b c d", "e f g h"])
    assert cider_d(["a b"], ["a b"]) == 0.0  # one document has no rarities
    assert math.isnan(cider_d([], []))


def pycocoevalcap_cider(said: list[str], wanted: list[str]) -> float:
    """CIDEr as pycocoevalcap/cider/cider_scorer.py describes it, one reference each, written anew on arrays.

    Its ways: idf is log N minus log max(1, df) with df over references; the length is the number of PAIRS of
    words; a Gaussian of sigma 6; the mean over orders 1 to 4 whether or not a text has n-grams of that order.
    """
    texts = [[text.split() for text in part] for part in (said, wanted)]
    total = np.zeros(len(wanted))
    for order in range(1, 5):
        grams = [[[tuple(t[i : i + order]) for i in range(len(t) - order + 1)] for t in part] for part in texts]
        names = {gram: place for place, gram in enumerate(sorted({g for part in grams for t in part for g in t}))}
        counts = np.zeros((2, len(wanted), max(1, len(names))))
        for side, part in enumerate(grams):
            for row, found in enumerate(part):
                for gram in found:
                    counts[side, row, names[gram]] += 1
        rarity = np.log(len(wanted)) - np.log(np.maximum(1.0, (counts[1] > 0).sum(axis=0)))
        vectors = counts * rarity
        norms = np.sqrt((vectors**2).sum(axis=2))
        shared = (np.minimum(vectors[0], vectors[1]) * vectors[1]).sum(axis=1)
        safe = np.where(norms[0] * norms[1] > 0, norms[0] * norms[1], 1.0)
        total += np.where(norms[0] * norms[1] > 0, shared / safe, 0.0)
    pairs = np.array([[max(0, len(t) - 1) for t in part] for part in texts], dtype=float)
    return float((10 * total / 4 * np.exp(-((pairs[0] - pairs[1]) ** 2) / (2 * 36.0))).mean())


CAPTIONS = (
    ["the heart is enlarged", "no pleural effusion is seen", "there is a small left effusion", "lungs are clear"],
    ["the heart size is enlarged", "no effusion", "small left pleural effusion is there", "the lungs are clear"],
)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        CAPTIONS,
        (CAPTIONS[1], CAPTIONS[0]),
        (CAPTIONS[0], CAPTIONS[0]),
        (["a a a a a", "b"], ["a b c d e", "b c"]),  # repeating is clipped
        (["a", "b c"], ["a b c d e f g h i j k l", "b c d"]),  # far too short
        (["a b c", "x"], ["a b c", "a b c"]),  # what every reference says is worth nothing
        (["", "a b"], ["a b c", "a b d"]),
    ],
)
def test_cider_agrees_with_pycocoevalcap(said: list[str], wanted: list[str]) -> None:
    assert cider_d(said, wanted) == pytest.approx(pycocoevalcap_cider(said, wanted))


def test_perplexity_and_bits_per_byte() -> None:
    # three tokens of probability 1/2 and one of 1/4: five bits over four tokens
    logs, tokens = [-math.log(2), -math.log(4)], [3, 1]
    assert perplexity(logs, tokens) == pytest.approx(2 ** (5 / 4))
    assert bits_per_byte(logs, tokens, ["abc", "肝"]) == pytest.approx(5 / 6)  # 3 bytes and 3 bytes
    assert math.isnan(perplexity([], [])) and math.isnan(bits_per_byte([], [], []))


LEFT, RIGHT = (0.0, 0.0, 0.4, 0.4), (0.6, 0.6, 1.0, 1.0)


def test_average_precision() -> None:
    gold = {"one": [LEFT], "two": [RIGHT]}
    found = [Detection("two", LEFT, 0.8), Detection("one", LEFT, 0.9), Detection("two", RIGHT, 0.7)]
    assert average_precision(found, gold, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    twice = [Detection("one", LEFT, 0.9), Detection("one", LEFT, 0.8)]
    assert average_precision(twice, gold, 0.5) == pytest.approx(1 / 2)  # found once, the second is a false alarm
    early = [Detection("empty", LEFT, 0.95), *twice[:1]]
    assert average_precision(early, {**gold, "empty": []}, 0.5) == pytest.approx(1 / 2 / 2)
    assert average_precision([], gold, 0.5) == 0.0
    assert math.isnan(average_precision(twice, {"one": []}, 0.5))


def test_mean_average_precision() -> None:
    gold = {"lung": {"one": [LEFT]}, "heart": {"one": [RIGHT]}, "liver": {"one": []}}
    found = {"lung": [Detection("one", (0.0, 0.0, 0.4, 0.3), 1.0)], "liver": [Detection("one", LEFT, 1.0)]}
    # IoU 0.75: found at 0.5 to 0.75, six of ten thresholds; the liver is in no image and is left out
    assert mean_average_precision(found, gold, thresholds=(0.5,)) == pytest.approx((1 + 0) / 2)
    assert mean_average_precision(found, gold, thresholds=COCO_THRESHOLDS) == pytest.approx(6 / 10 / 2)
    assert math.isnan(mean_average_precision({}, {}, thresholds=(0.5,)))


def test_pointing() -> None:
    assert is_pointing_hit(centre(LEFT), [LEFT, RIGHT]) and is_pointing_hit((0.4, 0.4), [LEFT])
    assert not is_pointing_hit((0.5, 0.5), [LEFT, RIGHT])
    assert pointing_chance([LEFT, RIGHT]) == pytest.approx(0.32)
    overlapping = [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)]
    assert pointing_chance(overlapping) == pytest.approx(0.25 + 0.25 - 0.0625)
    assert pointing_chance([]) == 0.0


def test_auroc_sensitivity_specificity() -> None:
    # of 4 pairs of a positive with a negative: 3 in order, 1 against it
    assert auroc([0.9, 0.4, 0.6, 0.1], [True, True, False, False]) == pytest.approx(3 / 4)
    assert auroc([0.5, 0.5], [True, False]) == pytest.approx(1 / 2)
    assert math.isnan(auroc([0.5, 0.5], [True, True]))
    said, truth = [True, None, False, True, None], [True, True, False, False, False]
    assert sensitivity(said, truth) == pytest.approx(1 / 2)  # an unread answer found nothing
    assert specificity(said, truth) == pytest.approx(1 / 3)  # nor did it rule anything out
    assert math.isnan(sensitivity([True], [False])) and math.isnan(specificity([True], [True]))


def test_calibration_error() -> None:
    # bins: {0.95 right}, {0.85 wrong}, {0.6 right, 0.55 wrong}
    confidences, right = [0.95, 0.85, 0.6, 0.55], [True, False, True, False]
    assert expected_calibration_error(confidences, right) == pytest.approx((0.05 + 0.85 + 0.15) / 4)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert math.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize(
    ("report", "labels"),
    [
        ("The heart is mildly enlarged. No pneumothorax or pleural effusion.", {"Cardiomegaly"}),
        ("No focal consolidation, effusion, or pneumothorax.", {NO_FINDING}),
        ("Small left pleural effusion without pneumothorax.", {"Pleural Effusion"}),
        ("Possible pneumonia in the right base.", {NO_FINDING}),  # doubt counts as not stated
        ("Cannot exclude pneumonia.", {NO_FINDING}),
        ("Pneumothorax is not seen. Bibasilar atelectasis.", {"Atelectasis"}),
        ("No significant change in the moderate effusion.", {"Pleural Effusion"}),
        ("There is no edema but there is consolidation.", {"Consolidation"}),
        ("Endotracheal tube in place. Lungs are clear.", {"Support Devices", NO_FINDING}),
        ("Old rib fracture, pulmonary nodule, widened mediastinum.",
         {"Fracture", "Lung Lesion", "Enlarged Cardiomediastinum"}),
        ("右侧胸腔积液。未见气胸。", {"Pleural Effusion"}),
        ("心影增大，双肺未见实变。", {"Cardiomegaly"}),
        ("右下肺炎可能。", {NO_FINDING}),
        ("", set()),
    ],
)  # fmt: skip
def test_findings_of_a_report(report: str, labels: set[str]) -> None:
    assert positive_labels(report) == labels


def test_affirming_outweighs_doubt_and_denial() -> None:
    assert label_report("No effusion. Effusion may be there.") == {"Pleural Effusion": "doubtful"}
    assert label_report("No effusion. A left effusion.") == {"Pleural Effusion": "present"}
    assert label_report("No effusion.") == {"Pleural Effusion": "absent"}


def test_clinical_f1_of_one_and_of_many() -> None:
    said, wanted = "Cardiomegaly. Left pneumothorax.", "Cardiomegaly."
    assert clinical_f1(said, wanted) == pytest.approx(2 / 3)
    assert clinical_f1("", "") == 1.0 and clinical_f1("", wanted) == 0.0
    # Cardiomegaly 1 of 1 (F1 1), Pneumothorax 0 of 1 (0), No Finding agreed (1): micro 2*2/(3+2), macro 2/3
    pair = ([said, "Lungs are clear."], [wanted, "No acute disease."])
    assert corpus_clinical_f1(*pair, average="micro") == pytest.approx(4 / 5)
    assert corpus_clinical_f1(*pair, average="macro") == pytest.approx(2 / 3)
    assert corpus_clinical_f1([], [], average="micro") == corpus_clinical_f1([], [], average="macro") == 0.0


def test_there_are_fourteen_labels() -> None:
    assert len(LABELS) == 14 and set(FINDINGS) < set(LABELS)


@given(st.text(max_size=60), st.text(max_size=60))
def test_all_text_scores_are_shares(said: str, wanted: str) -> None:
    values = (
        exact_match(said, wanted), token_recall(said, wanted), token_f1(said, wanted), clinical_f1(said, wanted),
        llava_med_recall(said, wanted), meteor_exact_stem(said, wanted), bleu(said, wanted, order=2),
    )  # fmt: skip
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in values)
    assert token_f1(said, wanted) == pytest.approx(token_f1(wanted, said))
