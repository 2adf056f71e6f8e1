"""What holds for every reader of labelled pictures: the same each time, and no damage that is not named."""

import re
import warnings

import numpy as np
import pytest

from components.data.image import decode, pixel_hash
from components.data.reading import ReadContext
from components.errors import DatasetMissing, ProjectError
from components.records import SPLITS, record_from_row, to_rows
from tests.fakes.formats_labels import LABEL_MAKERS
from tests.fakes.sources import read_all

each = pytest.mark.parametrize("maker", LABEL_MAKERS, ids=lambda maker: maker.__name__)
DAMAGES = 25


@each
def test_records_fit_and_come_the_same_twice(maker, tmp_path):
    card = maker(tmp_path)
    records, refused = read_all(tmp_path, card)
    assert records and not refused and read_all(tmp_path, card) == (records, refused)
    assert len({record.record_id for record in records}) == len(records)
    for record in records:
        assert record.sha256 == pixel_hash(decode(record.image)) and record.split in SPLITS
        assert {*record.labels, *record.absent_labels, *record.region_vocabulary} <= set(card.labels)
        assert all(0 <= edge <= 1 for region in record.regions for edge in region.box)
        assert (tmp_path / record.source_path.split("/", 1)[1]).is_file()
    assert [record_from_row(row) for row in to_rows(records)] == records


@each
def test_no_picture_is_stored_larger_than_asked(maker, tmp_path):
    card = maker(tmp_path)
    large = {record.record_id: record for record in read_all(tmp_path, card)[0]}
    for record in read_all(tmp_path, card, ReadContext(max_side=10, secret=b"k"))[0]:
        assert max(record.width, record.height) <= 10
        assert [region.label for region in record.regions] == [r.label for r in large[record.record_id].regions]


@each
def test_an_empty_source_is_missing(maker, tmp_path):
    card = maker(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises((DatasetMissing, ProjectError), match=r"no file matches|names_missing"):
        read_all(tmp_path / "empty", card)


def damaged(content, drawn):
    """Flip bytes, cut, repeat or swap a stretch: what a bad download or a careless editor leaves."""
    kind = drawn.integers(0, 4)
    start, stop = sorted(drawn.integers(0, len(content) + 1, 2).tolist())
    if kind == 0:
        return content[:stop]
    if kind == 1:
        return content[:start] + content[stop:]
    if kind == 2:
        return content[:stop] + content[start:]
    changed = bytearray(content)
    for place in drawn.integers(0, len(content), 3):
        changed[place] = drawn.integers(0, 256)
    return bytes(changed)


@each
def test_no_damage_to_any_file_is_silent_or_unnamed(maker, tmp_path):
    card = maker(tmp_path)
    whole, _ = read_all(tmp_path, card)
    drawn = np.random.default_rng(7)
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for _ in range(DAMAGES):
            path.write_bytes(damaged(content, drawn))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    records, refused = read_all(tmp_path, card)
            except ProjectError as error:
                assert re.match(r"[a-z_]+: ", str(error)), str(error)
                continue
            assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", rejection.reason) for rejection in refused)
            assert len(records) + len(refused) >= 1 and len(records) <= len(whole) + 4
        path.write_bytes(content)
    assert read_all(tmp_path, card)[0] == whole
