"""A stage that starts from another checks that one's manifest: whose it is, with which model, and it whole."""

import json
from pathlib import Path

import pytest

from components.errors import CheckpointError
from components.tracking.digest import digest_tree
from components.training.launch import run_train
from components.training.start import check_start, model_digest
from drills.kill_training import STAGE, make_packs, tiny_settings

SECOND = "second"


@pytest.fixture
def settings(tracked):
    """Two stages, of which the second starts from the first one's output; the first is committed."""
    tiny = tiny_settings(steps=2, every=0, workers=0, micro_batch=2)
    tiny = tiny.model_copy(update={"tracking": tracked.tracking})
    make_packs(tiny)
    run_train(tiny, STAGE)
    row = tiny.recipe.stages[STAGE]
    second = row.model_copy(update={"starts_from": f"{tiny.work_root}/models/{STAGE}"})
    recipe = tiny.recipe.model_copy(update={"stages": {STAGE: row, SECOND: second}})
    return tiny.model_copy(update={"recipe": recipe})


def start_of(settings):
    return Path(settings.recipe.stages[SECOND].starts_from)


def rewrite(settings, change):
    file = start_of(settings) / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def check(settings):
    folder = start_of(settings)
    check_start(settings, settings.recipe.stages[SECOND], {folder.as_posix(): digest_tree(folder)})


def test_a_stage_goes_on_from_the_one_before_it(settings):
    check(settings)
    run_train(settings, SECOND)
    manifest = json.loads((settings.work_root / "models" / SECOND / "manifest.json").read_text())
    assert manifest["stage"] == "train@second" and manifest["details"]["model"] == model_digest(settings)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda manifest: manifest.update(stage="train@other"), "made by train@other"),
        (lambda manifest: manifest["details"].update(model="0" * 64), "another model"),
        (lambda manifest: manifest["details"].pop("model"), "no manifest of a finished stage"),
        (lambda manifest: manifest["details"].update(note=1), "altered after it was committed"),
    ],
    ids=["stage", "model", "silent", "altered"],
)
def test_a_manifest_that_is_not_what_the_stage_needs_is_refused(change, why, settings):
    rewrite(settings, change)
    with pytest.raises(CheckpointError, match=why) as error:
        run_train(settings, SECOND)
    assert error.value.where == str(start_of(settings)) and not (settings.work_root / "models" / SECOND).exists()


def test_a_start_whose_weights_were_altered_or_whose_manifest_is_gone_is_refused(settings):
    weights = start_of(settings) / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="altered after it was committed"):
        check(settings)
    (start_of(settings) / "manifest.json").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="no manifest"):
        check(settings)


def test_a_start_that_no_stage_makes_needs_no_manifest(settings):
    check_start(settings, settings.recipe.stages[STAGE], {})
