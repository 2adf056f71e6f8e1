"""A published benchmark's files through the whole evaluation, with a tiny random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.errors import BenchmarkMissing
from components.evaluation import published_run
from components.evaluation.catalog import find_benchmark, load_benchmarks
from components.evaluation.items import Judged, Publication, Question, Refused
from components.evaluation.protocol import differing_parts
from components.evaluation.published_run import Wanted, run_published
from components.model.vlm import save_vlm
from components.settings import Settings, settings_from
from components.tracking.commit import write_json
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
    assert output == Path("artifacts/benchmarks/closed_questions-test")
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
