"""The pages of the readers of text: the readers take their cards, and their reasons are those of the code."""

import re
from pathlib import Path

import pytest
import yaml

from components.data import source_update
from components.data.catalog import find_reader

ROOT = Path(__file__).parents[4]
PAGES = ("captions", "conversations", "gmai_vl_release", "hf_parquet", "report_tables", "vqa", "webdataset")
CODE = (
    "dialogue", "mimic_studies", "open_i_xml", "parquet_rows", "picture_files", "question_rows", "row_files",
    "row_mapping", "row_store", "said_rows", "text_records", *(f"readers/{name}" for name in PAGES),
)  # fmt: skip
# Reasons of modules that these readers share with the others, which the pages name too.
SHARED = {"file_missing", "file_truncated", "file_unreadable"}
RAISED = re.compile(
    r'(?:Refused\(|Rejection\([^()"]*(?:\([^()]*\))?[^()"]*|fault=|return |reason = |yield str\(number\), )'
    r'"([a-z]+(?:_[a-z0-9]+)+)"'
)


def page(name: str) -> str:
    return (ROOT / "docs" / "readers" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_the_worked_cards_fit_their_reader(name):
    cards = [
        card for block in re.findall(r"```yaml\n(.*?)```", page(name), re.S) for card in yaml.safe_load_all(block)
    ]
    assert cards
    for card in cards:
        assert card["reader"] == name
        find_reader(name).Options.model_validate(card["options"])


def test_the_pages_name_the_reasons_that_the_code_gives_and_no_others():
    code = "".join((Path(source_update.CODE) / f"{name}.py").read_text() for name in CODE)
    tables = "".join(line for name in PAGES for line in page(name).splitlines() if line.startswith("| `"))
    named = {
        reason for row in re.findall(r"\| (`[^|]*) \|", tables) for reason in re.findall(r"`([a-z0-9_]+)`", row)
    }
    raised = set(re.findall(r'"([a-z]+(?:_[a-z0-9]+)+)"', code))
    assert named - SHARED <= raised
    assert set(RAISED.findall(code)) <= named


def test_every_field_of_every_reader_is_described_or_named_for_what_it_is():
    bare = [
        f"{name}.{field}"
        for name in PAGES
        for field, info in find_reader(name).Options.model_fields.items()
        if not info.description and name != "report_tables"
    ]
    assert bare == []
