"""The pages of the readers of labelled pictures: their cards are valid, and every reason stands on one of them."""

import re
from pathlib import Path

import pytest
import yaml

from components.data.catalog import find_reader
from components.data.reading import parse_options
from tests.fakes.sources import make_card

PAGES = Path("docs/readers")
READERS = ("folder_classes", "label_table", "voc_xml", "coco", "yolo", "mask_images", "medmnist", "video_frames")
CODE = Path("components/data")
SHARED = (
    "annotation_files", "boxes", "image", "markup", "mask_codes", "outlines", "path_classes", "paths",
    "pictures", "segments", "spreadsheet", "tables",
)  # fmt: skip
REASON = re.compile(r'(?:Refused\(|fault=|return None, |DataError\(f?|Rejection\([^\n]*, )"([a-z]+_[a-z0-9_]+)')
TABLE_FAULT = re.compile(r'_fault\("([a-z_]+)"')


def reasons_in(path):
    text = path.read_text()
    return {*REASON.findall(text), *(f"table_{name}" for name in TABLE_FAULT.findall(text))}


@pytest.mark.parametrize("name", [*READERS, "pictures", "instance_mask", "image_pairs", "captioned_images"])
def test_the_card_on_the_page_fits_its_reader(name):
    (block,) = re.findall(r"```yaml\n(.*?)```", (PAGES / f"{name}.md").read_text(), flags=re.DOTALL)
    raw = yaml.safe_load(block)
    card = make_card("page", raw.pop("reader"), raw.pop("options"), **raw)
    assert name in (card.reader, "pictures")
    parse_options(find_reader(card.reader).Options, card)


@pytest.mark.parametrize("name", READERS)
def test_every_reason_of_a_reader_is_explained(name):
    page = (PAGES / f"{name}.md").read_text() + (PAGES / "pictures.md").read_text()
    reasons = reasons_in(CODE / "readers" / f"{name}.py")
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()


def test_every_shared_reason_is_explained():
    pages = "".join((PAGES / f"{name}.md").read_text() for name in (*READERS, "pictures"))
    reasons = {reason for name in SHARED for reason in reasons_in(CODE / f"{name}.py")}
    assert len(reasons) > 25 and {reason for reason in reasons if f"`{reason}`" not in pages} == set()
