import json
from pathlib import Path

import pytest
import yaml

from components.tracking.lineage import lineage_of, run_of, stage_outputs
from components.tracking.stage import open_stage, run_sidecar
from components.tracking.store import open_store

GRAPH = {
    "stages": {
        "first": {"cmd": "x", "outs": [{"artifacts/first": {"persist": True}}]},
        "second": {"foreach": "${recipe.stages}", "do": {"cmd": "x", "outs": ["artifacts/models/${key}"]}},
        "third": {"cmd": "x", "outs": ["artifacts/third"]},
    }
}
MD5 = "0123456789abcdef0123456789abcdef.dir"


def run(settings, stage: str, output: str, source: str) -> str:
    with open_stage(stage, settings, output=Path(output), inputs=[Path(source)], sections=["seed"]) as work:
        (work.scratch / "out.txt").write_text(stage)
    return json.loads(run_sidecar(Path(output)).read_text())["run_id"]


@pytest.fixture
def chain(tracked):
    """A graph of five outputs, all run but the last."""
    Path("dvc.yaml").write_text(yaml.safe_dump(GRAPH, sort_keys=False))
    Path("data").mkdir()
    Path("data/raw.txt").write_text("raw")
    Path(".dvc").mkdir()  # DVC's own folder, which every project has, is no pointer to data
    Path("data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": MD5, "path": "data"}]}))
    before = "data"
    for stage, output in list(stage_outputs(tracked))[:-1]:
        run(tracked, stage, output, before)
        before = output
    return tracked


def test_the_graph_is_unrolled_in_order(chain) -> None:
    rows = list(chain.recipe.stages)
    assert [stage for stage, _ in stage_outputs(chain)] == ["first", *(f"second@{row}" for row in rows), "third"]
    assert dict(stage_outputs(chain))[f"second@{rows[0]}"] == f"artifacts/models/{rows[0]}"


def test_a_whole_chain_has_no_gap_and_begins_with_the_pinned_data(chain) -> None:
    rows = lineage_of(chain, until="third")
    assert [row.gaps for row in rows] == [()] * len(rows)
    assert (rows[0].output, rows[0].digest) == ("data", MD5)
    assert all(row.run_id and row.fingerprint for row in rows[1:])


def test_gaps_are_named(chain) -> None:
    Path("artifacts/first/out.txt").write_text("a hand was here")
    Path("data/raw.txt").write_text("and here")
    Path("dvc.lock").write_text(
        yaml.safe_dump({"stages": {"first": {"deps": [{"path": "data", "md5": "other"}]}}})
    )
    rows = {row.stage: row.gaps for row in lineage_of(chain)}
    assert rows["raw data"] == (f"data.dvc pins {MD5}, but dvc.lock read other",)
    assert rows["first"] == ("input data changed since it was read", "no finished run is known for this output")
    assert rows[f"second@{next(iter(chain.recipe.stages))}"] == (
        "input artifacts/first changed since it was read",
    )
    assert rows["third"] == ("no output with a manifest on this disk",)


def test_data_that_nothing_pins_is_a_gap(chain) -> None:
    Path("data.dvc").unlink()
    assert lineage_of(chain)[0].gaps == ("no .dvc file pins the raw data",)


def test_a_run_is_found_by_the_digest_when_the_sidecar_is_gone_or_another_ones(chain) -> None:
    output, store = Path("artifacts/first"), open_store(chain)
    sidecar = run_sidecar(output)
    known = json.loads(sidecar.read_text())["run_id"]
    sidecar.write_text(json.dumps({"run_id": "somebody", "output_digest": "elses"}))
    assert run_of(output, store=store) == known
    sidecar.unlink()
    assert run_of(output, store=store) == known
    store.client.set_terminated(known, "FAILED")
    assert run_of(output, store=store) == ""
