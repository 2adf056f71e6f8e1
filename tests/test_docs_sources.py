"""docs/sources.md names every field, vocabulary term, reader and rejection reason, and its example is a card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from components.data.card import Card, parse_card
from components.data.catalog import card_files, find_reader, reader_names
from components.data.reading import parse_options
from components.records import DEPARTMENTS, MODALITIES, TASKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sources.md").read_text()
PAGES = PAGE + "".join(path.read_text() for path in sorted((ROOT / "docs" / "readers").glob("*.md")))
WORDS = " ".join(PAGE.split())
# How the readers name a reason: an exception or a Rejection whose text is one snake_case word.
REASON = re.compile(r"(?:Refused|Rejection)\((?:[^()]|\([^()]*\))*?\"([a-z]+(?:_[a-z0-9]+)+)\"")


def reasons() -> list[str]:
    code = "\n".join(path.read_text() for path in sorted((ROOT / "components" / "data").rglob("*.py")))
    return sorted(set(REASON.findall(code)))


def test_every_field_of_a_card_is_explained():
    assert [name for name in Card.model_fields if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("vocabulary", [MODALITIES, DEPARTMENTS, TASKS])
def test_every_term_of_a_vocabulary_is_listed(vocabulary):
    assert [term for term in vocabulary if term not in WORDS] == []


@pytest.mark.parametrize("name", reader_names())
def test_every_reader_has_a_row_and_a_page_with_a_card_and_its_reasons(name):
    assert f"[`{name}`](readers/{name}.md)" in PAGE
    page = (ROOT / "docs" / "readers" / f"{name}.md").read_text()
    assert f"reader: {name}" in page, "no worked card"
    assert re.search(r"^\| (reason|rejection)[^|]*\|", page, flags=re.MULTILINE), "no table of reasons"


def test_the_readers_that_read_one_changed_file_alone_are_named():
    said = WORDS[WORDS.index("only the files that changed are read again") :].partition(
        "The others are read whole"
    )[0]
    named = set(re.findall(r"`([a-z_]+)`", said))
    assert named == {name for name in reader_names() if getattr(find_reader(name), "PORTIONS", False)}


def test_every_card_to_copy_is_there():
    copied = set(re.findall(r"`conf/sources/([a-z0-9_/]+)\.yaml`", PAGE))
    files = {path.relative_to("conf/sources").with_suffix("").as_posix() for path in card_files().values()}
    assert {"ct/kits23", "mixture/slake"} <= copied - {"corpus/sample"} <= files


def test_every_rejection_reason_is_explained():
    found = reasons()
    assert {"file_missing", "label_not_in_vocabulary", "volume_not_finite"} <= set(found)
    assert [reason for reason in found if f"`{reason}`" not in PAGES] == []


def test_the_worked_example_is_a_card():
    raw = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[-1])
    card = parse_card(raw, where="docs/sources.md")
    parse_options(find_reader(card.reader).Options, card)
    assert card.labels == ("lung",)
