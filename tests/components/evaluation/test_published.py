"""Published layouts are read as they are: counts, refusals by reason, splits by name, hashes, pictures."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from components.data.image import decode, difference_hash, pixel_hash
from components.errors import BenchmarkError, BenchmarkMissing, ChecksumMismatch
from components.evaluation.catalog import load_benchmarks
from components.evaluation.exams import make_exam
from components.evaluation.items import answering_by
from components.evaluation.published import (
    digest_pictures,
    load_published,
    load_train,
    read_pictures,
    seen_pictures,
    without,
)
from components.evaluation.rows import find_picture, read_delimited, read_json_lines, read_json_rows
from tests.fakes.benchmarks import (
    LAYOUTS,
    put_json,
    put_picture,
    report_sections,
    vqa_rad_original,
    vqa_rad_parquet,
)

BENCHMARKS = load_benchmarks()
PUBLISHED = sorted(name for name, benchmark in BENCHMARKS.items() if benchmark.publication)
EXPECTED = {
    ("vqa_rad", "test"): (4, {"picture_missing": 1}),
    ("vqa_rad", "test_balanced"): (2, {"outside_balanced_split": 5}),
    ("vqa_rad", "validation_balanced"): (1, {"outside_balanced_split": 6}),
    ("slake", "test"): (4, {"question_or_answer_empty": 1}),
    ("slake", "test_en"): (2, {"another_language": 2, "question_or_answer_empty": 1}),
    ("slake", "test_zh"): (2, {"another_language": 3}),
    ("slake", "test_en_unseen"): (
        1,
        {"another_language": 2, "picture_in_a_training_part": 1, "question_or_answer_empty": 1},
    ),
    ("slake", "validation"): (1, {}),
    ("pmc_vqa", "test_clean"): (1, {}),
    ("pmc_vqa", "test_v1"): (1, {"answer_is_no_letter": 1}),
    ("pmc_vqa", "test_v2"): (1, {"picture_missing": 1}),
    ("path_vqa", "test"): (2, {"picture_missing": 1}),
    ("omnimedvqa", "open_access"): (2, {"answer_not_among_options": 1, "picture_missing": 1}),
    ("omnimedvqa", "restricted"): (1, {}),
    ("omnimedvqa", "all"): (3, {"answer_not_among_options": 1, "picture_missing": 1}),
    ("gmai_mmbench", "validation"): (3, {"picture_unreadable": 1, "answer_is_no_letter": 1}),
    ("gmai_mmbench", "test"): (2, {}),
    ("mmmu_medical", "validation"): (7, {"picture_missing": 1}),
    ("medxpertqa", "test"): (1, {"answer_is_no_letter": 1}),
    ("detection", "test"): (3, {"nothing_to_ask": 2}),
    ("diagnosis", "test"): (4, {"nothing_to_ask": 1}),
    ("report_generation", "test"): (2, {"report_empty": 1}),
    ("text_perplexity", "test"): (4, {"passage_too_short": 1}),
    ("hallucination", "test"): (6, {}),
}


@pytest.mark.parametrize(("name", "split"), EXPECTED, ids="/".join)
def test_each_layout_gives_its_items_and_counts_its_faults(name: str, split: str, tmp_path: Path) -> None:
    loaded = load_published(BENCHMARKS[name], LAYOUTS[name](tmp_path / "data"), split)
    assert (len(loaded.items), dict(loaded.refused)) == EXPECTED[name, split]
    assert all(BENCHMARKS[name].takes(item) for item in loaded.items)
    assert len({item.item_id for item in loaded.items}) == len(loaded.items)
    names = {picture for item in loaded.items for picture in item.record_ids}
    pictures = read_pictures(loaded, names)
    assert set(pictures) == names
    for content in pictures.values():
        Image.open(io.BytesIO(content)).verify()
    for item in loaded.items:
        assert BENCHMARKS[name].prompt(item).count("<image>") == len(item.record_ids)


def test_every_published_benchmark_has_a_fake() -> None:
    assert sorted(LAYOUTS) == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_benchmark_says_how_to_obtain_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkMissing) as caught:
        load_published(BENCHMARKS[name], tmp_path / "nowhere")
    assert caught.value.fix == BENCHMARKS[name].publication.obtain
    assert name in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_default_split_is_the_first_and_every_split_names_its_files(name: str, tmp_path: Path) -> None:
    publication = BENCHMARKS[name].publication
    assert set(publication.files) == set(publication.splits)
    assert load_published(BENCHMARKS[name], LAYOUTS[name](tmp_path)).split == next(iter(publication.splits))


def test_an_unknown_split_gives_near_matches(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no split 'test_balance'; it has: test_balanced"):
        load_published(BENCHMARKS["vqa_rad"], LAYOUTS["vqa_rad"](tmp_path), "test_balance")


def test_corpus_benchmarks_have_no_published_files(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="takes curated pairs"):
        load_published(BENCHMARKS["boxes"], tmp_path)


def test_hashes_are_recorded_and_pins_are_held(tmp_path: Path) -> None:
    root = LAYOUTS["vqa_rad"](tmp_path)
    right = hashlib.sha256((root / "testset.json").read_bytes()).hexdigest()
    assert load_published(BENCHMARKS["vqa_rad"], root).files == {"testset.json": right}
    (root / "SHA256SUMS").write_text(f"{right} *testset.json\n")
    first = load_published(BENCHMARKS["vqa_rad"], root)
    (root / "SHA256SUMS").write_text(f"{'0' * 64}  ./testset.json\n")
    with pytest.raises(ChecksumMismatch, match="SHA256SUMS pins"):
        load_published(BENCHMARKS["vqa_rad"], root)
    (root / "SHA256SUMS").unlink()
    put_json(root / "testset.json", read_json_rows(root / "testset.json")[:2])
    assert load_published(BENCHMARKS["vqa_rad"], root).digest != first.digest


def test_rows_of_gmai_mmbench_that_show_one_picture_are_one_cluster(tmp_path: Path) -> None:
    """One row holds the picture, one borrows it by index, one holds the same bytes again."""
    items = load_published(BENCHMARKS["gmai_mmbench"], LAYOUTS["gmai_mmbench"](tmp_path)).items
    assert len(items) == 3 and len({item.patient_key for item in items}) == 1
    assert len({item.record_ids for item in items}) == 1


def test_the_known_md5_of_gmai_mmbench_is_held(tmp_path: Path) -> None:
    root = LAYOUTS["gmai_mmbench"](tmp_path)
    (root / "GMAI_mm_bench_VAL.tsv").rename(root / "GMAI-MMBench_VAL.tsv")
    with pytest.raises(ChecksumMismatch, match="254bd581627"):
        load_published(BENCHMARKS["gmai_mmbench"], root)


def test_training_items_are_read_when_they_are_there(tmp_path: Path) -> None:
    root = LAYOUTS["vqa_rad"](tmp_path)
    assert [item.gold for item in load_train(BENCHMARKS["vqa_rad"], root)] == ["no", "no"]
    (root / "trainset.json").unlink()
    assert load_train(BENCHMARKS["vqa_rad"], root) == []
    assert load_train(BENCHMARKS["omnimedvqa"], root) == []


def test_the_clean_subset_leaves_out_pictures_seen_in_training(tmp_path: Path) -> None:
    root = LAYOUTS["vqa_rad"](tmp_path)
    loaded = load_published(BENCHMARKS["vqa_rad"], root)
    pixels = decode((root / "images" / "a.jpg").read_bytes())
    assert seen_pictures(loaded, {pixel_hash(pixels)}, set(), bits=0) == {"vqa_rad/a.jpg"}
    assert seen_pictures(loaded, set(), {difference_hash(pixels)}, bits=0) >= {"vqa_rad/a.jpg"}
    clean = without(loaded, {"vqa_rad/a.jpg"})
    assert [item.item_id for item in clean.items] == ["vqa_rad/12", "vqa_rad/13"]
    assert clean.split == "test_unseen" and clean.refused["picture_seen_in_training"] == 2
    assert clean.digest != loaded.digest
    with pytest.raises(BenchmarkError, match="every item of vqa_rad test"):
        without(loaded, set(loaded.pictures))


def test_pictures_of_a_table_are_read_again_only_for_those_asked(tmp_path: Path) -> None:
    loaded = load_published(BENCHMARKS["path_vqa"], LAYOUTS["path_vqa"](tmp_path))
    assert set(loaded.pictures.values()) == {None}  # bytes are not held
    (name,) = loaded.pictures  # both rows show one picture, named by its content
    assert digest_pictures(read_pictures(loaded, [name])) == digest_pictures(read_pictures(loaded, [name]))
    with pytest.raises(BenchmarkError, match="no such pictures"):
        read_pictures(loaded, ["path_vqa/other"])


def test_no_path_leaves_the_folder(tmp_path: Path) -> None:
    put_picture(tmp_path / "secret.png", 1)
    put_picture(tmp_path / "data" / "a.png", 2)
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    roots = (".",)
    assert find_picture(tmp_path / "data", "a.png", roots) == tmp_path / "data" / "a.png"
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", ""):
        assert find_picture(tmp_path / "data", name, roots) is None


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(BenchmarkError, match="this is no JSON"):
        read_json_rows(path)
    path.write_text('{"a": 1}\n{"a"')
    with pytest.raises(BenchmarkError, match=r"x\.json:2"):
        list(read_json_lines(path))
    path.write_text('{"a": 1}')
    with pytest.raises(BenchmarkError, match="expected a list of objects"):
        read_json_rows(path)
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(BenchmarkError, match="this is no table"):
        list(read_delimited(path))


def test_a_repeated_id_is_counted_once(tmp_path: Path) -> None:
    root = LAYOUTS["vqa_rad"](tmp_path)
    rows = read_json_rows(root / "testset.json")
    put_json(root / "testset.json", [*rows, rows[0]])
    assert load_published(BENCHMARKS["vqa_rad"], root).refused["item_id_repeated"] == 1


def test_answering_by_choice_takes_only_items_with_options(tmp_path: Path) -> None:
    loaded = load_published(BENCHMARKS["omnimedvqa"], LAYOUTS["omnimedvqa"](tmp_path))
    by_choice = answering_by(BENCHMARKS["omnimedvqa"], "choice")
    assert by_choice.answering == "choice" and all(by_choice.takes(item) for item in loaded.items)
    assert answering_by(by_choice, "choice") is by_choice
    with pytest.raises(BenchmarkError, match="medxpertqa is not answered by 'mixed'; it offers: text, choice"):
        answering_by(BENCHMARKS["medxpertqa"], "mixed")


@pytest.mark.parametrize("name", ["vqa_rad", "slake", "path_vqa"])
def test_short_answers_are_offered_by_choice_where_they_are_closed(name: str, tmp_path: Path) -> None:
    items = load_published(BENCHMARKS[name], LAYOUTS[name](tmp_path)).items
    closed = [item for item in items if item.options]
    by_choice, mixed = answering_by(BENCHMARKS[name], "choice"), answering_by(BENCHMARKS[name], "mixed")
    assert [item for item in items if by_choice.takes(item)] == closed and 0 < len(closed) < len(items)
    assert all(mixed.takes(item) for item in items)
    asked = {ask.prompt: ask.options for ask in make_exam(mixed, items, [], number=99, seed=0).asks("model")}
    assert set(asked.values()) == {(), *(item.options for item in closed)}


def test_medevalkits_sections_are_read_as_one_report(tmp_path: Path) -> None:
    loaded = load_published(BENCHMARKS["report_generation"], report_sections(tmp_path))
    assert [item.reference for item in loaded.items] == [
        "Findings: Lungs are clear. Impression: No acute disease."
    ]
    assert loaded.refused == {"report_empty": 1}


@pytest.mark.parametrize("split", ["test", "train", "test_balanced", "validation_balanced"])
def test_vqa_rad_as_its_authors_released_it_gives_the_same_items(split: str, tmp_path: Path) -> None:
    first = load_published(BENCHMARKS["vqa_rad"], LAYOUTS["vqa_rad"](tmp_path / "parts"), split)
    second = load_published(BENCHMARKS["vqa_rad"], vqa_rad_original(tmp_path / "one"), split)
    assert second.items == first.items and second.refused == first.refused
    assert "VQA_RAD Dataset Public.json" in second.files


def test_vqa_rads_parquet_copy_is_read_with_yes_and_no_as_closed(tmp_path: Path) -> None:
    loaded = load_published(BENCHMARKS["vqa_rad"], vqa_rad_parquet(tmp_path))
    assert [(item.gold, item.fact("answer_type")) for item in loaded.items] == [
        ("yes", "CLOSED"),
        ("axial", "OPEN"),
    ]
    assert loaded.refused == {"picture_missing": 1}
    assert [item.gold for item in load_train(BENCHMARKS["vqa_rad"], tmp_path)] == ["yes"]
    assert len(read_pictures(loaded, list(loaded.pictures))) == 2
