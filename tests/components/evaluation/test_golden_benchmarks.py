"""Golden predictions for every public benchmark, scored by hand; then each fault of other scorers, shown absent.

The items come from the fakes in their published layouts (tests/fakes/benchmarks.py). The faults are those of
section 6.12 of the project's facts about MedEvalKit, and LLaVA-Med's of section 6.7.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from components.evaluation.answers import write_boxes
from components.evaluation.benchmarks import mmmu_medical
from components.evaluation.catalog import load_benchmarks
from components.evaluation.items import Answer, Benchmark, Item, Judged
from components.evaluation.prior import most_frequent_answer
from components.evaluation.published import load_published
from components.evaluation.spreadsheet import write_workbook
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.items import make_item

BENCHMARKS = load_benchmarks()


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """Every fake item of every default split, by the part of its id that is the source's own."""
    found = {}
    for name, write in LAYOUTS.items():
        loaded = load_published(BENCHMARKS[name], write(tmp_path_factory.mktemp(name)))
        found |= {item.item_id: item for item in loaded.items}
    return found


def judged(benchmark: Benchmark, item: Item, answer: Answer) -> Judged:
    return Judged(item, answer, benchmark.score(answer, item))


def corpus(benchmark: Benchmark, name: str, rows: list[Judged]) -> float:
    return next(metric for metric in benchmark.corpus_metrics if metric.name == name).compute(rows)


CLOSED = {"accuracy": 1.0, "closed_accuracy": 1.0, "yes_no_accuracy": 1.0, "llava_med_closed_hit_rate": 1.0}
WRONG = dict.fromkeys(CLOSED, 0.0)
OPEN = dict.fromkeys(
    ("accuracy", "open_exact_match", "open_recall", "open_token_f1", "llava_med_open_recall"), 1.0
)
WITHOUT_LLAVA = {"accuracy", "closed_accuracy", "yes_no_accuracy"}
GOLDEN = [
    # gold yes
    ("vqa_rad/11", "Yes, there is.", True, CLOSED),
    ("vqa_rad/11", "No.", True, WRONG),
    ("vqa_rad/11", "I do not know", False, WRONG),
    ("vqa_rad/11", "yes or no? I say no", False, {**WRONG, "llava_med_closed_hit_rate": 1.0}),  # it says both
    ("vqa_rad/11", "Either yes or no", False, {**WRONG, "llava_med_closed_hit_rate": 1.0}),
    ("vqa_rad/11", "", False, WRONG),
    ("vqa_rad/11", "0", False, WRONG),
    # gold "Axial", closed but neither yes nor no
    ("vqa_rad/12", "It is an axial section.", True,
     {"accuracy": 1.0, "closed_accuracy": 1.0, "llava_med_closed_hit_rate": 0.0}),
    ("vqa_rad/12", "axial or coronal", True,
     {"accuracy": 0.0, "closed_accuracy": 0.0, "llava_med_closed_hit_rate": 0.0}),
    # gold "Right lower lobe"
    ("vqa_rad/13", "the right lower lobe", True, OPEN),
    ("vqa_rad/13", "right right right", True,
     {"accuracy": 0.0, "open_exact_match": 0.0, "open_recall": 1 / 3, "open_token_f1": 2 / 6,
      "llava_med_open_recall": 3 / 5}),
    ("vqa_rad/13", "", False, dict.fromkeys(OPEN, 0.0)),
    # gold 2, a number in the file
    ("vqa_rad/14", "two", True, OPEN),
    ("vqa_rad/14", "Two masses.", True,
     {"accuracy": 0.0, "open_exact_match": 0.0, "open_recall": 1.0, "open_token_f1": 2 / 3,
      "llava_med_open_recall": 1.0}),
    # Chinese: gold 没有, and 磁共振
    ("slake/11936", "没有。", True, dict.fromkeys(WITHOUT_LLAVA, 1.0)),
    ("slake/11936", "有", True, dict.fromkeys(WITHOUT_LLAVA, 0.0)),
    ("slake/11936", "看不清", False, dict.fromkeys(WITHOUT_LLAVA, 0.0)),
    ("slake/11937", "磁共振成像", True,
     {"accuracy": 0.0, "open_exact_match": 0.0, "open_recall": 1.0, "open_token_f1": 6 / 8}),
    ("slake/11934", "MRI.", True, OPEN),
    ("path_vqa/test-00000", "yes", True, CLOSED),
    ("path_vqa/test-00001", "fat necrosis", True, OPEN),
    # letters and option texts
    ("pmc_vqa/test_clean-0", "B", True, {"accuracy": 1.0}),
    ("pmc_vqa/test_clean-0", "The answer is (B).", True, {"accuracy": 1.0}),
    ("pmc_vqa/test_clean-0", "CT", True, {"accuracy": 1.0}),
    ("pmc_vqa/test_clean-0", "MRI", True, {"accuracy": 0.0}),
    ("pmc_vqa/test_clean-0", "B or C", False, {"accuracy": 0.0}),
    ("medxpertqa/MM-26", "C. MRI", True, {"accuracy": 1.0}),
    ("medxpertqa/MM-26", "It depends", False, {"accuracy": 0.0}),
    ("omnimedvqa/ACRIMA_0000", "Glaucoma", True, {"accuracy": 1.0, "omnimedvqa_difflib_accuracy": 1.0}),
    ("omnimedvqa/ACRIMA_0000", "Glaukom", False, {"accuracy": 0.0, "omnimedvqa_difflib_accuracy": 1.0}),
    ("gmai_mmbench/validation-0", "A", True, {"accuracy": 1.0}),
    ("gmai_mmbench/validation-0", "oedema", True, {"accuracy": 0.0}),
    ("mmmu_medical/validation_Pharmacy_1", "(A)", True, {"accuracy": 1.0}),
    ("mmmu_medical/validation_Pharmacy_1", "I think that it is the same one", True, {"accuracy": 1.0}),
    ("mmmu_medical/validation_Pharmacy_1", "unclear", False, {"accuracy": 0.0}),
    ("mmmu_medical/validation_Pharmacy_3", "The dose is 2.50 mg", True, {"accuracy": 1.0}),
    ("mmmu_medical/validation_Pharmacy_3", "25", True, {"accuracy": 0.0}),
    ("mmmu_medical/validation_Pharmacy_3", "", False, {"accuracy": 0.0}),
]  # fmt: skip


