"""Planted identifiers are in no output, log, run, report or page: ingest to check, every byte looked at."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from components.data.burned_in import RapidReader, has_text
from components.data.privacy import quiet_libraries
from components.settings import BurnedInText
from components.tracking.tables import read_table
from tests.fakes.people import PLANTED, make_reports, make_scans
from tests.fakes.sources import write_card

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
KEY = "a key that nobody knows"
STAGES = """
from components.data.ingest import run_ingest
from components.data.source_page import write_source_page
from components.pairs.curate import run_curate
from components.pairs.make import run_pair
from components.quality.check import run_check
from components.registry.trace import print_trace
from components.settings import load_settings
from components.tracking.tables import iterate_rows

settings = load_settings()
for name in ("ward_scans", "ward_reports"):
    write_source_page(settings, name)
for run in (run_ingest, run_pair, run_curate, run_check):
    run(settings)
for row in iterate_rows(settings.work_root / "records", ["record_id"]):
    print_trace(settings, row["record_id"])
    break
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A working folder after the stages; what they printed is in stages.txt."""
    pytest.importorskip("rapidocr", reason="the ocr extra is not installed")
    folder = tmp_path_factory.mktemp("people")
    for make in (make_scans, make_reports):
        (folder / "data" / "aside").mkdir(parents=True)
        with quiet_libraries():
            card = make(folder / "data" / "aside")
        (folder / "data" / "aside").rename(folder / "data" / card.name)
        write_card(folder / "conf" / "sources", card)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["corpus"] |= {"sources": ["ward_scans", "ward_reports"], "data_root": "data"}
    raw["ingest"] |= {"jobs": 2, "burned_in_text": {"share": 1.0}}
    raw["check"] |= {"min_pairs": 1, "max_rejected": 1.0}
    raw["curate"] |= {"min_side": 4, "min_entropy": 0.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw | {"work_root": "artifacts"}))
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "PREFECT_", "GMAI_")) and "RANK" not in name
    }  # fmt: skip
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", STAGES], cwd=folder, env=environment | {"GMAI_PATIENT_KEY": KEY}, text=True,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    (folder / "stages.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-4000:]
    return folder


def outputs(project: Path) -> Iterator[Path]:
    """Every file that the stages wrote, but what is private by name."""
    inputs = [project / name for name in ("data", "conf", "params.yaml", "var/private")]
    for path in sorted(project.rglob("*")):
        if path.is_file() and not any(path == one or one in path.parents for one in inputs):
            yield path


def contents(path: Path) -> str:
    """A file's bytes as text in lower case, without pictures in base64; a Parquet file's columns unpacked too."""
    told = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_bytes().decode("latin-1"))
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        told += repr({name: table[name].to_pylist() for name in table.schema.names if name != "image"})
    return told.lower()


def test_no_planted_text_is_in_any_file_name_or_content(project):
    written = list(outputs(project))
    kinds = {path.suffix for path in written}
    assert {".parquet", ".json", ".jsonl", ".html", ".db", ".txt", ".png"} <= kinds
    found = {
        (path.relative_to(project).as_posix(), word)
        for path in written for word in PLANTED
        if word in path.relative_to(project).as_posix().lower() or word in contents(path)
    }  # fmt: skip
    assert not found


def test_the_search_would_find_them(project):
    told = "".join(contents(path) for path in (project / "var" / "private").iterdir())
    assert {"quartermaine", "zebulon", "acc90210", "roi_zeb", "ward9"} <= {
        word for word in PLANTED if word in told
    }
    inputs = "".join(contents(path) for path in (project / "data").rglob("*") if path.is_file())
    names = "".join(path.as_posix().lower() for path in (project / "data").rglob("*"))
    assert [word for word in PLANTED if word not in inputs + names] == []


def pictures(project: Path) -> Iterator[bytes]:
    """Every image in records, in pages and beside them."""
    for path in outputs(project):
        if path.suffix == ".parquet" and "image" in pq.read_schema(path).names:
            yield from filter(None, pq.read_table(path, columns=["image"])["image"].to_pylist())
        elif path.suffix == ".html" and "source_check" not in path.parts:
            yield from (
                b64decode(text) for text in re.findall(r"data:image/png;base64,([^\"']+)", path.read_text())
            )


def test_no_planted_pixels_are_in_any_image(project):
    reader, options = RapidReader(), BurnedInText(share=1.0)
    shown = set(pictures(project))
    assert len(shown) > 20
    for content in shown:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert not has_text(reader.read(pixels), options)


def test_what_was_done_is_stamped_and_counted(project):
    scans = json.loads((project / "artifacts/records/ward_scans/manifest.json").read_text())
    found = scans["privacy"]["burned_in_text"]
    assert scans["rejected"]["burned_in_text"] == found["hits"] == 1 and found["looked_at"] == scans["kept"] + 1
    assert 0 < found["rate"] < found["upper_bound_95"] < 1
    assert (
        scans["privacy"]["headers"]["profile"].startswith("DICOM PS3.15") and scans["privacy"]["paths"] != "public"
    )
    reports = json.loads((project / "artifacts/records/ward_reports/manifest.json").read_text())["privacy"]
    assert set(reports["scrubbed"]) == {
        "name",
        "identifier",
        "date",
        "phone",
        "e-mail",
        "link",
        "address",
        "age over 89",
    }
    assert "headers" not in reports


def test_grouping_survives(project):
    rows = read_table(
        project / "artifacts/records", ["source", "patient_key", "study_key", "source_path"]
    ).to_pylist()
    scans = [row for row in rows if row["source"] == "ward_scans"]
    assert len({row["patient_key"] for row in scans}) == 4 and len({row["source_path"] for row in rows}) > 12
    folders = {(row["source_path"].split("/")[1], row["patient_key"]) for row in scans}
    assert len({folder for folder, _ in folders}) == 3  # the folders of the disk, under other names
