"""A published benchmark's files through the whole evaluation, with a tiny random model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.errors import BenchmarkMissing, CheckpointError
from components.evaluation import published_run
from components.evaluation.catalog import find_benchmark, load_benchmarks
from components.evaluation.items import Judged, Publication, Question, Refused
from components.evaluation.protocol import differing_parts
from components.evaluation.published_run import Wanted, run_published
from components.model.vlm import save_vlm
from components.settings import Settings, settings_from
from components.tracking.commit import write_json
from components.tracking.digest import digest_tree
from components.tracking.tables import read_table
from tests.fakes.benchmarks import LAYOUTS
from tests.fakes.items import make_item
from tests.fakes.tables import make_corpus, png, write_corpus

ROOT = Path(__file__).parents[3]


honest = png


def read(folder: Path, split: str):
    for row in json.loads((folder / f"{split}.json").read_text()):
        if not row["answer"]:
            yield Refused(row["id"], "answer_missing")
            continue
        name = f"{row['id']}.png"
        content = folder / name if row["id"] < "q2" else png(int(row["id"][1]) * 30)  # in a file, or in a table
        item = make_item(
            item_id=row["id"], patient_key=f"p{row['id']}", record_ids=(name,), gold=row["answer"],
            facts=(("answer_type", "CLOSED"),),
        )  # fmt: skip
        yield Question(item, {name: content})


def submit(rows: list[Judged], folder: Path) -> None:
    write_json(folder / "answers.json", {row.item.item_id: row.answer.text for row in rows})


@pytest.fixture
def world(vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings and a tiny model in an empty working folder."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["evaluation"] |= {"max_new_tokens": 4, "batch_size": 4, "bootstrap": 100}
    raw["work_root"] = "artifacts"
    monkeypatch.chdir(tmp_path)
    made = settings_from(raw, where="test")
    save_vlm(vlm.model, vlm.processor, made.work_root / "models" / made.recipe.final_stage)
    return made


@pytest.fixture
def settings(world: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same, with the closed questions given published files."""
    splits = {"test": "held out", "train": "to learn from"}
    publication = Publication(splits, {name: (f"{name}.json",) for name in splits}, read, obtain="ask its authors")
    benchmark = replace(find_benchmark("closed_questions"), publication=publication, submission=submit)
    monkeypatch.setattr(published_run, "find_benchmark", lambda name: benchmark)
    return world


@pytest.fixture
def data() -> Path:
    folder = Path("published")
    folder.mkdir()
    rows = [{"id": f"q{k}", "answer": "yes" if k < 4 else ""} for k in range(5)]
    write_json(folder / "test.json", rows)
    for k in range(2):
        (folder / f"q{k}.png").write_bytes(png(k * 7 % 256))
    return folder


def test_published_files_run_from_one_call(settings: Settings, data: Path) -> None:
    output = run_published(settings, Wanted("closed_questions", data))
    weights = digest_tree(settings.work_root / "models" / settings.recipe.final_stage)
    assert output == Path("artifacts/benchmarks") / f"closed_questions-test-{weights[:10]}"
    metrics = json.loads((output / "scores.json").read_text())
    whole, calibration = (row for row in metrics["scores"] if "/" not in row["benchmark"])
    assert (whole["metric"], calibration["metric"]) == ("accuracy", "expected_calibration_error")
    assert (whole["n"], whole["num_patients"]) == (4, 4)
    assert metrics["details"]["published"]["refused"] == {"answer_missing": 1}
    assert metrics["image_minus_blind"]["n"] == 4
    systems = {row["system"] for row in read_table(output / "predictions").to_pylist()}
    assert systems == {"model", "blind", "text_only", "majority", "random"}
    assert "data:image/png" in (output / "report.html").read_text()
    assert set(json.loads((output / "submission/answers.json").read_text())) == {"q0", "q1", "q2", "q3"}
    assert not list(Path("var/answers").glob("*"))


