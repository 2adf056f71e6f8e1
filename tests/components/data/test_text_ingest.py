"""Sources of text go through ingest to shards, and what has no pixels is left out of the contact sheet."""

import pytest

from components.data.contact_sheet import draw_contact_sheet, pick_records
from components.data.portions import SourceJob
from components.data.source_update import update_source
from components.records import record_from_row
from components.tracking.tables import iterate_rows
from tests.fakes.formats_text import make_dialogues, make_open_i, make_release
from tests.fakes.sources import CONTEXT, read_all


@pytest.mark.parametrize(("maker", "shown"), [(make_dialogues, 0), (make_open_i, 3), (make_release, 1)])
def test_records_without_pixels_are_stored_and_not_drawn(tmp_path, maker, shown):
    root, output = tmp_path / "data", tmp_path / "records"
    root.mkdir()
    card = maker(root)
    job = SourceJob(card, root, output / card.name, CONTEXT.max_side, 1 << 20, CONTEXT.secret)
    result = update_source(job)
    assert result.error == "" and update_source(job).was_kept
    records, _ = read_all(root, card)
    assert [record_from_row(row) for row in iterate_rows(output / card.name)] == records
    assert len(pick_records(output / card.name, 9)) == shown
    assert draw_contact_sheet(output)[:4] == b"\x89PNG"
