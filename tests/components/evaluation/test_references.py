"""Published scores are read with their source and marked as another protocol's."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from components.errors import BenchmarkError
from components.evaluation.catalog import load_benchmarks
from components.evaluation.references import load_references, references_of
from components.records import TASKS


def test_the_papers_own_row_is_there() -> None:
    (found,) = [row for row in references_of("vqa_rad") if row.model == "GMAI-VL" and "Table 4;" in row.source]
    assert found.value == pytest.approx(0.663) and found.protocol == "not ours" and "Table 4" in found.source


def test_every_family_of_the_issue_is_there_with_a_source() -> None:
    rows = load_references()
    assert all(row.source and row.protocol == "not ours" and row.value > 0 for row in rows)
    assert {row.metric for row in rows if row.value >= 1} == {"cider", "inverse_radcliq"}
    for family in ("Med-Flamingo", "RadFM", "LLaVA-Med", "HuatuoGPT-Vision", "MedDr", "Lingshu", "Hulu-Med",
                   "MedGemma", "GMAI-VL"):  # fmt: skip
        assert any(row.model.startswith(family) for row in rows), family
    assert references_of("closed_questions") == []


def test_one_model_from_two_sources_is_two_rows() -> None:
    found = [row.value for row in references_of("slake") if row.model == "HuatuoGPT-Vision-7B"]
    assert sorted(found) == pytest.approx([0.678, 0.745, 0.762])


@pytest.mark.parametrize(
    ("table", "words"),
    [("columns: [a]\n    metric: b\n    rows: {m: [1.0]}", "without a source"),
     ("columns: [a]\n    source: s\n    rows: {m: [1.0]}", "without a metric"),
     ("source: s\n    metric: b\n    notes: {x: y}\n    columns: [a]\n    rows: {m: [1.0]}", "which are no rows"),
     ("source: s\n    metric: b\n    columns: [a, b]\n    rows: {m: [1.0]}", "1 values for 2 columns")],
)  # fmt: skip
def test_what_has_no_source_is_refused(tmp_path: Path, table: str, words: str) -> None:
    path = tmp_path / "references.yaml"
    path.write_text(f"protocol: not ours\ntables:\n  - {table}\n")
    with pytest.raises(BenchmarkError, match=words):
        load_references(path)


COUNTS = {  # what each source prints of what is kept here, by the source's name up to its first ";"
    "GMAI-VL, arXiv 2411.14522v2, Table 4": 33,
    "GMAI-VL, arXiv 2411.14522v2, Table 4, run again by MedEyes": 5,
    "GMAI-VL, arXiv 2411.14522v2, Table 5": 120,
    "GMAI-VL, arXiv 2411.14522v2, Tables 6 and 11": 56,
    "GMAI-VL, arXiv 2411.14522v2, Tables 6 and 11, by clinical task": 6 * 18,
    "GMAI-VL, arXiv 2411.14522v2, MMMU table (Health & Medicine, val)": 60,
    "GMAI-VL, arXiv 2411.14522v2, Table 7 (training stages)": 16,
    "HuatuoGPT-Vision, arXiv 2406.19280 and README @a6476ac, table not stated": 12,
    "HuatuoGPT-Vision, arXiv 2406.19280 and README @a6476ac, table not stated (OmniMedVQA by modality)": 8,
    "Lingshu, arXiv 2506.07044, table not stated": 63 + 1,
    "Lingshu, arXiv 2506.07044, table not stated (report generation)": 15,
    "Hulu-Med, README @a0060ad (arXiv 2510.08668), table not stated": 21,
    "UniMedVL, arXiv 2510.15710, table not stated": 2,
    "GMAI-VL repository README @9f81a15 (AAAI version)": 1,
    "LLaVA-Med, arXiv 2306.00890, table not stated": 7,
    "MedGemma, arXiv 2507.05201, table not stated": 8,
}
# The means that the sources print beside the rows, a check of what was copied; but LLaVA-v1.6-13B's, printed as
# 50.8, which its own numbers do not have (its note says so).
PRINTED_MEANS = {
    "Table 4;": {
        "Med-Flamingo": 37.4, "RadFM": 37.0, "LLaVA-Med-7B": 41.6, "Qwen-VL-Chat": 46.5, "Yi-VL-34B": 50.5,
        "LLaVA-v1.6-7B": 48.7, "LLaVA-v1.6-13B": 50.4, "LLaVA-v1.6-34B": 56.8, "HuatuoGPT-Vision-7B": 63.7,
        "GMAI-VL w/o our data": 55.9, "GMAI-VL": 64.5,
    },
    "Lingshu, arXiv 2506.07044, table not stated; MedEvalKit": {
        "HuatuoGPT-Vision-7B": 54.2, "LLaVA-Med-7B": 37.8, "MedGemma-4B": 54.8, "Qwen2.5-VL-7B": 52.0,
        "InternVL2.5-8B": 54.0, "InternVL3-8B": 57.3, "Lingshu-7B": 61.8, "Lingshu-32B": 66.6, "GPT-4.1": 63.4,
    },
}  # fmt: skip
FACTS = Path("/work/shared/facts/paper.md")  # where the sources were read; on the machines that have it


def test_every_table_is_whole() -> None:
    assert Counter(row.source.split(";")[0] for row in load_references()) == COUNTS


@pytest.mark.parametrize(("table", "means"), PRINTED_MEANS.items())
def test_rows_have_the_means_that_are_printed_beside_them(table: str, means: dict[str, float]) -> None:
    rows = [row for row in load_references() if table in row.source]
    for model, mean in means.items():
        values = [100 * row.value for row in rows if row.model == model]
        assert sum(values) / len(values) == pytest.approx(mean, abs=0.1001), model


def test_the_mean_over_clinical_tasks_is_as_computed_from_the_table() -> None:
    values = [
        row.value for row in load_references() if "by clinical task" in row.source and row.model == "GMAI-VL"
    ]
    assert len(values) == 18 and 100 * sum(values) / 18 == pytest.approx(59.9, abs=0.05)
    names = {row.benchmark for row in load_references() if "by clinical task" in row.source}
    assert names == {f"gmai_mmbench/task={name}" for name in TASKS}


@pytest.mark.skipif(not FACTS.is_file(), reason="the facts are not on this machine")
def test_every_number_is_in_the_facts() -> None:
    printed = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", FACTS.read_text(encoding="utf-8"))}
    printed |= {round(100 * number, 4) for number in printed if number < 1}  # "0.8274"
    assert [row for row in load_references() if round(100 * row.value, 4) not in printed] == []


def test_what_is_known_to_be_wrong_is_said_beside_the_number() -> None:
    (row,) = [
        row for row in references_of("slake") if row.model == "HuatuoGPT-Vision-7B" and "Table 4;" in row.source
    ]
    assert "LLaVA-1.5-LLaMA3-8B + PubMedVision" in row.source and "mixes subsets" in row.source
    assert not any(row.benchmark.partition("/")[2] == "split=val" for row in load_references())
    f1 = [row for row in references_of("slake") if row.metric == "token_f1"]
    assert [row.value for row in f1] == [0.723] and "token f1" in f1[0].source
    assert all(row.benchmark.split("/")[0] in load_benchmarks() for row in load_references())