@pytest.mark.parametrize(("item_id", "text", "is_parsed", "scores"), GOLDEN)
def test_golden_predictions(
    items: dict[str, Item], item_id: str, text: str, is_parsed: bool, scores: dict[str, float]
) -> None:
    benchmark = BENCHMARKS[item_id.split("/", maxsplit=1)[0]]
    judgement = benchmark.score(Answer(text), items[item_id])
    assert judgement.scores == pytest.approx(scores)
    assert judgement.is_parsed is is_parsed


@pytest.mark.parametrize(
    "item_id",
    ["pmc_vqa/test_clean-0", "medxpertqa/MM-26", "omnimedvqa/ACRIMA_0000", "mmmu_medical/validation_Pharmacy_1"],
)
def test_a_choice_by_likelihood_is_scored_as_it_is(items: dict[str, Item], item_id: str) -> None:
    item, score = items[item_id], BENCHMARKS[item_id.split("/", maxsplit=1)[0]].score
    for choice, option in enumerate(item.options):
        assert score(Answer(option, choice=choice), item).scores["accuracy"] == float(choice == item.gold_index)


def test_two_options_that_read_alike_are_alike() -> None:
    item = make_item(source="pmc_vqa", options=("CT", "MR", "CT"), gold="CT", gold_index=2)
    score = BENCHMARKS["pmc_vqa"].score
    assert [score(Answer("", choice=k), item).scores["accuracy"] for k in range(3)] == [1.0, 0.0, 1.0]


