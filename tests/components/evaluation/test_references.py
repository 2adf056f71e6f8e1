"""Published scores are read with their source and marked as another protocol's."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import BenchmarkError
from components.evaluation.references import load_references, references_of


def test_the_papers_own_row_is_there() -> None:
    (found,) = [
        row for row in references_of("vqa_rad") if row.model == "GMAI-VL" and row.source.startswith("GMAI-VL")
    ]
    assert found.value == pytest.approx(0.663) and found.protocol == "not ours" and "Table 4" in found.source


def test_every_family_of_the_issue_is_there_with_a_source() -> None:
    rows = load_references()
    assert all(row.source and row.protocol == "not ours" and 0 < row.value < 1 for row in rows)
    for family in ("Med-Flamingo", "RadFM", "LLaVA-Med", "HuatuoGPT-Vision", "MedDr", "Lingshu", "Hulu-Med",
                   "MedGemma", "GMAI-VL"):  # fmt: skip
        assert any(row.model.startswith(family) for row in rows), family
    assert references_of("closed_questions") == []


def test_one_model_from_two_sources_is_two_rows() -> None:
    found = [row.value for row in references_of("slake") if row.model == "HuatuoGPT-Vision-7B"]
    assert sorted(found) == pytest.approx([0.678, 0.745, 0.762])


@pytest.mark.parametrize(
    ("table", "words"),
    [("columns: [a]\n    rows: {m: [1.0]}", "without a source"),
     ("source: s\n    columns: [a, b]\n    rows: {m: [1.0]}", "1 values for 2 columns")],
)  # fmt: skip
def test_what_has_no_source_is_refused(tmp_path: Path, table: str, words: str) -> None:
    path = tmp_path / "references.yaml"
    path.write_text(f"protocol: not ours\ntables:\n  - {table}\n")
    with pytest.raises(BenchmarkError, match=words):
        load_references(path)