def test_the_clean_score_leaves_out_pictures_of_training(settings: Settings, data: Path) -> None:
    from components.data.image import decode, pixel_hash

    records, pairs = make_corpus()
    records = [replace(record, perceptual_hash="f" * 16) for record in records]
    shown = replace(records[0], sha256=pixel_hash(decode(png(0))))
    write_corpus(settings.work_root, [shown, *records[1:]], pairs)
    metrics = json.loads((run_published(settings, Wanted("closed_questions", data)) / "scores.json").read_text())
    assert metrics["details"]["published"]["items_seen_in_training"] == 1
    sizes = {row["benchmark"]: row["n"] for row in metrics["scores"]}
    assert sizes == {"closed_questions": 4, "closed_questions/clean": 3}


@pytest.mark.parametrize("changed", ["q0.png", "the picture in the table"])
def test_other_bytes_of_a_picture_are_another_protocol(
    settings: Settings, data: Path, changed: str, monkeypatch
) -> None:
    def parts() -> tuple[str, dict[str, str]]:
        metrics = json.loads(
            (run_published(settings, Wanted("closed_questions", data)) / "scores.json").read_text()
        )
        return metrics["scores"][0]["fingerprint"], metrics["details"]["protocols"]["closed_questions"]

    first = parts()
    if changed == "q0.png":
        (data / changed).write_bytes(png(200))
    else:
        monkeypatch.setitem(globals(), "png", lambda shade: honest(shade + 1))
    second = parts()
    assert first[0] != second[0] and differing_parts(first[1], second[1]) == ["split"]


def test_a_limit_bounds_the_items(settings: Settings, data: Path) -> None:
    output = run_published(settings, Wanted("closed_questions", data, limit=3))
    origin = json.loads((output / "scores.json").read_text())["details"]["published"]
    assert (origin["asked"], origin["rows"]) == (3, 4)


def published_of(output: Path) -> dict:
    return json.loads((output / "scores.json").read_text())["details"]["published"]


def test_the_clean_row_stands_there_when_nothing_was_seen(settings: Settings, data: Path) -> None:
    records, pairs = make_corpus()
    write_corpus(settings.work_root, [replace(row, sha256="none", perceptual_hash="") for row in records], pairs)
    output = run_published(settings, Wanted("closed_questions", data))
    sizes = {row["benchmark"]: row["n"] for row in json.loads((output / "scores.json").read_text())["scores"]}
    assert sizes == {"closed_questions": 4, "closed_questions/clean": 4}
    assert (published_of(output)["items_seen_in_training"], published_of(output)["not_checked"]) == (0, "")


def test_what_could_not_be_checked_is_null_with_its_reason(settings: Settings, data: Path, tmp_path: Path) -> None:
    without_corpus = run_published(settings, Wanted("closed_questions", data))
    assert published_of(without_corpus)["items_seen_in_training"] is None
    assert "not on this disk" in published_of(without_corpus)["not_checked"]
    write_corpus(settings.work_root, *make_corpus())
    model = shutil.copytree(settings.work_root / "models" / settings.recipe.final_stage, tmp_path / "theirs")
    foreign = run_published(settings, Wanted("closed_questions", data, model=model, output=Path("foreign")))
    assert published_of(foreign)["items_seen_in_training"] is None
    assert "not one of this pipeline's" in published_of(foreign)["not_checked"]
    scores = json.loads((foreign / "scores.json").read_text())["scores"]
    assert not any(row["benchmark"].endswith("/clean") for row in scores)


def test_pictures_that_are_no_images_are_refused_and_counted(settings: Settings, data: Path) -> None:
    (data / "q1.png").write_bytes(b"this is no picture")
    output = run_published(settings, Wanted("closed_questions", data))
    assert published_of(output)["refused"] == {"answer_missing": 1, "picture_unreadable": 1}
    assert published_of(output)["asked"] == 3
    (data / "q0.png").write_bytes(honest(3)[:40])  # cut off
    assert published_of(run_published(settings, Wanted("closed_questions", data)))["asked"] == 2


def test_another_question_is_written_to_another_folder(settings: Settings, data: Path, tmp_path: Path) -> None:
    whole = run_published(settings, Wanted("closed_questions", data))
    part = run_published(settings, Wanted("closed_questions", data, limit=2))
    assert part.name.startswith("closed_questions-test-limit2-") and published_of(whole)["asked"] == 4
    named = run_published(settings, Wanted("closed_questions", data, output=tmp_path / "here"))
    assert named == tmp_path / "here" and (named / "scores.json").is_file()


