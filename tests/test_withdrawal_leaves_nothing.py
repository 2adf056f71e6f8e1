"""After a withdrawal and the next run, nothing of the patient's images is in any output or memory.

Two projects: one that had the patient and withdrew it, one that never had it. What they hold must be the same.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.data.image import encode_png, pixel_hash
from components.data.ingest import run_ingest
from components.data.source_page import write_source_page
from components.data.tombstones import SWEPT, add_withdrawn
from components.pairs.curate import run_curate
from components.pairs.make import run_pair
from components.quality.check import run_check
from components.registry.withdrawal import ELSEWHERE, print_withdrawal
from components.settings import compose, settings_from
from components.tracking.tables import iterate_rows
from components.training.pack import FEATURES, run_pack
from tests.fakes.formats_labels import save
from tests.fakes.sources import make_card, write_card
from tests.fakes.tables import FakeRun

ROOT = Path(__file__).parents[1]
NAMES = ("ward", "clinic")
GONE = "p3"  # a patient of both sources: their cards share a namespace


def picture(name: str, patient: str, number: int) -> np.ndarray:
    seed = [ord(letter) for letter in f"{name}{patient}{number}"]
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


def pictures_of(patient: str) -> list[np.ndarray]:
    return [picture(name, patient, number) for name in NAMES for number in range(3)]


def make_project(folder: Path, patients: list[str]) -> None:
    for name in NAMES:
        for patient in patients:
            for number in range(3):
                kind = "polyp" if (number + len(name)) % 2 else "cyst"
                save(folder / "data" / name / patient / kind / f"{number}.png", picture(name, patient, number))
        card = make_card(
            name, "folder_classes", {"images": ["*/*/*.png"], "class_depth": 1},
            label_map={"polyp": "polyp", "cyst": "cyst"}, modality="Endoscopy", tolerance=0.0,
            patient={"rule": "pattern", "pattern": "^(p[0-9])/", "namespace": "people"},
            split={"rule": "fixed", "default": "train", "assign": {"p1/*": "test", "p2/*": "validation"}},
        )  # fmt: skip
        write_card(folder / "conf" / "sources", card)


def settings_of_project():
    raw = compose(["preset=tiny"], folder=ROOT / "conf")
    raw["corpus"] |= {"sources": list(NAMES), "data_root": "data"}
    raw["check"] |= {"min_pairs": 1, "max_rejected": 1.0}
    raw["packages_root"] = str(ROOT / raw["packages_root"])
    return settings_from({**raw, "work_root": "artifacts"}, where="test")


def run(settings, stages=(run_ingest, run_pair, run_curate, run_check, run_pack)) -> None:
    for stage in stages:
        stage(settings)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two folders with projects: of one the patient is withdrawn after a run, the other never had it."""

    @contextmanager
    def open_run(*_, **__):
        yield FakeRun()

    monkeypatch.setattr("components.tracking.stage.open_run", open_run)
    patients = [f"p{number}" for number in range(1, 7)]
    make_project(tmp_path / "withdrawn", patients)
    make_project(tmp_path / "never", [patient for patient in patients if patient != GONE])
    home = Path.cwd()
    yield tmp_path / "withdrawn", tmp_path / "never"
    os.chdir(home)


def needles(patient: str) -> dict[str, bytes]:
    """What an image leaves behind: its stored bytes, its pixels, its hash."""
    found: dict[str, bytes] = {}
    for number, pixels in enumerate(pictures_of(patient)):
        found |= {
            f"png {number}": encode_png(pixels), f"pixels {number}": pixels[20, :40].tobytes(),
            f"hash {number}": pixel_hash(pixels).encode(),
        }  # fmt: skip
    return found


def contents(path: Path) -> bytes:
    told = path.read_bytes()
    if path.suffix == ".parquet":
        for row in pq.read_table(path).to_pylist():
            told += b"".join(v if isinstance(v, bytes) else str(v).encode() for v in row.values())
    return told


def found_in(folder: Path, patient: str) -> set[tuple[str, str]]:
    files = [path for path in folder.rglob("*") if path.is_file() and folder / "data" not in path.parents]
    sought = needles(patient)
    return {
        (path.relative_to(folder).parts[0] + "/" + path.relative_to(folder).parts[1], name.split()[0])
        for path in files for name, needle in sought.items() if needle in contents(path)
    }  # fmt: skip


def shards(folder: Path) -> dict[str, bytes]:
    """Every file of the stages' outputs and of the firewall's memory, but what names hashes of them all."""
    roots = [folder / "artifacts" / name for name in ("records", "pairs", "curated", "packs")] + [folder / "var"]
    files = [path for root in roots for path in root.rglob("*") if path.suffix in (".parquet", ".arrow", ".npy")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def test_nothing_of_a_withdrawn_patient_is_left(places, capsys):
    had, never = places
    os.chdir(had)
    settings = settings_of_project()
    run(settings)
    FEATURES.joinpath("recipe/rank-0").mkdir(parents=True)
    FEATURES.joinpath("recipe/rank-0/features.bin").write_bytes(pictures_of(GONE)[0].tobytes())
    write_source_page(settings, NAMES[0])
    places_before = {place for place, _ in found_in(had, GONE)}
    assert {"artifacts/records", "var/firewall", "var/features"} <= places_before
    key = next(
        row["patient_key"] for row in iterate_rows(Path("artifacts/records"), ["patient_key", "sha256"])
        if row["sha256"] == pixel_hash(pictures_of(GONE)[0])
    )  # fmt: skip
    capsys.readouterr()
    print_withdrawal(settings, patient=key)
    shown = capsys.readouterr().out
    assert "withdrawn: 6 records" in shown and ELSEWHERE in shown
    assert "removed: var/firewall, var/features, var/source_check" in shown
    assert {place for place, _ in found_in(had, GONE)} <= {
        f"artifacts/{n}" for n in ("records", "curated", "packs")
    }
    run(settings)
    assert found_in(had, GONE) == set()
    assert found_in(had, "p4")  # the search finds what is there
    os.chdir(never)
    run(settings_of_project())
    left = shards(had)
    assert left == shards(never)
    assert [name for name in left if name.startswith("artifacts/packs/images")]  # resized: told by being the same


def test_a_withdrawal_that_came_with_the_code_empties_the_memories_too(places):
    """Somebody else withdrew, and this machine only pulled the list."""
    had, never = places
    os.chdir(had)
    settings = settings_of_project()
    run(settings)
    FEATURES.mkdir(parents=True)
    FEATURES.joinpath("features.bin").write_bytes(b"features")
    add_withdrawn(source=NAMES[1])
    run(settings)
    assert [path.name for path in FEATURES.iterdir()] == [SWEPT]
    assert {row["source"] for row in iterate_rows(Path("artifacts/records"))} == {NAMES[0]}
    assert {row["source"] for row in iterate_rows(Path("artifacts/pairs"))} == {NAMES[0]}
    run(settings)
    assert [path.name for path in FEATURES.iterdir()] == [SWEPT]
