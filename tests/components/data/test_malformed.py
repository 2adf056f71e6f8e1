"""Spoilt files that the drill of malformed inputs found unnamed, each now with its reason; the drill itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.data.volumes import read_nifti
from components.errors import DataError
from tests.fakes.formats_text import make_dialogues, make_mimic_cxr
from tests.fakes.sources import make_captions_source, make_nrrd_source, read_all, write_nifti

ROOT = Path(__file__).parents[3]


def reasons(root: Path, card) -> set[str]:
    return {rejection.reason for rejection in read_all(root, card)[1]}


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"\xff\xfe\x00", "table_encoding_wrong"), (b"file|caption\n", "table_delimiter_wrong"),
     (b"picture,words\n", "table_columns_missing"), (b"", "table_empty")],
)  # fmt: skip
def test_a_table_of_captions_that_is_none_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    card = make_captions_source(tmp_path)
    (tmp_path / "captions.csv").write_bytes(content)
    with pytest.raises(DataError, match=named):
        read_all(tmp_path, card)


def test_an_empty_nrrd_file_is_refused(tmp_path: Path) -> None:
    card = make_nrrd_source(tmp_path)
    (tmp_path / "ct.nrrd").write_bytes(b"")
    assert reasons(tmp_path, card) == {"file_unreadable"}


def test_a_volume_without_one_number_is_refused_and_one_with_some_is_not(tmp_path: Path) -> None:
    voxels = np.full((4, 4, 4), np.nan, dtype=np.float32)
    write_nifti(tmp_path / "none.nii.gz", voxels)
    with pytest.raises(OSError, match="not one voxel"):
        read_nifti(tmp_path / "none.nii.gz")
    voxels[0] = 0.5
    write_nifti(tmp_path / "some.nii.gz", voxels)
    assert len(read_nifti(tmp_path / "some.nii.gz")) == 1


def test_an_empty_file_of_rows_and_a_bad_row_of_a_second_table_are_refused(tmp_path: Path) -> None:
    card = make_dialogues(tmp_path / "talk")
    (tmp_path / "talk" / "dialogues.jsonl").write_bytes(b"")
    assert reasons(tmp_path / "talk", card) == {"file_empty"}
    card = make_mimic_cxr(tmp_path / "mimic")
    table = tmp_path / "mimic" / "mimic-cxr-2.0.0-metadata.csv"
    table.write_text(table.read_text() + "one cell alone\n")
    assert "row_length_differs" in reasons(tmp_path / "mimic", card)


def test_the_drill_tells_a_named_file_from_a_silent_one(tmp_path: Path, monkeypatch) -> None:
    spec = importlib.util.spec_from_file_location("malformed_inputs", ROOT / "drills" / "malformed_inputs.py")
    assert spec is not None and spec.loader is not None
    drill = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, drill)  # its dataclasses look their module up
    spec.loader.exec_module(drill)
    found = list(drill.tries("make_captions_source", 20, tmp_path))
    assert len(found) > 20
    assert {wrong for _, wrong in found} == {""}
    sound, changed = (SimpleNamespace(source_path=f"s/{name}.png") for name in "ab")
    must, may = (drill.Spoiling("x", lambda path: None, must_refuse=must) for must in (True, False))
    read = ([sound, sound], [])
    assert drill.judged([changed, sound], [], read, must) == "silent keep"
    assert drill.judged([sound], [], read, must) == "silent loss"
    assert drill.judged([sound], ["refused"], read, must) == drill.judged([sound], [], read, may) == ""
    assert drill.judged([SimpleNamespace(source_path="s/../b.png")], [], read, may) == "escape"
    assert len(drill.makers()) > 30
