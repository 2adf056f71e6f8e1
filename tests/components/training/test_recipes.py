"""The sibling recipes say where each number comes from, and the settings they need do what they say."""

from types import SimpleNamespace

import pytest
import torch

from components.errors import ConfigError
from components.settings import Stage, compose, settings_from
from components.tracking.runs import stage_params
from components.training.launch import accumulation
from components.training.module import StageModule
from components.training.pack import _packs
from components.training.stages import micro_batch_of
from tests.components.training.test_module import stage

SIBLINGS = ["gmai_vl", "llava_med", "internvl2_5", "lingshu"]
MUST_SAY = ("learning_rate", "epochs", "packs_per_step", "weight_decay", "clip")


@pytest.mark.parametrize("name", SIBLINGS)
def test_every_number_of_a_published_recipe_names_its_source(name):
    recipe = settings_from(compose([f"recipe={name}"]), where="conf").recipe
    for row in recipe.stages.values():
        assert all(row.evidence.get(field) for field in MUST_SAY)
        assert row.evidence.get("warmup_ratio") or row.evidence.get("warmup_steps")
        fields = set(Stage.model_fields) | {"max_length"}
        assert set(row.evidence) <= fields


@pytest.mark.parametrize("silent", ["epochs", "warmup_ratio", "weight_decay", "max_length", "clip"])
@pytest.mark.parametrize("name", ["default", "gmai_vl", "tiny"])
def test_a_recipe_that_does_not_say_where_a_silent_value_comes_from_is_refused(name, silent):
    raw = compose([f"recipe={name}"])
    row = list(raw["recipe"]["stages"].values())[1]
    row["evidence"] = {key: value for key, value in row["evidence"].items() if key != silent}
    with pytest.raises(ConfigError, match=rf"does not say where these come from .*{silent}"):
        settings_from(raw, where="conf")


def test_a_row_has_its_own_betas(vlm):
    module = StageModule(vlm, stage(betas=(0.8, 0.95)), name="t", steps=2, log=lambda *_: None)
    assert {group["betas"] for group in module.configure_optimizers()["optimizer"].param_groups} == {(0.8, 0.95)}
    paper = settings_from(compose(["preset=gmai_vl_7b"]), where="conf").recipe.stages.values()
    assert all(row.betas == (0.9, 0.999) and row.evidence["betas"] for row in paper)


def test_evidence_of_what_is_no_setting_is_refused():
    raw = compose([])
    next(iter(raw["recipe"]["stages"].values()))["evidence"]["epoch"] = "a slip of the pen"
    with pytest.raises(ConfigError, match="no setting of it"):
        settings_from(raw, where="conf")


def test_a_stages_run_says_where_its_values_come_from():
    settings = settings_from(compose(["preset=gmai_vl_7b"]), where="conf")
    found = stage_params(settings, "train@deep_alignment")
    assert str(found["stage.evidence.clip"]).startswith("not in the paper; ")
    assert found["stage.micro_batch"] == 4


def test_a_row_holds_its_own_micro_batch_and_the_step_stays_the_papers():
    settings = settings_from(compose(["preset=gmai_vl_7b"]), where="conf")
    rows = list(settings.recipe.stages.values())
    assert [micro_batch_of(settings.training, row) for row in rows] == [8, 4, 4]
    assert [accumulation(settings, row) for row in rows] == [2, 4, 4]  # Table 8: 32 x 8 x 2, then 32 x 4 x 4
    assert micro_batch_of(settings.training, stage()) == settings.training.micro_batch


@pytest.mark.parametrize("missing", ["epochs", "warmup_ratio", "weight_decay", "clip", "learning_rate"])
def test_what_the_paper_does_not_say_must_be_said_here(missing):
    values = stage().model_dump()
    values.pop(missing)
    with pytest.raises(ValueError, match=missing):
        Stage(**values)


def test_a_rate_of_a_part_that_rests_is_refused():
    with pytest.raises(ValueError, match="do not learn"):
        stage(trains=("projector",), learning_rates={"vision": 1e-6})


def test_a_part_may_have_its_own_rate_and_warm_up_be_counted_in_steps(vlm):
    row = stage(trains=("projector", "vision"), learning_rates={"vision": 1e-6}, warmup_steps=4, schedule="cosine")
    module = StageModule(vlm, row, name="t", steps=20, log=lambda *_: None)
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = {len(group["params"]): group["initial_lr"] for group in optimizer.param_groups}
    assert sorted(set(rates.values())) == [1e-6, row.learning_rate]
    sizes = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert sizes == sum(p.numel() for p in module.parameters() if p.requires_grad)
    factors = []
    for _ in range(5):
        factors.append(optimizer.param_groups[-1]["lr"] / optimizer.param_groups[-1]["initial_lr"])
        optimizer.step(), schedule.step()
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_the_default_optimiser_has_one_rate_and_two_groups(vlm):
    module = StageModule(vlm, stage(trains=("projector", "language")), name="t", steps=2, log=lambda *_: None)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [all(p.ndim >= 2 for p in groups[0]["params"]), all(p.ndim < 2 for p in groups[1]["params"])] == [
        True
    ] * 2
    assert isinstance(groups[0]["params"][0], torch.nn.Parameter)


def test_packs_of_one_image_alone(processor):
    from components.model.vision import num_image_tokens
    from tests.components.training.conftest import conversations
    from tests.fakes.models import tiny_model

    rows = conversations(processor, image_tokens=num_image_tokens(tiny_model().vision))
    pairs = [SimpleNamespace(pair_id=f"p{image}", record_ids=(f"r{image}",)) for image in range(6)]
    encoded = {pair.pair_id: rows[0] for pair in pairs}
    images = {f"r{image}": (image,) for image in range(6)}
    alone = list(_packs(pairs, encoded, images, max_length=400, seed=1, alone=True))
    together = list(_packs(pairs, encoded, images, max_length=400, seed=1))
    assert [len(pack.images) for pack in alone] == [1] * 6 and len(together) < 6
