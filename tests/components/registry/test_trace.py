import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from components.errors import DataError
from components.registry.promotion import run_register
from components.registry.trace import find_record, print_trace, trace_on_disk, trace_record, tree_of
from components.tracking.stage import read_manifest

RECORD = {"record_id": "r1", "source": "s", "source_path": "s/f.nii", "split": "train"}
PAIRS = [
    {"pair_id": "p1", "record_ids": ["r1"], "kind": "caption"},
    {"pair_id": "p2", "record_ids": ["r0", "r1"], "kind": "comparison"},
    {"pair_id": "p3", "record_ids": ["r0"], "kind": "caption"},
]
PACKS = [
    ("align/train", {"pack_id": "k1", "pair_ids": ["p1", "p3"]}),
    ("align/train", {"pack_id": "k2", "pair_ids": ["p3"]}),
    ("tune/train", {"pack_id": "k3", "pair_ids": ["p2"]}),
]
SAMPLES = {"first": [(0, "k2"), (1, "k1"), (5, "k1")], "second": [(0, "k2")], "third": [(3, "k3")]}
MODELS = {"first": ("run1", "d1", ()), "second": ("run2", "d2", ("1",)), "third": ("run3", "d3", ("2", "4"))}


def trace(**changes):
    values = {"raw_digest": "", "pairs": PAIRS, "kept": ["p1", "p3"], "packs": PACKS, "samples": SAMPLES}
    return trace_record(RECORD, **{**values, "models": MODELS, **changes})


def test_the_way_is_joined_by_ids_alone() -> None:
    found = trace()
    assert found.pairs == {"p1": "caption", "p2": "comparison"}
    assert found.kept_pairs == {"p1"}
    assert found.packs == {"k1": ("align/train", ("p1",)), "k3": ("tune/train", ("p2",))}
    assert [(stage.name, stage.packs, stage.steps) for stage in found.stages] == [
        ("first", ("k1",), (1, 5)), ("third", ("k3",), (3,)),
    ]  # fmt: skip


def test_weights_are_handed_on_so_later_versions_saw_it_too() -> None:
    found = trace()
    assert found.stages[0].versions == ("1", "2", "4")
    assert found.versions == ("1", "2", "4")


def test_a_record_that_no_stage_read_reached_no_version() -> None:
    found = trace(samples={"second": [(0, "k2")]})
    assert found.stages == ()
    assert found.versions == ()
    assert "model versions: none" in render(found)


def render(found) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tree_of(found))
    return console.export_text()


def test_the_tree_shows_the_chain_and_what_curation_dropped() -> None:
    text = render(dataclasses.replace(trace(), raw_digest="a" * 64))
    assert "s/f.nii sha256 aaaaaaaaaaaaaaaa" in text
    assert "p2 · comparison · dropped by curation" in text
    assert "first · run run1 · 1 packs at steps 1, 5" in text
    assert "model versions: 1, 2, 4" in text


def test_a_long_list_is_cut_and_counted() -> None:
    many = [{"pair_id": f"p{number}", "record_ids": ["r1"], "kind": "vqa"} for number in range(20)]
    assert "… and 8 more" in render(trace(pairs=many))


def test_a_registered_projects_record_is_followed_to_its_versions(project, capsys) -> None:
    run_register(project)
    found = trace_on_disk(project, "record0001")
    assert found.record["source_path"] == "some_ct/scan.nii.gz"
    assert found.versions == ("1",)
    stages = list(project.recipe.stages)
    assert [stage.name for stage in found.stages] == stages
    for stage in found.stages:
        assert stage.run_id == read_manifest(Path("artifacts/models") / stage.name)["run"]["run_id"]
        assert stage.steps == (0, 1, 2)
    capsys.readouterr()
    print_trace(project, "record0001")
    assert "model versions: 1" in capsys.readouterr().out


def test_an_unknown_record_is_answered_with_near_ones(project) -> None:
    with pytest.raises(DataError, match="no record 'record001'; near: .*record0001"):
        print_trace(project, "record001")


def test_before_anything_is_ingested_that_is_what_is_told(tmp_path) -> None:
    with pytest.raises(DataError, match="nothing is ingested here") as caught:
        find_record(tmp_path / "records", "NOPE")
    assert caught.value.fix == "gmai ingest"
