"""Every benchmark: found by walking, complete card, scores worked out by hand, baselines from training alone."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from components.errors import BenchmarkError
from components.evaluation.baselines import mean_box, medoid, most_frequent_option, random_answer, typical_caption
from components.evaluation.catalog import find_benchmark, load_benchmarks
from components.evaluation.items import Answer, Item, item_from_pair
from components.evaluation.published import load_published
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.items import make_item
from tests.fakes.tables import make_corpus

BENCHMARKS = load_benchmarks()
BOX = make_item(question_type="box", options=(), boxes=((0.0, 0.0, 0.5, 0.5),))
CAPTION = make_item(
    kind="caption", options=(), reference="An axial CT image of the chest.", question_type="caption"
)
CLOSED = make_item(options=("CT", "MR"), gold="MR", question_type="modality")


def first_item(name: str, folder: Path) -> Item:
    """An item of the corpus, or the first item of the benchmark's published layout."""
    corpus = {"boxes": BOX, "captions": CAPTION, "closed_questions": CLOSED}
    if name in corpus:
        return corpus[name]
    return load_published(BENCHMARKS[name], LAYOUTS[name](folder)).items[0]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_cards_are_complete_and_scores_are_shares(name: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    assert all(getattr(benchmark.card, field.name).strip() for field in fields(benchmark.card))
    assert benchmark.version >= 1 and Path(benchmark.file).stem == name
    item = first_item(name, tmp_path)
    assert benchmark.takes(item)
    for text in ("", "nonsense"):
        judgement = benchmark.score(Answer(text), item)
        assert set(judgement.scores) <= set(benchmark.metrics) and benchmark.metrics[0] in judgement.scores
        assert all(0.0 <= value <= 1.0 for value in judgement.scores.values())
    assert not benchmark.score(Answer(""), item).is_parsed


def test_each_pair_goes_to_the_benchmark_that_fits() -> None:
    items = [item_from_pair(pair) for pair in make_corpus()[1]]
    taken = {name: sum(b.takes(item) for item in items if item) for name, b in BENCHMARKS.items()}
    assert {name: number for name, number in taken.items() if number} == {
        "boxes": 12,
        "captions": 12,
        "closed_questions": 24,
    }


def test_closed_questions_by_likelihood_and_by_text() -> None:
    score = BENCHMARKS["closed_questions"].score
    assert score(Answer("MR", choice=1), CLOSED).scores == {"accuracy": 1.0}
    assert score(Answer("CT", choice=0), CLOSED).scores == {"accuracy": 0.0}
    assert score(Answer("MR image."), CLOSED).parsed == "MR"
    assert not BENCHMARKS["closed_questions"].takes(make_item(gold="PET", options=("CT", "MR")))


def test_boxes_are_read_and_laid_over_the_gold() -> None:
    judgement = BENCHMARKS["boxes"].score(Answer("<box> [[0.00, 0.00, 0.50, 0.30]]</box>"), BOX)
    assert judgement.scores == {"mean_iou": pytest.approx(0.6), "iou_at_50": 1.0}
    assert judgement.parsed == "[[0.00, 0.00, 0.50, 0.30]]"
    assert BENCHMARKS["boxes"].score(Answer("on the left"), BOX).scores["mean_iou"] == 0.0


def test_captions_compare_with_the_reference() -> None:
    judgement = BENCHMARKS["captions"].score(Answer(CAPTION.reference), CAPTION)
    assert judgement.scores["rouge_l"] == 1.0 and judgement.scores["bleu_4"] == pytest.approx(1.0)


def test_majority_option_is_of_the_type_and_language_and_among_the_options() -> None:
    train = [make_item(question_type="modality", gold=gold) for gold in ("CT", "CT", "PET", "PET", "PET", "MR")]
    respond = most_frequent_option([*train, make_item(question_type="plane", gold="MR"), make_item(language="zh")])
    assert respond(CLOSED).text == "CT"
    assert respond(make_item(question_type="modality", options=("MR", "PET"))).choice == 1
    assert respond(make_item(question_type="unseen", options=("x", "y"))).choice == 0


def test_mean_box_is_the_mean_of_training() -> None:
    respond = mean_box([make_item(boxes=((0.0, 0.1, 0.4, 0.5),)), make_item(boxes=((0.2, 0.3, 0.8, 0.9),))])
    assert respond(BOX).text == "<box> [[0.10, 0.20, 0.60, 0.70]]</box>"
    assert mean_box([])(BOX).text == ""


def test_typical_caption_is_of_the_language() -> None:
    train = [make_item(reference=text) for text in ("a CT of the chest", "a CT of the brain", "odd words here")]
    respond = typical_caption([*train, make_item(language="zh", reference="胸部图像")])
    assert respond(CAPTION).text.startswith("a CT of the")
    assert respond(make_item(language="zh")).text == "胸部图像"
    assert typical_caption([])(CAPTION).text == ""


def test_medoid_prefers_what_is_repeated() -> None:
    assert medoid(["x y", "x y", "q"]) == "x y"


def test_random_option_is_fixed_by_seed_and_spread() -> None:
    items = [make_item(item_id=str(k)) for k in range(200)]
    first = [random_answer(1)(item).choice for item in items]
    assert first == [random_answer(1)(item).choice for item in items]
    assert 60 < sum(choice == 0 for choice in first) < 140


def test_without_options_a_training_answer_is_drawn_of_the_same_type_and_language() -> None:
    train = [
        make_item(item_id=f"t{k}", reference=f"answer {k}", options=(), language=("en", "zh")[k % 2],
                  question_type=("box", "organ")[k // 2 % 2])
        for k in range(40)
    ]  # fmt: skip
    items = [make_item(item_id=str(k), options=(), question_type="box") for k in range(100)]
    drawn = [random_answer(1, train)(item).text for item in items]
    assert drawn == [random_answer(1, train)(item).text for item in items]
    assert set(drawn) == {f"answer {k}" for k in range(0, 40, 4)}
    other = make_item(options=(), question_type="plane", language="zh")
    assert random_answer(1, train)(other).text in {f"answer {k}" for k in range(1, 40, 2)}
    assert random_answer(1, [])(other).text == ""


def test_unknown_name_gives_near_matches() -> None:
    with pytest.raises(BenchmarkError, match="near: closed_questions"):
        find_benchmark("closed_question")
    assert find_benchmark("boxes").metrics[0] == "mean_iou"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "defines no BENCHMARK"),
        ("from components.evaluation.benchmarks.boxes import BENCHMARK", "must lie in boxes.py"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str, request: pytest.FixtureRequest
) -> None:
    package = f"planted{abs(hash(request.node.name))}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "wrong.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BenchmarkError, match=reason):
        load_benchmarks(folder, package)