def test_the_cards_lie_beside_the_scores(settings: Settings, data: Path) -> None:
    output = run_published(settings, Wanted("closed_questions", data))
    assert "scores.json: scores.0.value" in (output / "model_card.md").read_text()
    card = (output / "data_card.md").read_text()
    assert "| licence | that of each source | benchmark: licence |" in card and "published asked | 4" in card


def test_a_model_that_is_not_there_is_named_before_anything_is_read(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model here"):
        run_published(settings, Wanted("closed_questions", tmp_path / "nowhere", model=Path("nope")))


def test_where_nothing_can_be_learned_the_majority_says_so(settings: Settings, data: Path) -> None:
    metrics = json.loads((run_published(settings, Wanted("closed_questions", data)) / "scores.json").read_text())
    words = "first option (no training part)"
    assert metrics["details"]["no_training_part"] == {"closed_questions": words}
    (data / "train.json").write_bytes((data / "test.json").read_bytes())
    metrics = json.loads((run_published(settings, Wanted("closed_questions", data)) / "scores.json").read_text())
    assert metrics["details"]["no_training_part"] == {}


def test_predictions_hold_what_each_system_was_asked_and_shown(settings: Settings, data: Path) -> None:
    rows = read_table(run_published(settings, Wanted("closed_questions", data)) / "predictions").to_pylist()
    by_system = {row["system"]: row for row in rows if row["item_id"] == "q0"}
    assert by_system["model"]["record_ids"] == ["q0.png"] and "<image>" in by_system["model"]["prompt"]
    assert by_system["blind"]["record_ids"] not in ([], ["q0.png"])
    assert by_system["text_only"]["record_ids"] == [] and "<image>" not in by_system["text_only"]["prompt"]
    assert by_system["majority"]["record_ids"] == by_system["random"]["record_ids"] == []


@pytest.mark.slow
def test_a_mixed_exam_answers_closed_by_options_and_open_in_words(world: Settings, tmp_path: Path) -> None:
    wanted = Wanted("vqa_rad", LAYOUTS["vqa_rad"](tmp_path / "published"), answering="mixed")
    output = run_published(world, wanted)
    rows = read_table(output / "predictions").to_pylist()
    asked = [row for row in rows if (row["system"], row["metric"]) == ("model", "accuracy")]
    sure = {row["confidence"] >= 0 for row in asked if row["gold"] in ("yes", "no")}
    words = {row["confidence"] >= 0 for row in asked if row["gold"] not in ("yes", "no")}
    assert (sure, words) == ({True}, {False}) and "vqa_rad-test-mixed-" in output.name
    page = (output / "report.html").read_text()
    assert "calibration of vqa_rad" in page and "confusion of vqa_rad" in page


def test_missing_files_say_how_to_obtain_them(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkMissing, match="ask its authors"):
        run_published(settings, Wanted("closed_questions", tmp_path / "nowhere"))


LAYOUT_NAMES = sorted(name for name in LAYOUTS if load_benchmarks()[name].publication)


@pytest.mark.parametrize(
    "name",
    ["vqa_rad", *(pytest.param(name, marks=pytest.mark.slow) for name in LAYOUT_NAMES if name != "vqa_rad")],
)
def test_every_benchmark_runs_on_a_fake_of_its_published_layout(
    world: Settings, tmp_path: Path, name: str
) -> None:
    """Images in one row may be of several questions, several in one, in files or in tables, or none at all."""
    output = run_published(world, Wanted(name, LAYOUTS[name](tmp_path / "published")))
    metrics = json.loads((output / "scores.json").read_text())
    whole = [row for row in metrics["scores"] if row["benchmark"] == name]
    headline = load_benchmarks()[name].metrics[0]
    assert whole and whole[0]["metric"] == headline and whole[0]["n"] == metrics["details"]["published"]["asked"]
    assert all(row["low"] <= row["value"] and len(row["fingerprint"]) == 64 for row in whole)
    assert (output / "report.html").stat().st_size > 5000
