"""Spoilt files that the drill of malformed inputs found unnamed, each now with its reason; the drill itself."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.faults import Refused
from components.data.image import decode, encode_png, open_pixels
from components.data.metaimage import file_beside
from components.data.volumes import read_nifti
from components.errors import DataError
from components.settings import load_settings
from tests.fakes.formats_text import make_dialogues, make_mimic_cxr
from tests.fakes.sources import make_captions_source, make_nrrd_source, read_all, write_nifti
from tests.fakes.spoilings import Spoiling, spoilings_of
from tests.fakes.spoilt_reads import Seen, is_cmyk_as_rgb, is_palette_as_rgb

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


@pytest.fixture(scope="module")
def drill():
    spec = importlib.util.spec_from_file_location("malformed_inputs", ROOT / "drills" / "malformed_inputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    "maker", ["make_captions_source", "make_pairs_source", "make_slake", "make_headers_source"]
)
def test_each_malformed_input_gives_its_reason_or_is_read_by_a_rule(drill, maker, tmp_path: Path) -> None:
    found = drill.summary(drill.tries(maker, 20, tmp_path))
    assert found["tries"] >= 8 and found["unnamed"] == 0, found


@pytest.mark.slow
def test_the_whole_drill_names_every_malformed_input(drill, tmp_path: Path) -> None:
    found = drill.summary(drill.tries("", 20, tmp_path))
    assert found["tries"] >= 200 and found["unnamed"] == 0 and found["ratio"] == found["target"] == 1
    assert found["reasons"].keys() >= {
        "cmyk_to_rgb", "palette_to_rgb", "windowed", "black_for_white", "link_cyclic", "path_escapes_source",
        "member_repeated", "mask_size_differs", "file_missing", "volume_not_finite",
    }  # fmt: skip


def test_the_drill_tells_another_reason_and_none_from_the_expected_one(drill) -> None:
    spoiling = Spoiling("x", lambda path: None, frozenset({"file_empty"}))
    assert drill.judge_reasons({"file_empty"}, spoiling) == ("file_empty", "")
    assert drill.judge_reasons({"file_empty", "image_of_set_refused"}, spoiling) == ("file_empty", "")
    assert drill.judge_reasons({"file_unreadable"}, spoiling)[1] == "another reason: file_unreadable"
    assert drill.judge_reasons({"file_empty", "mask_missing_here"}, spoiling)[1].startswith("another reason")
    assert drill.judge_reasons({""}, spoiling)[1] == "another reason: no name"
    assert drill.name_of_error(DataError("table_empty: there is no row")) == "table_empty"
    assert drill.name_of_error(DataError("something is wrong")) == ""


def test_the_drill_sees_a_keep_a_loss_a_hang_a_crash_and_an_escape(drill, tmp_path: Path, monkeypatch) -> None:
    card = make_captions_source(tmp_path / "original")
    sound = read_all(tmp_path / "original", card)
    trial = drill.Trial("x", tmp_path / "original", card, sound, Path("eye.png"), True)
    root, spoiling = (
        tmp_path / "spoilt" / card.name,
        Spoiling("x", lambda path: path.write_bytes(b"x"), frozenset()),
    )
    assert trial.spoilt(spoiling, root)

    def give(reading) -> str:
        monkeypatch.setattr(drill, "read_within", reading)
        return drill.verdict(trial, root, spoiling, 1)[1].split(":")[0]

    assert give(lambda *_: sound) == "silent keep"
    assert give(lambda *_: (sound[0][:-1], [])) == "silent loss"
    assert give(lambda *_: ([replace(sound[0][0], source_path="fake/../b.png")], [])) == "escape"
    assert give(lambda *_: raise_(drill.TooLong())) == "hang"
    assert give(lambda *_: raise_(KeyError("x"))) == "crash"
    assert give(lambda *_: ((root.parent / "slipped.png").write_bytes(b""), sound)[1]) == "writes"


def raise_(error: BaseException):
    raise error


def test_a_conversion_is_held_against_the_pixels(tmp_path: Path) -> None:
    card = make_captions_source(tmp_path)
    sound, _ = read_all(tmp_path, card)
    one = next(spoiling for spoiling in spoilings_of(Path("eye.png")) if spoiling.name == "cmyk")
    one.spoil(tmp_path / "eye.png")
    records, _ = read_all(tmp_path, card)
    seen = Seen(tmp_path / "eye.png", records, sound, is_named=True)
    assert is_cmyk_as_rgb(seen) and not is_palette_as_rgb(seen)
    dark = [replace(record, image=encode_png(decode(record.image) // 2)) for record in records]
    assert not is_cmyk_as_rgb(Seen(seen.path, dark, sound, is_named=True))


def test_a_picture_of_one_pixel_is_left_to_the_curation() -> None:
    assert load_settings().curate.min_side > 1  # drills count on it: `left_to_curation`


@pytest.mark.parametrize("link", ["../outside.bin", "001.raw"])
def test_a_data_file_beside_a_header_may_not_lead_elsewhere(tmp_path: Path, link: str) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(1000))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "001.raw").symlink_to(link)
    with pytest.raises(Refused, match="link_leaves_source" if link.startswith("..") else "link_cyclic"):
        file_beside(tmp_path / "source" / "001.mhd", "001.raw")


def test_deep_pixels_are_never_clipped_to_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(Refused, match="image_not_8_bit"):
        open_pixels(tmp_path / "deep.png")
