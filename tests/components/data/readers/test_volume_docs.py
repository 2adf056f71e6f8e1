"""The pages of the readers of volumes and slides: their worked cards are cards, and they know the reasons."""

import re
from pathlib import Path

import pytest
import yaml

from components.data.catalog import find_reader
from components.data.reading import parse_options
from tests.fakes.sources import make_card

PAGES = Path(__file__).parents[4] / "docs" / "readers"
READERS = (
    "nifti_cases", "nifti_labels", "nrrd_segments", "plain_volumes", "dicom_series", "dicom_seg", "dicom_rtstruct",
    "dicom_headers", "slide_tiles", "slide_annotations",
)  # fmt: skip
MODULES = (
    "case_labels", "case_paths", "case_tables", "dicom_volumes", "metaimage", "reading", "slide_shapes", "slides",
    "volume_files", "volume_records",
)  # fmt: skip
CODE = Path(find_reader("nifti_cases").__file__).parents[1]
# Reasons that reading.py gives, whose pages are other readers' too.
SHARED = {"file_truncated", "file_unreadable", "file_missing", "patient_unknown", "label_not_in_vocabulary"}


@pytest.mark.parametrize("reader", READERS)
def test_the_worked_card_of_a_page_is_one(reader):
    text = (PAGES / f"{reader}.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    written = yaml.safe_load(block)
    assert written.pop("reader") == reader
    card = make_card("documented", reader, written.pop("options"), **written)
    assert parse_options(find_reader(reader).Options, card)


def test_every_reason_on_the_pages_is_given_by_the_code_and_the_other_way_round():
    pages = "".join(path.read_text() for path in PAGES.glob("*.md") if path.stem in (*READERS, "volumes"))
    rows = [line.split("|")[1] for line in pages.splitlines() if line.startswith("| `")]
    told = {reason for row in rows for reason in re.findall(r"`([a-z0-9_]+)`", row)}
    modules = [*(CODE / f"{name}.py" for name in MODULES), *(CODE / "readers" / f"{name}.py" for name in READERS)]
    code = "".join(path.read_text() for path in modules)
    given = set(re.findall(r'Refused\(\s*"(\w+)"', code)) | set(re.findall(r'Rejection\([^()]*"(\w+)"\)', code))
    quoted = set(re.findall(r'"([a-z0-9]+(?:_[a-z0-9]+)+)"', code))
    assert told - quoted == set() and given - told - SHARED == set()


@pytest.mark.parametrize("reader", ["nifti_cases", "dicom_series", "dicom_seg", "slide_annotations"])
def test_every_option_of_a_reader_of_cases_is_described(reader):
    schema = find_reader(reader).Options.model_json_schema()
    models = [schema, *schema.get("$defs", {}).values()]
    bare = [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model.get("properties", {}).items()
        if "description" not in field
    ]
    assert bare == []