def test_means_over_tasks_count_a_small_task_as_a_large_one(items: dict[str, Item]) -> None:
    benchmark = BENCHMARKS["gmai_mmbench"]
    said = {"validation-0": "A", "validation-1": "A", "validation-2": "A"}  # gold A, B, A; the third is of Bone
    rows = [judged(benchmark, items[f"gmai_mmbench/{name}"], Answer(text)) for name, text in said.items()]
    assert corpus(benchmark, "accuracy_mean_over_tasks", rows) == pytest.approx((1 / 2 + 1) / 2)
    omni = BENCHMARKS["omnimedvqa"]
    pair = [judged(omni, items[f"omnimedvqa/ACRIMA_000{k}"], Answer("A")) for k in (0, 1)]
    assert corpus(omni, "accuracy_mean_over_question_types", pair) == 1.0


def test_hidden_answers_give_no_score_but_a_workbook(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["gmai_mmbench"]
    loaded = load_published(benchmark, LAYOUTS["gmai_mmbench"](tmp_path), "test")
    rows = [judged(benchmark, item, Answer(text)) for item, text in zip(loaded.items, ("B", "?"), strict=True)]
    assert all(row.judgement.scores == {} for row in rows)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        benchmark.submission(rows, tmp_path / name)
    first, second = (tmp_path / name / "GMAI-MMBench_TEST.xlsx" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()  # no clock in it
    with zipfile.ZipFile(first) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    cells = re.findall(r'<t xml:space="preserve">(.*?)</t>', sheet)
    assert cells[:8] == ["index", "question", "A", "B", "C", "D", "E", "prediction"]
    assert cells[8:16] == ["1", "What is shown?", "glioma", "oedema", "", "", "", "B"]
    assert cells[16] == "2" and cells[23] == ""


def test_a_workbook_escapes_what_xml_cannot_say(tmp_path: Path) -> None:
    write_workbook(tmp_path / "x.xlsx", ["a"], [["1 < 2 & \x07bell"]])
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        assert "1 &lt; 2 &amp; bell" in book.read("xl/worksheets/sheet1.xml").decode()
        assert book.testzip() is None


def test_detection_by_hand(items: dict[str, Item]) -> None:
    benchmark = BENCHMARKS["detection"]
    mine = [item for item in items.values() if item.source == "detection"]
    (lungs,) = [item for item in mine if item.boxes]
    absent = [item for item in mine if not item.boxes]
    assert len(lungs.boxes) == 2 and len(absent) == 2
    one = judged(benchmark, lungs, Answer("<box> [[0.10, 0.20, 0.50, 0.60]]</box>"))
    assert one.judgement.scores == pytest.approx({"mean_iou": 0.5, "iou_at_50": 1.0, "pointing_accuracy": 1.0})
    nothing = benchmark.score(Answer("none"), lungs)
    assert nothing.is_parsed and set(nothing.scores.values()) == {0.0}
    right = judged(benchmark, absent[0], Answer("None."))
    assert right.judgement.scores == {"mean_iou": 1.0, "absent_accuracy": 1.0}
    wrong = judged(benchmark, absent[0], Answer("[[0, 0, 1, 1]]"))
    assert wrong.judgement.scores == {"mean_iou": 0.0, "absent_accuracy": 0.0}
    assert not benchmark.score(Answer("over there"), absent[0]).is_parsed
    assert corpus(benchmark, "map_50", [one]) == pytest.approx(1 / 2)
    assert corpus(benchmark, "map_50_95", [one, right]) == pytest.approx(1 / 2)
    assert math.isnan(corpus(benchmark, "map_50", [right]))


def test_first_boxes_rank_before_second_ones(items: dict[str, Item]) -> None:
    """Of an answer with many boxes the second is no surer than of one with two."""
    (lungs,) = [item for item in items.values() if item.source == "detection" and item.boxes]
    right, wrong = write_boxes(lungs.boxes[:1])[1:-1], "[0, 0, 0.01, 0.01]"
    rows = [
        judged(BENCHMARKS["detection"], lungs, Answer(f"[{', '.join(boxes)}]"))
        for boxes in ([wrong, right], [wrong, wrong, wrong, wrong, wrong])
    ]
    # two images, four lungs; both first boxes are wrong, then a right one beside a wrong one
    assert corpus(BENCHMARKS["detection"], "map_50", rows) == pytest.approx(1 / 3 / 4)


@pytest.mark.parametrize(
    ("answer", "golds"),
    [
        ("[0, 1)", ["[0, 1)"]),
        ("['a', 'b']", ["a", "b"]),
        ("[1, 2]", ["1", "2"]),
        ("?", []),
        ("[{[]: 1}]", ["[{[]: 1}]"]),
    ],
)
def test_a_gold_answer_that_only_looks_like_a_list_is_one_string(answer: str, golds: list[str]) -> None:
    assert mmmu_medical._golds(answer) == golds


def test_diagnosis_by_hand(items: dict[str, Item]) -> None:
    benchmark = BENCHMARKS["diagnosis"]
    mine = [item for item in items.values() if item.source == "diagnosis"]
    which = [item for item in mine if item.question_type == "which_label"]
    whether = {item.gold: item for item in mine if item.question_type == "presence"}
    assert [item.options for item in which] == [("mass", "normal", "pneumonia")] * 2
    # gold pneumonia (2) and normal (1); both answers say pneumonia
    rows = [
        judged(benchmark, which[0], Answer("", choice=2, confidence=0.7, shares=(0.1, 0.2, 0.7))),
        judged(benchmark, which[1], Answer("", choice=2, confidence=0.6, shares=(0.3, 0.1, 0.6))),
    ]
    assert [row.judgement.scores["accuracy"] for row in rows] == [1.0, 0.0]
    # pneumonia: 0.7 over 0.6 (AUROC 1); normal: 0.1 under 0.2 (0); mass has one class
    assert corpus(benchmark, "auroc", rows) == pytest.approx(1 / 2)
    assert corpus(benchmark, "expected_calibration_error", rows) == pytest.approx((0.3 + 0.6) / 2)
    assert math.isnan(corpus(benchmark, "auroc", [judged(benchmark, which[0], Answer("mass"))]))
    pair = [judged(benchmark, whether[gold], Answer(text)) for gold, text in (("yes", "yes"), ("no", "what?"))]
    assert corpus(benchmark, "sensitivity", pair) == 1.0
    assert corpus(benchmark, "specificity", pair) == 0.0  # unread is wrong


def test_reports_by_hand(items: dict[str, Item]) -> None:
    benchmark = BENCHMARKS["report_generation"]
    iu, mimic = items["report_generation/CXR1"], items["report_generation/50414267"]
    same = judged(benchmark, iu, Answer(iu.reference))
    assert {name: value for name, value in same.judgement.scores.items() if value < 0.99} == {}
    other = judged(benchmark, iu, Answer("The heart is enlarged. Left pneumothorax."))
    assert other.judgement.scores["clinical_f1"] == pytest.approx(2 / 3)
    assert other.judgement.scores["bleu_1"] == pytest.approx(5 / 6)  # "left" is not in the reference
    empty = judged(benchmark, mimic, Answer(" "))
    assert set(empty.judgement.scores.values()) == {0.0} and not empty.judgement.is_parsed
    assert corpus(benchmark, "corpus_bleu_4", [same]) == pytest.approx(1.0)
    # Cardiomegaly agreed, the effusion missed
    assert corpus(benchmark, "clinical_micro_f1", [same, empty]) == pytest.approx(2 / 3)
    assert corpus(benchmark, "clinical_macro_f1", [same, empty]) == pytest.approx(1 / 2)
    assert corpus(benchmark, "cider_d", [same, empty]) == pytest.approx(10 / 2)
    assert len(iu.record_ids) == 2 and len(mimic.record_ids) == 1  # MIMIC: the first picture
    assert iu.patient_key != mimic.patient_key


def test_perplexity_by_hand(items: dict[str, Item]) -> None:
    benchmark = BENCHMARKS["text_perplexity"]
    passage = items["text_perplexity/test.txt#0.0"]
    half = judged(benchmark, passage, Answer("", log_probability=-math.log(2), num_tokens=3))
    quarter = judged(benchmark, passage, Answer("", log_probability=-math.log(4), num_tokens=1))
    assert half.judgement.scores == pytest.approx({"mean_token_probability": 0.5})
    assert corpus(benchmark, "perplexity", [half, quarter]) == pytest.approx(2 ** (5 / 4))
    size = len(passage.reference.encode())
    assert corpus(benchmark, "bits_per_byte", [half, quarter]) == pytest.approx(5 / (2 * size))
    assert not benchmark.score(Answer(""), passage).is_parsed
    cut = [items[f"text_perplexity/test.txt#2.{part}"] for part in (0, 1)]
    assert [len(item.reference.split()) for item in cut] == [160, 40]
    assert cut[0].patient_key == cut[1].patient_key  # pieces of one passage are one cluster


def test_the_prior_is_of_the_type_and_language() -> None:
    train = [make_item(question_type="organ", gold=gold, options=()) for gold in ("liver", "liver", "lung")]
    respond = most_frequent_answer([*train, make_item(gold="no", question_type="organ")])
    assert respond(make_item(question_type="organ", options=())) == Answer("liver")
    assert respond(make_item(question_type="new", options=())) == Answer("liver")
    assert respond(make_item(question_type="organ")) == Answer("no", choice=1)
    assert respond(make_item(question_type="organ", language="zh", options=())) == Answer("")
    assert respond(make_item(options=("a", "b"))) == Answer("a", choice=0)


class TestFaultsOfOtherScorers:
    """One test a fault; the name says whose."""

    def test_pathvqa_keeps_its_closed_hits(self, items: dict[str, Item]) -> None:
        """MedEvalKit's judge path sets the count of right closed answers back to zero."""
        item = items["path_vqa/test-00000"]
        assert BENCHMARKS["path_vqa"].score(Answer("yes"), item).scores["closed_accuracy"] == 1.0

    def test_slake_counts_a_closed_answer_once(self, items: dict[str, Item]) -> None:
        """MedEvalKit's judge path adds closed answers twice, so that their share passes one."""
        item, score = items["slake/11935"], BENCHMARKS["slake"].score
        values = [score(Answer(text), item).scores["closed_accuracy"] for text in ("yes", "no")]
        assert values == [1.0, 0.0]
        assert "closed_accuracy" not in score(Answer("MRI"), items["slake/11934"]).scores

    def test_recall_is_recall_and_f1_is_f1(self, items: dict[str, Item]) -> None:
        """MedEvalKit unpacks (f1, precision, recall) as (precision, recall, f1) and gets a scalar on empty."""
        scores = BENCHMARKS["vqa_rad"].score(Answer("right lung and lower lobe"), items["vqa_rad/13"]).scores
        assert scores["open_recall"] == 1.0 and scores["open_token_f1"] == pytest.approx(2 * 3 / (3 + 5))

    def test_all_pictures_of_a_question_are_shown(self, items: dict[str, Item]) -> None:
        """MedEvalKit shows image_1 only."""
        compare, options = (items[f"mmmu_medical/validation_Pharmacy_{k}"] for k in (1, 2))
        assert len(compare.record_ids) == 2 and len(options.record_ids) == 3
        prompt = BENCHMARKS["mmmu_medical"].prompt
        assert prompt(compare).startswith("Compare <image> with <image>, not image 1.\nA. same\nB. other\n")
        assert "A. <image>\nB. <image>\n" in prompt(options)

    def test_pictures_no_question_refers_to_are_not_shown(self, items: dict[str, Item]) -> None:
        assert len(items["mmmu_medical/validation_Clinical_Medicine_1"].record_ids) == 1

    def test_no_judge_and_no_key_is_needed(self) -> None:
        """MedEvalKit builds its judge at import, which needs an API key."""
        clean = {name: value for name, value in os.environ.items() if not re.search("KEY|TOKEN|SECRET", name)}
        code = "from components.evaluation.catalog import load_benchmarks; print(len(load_benchmarks()))"
        done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
        assert int(done.stdout) == len(BENCHMARKS)

    def test_closed_is_by_the_sets_own_type_and_yes_no_apart(self, items: dict[str, Item]) -> None:
        """MedEvalKit calls closed what has yes or no as its answer: 251 of VQA-RAD, not 272."""
        scores = BENCHMARKS["vqa_rad"].score(Answer("axial"), items["vqa_rad/12"]).scores
        assert scores["closed_accuracy"] == 1.0 and "yes_no_accuracy" not in scores
        assert items["vqa_rad/12"].fact("answer_type") == "CLOSED"  # "CLOSED " in the file

    def test_zero_is_no_right_answer(self, items: dict[str, Item]) -> None:
        """MedEvalKit's judge writes 0 for correct."""
        assert BENCHMARKS["vqa_rad"].score(Answer("0"), items["vqa_rad/11"]).scores["accuracy"] == 0.0

    def test_omnimedvqa_says_which_access_it_is(self, items: dict[str, Item]) -> None:
        """MedEvalKit scores the open-access part alone under the whole set's name."""
        assert items["omnimedvqa/ACRIMA_0000"].fact("subset") == "Open-access"
        assert list(BENCHMARKS["omnimedvqa"].publication.splits) == ["open_access", "restricted", "all"]

    def test_iu_xray_reads_from_its_folder(self, items: dict[str, Item]) -> None:
        """MedEvalKit stops at a misspelt function, and unpacks a zip out of a tgz."""
        prompt = BENCHMARKS["report_generation"].prompt(items["report_generation/CXR1"])
        assert prompt == "<image>\n<image>\nWrite the findings of this chest X-ray as a report."

    def test_wrong_yes_or_no_stays_in_the_denominator(self, items: dict[str, Item]) -> None:
        """LLaVA-Med appends nothing where yes or no is said and the gold is not; under its name, so do we."""
        benchmark = BENCHMARKS["vqa_rad"]
        said = {"vqa_rad/11": ("No.", "Yes.", "maybe"), "vqa_rad/12": ("axial", "no axial one", "No.")}
        rows = [judged(benchmark, items[name], Answer(text)) for name, texts in said.items() for text in texts]
        hits = [row.judgement.scores["llava_med_closed_hit_rate"] for row in rows]
        assert hits == [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
        # gold yes: dropped, hit, miss; gold Axial: miss, hit by chance, dropped
        assert corpus(benchmark, "llava_med_closed_accuracy", rows) == pytest.approx(2 / 4)
        assert sum(row.judgement.scores["closed_accuracy"] for row in rows) == 2
        assert corpus(benchmark, "llava_med_closed_accuracy", rows[:1]) == 0.0  # as printed when all are dropped
        assert math.isnan(corpus(benchmark, "llava_med_closed_accuracy", []))

    def test_the_same_answer_is_scored_the_same_every_time(self, items: dict[str, Item]) -> None:
        """MMMU and VLMEvalKit draw at random where nothing is read."""
        item = items["mmmu_medical/validation_Pharmacy_1"]
        assert {BENCHMARKS["mmmu_medical"].score(Answer("?"), item).scores["accuracy"] for _ in range(50)} == {0.0}

    def test_options_repeated_in_a_question_are_asked_once(self, items: dict[str, Item]) -> None:
        """MedXpertQA's questions end with their options; the prompt lists them once."""
        assert BENCHMARKS["medxpertqa"].prompt(items["medxpertqa/MM-26"]).count("Rest") == 1

    def test_a_hole_in_the_options_is_refused(self, tmp_path: Path) -> None:
        """Closing the gap would shift the letters against the gold one."""
        from tests.fakes.benchmarks import mmbench_row, put_table

        rows = [mmbench_row(0, "0" * 80, "C", B="", C="oedema"), mmbench_row(1, "0" * 80, "A")]
        put_table(tmp_path / "GMAI_mm_bench_VAL.tsv", rows, delimiter="\t")
        loaded = load_published(BENCHMARKS["gmai_mmbench"], tmp_path)
        assert [item.item_id for item in loaded.items] == ["gmai_mmbench/validation-1"]
        assert loaded.refused == {"question_or_option_empty": 1}
