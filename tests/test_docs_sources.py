"""docs/sources.md names every field, vocabulary term, reader and rejection reason, and its example is a card."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from components.data import burned_in, tombstones
from components.data.card import Card, parse_card
from components.data.catalog import card_files, find_reader, reader_names
from components.data.reading import parse_options
from components.pairs import augment, benchmarks, curate, firewall, within_training
from components.pairs.dedupe import HELD_OUT_FIRST
from components.records import DEPARTMENTS, MODALITIES, TASKS, Record

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sources.md").read_text()
PAGES = PAGE + "".join(path.read_text() for path in sorted((ROOT / "docs" / "readers").glob("*.md")))
WORDS = " ".join(PAGE.split())
REASON = re.compile(r"[a-z]+(?:_[a-z0-9]+)+")
REFUSALS, SAYS_WHY = ("Refused", "Rejection", "ReplyRefused"), ("fault", "reason", "rejected_reason")
# Modules that keep their reasons as constants.
CONSTANTS = (augment, benchmarks, burned_in, curate, firewall, tombstones, within_training)


def texts(node: ast.AST | None) -> set[str]:
    """Return the snake_case words in a piece of code."""
    found = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)} if node is not None else set()
    return {word for word in found if isinstance(word, str) and REASON.fullmatch(word)}


def said_by(node: ast.AST) -> set[str]:
    """Return the reasons that a statement or call of the data and pairs rooms gives."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        said = texts(node) if name in REFUSALS else set()
        return said.union(*(texts(word.value) for word in node.keywords if word.arg in SAYS_WHY))
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        name = getattr(target.value if isinstance(target, ast.Subscript) else target, "id", "")
        return texts(node.value) if re.search("reason|fault", name) else set()
    if isinstance(node, ast.FunctionDef) and re.search("reason|fault|clash|check_|contradict|refus", node.name):
        returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
        appended = [one for one in ast.walk(node) if getattr(getattr(one, "func", None), "attr", "") == "append"]
        return set().union(*map(texts, (*returned, *appended)))
    return set()


def reasons() -> list[str]:
    files = [path for room in ("data", "pairs") for path in (ROOT / "components" / room).rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    kept = [value for module in CONSTANTS for name, value in vars(module).items() if name.isupper()]
    constants = {value for value in kept if isinstance(value, str) and REASON.fullmatch(value)}
    of_images = {f"{near}duplicate_of_{split}_image" for near in ("", "near_") for split in HELD_OUT_FIRST[:2]}
    columns = {field.name for field in dataclasses.fields(Record)}
    return sorted(constants.union(of_images, *map(said_by, nodes)) - columns)


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


def test_every_card_to_copy_is_there():
    copied = set(re.findall(r"`conf/sources/([a-z0-9_/]+)\.yaml`", PAGE))
    files = {path.relative_to("conf/sources").with_suffix("").as_posix() for path in card_files().values()}
    assert {"ct/kits23", "mixture/slake"} <= copied - {"corpus/sample"} <= files


def test_every_rejection_reason_is_explained():
    found = reasons()
    assert {"file_missing", "label_not_in_vocabulary", "volume_not_finite", "second_text_of_image"} <= set(found)
    assert {"side_contradicts", "duplicate_text", "image_blank", "patient_withdrawn"} <= set(found)
    assert [reason for reason in found if f"`{reason}`" not in PAGES] == []


def test_every_reader_that_reads_its_sources_whole_is_named():
    (told,) = re.findall(r"and the readers (`medmnist`.*?)\. Many", WORDS)
    whole = {name for name in reader_names() if not getattr(find_reader(name), "PORTIONS", False)}
    assert set(re.findall(r"`([a-z_]+)`", told)) == whole


def test_the_worked_example_is_a_card():
    raw = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)[-1])
    card = parse_card(raw, where="docs/sources.md")
    parse_options(find_reader(card.reader).Options, card)
    assert card.labels == ("lung",)
